"""A sweep as figures, and as one HTML page that needs no network, no script and no other file."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from inspect_af.cli._steering_page import page
from inspect_af.errors import MissingExtraError
from inspect_af.profile.report.figures.canvas import (
    BLUE,
    GRID,
    MUTED,
    VERMILLION,
    Drawing,
    add_axes,
    drawing_style,
    new_figure,
    to_inline_svg,
    write,
)
from inspect_af.profile.report.markup import (
    Html,
    bullets,
    element,
    escaped,
    folded,
    joined,
    name,
    paragraph,
    section,
    table,
)
from inspect_af.profile.report.text import one_line
from inspect_af.steering.sweep import SweepPoint, SweepReport, VectorSweep, band_texts, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL, _HEIGHT, _LEFT, _BETWEEN = 154.0, 96.0, 40.0, 46.0
_CELL = _HEIGHT + 58


def draw_sweep(sweep: VectorSweep, report: SweepReport, number: int) -> Drawing:
    """A panel for every value over the dose: the vector's line, and the band of the controls.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    names = list(dict.fromkeys(label for point in sweep.points for label in point.bands))
    with drawing_style():
        figure = new_figure(30 + _CELL * -(-len(names) // 2))
        write(figure, _LEFT, 10, one_line(f"{sweep.concept}, layers {sweep.layers}", longest=60))
        for k, label in enumerate(names):
            left = _LEFT + (k % 2) * (_PANEL + _BETWEEN)
            top = 28 + (k // 2) * _CELL
            write(figure, left, top + 6, one_line(label, longest=34), color=MUTED, size=8.5)
            _panel(add_axes(figure, left, top + 16, _PANEL, _HEIGHT), label, sweep, report)
    return Drawing(
        f"sweep-{number}",
        f"Dose and response: {sweep.concept}, layers {sweep.layers}",
        "Line: the vector; hollow marks lie outside the usable range, orange ones beyond all controls. Grey: "
        "the random controls at the same dose, all of them and (darker) their central 95 %. Dotted: no "
        "steering. A vector that does something of its own leaves the grey band.",
        figure,
    )


def render_sweep(report: SweepReport) -> str:
    """The page as text. Without matplotlib it has its tables, and says what to install for its figures."""
    parts = []
    for at, sweep in enumerate(report.vectors, start=1):
        heading = f"{sweep.concept}, layers {sweep.layers}"
        parts.append(section(f"vector-{at}", heading, *_vector_section(sweep, report, at)))
    notes = bullets(escaped(note) for note in report.notes)
    parts.append(section("notes", "What to keep in mind", notes, paragraph(_HOW)))
    base = report.unsteered
    facts = joined(
        [
            escaped("requests "),
            name(report.requests),
            escaped(f"; {report.n_logs} logs; unsteered, {base.replies} replies: "),
            escaped(", ".join(f"{label} {shown(label, value)}" for label, value in base.values.items())),
        ]
    )
    return page(f"Sweep of {report.model}", "Steering sweep", name(report.model), facts, joined(parts, "\n"))


_HOW = (
    "The usable range was fixed by the share of replies that parse, before any effect was looked at. Random "
    "controls have the vector's norm at every layer, so the same dose; they are compared where their replies "
    "parse as well. p is the rank (1 + controls whose change is as large, in either direction) / (n + 1). "
    "The slope over all usable doses is the one test of a curve."
)


def _vector_section(sweep: VectorSweep, report: SweepReport, number: int) -> list[Html]:
    parts = [paragraph(sweep.usable.text(), of="facts")]
    try:
        drawing = draw_sweep(sweep, report, number)
    except MissingExtraError as error:
        parts.append(paragraph(f"No figure: {error}", of="banner"))
    else:
        label = html.escape(one_line(drawing.title), quote=True)
        svg = to_inline_svg(drawing).replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
        parts.append(element("figure", Html(svg), element("figcaption", escaped(drawing.caption))))
    for label in dict.fromkeys(label for point in sweep.points for label in point.bands):
        rows = [_row(label, point) for point in sweep.points if label in point.bands]
        if label in sweep.slopes:
            texts = band_texts(label, sweep.slopes[label], slope=True)
            rows.append([escaped("slope per dose"), escaped(""), *map(escaped, texts)])
        header = ["multiplier", "dose", "value", "change", "controls", "n", "p"]
        parts.append(folded(escaped(f"Figures: {label}"), table(header, rows, caption=label)))
    return parts


def _row(label: str, point: SweepPoint) -> list[Html]:
    mark = "" if point.usable else " (not usable)"
    value, change, span, n, p = band_texts(label, point.bands[label])
    left_out = f" ({point.n_controls_left_out} below the floor)" if point.n_controls_left_out else ""
    dose = "" if point.dose is None else f"{point.dose:+.3g}"
    return [
        escaped(text) for text in (f"{point.multiplier:+g}{mark}", dose, value, change, span, n + left_out, p)
    ]


def _panel(ax: Axes, label: str, sweep: VectorSweep, report: SweepReport) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    scale = 1.0 if label.startswith("concept: ") else 100.0
    by_dose = all(point.dose is not None for point in sweep.points)
    base = report.unsteered.values.get(label)

    def position(point: SweepPoint) -> float:
        return point.dose if by_dose and point.dose is not None else point.multiplier

    known = [(position(point), point, point.bands[label]) for point in sweep.points if label in point.bands]
    banded = [
        (x, band.low, band.central_low, band.central_high, band.high)
        for x, _, band in known
        if band.low is not None
    ]
    if base is not None and banded:
        banded = sorted([*banded, (0.0, base, base, base, base)])
        x, low, central_low, central_high, high = (
            [scale * v if k else v for v in axis] for k, axis in enumerate(zip(*banded, strict=True))
        )
        ax.fill_between(x, low, high, color=GRID, linewidth=0)
        ax.fill_between(x, central_low, central_high, color=MUTED, alpha=0.35, linewidth=0)
    if base is not None:
        ax.axhline(scale * base, color=MUTED, linewidth=0.8, linestyle=":")
    line = [(at, band.value) for at, _, band in known] + ([] if base is None else [(0.0, base)])
    xs, ys = zip(*sorted(line), strict=True)
    ax.plot(xs, [scale * value for value in ys], color=BLUE, linewidth=1.2)
    for at, point, band in known:
        outside = band.low is not None and band.high is not None and not band.low <= band.value <= band.high
        color = VERMILLION if outside else BLUE
        face = color if point.usable else "none"
        ax.plot([at], [scale * band.value], marker="o", markersize=4, color=color, markerfacecolor=face)
    if label == "parse rate":
        ax.axhline(100 * report.floor, color=VERMILLION, linewidth=0.8, linestyle="--")
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
    ax.tick_params(labelsize=8, pad=2)
    ax.set_xlabel("dose" if by_dose else "multiplier", fontsize=8, labelpad=1)
    ax.set_ylabel(
        "score" if scale == 1 else "percent" if label != "gap" else "points", fontsize=8, labelpad=1
    )
