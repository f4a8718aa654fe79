"""Dose-response: each family's sensitivity as the interventions get stronger."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from inspect_af.profile.report.figures.canvas import (
    FAMILY_STYLES,
    MUTED,
    WIDTH,
    Drawing,
    FamilyStyle,
    add_axes,
    drawing_style,
    family_key,
    new_figure,
    write,
)
from inspect_af.profile.report.figures.forest import key, span_of
from inspect_af.profile.report.grouping import FamilyLabels, family_labels, short_profile_title
from inspect_af.profile.result import DosePoint, MethodProfile, Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL, _HEIGHT, _LEFT, _BETWEEN = 160.0, 120.0, 34.0, 38.0
_CELL = _HEIGHT + 66


def draw_dose(profile: Profile) -> Drawing | None:
    """A panel per profile that was run at two strengths or multipliers, or more; else None."""
    shown = [one for one in profile.profiles if len({p.position for p in one.dose_response}) > 1]
    if not shown:
        return None
    labels = family_labels(profile)
    span = span_of([v for one in shown for v in _values(one)])
    with drawing_style():
        figure = new_figure(22 + _CELL * math.ceil(len(shown) / 2))
        key(figure, _LEFT, 8, family_key(labels))
        for k, one in enumerate(shown):
            left = _LEFT + (k % 2) * (_PANEL + _BETWEEN)
            top = 22 + (k // 2) * _CELL
            write(figure, left, top + 10, short_profile_title(one, profile, longest=30))
            width = _PANEL if len(shown) > 1 else WIDTH - _LEFT - 20
            ax = add_axes(figure, left, top + 22, width, _HEIGHT)
            _prepare(ax, one, span)
            _lines(ax, one, labels)
    return Drawing(
        "dose-response",
        "Dose and response",
        "Sensitivity of each family at every strength or multiplier, in percentage points with "
        f"{profile.thresholds.confidence:.0%} intervals. A motivation that is really there should show more "
        "clearly as the dose rises, until replies fall apart.",
        figure,
    )


def _values(one: MethodProfile) -> list[float]:
    return [
        100 * v
        for point in one.dose_response
        for e in point.sensitivity.values()
        for v in (e.estimate, e.low, e.high)
        if v is not None
    ]


def _prepare(ax: Axes, one: MethodProfile, span: tuple[float, float]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    positions = sorted({(point.position, point.strength or "") for point in one.dose_response})
    first, last = positions[0][0], positions[-1][0]
    air = 0.1 * (last - first)
    ax.set_xlim(first - air, last + air)
    ax.set_ylim(*span)
    ax.axhline(0, color=MUTED, linewidth=0.8)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    ax.tick_params(labelsize=8.5, pad=2)
    if one.method == "steering":
        ax.set_xlabel("size of the multiplier", fontsize=8.5, labelpad=2)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
    else:
        ax.set_xticks([p for p, _ in positions], [name for _, name in positions])
        axis = "strength of the claim" if one.method == "prompt" else "directness of the documents"
        ax.set_xlabel(axis, fontsize=8.5, labelpad=2)
    ax.set_ylabel("points", fontsize=8.5, labelpad=1)


def _lines(ax: Axes, one: MethodProfile, labels: FamilyLabels) -> None:
    low, high = ax.get_xlim()
    air = 0.006 * (high - low)
    draw_line(ax, one.dose_response, labels.first, FAMILY_STYLES["first"], shift=-air)
    draw_line(ax, one.dose_response, labels.second, FAMILY_STYLES["second"], shift=air)


def draw_line(ax: Axes, points: Sequence[DosePoint], label: str, style: FamilyStyle, *, shift: float) -> None:
    """One family's sensitivity at every dose, with intervals; what has no estimate is left out.

    Args:
        ax: Where to draw, in percentage points.
        points: In the order in which they are joined.
        label: The family.
        style: Of the family.
        shift: To the right, in units of the dose axis, so that two families do not cover one another.
    """
    found = [
        (point.position + shift, point.sensitivity[label])
        for point in points
        if label in point.sensitivity and not math.isnan(point.sensitivity[label].estimate)
    ]
    ax.plot(
        [x for x, _ in found],
        [100 * e.estimate for _, e in found],
        color=style.color,
        marker=style.marker,
        markersize=4.5,
        linewidth=1.2,
    )
    for x, e in found:
        if e.low is not None and e.high is not None:
            ax.plot([x, x], [100 * e.low, 100 * e.high], color=style.color, linewidth=1.4)
