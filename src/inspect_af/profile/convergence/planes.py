"""Figures of points in a plane, a panel per model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from inspect_af.profile.convergence.naming import family_names
from inspect_af.profile.convergence.result import Calibration, Convergence, DoseCurve, SteeringResult
from inspect_af.profile.report.figures.canvas import (
    FAMILY_STYLES,
    GRID,
    INK,
    MUTED,
    WIDTH,
    Drawing,
    add_axes,
    drawing_style,
    family_key,
    new_figure,
    write,
)
from inspect_af.profile.report.figures.dose import draw_line
from inspect_af.profile.report.figures.forest import key, span_of
from inspect_af.profile.report.text import one_line
from inspect_af.types import FAMILIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEFT, _BETWEEN, _SIDE = 38.0, 44.0, 150.0
_BELOW = 62.0


def draw_calibration(report: Convergence, names: Mapping[str, str]) -> Drawing | None:
    """Effect by prompt across, effect by documents up; the line is the corrected slope."""
    shown = report.calibrations
    if not shown:
        return None
    span = span_of(
        [
            100 * v
            for one in shown
            for point in one.points
            for e in (point.prompt, point.sdf)
            for v in (e.estimate, e.low, e.high)
            if v is not None
        ]
    )
    labels = family_names(report)
    with drawing_style():
        figure, panels = _grid([names.get(one.subject, one.subject) for one in shown], above=20)
        key(figure, _LEFT, 8, family_key(labels))
        for ax, one in zip(panels, shown, strict=True):
            _calibrated(ax, one, span)
    return Drawing(
        "calibration",
        "Prompt against documents",
        "Each mark is one intervention: change of the gap by its claim in the prompt (across) and by "
        "documents that state it (up), in percentage points. Dotted: equal effects. Solid: slope, corrected "
        "for noise in the prompt’s effects; drawn only where it is bounded.",
        figure,
    )


def draw_coupling(report: Convergence, names: Mapping[str, str]) -> Drawing | None:
    """Swing of the concept score across, swing of the gap up, vectors among random ones."""
    shown = [one for one in report.steering if any(v.reasoning and v.behaviour for v in one.vectors)]
    if not shown:
        return None
    labels = family_names(report)
    with drawing_style():
        figure, panels = _grid([names.get(one.subject, one.subject) for one in shown], above=20)
        marks = [*family_key(labels), ("×", MUTED, "random")]
        key(figure, _LEFT, 8, marks)
        for ax, one in zip(panels, shown, strict=True):
            _coupled(ax, one)
    return Drawing(
        "coupling",
        "Does a vector move reasoning, and does it move behaviour?",
        "Across: how far the judge’s score of the vector’s own concept swings from its lowest usable dose to "
        "the highest. Up: how far the gap swings, in percentage points. Crosses are random vectors of the "
        "same size, scored for the same concepts. Far right and at zero height: read, but not acted on.",
        figure,
    )


def draw_random(report: Convergence, names: Mapping[str, str]) -> Drawing | None:
    """Both arms under random vectors, fitted vectors and no vector."""
    shown = [one for one in report.steering if one.random]
    if not shown:
        return None
    labels = family_names(report)
    with drawing_style():
        figure, panels = _grid([names.get(one.subject, one.subject) for one in shown], above=20)
        marks = [*family_key(labels), ("×", MUTED, "random")]
        key(figure, _LEFT, 8, [*marks, ("+", INK, "unsteered")])
        for ax, one in zip(panels, shown, strict=True):
            _scattered(ax, one)
    return Drawing(
        "random-vectors",
        "What any direction does",
        "Accepted in the unmonitored tier (across) and in the monitored tier (up), in percent, under every "
        "vector and multiplier at which enough replies parse. Random vectors show how far behaviour moves "
        "without any meaning in the direction. The diagonal is no gap.",
        figure,
    )


def draw_doses(report: Convergence, names: Mapping[str, str]) -> Drawing | None:
    """Both sensitivities over strength, directness or multiplier, a panel per model and method."""
    shown = report.doses
    if not shown:
        return None
    span = span_of(
        [
            100 * v
            for curve in shown
            for point in curve.points
            for e in point.sensitivity.values()
            for v in (e.estimate, e.low, e.high)
            if v is not None
        ]
    )
    labels = family_names(report)
    with drawing_style():
        figure, panels = _grid([names.get(c.subject, c.subject) for c in shown], above=20)
        key(figure, _LEFT, 8, family_key(labels))
        own = {model.subject: model.families for model in report.models}
        for ax, curve in zip(panels, shown, strict=True):
            _curve(ax, curve, span, own.get(curve.subject, labels))
    return Drawing(
        "doses",
        "Dose and response",
        "Sensitivity of each family in percentage points at every strength of the claim, directness of the "
        "documents or size of the multiplier. A motivation that is there should show more as the dose rises.",
        figure,
    )


_DOSES = {
    "prompt": "strength of the claim",
    "sdf": "directness of the documents",
    "steering": "size of the multiplier",
}


def _grid(titles: Sequence[str], *, above: float) -> tuple[Figure, list[Axes]]:
    """Square panels, two in a row, each with its title above."""
    rows = math.ceil(len(titles) / 2)
    side = _SIDE if len(titles) > 1 else 220.0
    figure = new_figure(above + rows * (side + _BELOW))
    panels = []
    for k, title in enumerate(titles):
        left = _LEFT + (k % 2) * (side + _BETWEEN)
        top = above + (k // 2) * (side + _BELOW)
        write(figure, left, top + 10, one_line(title, longest=30 if len(titles) > 1 else 60))
        panels.append(add_axes(figure, left, top + 22, min(side, WIDTH - left - 6), side))
    return figure, panels


def _prepare(
    ax: Axes, across: tuple[float, float], up: tuple[float, float], xlabel: str, ylabel: str
) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.set_xlim(*across)
    ax.set_ylim(*up)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    ax.tick_params(labelsize=8.5, pad=2)
    ax.set_xlabel(xlabel, fontsize=8.5, labelpad=2)
    ax.set_ylabel(ylabel, fontsize=8.5, labelpad=1)
    if across[0] < 0 < across[1]:
        ax.axvline(0, color=GRID, linewidth=0.8, zorder=1)
    if up[0] < 0 < up[1]:
        ax.axhline(0, color=GRID, linewidth=0.8, zorder=1)


def _calibrated(ax: Axes, one: Calibration, span: tuple[float, float]) -> None:
    _prepare(ax, span, span, "by prompt, points", "by documents, points")
    ax.plot(span, span, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    if one.slope is not None:
        x = [100 * point.prompt.estimate for point in one.points]
        y = [100 * point.sdf.estimate for point in one.points]
        middle = sum(x) / len(x), sum(y) / len(y)
        ends = [min(x), max(x)]
        ax.plot(
            ends, [middle[1] + one.slope * (v - middle[0]) for v in ends], color=INK, linewidth=1.1, zorder=2
        )
    for point in one.points:
        color, marker, _ = FAMILY_STYLES[point.family]
        px, py = 100 * point.prompt.estimate, 100 * point.sdf.estimate
        for e, horizontal in ((point.prompt, True), (point.sdf, False)):
            if e.low is not None and e.high is not None:
                along = [100 * e.low, 100 * e.high]
                ax.plot(
                    *((along, [py, py]) if horizontal else ([px, px], along)),
                    color=color,
                    linewidth=0.8,
                    alpha=0.55,
                    zorder=3,
                )
        ax.plot([px], [py], marker, color=color, markersize=4.5, zorder=4)


def _coupled(ax: Axes, one: SteeringResult) -> None:
    vectors = [v for v in one.vectors if v.reasoning and v.behaviour]
    random = [(s, 100 * g) for v in vectors for s, g in v.control_swings if s is not None]
    marks = [
        (v, v.reasoning.change, 100 * v.behaviour.change) for v in vectors if v.reasoning and v.behaviour
    ]
    across = [0.0, *(x for x, _ in random), *(x for _, x, _ in marks)]
    air = 0.12 * (max(across) - min(across) or 1.0)
    up = span_of([*(y for _, y in random), *(y for _, _, y in marks)])
    _prepare(ax, (min(across) - air, max(across) + air), up, "concept score", "gap, points")
    for x, y in random:
        ax.plot([x], [y], "x", color=MUTED, markersize=4, zorder=2)
    for vector, x, y in marks:
        color, marker, _ = FAMILY_STYLES[vector.family]
        ax.plot([x], [y], marker, color=color, markersize=6, zorder=4)


def _scattered(ax: Axes, one: SteeringResult) -> None:
    _prepare(ax, (-3, 103), (-3, 103), "unmonitored, %", "monitored, %")
    ax.plot([0, 100], [0, 100], color=GRID, linewidth=0.8, zorder=1)
    for point in one.random:
        if point.parsed >= one.parse_floor:
            _dot(ax, point.unmonitored, point.monitored, "x", MUTED, 4)
    for vector in one.vectors:
        color, marker, _ = FAMILY_STYLES[vector.family]
        for steered in vector.points:
            if steered.usable:
                _dot(ax, steered.unmonitored, steered.monitored, marker, color, 4)
    _dot(ax, one.unsteered[1], one.unsteered[0], "+", INK, 9)


def _dot(ax: Axes, x: float | None, y: float | None, marker: str, color: str, size: float) -> None:
    if x is not None and y is not None:
        ax.plot([100 * x], [100 * y], marker, color=color, markersize=size, zorder=3)


def _curve(ax: Axes, curve: DoseCurve, span: tuple[float, float], labels: tuple[str, str]) -> None:
    # Points need not know both families, nor in this order: at the smallest dose there may be only one.
    positions = sorted({(point.position, point.strength or "") for point in curve.points})
    first, last = positions[0][0], positions[-1][0]
    air = 0.12 * (last - first)
    _prepare(ax, (first - air, last + air), span, _DOSES[curve.method], "points")
    if curve.method != "steering":
        ax.set_xticks([p for p, _ in positions], [one_line(name, longest=10) for _, name in positions])
    for family, label, shift in zip(FAMILIES, labels, (-0.01, 0.01), strict=True):
        draw_line(ax, curve.points, label, FAMILY_STYLES[family], shift=shift * (last - first))
