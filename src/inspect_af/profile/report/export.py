"""The same figures and numbers as files: SVG, PNG and CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_af.profile.concepts import ConceptScore
from inspect_af.profile.report.direct import DIRECT_COLUMNS, direct_cells
from inspect_af.profile.report.figures import draw_figures, to_png, to_svg
from inspect_af.profile.report.grouping import blocks
from inspect_af.profile.report.inputs import BeliefShift
from inspect_af.profile.result import ConditionRow, EffectRow, Estimate, MethodProfile, Profile

Cell = str | int | float | bool | None


class Table(NamedTuple):
    """One CSV file. Rates and differences stay on the scale 0 to 1; an empty cell is not known."""

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def export_figures(
    profile: Profile,
    directory: Path,
    *,
    beliefs: Sequence[BeliefShift] = (),
) -> list[Path]:
    """Writes every figure as SVG and as PNG, and returns the files.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawings = draw_figures(profile, beliefs=beliefs)
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for drawing in drawings:
        vector, pixels = directory / f"{drawing.name}.svg", directory / f"{drawing.name}.png"
        vector.write_text(to_svg(drawing), encoding="utf-8", newline="\n")
        pixels.write_bytes(to_png(drawing))
        files += [vector, pixels]
    return files


def export_csv(
    profile: Profile,
    directory: Path,
    *,
    beliefs: Sequence[BeliefShift] = (),
) -> list[Path]:
    """Writes the numbers behind the report, a CSV file per kind of row, and returns the files.

    Text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tables = (*profile_tables(profile), *_judged(profile.concepts, beliefs))
    return [write_table(table, directory) for table in tables if table.rows]


def write_table(table: Table, directory: Path) -> Path:
    """Writes one CSV file into an existing directory; formulas get an apostrophe in front."""
    file = directory / f"{table.name}.csv"
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(table.header)
        writer.writerows([_written(cell) for cell in row] for row in table.rows)
    return file


def profile_tables(profile: Profile) -> tuple[Table, ...]:
    """The profile as tables: conditions, missing replies, effects, sensitivities, doses, comparisons and
    direct requests."""
    rows = [row for block in blocks(profile) for row in block.conditions]
    key = ("subject", "method", "setting", "requests")
    interval = ("estimate", "low", "high", "equivalence_low", "equivalence_high", "se", "n")
    effects = tuple((*_key(one), *_effect(row)) for one in profile.profiles for row in one.effects)
    return (
        Table("conditions", _CONDITION, tuple(tuple(_condition(row)) for row in rows)),
        Table(
            "missing",
            ("subject", "setting", "requests", "condition", "tier", "reason", "n", "asked"),
            tuple(cells for row in rows for cells in _missing(row)),
        ),
        Table("effects", (*key, *_EFFECT), effects),
        Table(
            "sensitivities",
            (*key, "quantity", "variable", *interval),
            tuple((*_key(one), *cells) for one in profile.profiles for cells in _sensitivities(one)),
        ),
        Table(
            "dose_response",
            (*key, "strength", "position", "quantity", *interval),
            tuple((*_key(one), *cells) for one in profile.profiles for cells in _doses(one)),
        ),
        Table(
            "comparisons",
            ("kind", "first", "second", "quantity", *interval),
            tuple(
                (pair.kind, pair.first, pair.second, quantity, *_interval(estimate))
                for pair in profile.comparisons
                for quantity, estimate in (
                    *((f"{label} sensitivity", e) for label, e in pair.sensitivity.items()),
                    *((("contrast", pair.contrast),) if pair.contrast is not None else ()),
                    *((f"effect of {code}", e) for code, e in pair.effects.items()),
                )
            ),
        ),
        Table("direct_requests", DIRECT_COLUMNS, tuple(direct_cells(profile.direct_requests))),
    )


_CONDITION_FIELDS = (
    "subject",
    "method",
    "setting",
    "requests",
    "label",
    "intervention",
    "family",
    "placebo",
    "strength",
    "variant",
    "dose",
    "simulated",
    "monitored",
    "monitored_low",
    "monitored_high",
    "unmonitored",
    "unmonitored_low",
    "unmonitored_high",
    "gap",
    "gap_low",
    "gap_high",
    "gap_se",
    "gap_bound_low",
    "gap_bound_high",
    "gap_log_odds",
    "n_pairs",
)
_ESTIMANDS = ("tag_only", "contradictory_rejected")
_CONDITION = (*_CONDITION_FIELDS, *(f"gap_{name}" for name in _ESTIMANDS), "flags")
_EFFECT_ESTIMATES = ("gap", "monitored", "unmonitored", "mean")
_EFFECT = (
    "intervention",
    "variable",
    "family",
    "polarity",
    "strength",
    "reference",
    *(f"{name}{part}" for name in _EFFECT_ESTIMATES for part in ("", "_low", "_high")),
    "gap_simultaneous_low",
    "gap_simultaneous_high",
    "gap_log_odds",
    "gap_specific",
    "gap_bound_low",
    "gap_bound_high",
    "n",
    "n_variants",
    "variant_sd",
    "control_rank_p",
    "n_controls",
    "flags",
)


def _key(one: MethodProfile) -> tuple[str, str, str, str]:
    return one.subject, one.method, one.setting, one.requests


def _condition(row: ConditionRow) -> Iterator[Cell]:
    for field in _CONDITION_FIELDS:
        yield getattr(row, field)
    for estimand in _ESTIMANDS:
        found = row.estimands.get(estimand)
        yield None if found is None else found.gap
    yield "; ".join(row.flags)


def _missing(row: ConditionRow) -> Iterator[tuple[Cell, ...]]:
    place = (row.subject, row.setting, row.requests, row.label)
    for tier, replies in row.replies.items():
        failed = row.failed.get(tier, 0)
        for reason, n in (*row.unscored.get(tier, {}).items(), ("failed", failed)):
            yield (*place, tier, reason, n, replies + failed)


def _effect(row: EffectRow) -> Iterator[Cell]:
    yield from (row.intervention, row.variable, row.family, row.polarity, row.strength, row.reference)
    for estimate in (row.gap, row.monitored, row.unmonitored, row.mean):
        yield from (estimate.estimate, estimate.low, estimate.high)
    yield from (row.gap_simultaneous_low, row.gap_simultaneous_high, row.gap_log_odds, row.gap_specific)
    yield from (row.gap_bound_low, row.gap_bound_high, row.gap.n, row.n_variants, row.variant_sd)
    yield from (row.control_rank_p, row.n_controls, "; ".join(row.flags))


def _sensitivities(one: MethodProfile) -> Iterator[tuple[Cell, ...]]:
    for label, family in one.sensitivity.items():
        yield (label, None, *_interval(family))
        for variable in family.variables:
            yield (label, variable.variable, *_interval(variable.sensitivity))
            if variable.without is not None:
                yield (f"{label} without", variable.variable, *_interval(variable.without))
    for quantity, estimate in (("contrast", one.contrast), ("total", one.total), ("fraction", one.fraction)):
        if estimate is not None:
            yield (quantity, None, *_interval(estimate))
    for title, estimate in one.at_equal_shifts.estimates.items() if one.at_equal_shifts else ():
        yield (title, None, *_interval(estimate))
    for trend in one.dose_trends:
        yield (f"{trend.family} trend", None, *_interval(trend.slope))


def _doses(one: MethodProfile) -> Iterator[tuple[Cell, ...]]:
    for point in one.dose_response:
        named = [*point.sensitivity.items()]
        if point.contrast is not None:
            named.append(("contrast", point.contrast))
        for quantity, estimate in named:
            yield (point.strength, point.position, quantity, *_interval(estimate))


def _interval(e: Estimate) -> tuple[Cell, ...]:
    return e.estimate, e.low, e.high, e.equivalence_low, e.equivalence_high, e.se, e.n


def _judged(concepts: Sequence[ConceptScore], beliefs: Sequence[BeliefShift]) -> tuple[Table, Table]:
    return (
        Table("concepts", ConceptScore._fields, tuple(tuple(score) for score in concepts)),
        Table("beliefs", BeliefShift._fields, tuple(tuple(shift) for shift in beliefs)),
    )


def _written(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return str(cell)
