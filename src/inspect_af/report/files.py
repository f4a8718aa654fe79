"""Numbers and figures as files: CSV written from the models' own fields, SVG and PNG.

A table is a list of rows, and a row is the fields of one model: a nested model or mapping becomes columns
with its name in front (`gap_estimate`, `unscored_monitored_truncated`), several words become one cell, and
models in a list are rows of a table of their own. So a field that the analysis gains is a column that the
file gains.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, get_args

from pydantic import BaseModel

from inspect_af.logs import REQUEST_ARMS
from inspect_af.profile.convergence import Convergence
from inspect_af.profile.direct_requests import DirectReport
from inspect_af.profile.result import Estimate, MethodProfile, Profile
from inspect_af.profile.selectivity import SelectivityMatrix
from inspect_af.report.canvas import Drawing, to_png, to_svg
from inspect_af.report.figures import draw_figures
from inspect_af.report.naming import blocks

Cell = str | int | float | bool | None
Row = dict[str, Cell]


class Table(NamedTuple):
    """One CSV file. Rates and differences stay on the scale 0 to 1; an empty cell is not known."""

    name: str
    rows: Sequence[Row]

    @property
    def header(self) -> tuple[str, ...]:
        """Every column that some row has, in order of appearance."""
        return tuple(dict.fromkeys(column for row in self.rows for column in row))


def export_csv(profile: Profile, directory: Path) -> list[Path]:
    """Writes the numbers behind a profile, a CSV file per kind of row, and returns the files.

    Text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    return write_tables(profile_tables(profile), directory)


def export_figures(profile: Profile, directory: Path) -> list[Path]:
    """Writes every figure of a profile as SVG and as PNG, and returns the files.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    return write_drawings(draw_figures(profile), directory)


def write_tables(tables: Iterable[Table], directory: Path) -> list[Path]:
    """Writes every table that has rows, and returns the files; formulas get an apostrophe in front."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for table in tables:
        if table.rows:
            file = directory / f"{table.name}.csv"
            with file.open("w", encoding="utf-8", newline="") as target:
                writer = csv.writer(target, lineterminator="\n")
                writer.writerow(table.header)
                writer.writerows([_written(row.get(column)) for column in table.header] for row in table.rows)
            files.append(file)
    return files


def write_drawings(drawings: Iterable[Drawing], directory: Path) -> list[Path]:
    """Writes figures as SVG and as PNG, and returns the files."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for drawing in drawings:
        vector, pixels = directory / f"{drawing.name}.svg", directory / f"{drawing.name}.png"
        vector.write_text(to_svg(drawing), encoding="utf-8", newline="\n")
        pixels.write_bytes(to_png(drawing))
        files += [vector, pixels]
    return files


def flat(row: Any, prefix: str = "", *, leave: Iterable[str] = (), nested: bool = True) -> Row:
    """The fields of a model, named tuple or mapping as columns.

    Args:
        row: What to write.
        prefix: In front of every column.
        leave: Fields that are left out.
        nested: Whether models and mappings among the fields are written too.
    """
    found: Row = {}
    for name, value in _fields(row):
        column = f"{prefix}{name}"
        if name in leave or (not value and _holds_models(row, name)):
            continue
        if isinstance(value, BaseModel | Mapping) or hasattr(value, "_fields"):
            if nested:
                found |= flat(value, f"{column}_")
        elif isinstance(value, tuple | list):
            if all(isinstance(item, str | int | float) for item in value):
                found[column] = "; ".join(map(str, value))
        else:
            found[column] = value
    return found


def _holds_models(row: Any, name: str) -> bool:
    """Whether a field is for models, so that it is no column of its own where there are none."""
    field = type(row).model_fields.get(name) if isinstance(row, BaseModel) else None
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    return any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds)


def _fields(row: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(row, BaseModel):
        return [(name, getattr(row, name)) for name in type(row).model_fields]
    if isinstance(row, Mapping):
        return [(str(key), value) for key, value in row.items()]
    return list(zip(row._fields, row, strict=True))


def profile_tables(profile: Profile) -> tuple[Table, ...]:
    """Conditions, verdicts, effects, sensitivities, doses, comparisons, direct requests, judges, beliefs."""
    profiles = profile.profiles
    return (
        Table("conditions", [flat(row) for block in blocks(profile) for row in block.conditions]),
        Table("verdicts", [flat(one, nested=False) for one in profiles]),
        Table("levels", [{**_key(one), **flat(level)} for one in profiles for level in one.verdict_levels]),
        Table("effects", [{**_key(one), **flat(row)} for one in profiles for row in one.effects]),
        Table("sensitivities", [{**_key(one), **row} for one in profiles for row in _sensitivities(one)]),
        Table("dose_response", [{**_key(one), **row} for one in profiles for row in _doses(one)]),
        Table(
            "comparisons",
            [
                {
                    "kind": pair.kind,
                    "first": pair.first,
                    "second": pair.second,
                    "quantity": quantity,
                    **flat(e),
                }
                for pair in profile.comparisons
                for quantity, e in _named(
                    {
                        **{f"{label} sensitivity": e for label, e in pair.sensitivity.items()},
                        "contrast": pair.contrast,
                        **{f"effect of {code}": e for code, e in pair.effects.items()},
                    }
                )
            ],
        ),
        _direct(profile.direct_requests),
        Table("concepts", [flat(score) for score in profile.concepts]),
        _beliefs(profile.selectivity),
    )


def _key(one: MethodProfile) -> Row:
    return {"subject": one.subject, "method": one.method, "setting": one.setting, "requests": one.requests}


def _named(estimates: Mapping[str, Estimate | None]) -> Iterator[tuple[str, Estimate]]:
    return ((quantity, e) for quantity, e in estimates.items() if e is not None)


def _sensitivities(one: MethodProfile) -> Iterator[Row]:
    for label, family in one.sensitivity.items():
        yield {"quantity": label, "variable": None, **flat(family)}
        for variable in family.variables:
            bounds = flat(variable, nested=False, leave=("variable",))
            yield {"quantity": label, "variable": variable.variable, **flat(variable.sensitivity), **bounds}
            if variable.without is not None:
                yield {
                    "quantity": f"{label} without",
                    "variable": variable.variable,
                    **flat(variable.without),
                }
    others: dict[str, Estimate | None] = {
        "contrast": one.contrast,
        "total": one.total,
        "fraction": one.fraction,
        **{f"{trend.family} trend": trend.slope for trend in one.dose_trends},
    }
    for quantity, estimate in _named(others):
        yield {"quantity": quantity, "variable": None, **flat(estimate)}


def _doses(one: MethodProfile) -> Iterator[Row]:
    for point in one.dose_response:
        for quantity, e in _named({**point.sensitivity, "contrast": point.contrast}):
            yield {"strength": point.strength, "position": point.position, "quantity": quantity, **flat(e)}


def _direct(reports: Sequence[DirectReport]) -> Table:
    return Table(
        "direct_requests",
        [
            {
                **flat(one, leave=("logs", "warnings", "grader", "confidence")),
                **flat(row, nested=False),
                "arm": name,
                **flat(arm),
            }
            for one in reports
            for row in one.rows
            for name in REQUEST_ARMS
            if (arm := row.arm(name)) is not None
        ],
    )


def _beliefs(matrices: Sequence[SelectivityMatrix]) -> Table:
    return Table(
        "beliefs",
        [
            {
                **{name: getattr(matrix, name) for name in ("subject", "method", "strength")},
                "intervention": row.intervention,
                **flat(shift),
            }
            for matrix in matrices
            for row in matrix.rows
            for shift in row.shifts
        ],
    )


def convergence_tables(report: Convergence) -> tuple[Table, ...]:
    """The numbers of every part of a convergence report."""
    methods = [(model, method) for model in report.models for method in model.methods]
    vectors = [(one, vector) for one in report.steering for vector in one.vectors]
    logs = ("logs",)
    return (
        Table("statements", [{"subject": m.subject, **flat(m.statement)} for m in report.models]),
        Table(
            "methods",
            [
                {"subject": model.subject, **flat(method, nested=False, leave=logs), "quantity": q, **flat(e)}
                for model, method in methods
                for q, e in _named(
                    {
                        **method.sensitivity,
                        "difference": method.contrast,
                        "untouched gap": method.reference_gap,
                    }
                )
            ],
        ),
        Table(
            "gaps",
            [
                {"subject": model.subject, "method": method.method, **flat(row)}
                for model, method in methods
                for row in method.gaps
            ],
        ),
        Table(
            "method_pairs",
            [
                {
                    "subject": model.subject,
                    **flat(pair, nested=False),
                    "quantity": q,
                    **(flat(e) if e else {}),
                }
                for model in report.models
                for pair in model.pairs
                for q, e in [*pair.sensitivity.items(), ("difference", pair.contrast)]
            ],
        ),
        Table(
            "calibration",
            [{"subject": one.subject, **flat(p)} for one in report.calibrations for p in one.points],
        ),
        Table("calibration_slopes", [flat(one, leave=logs) for one in report.calibrations]),
        Table("vectors", [{"subject": one.subject, **flat(vector)} for one, vector in vectors]),
        Table(
            "steered",
            [
                *(
                    {
                        "subject": one.subject,
                        "concept": vector.concept,
                        "digest": vector.digest,
                        **flat(point),
                    }
                    for one, vector in vectors
                    for point in vector.points
                ),
                *(
                    {"subject": one.subject, "concept": "random", **flat(random)}
                    for one in report.steering
                    for random in one.random
                ),
            ],
        ),
        Table("screening", [flat(row, leave=logs) for row in report.screening]),
        Table("screened_groups", [flat(group) for group in report.screened_groups]),
        Table("ablations", [flat(row, leave=logs) for row in report.ablations]),
        Table(
            "doses",
            [
                {
                    **{"subject": curve.subject, "method": curve.method, "strength": point.strength},
                    **{"position": point.position, "family": label},
                    **flat(e),
                }
                for curve in report.doses
                for point in curve.points
                for label, e in point.sensitivity.items()
            ],
        ),
        Table(
            "checkpoints",
            [
                {**flat(one, nested=False, leave=logs), **flat(claim)}
                for one in report.checkpoints
                for claim in one.claims
            ],
        ),
        _direct(report.direct),
        _beliefs(report.selectivity),
        Table(
            "figure_sources",
            [
                {"figure": figure, "log": log}
                for figure, sources in figure_sources(report).items()
                for log in sources
            ],
        ),
    )


class _Traced(Protocol):
    @property
    def logs(self) -> tuple[str, ...]: ...


def figure_sources(report: Convergence) -> dict[str, tuple[str, ...]]:
    """The logs behind every figure, by the figure's name; figures are also passed on by themselves."""

    def logs(parts: Iterable[_Traced]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(log for part in parts for log in part.logs))

    return {
        "methods": logs(method for model in report.models for method in model.methods),
        **{f"gaps-{k}": logs(model.methods) for k, model in enumerate(report.models, start=1)},
        "calibration": logs(report.calibrations),
        "coupling": logs(report.steering),
        "random-vectors": logs(one for one in report.steering if one.random),
        **{f"beliefs-{k}": report.belief_logs for k in range(1, len(report.selectivity) + 1)},
        "screening": logs(report.screening),
        "role-play": logs(report.ablations),
        "doses": logs(report.doses),
        "checkpoints": logs(report.checkpoints),
        "direct-requests": logs(report.direct),
    }


def _written(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return str(cell)
