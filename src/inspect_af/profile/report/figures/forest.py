"""A figure of rows: names at the left, one or more panels that share the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from inspect_af.profile.report.figures.canvas import (
    GRID,
    MUTED,
    WIDTH,
    add_axes,
    new_figure,
    write,
)
from inspect_af.profile.report.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 16.5
_TOP, _BOTTOM = 30.0, 32.0
_BETWEEN = 11.0
_CHARACTER = 5.75  # mean width at the labels' size
_HEADING_CHARACTER = 5.0
_LONGEST_LABEL = 20


class Panel(NamedTuple):
    """One column of a forest figure; all columns are equally wide."""

    title: str
    span: tuple[float, float]
    """Limits of the horizontal axis, in percent or percentage points."""
    unit: str = "points"


class Forest(NamedTuple):
    """An empty forest, to be filled row by row."""

    figure: Figure
    axes: tuple[Axes, ...]
    at: tuple[float, ...]
    """Vertical position of every row that is not a heading, in the order given."""
    left: float
    """Where the first panel begins."""
    width: float
    """Of each panel."""


def forest(
    groups: Sequence[tuple[str, Sequence[str]]],
    panels: Sequence[Panel],
    *,
    above: float = 0,
    right: float = 4,
) -> Forest:
    """Lays out rows and panels.

    Args:
        groups: (heading, names of its rows); an empty heading takes no room.
        panels: from left to right; they fill the width that the names leave.
        above: room above the panels, for a key.
        right: room at the right, for numbers.
    """
    lines: list[tuple[str, bool]] = []
    at: list[float] = []
    for title, names in groups:
        if title:
            lines.append((title, True))
        for name in names:
            at.append(float(len(lines)))
            lines.append((one_line(name, longest=_LONGEST_LABEL), False))
    body = max(len(lines), 1) * ROW
    # A heading may run into the first panel when it is long, since no data is drawn beside it.
    names_width = _CHARACTER * max((len(text) for text, heading in lines if not heading), default=0)
    short = [len(text) for text, heading in lines if heading and len(text) <= _LONGEST_LABEL]
    left = max(names_width, _HEADING_CHARACTER * max(short, default=0)) + 12
    width = (WIDTH - left - right - _BETWEEN * (len(panels) - 1)) / len(panels)
    figure = new_figure(above + _TOP + body + _BOTTOM)
    for k, (text, heading) in enumerate(lines):
        middle = above + _TOP + (k + 0.5) * ROW
        if heading:
            write(figure, 0, middle + 1, one_line(text, longest=64), color=MUTED, size=8.5)
        else:
            write(figure, 0, middle, text)
    axes = []
    for k, panel in enumerate(panels):
        start = left + k * (width + _BETWEEN)
        ax = add_axes(figure, start, above + _TOP, width, body)
        _prepare(ax, panel, width, len(lines), at)
        write(figure, start, above + 12, panel.title)
        axes.append(ax)
    return Forest(figure, tuple(axes), tuple(at), left, width)


def key(figure: Figure, left: float, top: float, entries: Iterable[tuple[str, str, str]]) -> None:
    """A line of (mark, colour, name); the names are in ink, so that pale colours stay legible."""
    for mark, color, name in entries:
        write(figure, left, top, mark, color=color)
        write(figure, left + 11, top, name, size=9)
        left += 24 + 5.6 * len(name)


def span_of(values: Iterable[float | None], *, least: float = 10.0) -> tuple[float, float]:
    """Limits around values in percentage points that include zero and some air, at least `least` wide."""
    known = [value for value in values if value is not None and value == value]
    low, high = min([0.0, *known]), max([0.0, *known])
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    air = 0.06 * (high - low)
    return low - air, high + air


def interval(
    ax: Axes,
    y: float,
    estimate: float | None,
    low: float | None,
    high: float | None,
    *,
    color: str,
    size: float = 5.0,
    marker: str = "o",
) -> None:
    """A dot with its interval, from values of -1 to 1; what is not known is not drawn."""
    if low is not None and high is not None:
        ax.plot([100 * low, 100 * high], [y, y], color=color, linewidth=1.6, zorder=3)
    if estimate is not None:
        ax.plot([100 * estimate], [y], marker, color=color, markersize=size, zorder=4)


def _prepare(ax: Axes, panel: Panel, width: float, n_lines: int, at: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.set_xlim(*panel.span)
    ax.set_ylim(n_lines - 0.5, -0.5)
    ax.set_yticks([])
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4 if width > 100 else 2, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    ax.tick_params(axis="x", labelsize=8.5, pad=2)
    ax.set_xlabel(panel.unit, fontsize=8.5, labelpad=2)
    ax.hlines(at, *panel.span, color=GRID, linewidth=0.5, zorder=1)
    if panel.span[0] < 0 < panel.span[1]:
        ax.axvline(0, color=MUTED, linewidth=0.8, zorder=2)
