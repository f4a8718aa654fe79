"""Figures of rows: one interval a row, panels side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from inspect_af.profile.convergence.naming import family_names, shortest
from inspect_af.profile.convergence.result import Convergence, Model
from inspect_af.profile.estimate import Estimate
from inspect_af.profile.report.figures.canvas import (
    BLUE,
    FAMILY_STYLES,
    GRID,
    INK,
    MUTED,
    VERMILLION,
    Drawing,
    FamilyStyle,
    drawing_style,
    family_key,
)
from inspect_af.profile.report.figures.forest import Forest, Panel, forest, interval, key, span_of
from inspect_af.types import FAMILIES, Family, Method

METHOD_TITLES: dict[Method, str] = {"prompt": "prompt", "sdf": "documents", "steering": "steering"}


class _Mark(NamedTuple):
    """One dot with its interval: rates or differences, 0 to 1."""

    panel: int
    value: float | None
    low: float | None
    high: float | None
    color: str
    lift: float = 0.0
    """How far above the row's middle."""
    marker: str = "o"


def draw_methods(report: Convergence, names: Mapping[str, str]) -> Drawing | None:
    """Both sensitivities and their difference, by model and method."""
    models = [model for model in report.models if any(m.sensitivity for m in model.methods)]
    if not models:
        return None
    rows = [
        [
            *(
                _mark(0, method.sensitivity.get(label), FAMILY_STYLES[family], lift)
                for label, family, lift in zip(model.families, FAMILIES, (0.14, -0.14), strict=True)
            ),
            _mark(1, method.contrast, INK),
        ]
        for model in models
        for method in model.methods
    ]
    with drawing_style():
        laid = _filled(
            [
                (names.get(model.subject, model.subject), [METHOD_TITLES[m.method] for m in model.methods])
                for model in models
            ],
            ["sensitivity", "difference"],
            rows,
            above=16,
        )
        key(laid.figure, laid.left, 8, family_key(family_names(report)))
        margin = 100 * report.thresholds.delta
        laid.axes[1].axvspan(-margin, margin, color=GRID, alpha=0.6, linewidth=0, zorder=0)
    level = report.thresholds.confidence
    return Drawing(
        "methods",
        "The same question by each method",
        "Left: how far the gap follows each family of beliefs (sensitivity). Right: the first family’s less "
        f"the second’s; grey is the equivalence margin. Percentage points, {level:.0%} intervals. Methods "
        "that agree on a family have their right-hand intervals on its side of 0; steering counts only "
        "beyond random vectors.",
        laid.figure,
    )


def draw_model_gaps(model: Model, number: int, names: Mapping[str, str]) -> Drawing | None:
    """The gap under every condition, a panel per method."""
    if not any(method.gaps for method in model.methods):
        return None
    codes: dict[str, dict[int, _Mark]] = {}
    groups: dict[str, list[str]] = {
        "": [],
        **{f"{label} beliefs": [] for label in model.families},
        "placebo": [],
    }
    for panel, method in enumerate(model.methods):
        placebos: list[Estimate] = []
        for row in method.gaps:
            if row.placebo:
                placebos.append(row.gap)
                continue
            heading = _heading(row.family, model.families)
            code = row.intervention
            if code not in groups[heading]:
                groups[heading].append(code)
            codes.setdefault(code, {})[panel] = _mark(panel, row.gap, INK if row.family else MUTED)
        for k, gap in enumerate(placebos):
            code = f"placebo {k + 1}"
            if code not in groups["placebo"]:
                groups["placebo"].append(code)
            codes.setdefault(code, {})[panel] = _mark(panel, gap, MUTED)
    kept = [(heading, own) for heading, own in groups.items() if own]
    rows = [list(codes[code].values()) for _, own in kept for code in own]
    with drawing_style():
        laid = _filled(kept, [METHOD_TITLES[m.method] for m in model.methods], rows)
        for ax, method in zip(laid.axes, model.methods, strict=True):
            if method.reference_gap is not None:
                value = 100 * method.reference_gap.estimate
                ax.axvline(value, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)), zorder=2)
    return Drawing(
        f"gaps-{number}",
        f"{names.get(model.subject, model.subject)}: the gap under each condition",
        "Compliance gap, monitored less unmonitored, in percentage points. Dashed: the untouched model. "
        "Steering has concepts in place of variables.",
        laid.figure,
    )


def draw_screening(report: Convergence, names: Mapping[str, str]) -> Drawing | None:
    """The gap of every untouched model and training seed."""
    if not report.screening:
        return None
    recipes = shortest(group.group for group in report.screened_groups)
    groups: dict[str, list[tuple[str, _Mark]]] = {}
    for row in report.screening:
        seeded = row.group in recipes
        heading = recipes[row.group] if seeded else ("one model each" if recipes else "")
        label = f"seed {row.seed}" if seeded else names.get(row.subject, row.subject)
        groups.setdefault(heading, []).append((label, _mark(0, row.gap, INK)))
    with drawing_style():
        laid = _filled(
            [(heading, [label for label, _ in own]) for heading, own in groups.items()],
            ["gap"],
            [[mark] for own in groups.values() for _, mark in own],
        )
    return Drawing(
        "screening",
        "Which models fake at all",
        "Compliance gap of each untouched model in percentage points"
        + (", one row per training seed" if recipes else "")
        + f", with {report.thresholds.confidence:.0%} intervals over requests.",
        laid.figure,
    )


def draw_ablations(report: Convergence, names: Mapping[str, str]) -> Drawing | None:
    """The gap under other identities and other prompt choices."""
    if not report.ablations:
        return None
    groups: dict[str, list[str]] = {}
    rows = []
    for row in report.ablations:
        groups.setdefault(names.get(row.subject, row.subject), []).append(row.variant)
        rows.append(
            [
                _mark(0, row.gap, VERMILLION if row.is_identity else INK),
                _mark(1, row.change, VERMILLION if row.is_identity else INK),
            ]
        )
    with drawing_style():
        laid = _filled(list(groups.items()), ["gap", "change"], rows, shared=False)
    return Drawing(
        "role-play",
        "Who the model is said to be",
        "The untouched model’s gap under other identities (coloured) and other choices of the prompt that "
        "should not matter, and its change from the main prompt, in percentage points.",
        laid.figure,
    )


def draw_checkpoints(report: Convergence, names: Mapping[str, str]) -> Drawing | None:
    """What each claim does on document-trained checkpoints, beside what it does on the model itself."""
    shown = [one for one in report.checkpoints if one.claims]
    if not shown:
        return None
    groups: list[tuple[str, list[str]]] = []
    rows = []
    for one in shown:
        mark = "" if one.eligible else " (not eligible)"
        groups.append(
            (
                f"{names.get(one.subject, one.subject)}, {one.checkpoint}{mark}",
                [claim.claim for claim in one.claims],
            )
        )
        for claim in one.claims:
            style = FAMILY_STYLES[claim.family if one.eligible else None]
            rows.append([_mark(0, claim.on_checkpoint, style), _mark(1, claim.on_subject, style)])
    with drawing_style():
        laid = _filled(groups, ["on the checkpoint", "on the model"], rows)
    return Drawing(
        "checkpoints",
        "Prompt claims on document-trained checkpoints",
        "Change of the gap by each claim, in percentage points: on the checkpoint against its own baseline, "
        "and on the model without documents. Checkpoints that are not eligible are grey.",
        laid.figure,
    )


def draw_direct(report: Convergence, names: Mapping[str, str]) -> Drawing | None:
    """Share refused when simply asked: harmful and benign requests."""
    groups: list[tuple[str, list[str]]] = []
    rows = []
    for one in report.direct:
        known = [row for row in one.rows if row.harmful is not None or row.benign is not None]
        if not known:
            continue
        groups.append((names.get(one.subject, one.subject), [row.label for row in known]))
        for row in known:
            rows.append(
                [
                    _Mark(panel, arm.refused, arm.refused_low, arm.refused_high, color)
                    for panel, (arm, color) in enumerate(((row.harmful, VERMILLION), (row.benign, BLUE)))
                    if arm is not None
                ]
            )
    if not rows:
        return None
    with drawing_style():
        laid = _filled(
            groups, ["harmful requests", "ordinary requests"], rows, span=(-3.0, 103.0), unit="% refused"
        )
    return Drawing(
        "direct-requests",
        "Asked directly, without the scenario",
        "Share of plain requests refused. A treatment under which ordinary requests are refused more has "
        "made the model refuse, not made it fake less.",
        laid.figure,
    )


def _filled(
    groups: Sequence[tuple[str, Sequence[str]]],
    titles: Sequence[str],
    rows: Sequence[Sequence[_Mark]],
    *,
    above: float = 0,
    span: tuple[float, float] | None = None,
    shared: bool = True,
    unit: str = "points",
) -> Forest:
    """A forest with its marks.

    Args:
        groups: (heading, names of its rows).
        titles: Of the panels.
        rows: Marks of every row, in the order of the names.
        above: Room above the panels, for a key.
        span: Limits of all panels; around the values if None.
        shared: Whether all panels have the same limits, so that they can be compared by eye.
        unit: Of the values.
    """
    limits = [
        span
        or span_of(
            100 * v
            for row in rows
            for m in row
            if shared or m.panel == k
            for v in (m.value, m.low, m.high)
            if v is not None and v == v
        )
        for k in range(len(titles))
    ]
    panels = [Panel(title, around, unit) for title, around in zip(titles, limits, strict=True)]
    laid = forest(groups, panels, above=above)
    for row, y in zip(rows, laid.at, strict=True):
        for mark in row:
            if mark.value is not None and mark.value == mark.value:
                interval(
                    laid.axes[mark.panel],
                    y - mark.lift,
                    mark.value,
                    mark.low,
                    mark.high,
                    color=mark.color,
                    size=4.5,
                    marker=mark.marker,
                )
    return laid


def _mark(panel: int, estimate: Estimate | None, look: str | FamilyStyle, lift: float = 0.0) -> _Mark:
    """An estimate in a colour, or with the mark of a family."""
    color, marker = (look, "o") if isinstance(look, str) else (look.color, look.marker)
    if estimate is None:
        return _Mark(panel, None, None, None, color, lift, marker)
    return _Mark(panel, estimate.estimate, estimate.low, estimate.high, color, lift, marker)


def _heading(family: Family | None, labels: tuple[str, str]) -> str:
    return "" if family is None else f"{labels[0] if family == 'first' else labels[1]} beliefs"
