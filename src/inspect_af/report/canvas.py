"""What all figures share: size, colours, type, rows and panels, and how they become SVG and PNG.

Lengths are in the units of the SVG's view box. A figure is drawn once, in the light palette; for a page its
colours are replaced by CSS variables, so that it follows the reader's light or dark mode. matplotlib (the
extra `figures`) is imported when the first figure is drawn.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from inspect_af.errors import MissingExtraError
from inspect_af.format import WithInterval, one_line
from inspect_af.types import FAMILIES, Family

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 396.0
"""Of every figure: narrow, so that its type is legible on a phone."""
ROW = 16.5
"""Height of a row of a forest or a matrix."""

INK, MUTED, GRID, PAPER = "#1b1f24", "#656d78", "#dfe3e8", "#fffffe"
# Okabe and Ito's palette, which stays distinct under the common forms of colour blindness.
BLUE, VERMILLION, GREEN = "#0072b2", "#d55e00", "#009e73"
PURPLE, ORANGE, SKY = "#cc79a7", "#e69f00", "#56b4e9"
VARIABLES = {
    **{INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper", BLUE: "--blue"},
    **{VERMILLION: "--vermillion", GREEN: "--green", PURPLE: "--purple", ORANGE: "--orange", SKY: "--sky"},
}
"""CSS variable that stands for each colour on a page."""

_TOP, _BOTTOM, _BETWEEN = 30.0, 32.0, 11.0
_CHARACTER, _HEADING_CHARACTER = 5.75, 5.0  # mean widths at the labels' sizes
_LONGEST_LABEL = 20
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "inspect_af",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine measures text alike
    "font.size": 9.5,
    "text.parse_math": False,  # names may hold dollar signs
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.unicode_minus": True,
    "axes.facecolor": "none",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.size": 0,
    "figure.facecolor": "none",
    "figure.dpi": 72,
    "lines.solid_capstyle": "round",
}
_EXPORTED: dict[str, Any] = {"facecolor": PAPER, "bbox_inches": "tight", "pad_inches": 0.15}
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


class FamilyStyle(NamedTuple):
    """How one family of beliefs looks in every figure."""

    color: str
    marker: str
    """matplotlib's code."""
    glyph: str
    """The same mark in a key."""


FAMILY_STYLES: dict[Family | None, FamilyStyle] = {
    "first": FamilyStyle(GREEN, "o", "●"),
    "second": FamilyStyle(PURPLE, "s", "■"),
    None: FamilyStyle(MUTED, "D", "◆"),
}
"""By the family, whatever the order in which a figure meets them; None is a placebo."""


class Drawing(NamedTuple):
    """One figure, drawn."""

    name: str
    """File name without suffix."""
    title: str
    caption: str
    """What to read off."""
    figure: Figure


class Panel(NamedTuple):
    """One column of a forest; all columns are equally wide."""

    title: str
    span: tuple[float, float]
    """Limits of the horizontal axis, in percent or percentage points."""
    unit: str = "points"


class Forest(NamedTuple):
    """Rows with their names at the left, and panels that share the rows."""

    figure: Figure
    axes: tuple[Axes, ...]
    at: tuple[float, ...]
    """Vertical position of every row that is not a heading, in the order given."""
    left: float
    """Where the first panel begins."""
    width: float
    """Of each panel."""


class Mark(NamedTuple):
    """One dot with its interval in a row of a forest: rates or differences, 0 to 1; None is not drawn."""

    panel: int
    value: float | None
    low: float | None
    high: float | None
    color: str
    lift: float = 0.0
    """How far above the row's middle."""
    marker: str = "o"


def mark(panel: int, found: WithInterval | None, look: str | FamilyStyle, lift: float = 0.0) -> Mark:
    """An estimate in a colour, or with the mark of a family."""
    color, marker = (look, "o") if isinstance(look, str) else (look.color, look.marker)
    if found is None:
        return Mark(panel, None, None, None, color, lift, marker)
    return Mark(panel, found.estimate, found.low, found.high, color, lift, marker)


@contextmanager
def drawing_style() -> Iterator[None]:
    """Matplotlib's own defaults with this package's settings, whatever the user's configuration says.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib import style
    except ImportError as error:
        raise MissingExtraError(
            "figures need matplotlib, which is not installed: pip install 'inspect-af[figures]'"
        ) from error
    with style.context(["default", _SETTINGS]), warnings.catch_warnings():
        # Names may be in scripts that the measuring font lacks; browsers have others.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        yield


def new_figure(height: float) -> Figure:
    """An empty figure of the common width."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH / 72, height / 72))


def add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place measured from the figure's upper left corner."""
    total = figure.get_figheight() * 72
    return figure.add_axes((left / WIDTH, 1 - (top + height) / total, width / WIDTH, height / total))


def write(
    figure: Figure,
    left: float,
    top: float,
    text: str,
    *,
    color: str = INK,
    size: float = 9.5,
    align: str = "left",
) -> None:
    """Text at a place measured from the figure's upper left corner, centred vertically there."""
    y = 1 - top / (figure.get_figheight() * 72)
    figure.text(left / WIDTH, y, text, color=color, fontsize=size, ha=align, va="center_baseline")


def key(figure: Figure, left: float, top: float, entries: Iterable[tuple[str, str, str]]) -> None:
    """A line of (mark, colour, name); the names are in ink, so that pale colours stay legible."""
    for glyph, color, name in entries:
        label = one_line(name, longest=40)
        write(figure, left, top, glyph, color=color)
        write(figure, left + 11, top, label, size=9)
        left += 24 + 5.6 * len(label)


def family_key(labels: Sequence[str]) -> list[tuple[str, str, str]]:
    """The entries of a key (mark, colour, name) for the labels of the first and the second family."""
    styles = [FAMILY_STYLES[family] for family in FAMILIES]
    return [(style.glyph, style.color, label) for style, label in zip(styles, labels, strict=True)]


def span_of(values: Iterable[float | None], *, least: float = 10.0) -> tuple[float, float]:
    """Limits around values in percentage points that include zero and some air, at least `least` wide."""
    known = [value for value in values if value is not None and value == value]
    low, high = min([0.0, *known]), max([0.0, *known])
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    air = 0.06 * (high - low)
    return low - air, high + air


def in_points(*found: WithInterval | None) -> list[float]:
    """Estimates and their bounds in percentage points, where they are known."""
    return [100 * v for e in found if e for v in (e.estimate, e.low, e.high) if v is not None]


def numbered(ax: Axes, *, x: int | None = None, y: int | None = None, size: float = 8.5) -> None:
    """Round numbers with a true minus along the axes: at most so many of them."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for axis, n in ((ax.xaxis, x), (ax.yaxis, y)):
        if n is not None:
            axis.set_major_locator(MaxNLocator(nbins=n, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    ax.tick_params(labelsize=size, pad=2)


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
        panels: From left to right; they fill the width that the names leave.
        above: Room above the panels, for a key.
        right: Room at the right, for numbers.
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
        ax.set_xlim(*panel.span)
        ax.set_ylim(len(lines) - 0.5, -0.5)
        ax.set_yticks([])
        numbered(ax, x=4 if width > 100 else 2)
        ax.set_xlabel(panel.unit, fontsize=8.5, labelpad=2)
        ax.hlines(at, *panel.span, color=GRID, linewidth=0.5, zorder=1)
        if panel.span[0] < 0 < panel.span[1]:
            ax.axvline(0, color=MUTED, linewidth=0.8, zorder=2)
        write(figure, start, above + 12, panel.title)
        axes.append(ax)
    return Forest(figure, tuple(axes), tuple(at), left, width)


def forest_of(
    groups: Sequence[tuple[str, Sequence[str]]],
    titles: Sequence[str],
    rows: Sequence[Sequence[Mark]],
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

    def around(panel: int) -> tuple[float, float]:
        return span or span_of(
            100 * v
            for row in rows
            for m in row
            if shared or m.panel == panel
            for v in (m.value, m.low, m.high)
            if v is not None
        )

    panels = [Panel(title, around(k), unit) for k, title in enumerate(titles)]
    laid = forest(groups, panels, above=above)
    for row, y in zip(rows, laid.at, strict=True):
        for one in row:
            draw_mark(laid.axes[one.panel], y, one)
    return laid


def draw_mark(ax: Axes, y: float, one: Mark, *, size: float = 4.5) -> None:
    """A dot with its interval; what is not known is not drawn."""
    if one.value is None or math.isnan(one.value):
        return
    if one.low is not None and one.high is not None:
        ax.plot([100 * one.low, 100 * one.high], [y - one.lift] * 2, color=one.color, linewidth=1.6, zorder=3)
    ax.plot([100 * one.value], [y - one.lift], one.marker, color=one.color, markersize=size, zorder=4)


def squares(
    titles: Sequence[str],
    *,
    above: float,
    left: float = 38.0,
    side: float = 150.0,
    height: float | None = None,
) -> tuple[Figure, list[Axes]]:
    """Panels, two in a row, each with its title above; a single one is larger.

    Args:
        titles: Of the panels.
        above: Room above them, for a key.
        left: Room at the left of each row, for numbers.
        side: Width of each of several panels.
        height: Of each panel; as high as wide if None.
    """
    alone = len(titles) == 1
    width = side if not alone else (220.0 if height is None else WIDTH - left - 20)
    tall = height or width
    cell = tall + 62
    figure = new_figure(above + math.ceil(len(titles) / 2) * cell)
    panels = []
    for k, title in enumerate(titles):
        x, top = left + (k % 2) * (width + 44), above + (k // 2) * cell
        write(figure, x, top + 10, one_line(title, longest=60 if alone else 30))
        panels.append(add_axes(figure, x, top + 22, min(width, WIDTH - x - 6), tall))
    return figure, panels


def to_svg(drawing: Drawing) -> str:
    """A stand-alone SVG file in the light palette, with text as text."""
    return _anonymous(_saved(drawing, **_EXPORTED))


def to_png(drawing: Drawing) -> bytes:
    """A PNG in the light palette, about 1,300 pixels wide."""
    target = io.BytesIO()
    _clean(drawing.figure)
    with drawing_style():
        drawing.figure.savefig(target, format="png", dpi=216, metadata={"Software": None}, **_EXPORTED)
    return target.getvalue()


def to_inline_svg(drawing: Drawing) -> str:
    """An `<svg>` element for a page: CSS variables for colours, no background, ids of its own.

    The text in it is escaped by matplotlib's writer.
    """
    svg = _saved(drawing, transparent=True)
    svg = _anonymous(svg[svg.index("<svg") :])
    # Matplotlib's style sheet would apply to the whole page.
    svg = re.sub(r"<style type=\"text/css\">.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{drawing.name}-", svg)
    # matplotlib writes the font's family by itself, and before 3.10 in the shorthand `font`
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", svg)
    svg = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 var(--sans)", svg)
    for color, variable in VARIABLES.items():
        svg = svg.replace(f": {color}", f": var({variable})")
    return svg


def _saved(drawing: Drawing, **options: Any) -> str:
    target = io.StringIO()
    _clean(drawing.figure)
    with drawing_style():
        drawing.figure.savefig(target, format="svg", metadata=_NO_METADATA, **options)
    return target.getvalue()


def _clean(figure: Figure) -> None:
    """No text of a figure holds what would break an SVG file or reorder it, wherever it came from."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        shown = one_line(text.get_text(), longest=200)
        if shown != text.get_text().strip():
            text.set_text(shown)


def _anonymous(svg: str) -> str:
    """Without what differs between two runs or versions, and without the address of a DTD."""
    svg = re.sub(r"<!DOCTYPE[^>]*>\s*", "", svg)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
