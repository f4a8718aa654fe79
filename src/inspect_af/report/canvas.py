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

from inspect_af.config import require
from inspect_af.format import WithInterval, one_line
from inspect_af.report.naming import report_words
from inspect_af.types import FAMILIES, Family

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 396.0  # Of every figure: narrow, so that its type is legible on a phone
ROW = 16.5  # Height of a row of a forest

INK, MUTED, GRID, PAPER = "#1b1f24", "#656d78", "#dfe3e8", "#fffffe"
# Okabe and Ito's palette, which stays distinct under the common forms of colour blindness.
BLUE, VERMILLION, GREEN = "#0072b2", "#d55e00", "#009e73"
PURPLE = "#cc79a7"
VARIABLES = {
    **{INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper", BLUE: "--blue"},
    **{VERMILLION: "--vermillion", GREEN: "--green", PURPLE: "--purple"},
}
"""CSS variable that stands for each colour on a page."""

DASHES = (0, (3, 2))
CLEAR = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.2}
"""What lies behind text that is written over lines."""

_TOP, _BOTTOM, _BETWEEN = 30.0, 32.0, 11.0
_CHARACTER, _HEADING_CHARACTER = 5.75, 5.0  # mean widths at the labels' sizes
_LONGEST_LABEL = 20
_SETTINGS = {
    **{"svg.fonttype": "none", "svg.hashsalt": "inspect_af"},
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine measures text alike
    **{"font.size": 9.5, "text.color": INK},
    "text.parse_math": False,  # names may hold dollar signs
    **{"axes.edgecolor": MUTED, "axes.labelcolor": MUTED, "axes.linewidth": 0.6, "axes.facecolor": "none"},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False},
    **{"xtick.color": MUTED, "ytick.color": MUTED, "xtick.major.size": 2.5, "xtick.major.width": 0.6},
    **{"ytick.major.size": 0, "figure.facecolor": "none", "figure.dpi": 72, "lines.solid_capstyle": "round"},
}
_EXPORTED: dict[str, Any] = {"facecolor": PAPER, "bbox_inches": "tight", "pad_inches": 0.15}


class FamilyStyle(NamedTuple):
    """How one family of beliefs looks in every figure: `glyph` is its marker in a key."""

    color: str
    marker: str
    glyph: str


FAMILY_STYLES: dict[Family | None, FamilyStyle] = {
    "first": FamilyStyle(GREEN, "o", "●"),
    "second": FamilyStyle(PURPLE, "s", "■"),
    None: FamilyStyle(MUTED, "D", "◆"),
}
"""By the family, whatever the order in which a figure meets them; None is a placebo."""


class Drawing(NamedTuple):
    """One figure, drawn: `name` is its file's without suffix, `caption` says what to read off."""

    name: str
    title: str
    caption: str
    figure: Figure


class Panel(NamedTuple):
    """One column of a forest; without a span its axis holds the values of all such panels."""

    title: str
    unit: str = "points"
    span: tuple[float, float] | None = None


class Mark(NamedTuple):
    """A dot and a bar between two bounds in one panel of a row, on the scale 0 to 1; None is not drawn."""

    panel: int
    value: float | None
    low: float | None
    high: float | None
    color: str
    marker: str = "o"
    lift: float = 0.0  # How far above the row's middle
    size: float = 4.5
    width: float = 1.6


class Forest(NamedTuple):
    """Rows with their names at the left, and panels that share the rows."""

    figure: Figure
    axes: list[Axes]
    at: list[float]  # Vertical position of every row, in the order given
    left: float  # Where the first panel begins
    width: float  # Of each panel


def mark(panel: int, found: WithInterval | None, look: str | FamilyStyle, lift: float = 0.0) -> Mark:
    """An estimate in a colour, or with the mark of a family."""
    color, marker = (look, "o") if isinstance(look, str) else (look.color, look.marker)
    value, low, high = (None, None, None) if found is None else (found.estimate, found.low, found.high)
    return Mark(panel, value, low, high, color, marker, lift)


def drawn(name: str, figure: Figure, *, of: str = "", **words: Any) -> Drawing:
    """A figure with the title and caption that `words.toml` has under its file's name, or under `of`."""
    text = report_words()[of or name]
    return Drawing(name, text["title"].format(**words), text["caption"].format(**words), figure)


@contextmanager
def drawing_style() -> Iterator[None]:
    """Matplotlib's own defaults with this package's settings, whatever the user's configuration says.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with require("figures", "figures"):
        from matplotlib import style
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


def write(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:
    """Text at a place measured from the figure's upper left corner, centred vertically there."""
    y = 1 - top / (figure.get_figheight() * 72)
    figure.text(left / WIDTH, y, text, **{"color": INK, "fontsize": 9.5, "va": "center_baseline", **style})


def key(figure: Figure, left: float, top: float, entries: Iterable[tuple[str, str, str]]) -> None:
    """A line of (mark, colour, name); the names are in ink, so that pale colours stay legible."""
    for glyph, color, name in entries:
        label = one_line(name, longest=40)
        write(figure, left, top, glyph, color=color)
        write(figure, left + 11, top, label, fontsize=9)
        left += 24 + 5.6 * len(label)


def family_key(labels: Sequence[str]) -> list[tuple[str, str, str]]:
    """The entries of a key (mark, colour, name) for the labels of the first and the second family."""
    styles = [FAMILY_STYLES[family] for family in FAMILIES]
    return [(style.glyph, style.color, label) for style, label in zip(styles, labels, strict=True)]


def span_of(values: Iterable[float | None], *, least: float = 10.0) -> tuple[float, float]:
    """Limits in percentage points around rates that include zero and some air, at least `least` wide."""
    known = [100 * value for value in values if value is not None and value == value]
    low, high = min([0.0, *known]), max([0.0, *known])
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    air = 0.06 * (high - low)
    return low - air, high + air


def bounds_of(*found: WithInterval | None) -> list[float | None]:
    """Estimates and their bounds."""
    return [v for e in found if e for v in (e.estimate, e.low, e.high)]


def numbered(
    ax: Axes,
    shown: tuple[str, str],
    *,
    x: int | None = None,
    y: int | None = None,
    size: float = 8.5,
    ticks: float | None = None,
) -> None:
    """What the axes show, and round numbers with a true minus along them: at most so many of them."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for axis, label, n, pad in ((ax.xaxis, shown[0], x, 2), (ax.yaxis, shown[1], y, 1)):
        axis.set_label_text(label, fontsize=size)
        axis.labelpad = pad
        if n is not None:
            axis.set_major_locator(MaxNLocator(nbins=n, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    ax.tick_params(labelsize=ticks or size, pad=2)


def forest(
    rows: Sequence[tuple[str, str, Sequence[Mark]]],
    panels: Sequence[Panel],
    *,
    entries: Sequence[tuple[str, str, str]] = (),
    right: float = 4,
) -> Forest:
    """Rows of marks in panels that fill the width that the rows' names leave.

    Args:
        rows: (heading, name, marks); rows of one heading stand together, an empty one takes no room.
        panels: From left to right; those without a span have the same limits, so that they can be compared.
        entries: Of a key above the panels.
        right: Room at the right, for numbers.
    """
    names: dict[str, list[int]] = {}
    for k, (heading, _, _) in enumerate(rows):
        names.setdefault(heading, []).append(k)
    lines: list[tuple[str, int | None]] = []
    for heading, members in names.items():
        lines += [(heading, None)] if heading else []
        lines += [(one_line(rows[k][1], longest=_LONGEST_LABEL), k) for k in members]
    at = [0.0] * len(rows)
    above = 16.0 if entries else 0.0
    body = max(len(lines), 1) * ROW
    # A heading may run into the first panel when it is long, since no data is drawn beside it.
    widths = [_CHARACTER * len(text) for text, k in lines if k is not None]
    widths += [_HEADING_CHARACTER * len(t) for t, k in lines if k is None and len(t) <= _LONGEST_LABEL]
    left = max(widths, default=0) + 12
    width = (WIDTH - left - right - _BETWEEN * (len(panels) - 1)) / len(panels)
    figure = new_figure(above + _TOP + body + _BOTTOM)
    for line, (text, row) in enumerate(lines):
        middle = above + _TOP + (line + 0.5) * ROW
        if row is None:
            write(figure, 0, middle + 1, one_line(text, longest=64), color=MUTED, fontsize=8.5)
        else:
            at[row] = float(line)
            write(figure, 0, middle, text)
    key(figure, left, 8, entries)
    axes = []
    values = [
        value
        for *_, marks in rows
        for one in marks
        if panels[one.panel].span is None
        for value in (one.value, one.low, one.high)
    ]
    for number, panel in enumerate(panels):
        low, high = panel.span or span_of(values)
        start = left + number * (width + _BETWEEN)
        ax = add_axes(figure, start, above + _TOP, width, body)
        ax.set(xlim=(low, high), ylim=(len(lines) - 0.5, -0.5), yticks=[])
        numbered(ax, (panel.unit, ""), x=4 if width > 100 else 2)
        ax.hlines(at, low, high, color=GRID, linewidth=0.5, zorder=1)
        if low < 0 < high:
            ax.axvline(0, color=MUTED, linewidth=0.8, zorder=2)
        write(figure, start, above + 12, panel.title)
        axes.append(ax)
    for y, (*_, marks) in zip(at, rows, strict=True):
        for one in marks:
            _draw(axes[one.panel], y - one.lift, one)
    return Forest(figure, axes, at, left, width)


def _draw(ax: Axes, y: float, one: Mark) -> None:
    if one.low is not None and one.high is not None:
        ax.plot([100 * one.low, 100 * one.high], [y, y], color=one.color, linewidth=one.width, zorder=3)
    if one.value is not None and not math.isnan(one.value):
        ax.plot([100 * one.value], [y], one.marker, color=one.color, markersize=one.size, zorder=4)


def squares(
    titles: Sequence[str], *, above: float, left: float = 38.0, height: float | None = None
) -> tuple[Figure, list[Axes]]:
    """Panels, two in a row, each with its title above; a single one is larger.

    They leave room `above`, for a key, and at the `left` of each row; without `height` they are square.
    """
    alone = len(titles) == 1
    width = 150.0 if not alone else (220.0 if height is None else WIDTH - left - 20)
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
    return _svg(drawing, **_EXPORTED)


def to_png(drawing: Drawing) -> bytes:
    """A PNG in the light palette, about 1,300 pixels wide."""
    return _saved(drawing, "png", dpi=216, metadata={"Software": None}, **_EXPORTED)


def to_inline_svg(drawing: Drawing) -> str:
    """An `<svg>` element for a page: CSS variables for colours, no background, ids of its own.

    The text in it is escaped by matplotlib's writer.
    """
    svg = _svg(drawing, transparent=True)
    svg = svg[svg.index("<svg") :]
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


def _svg(drawing: Drawing, **options: Any) -> str:
    """SVG without what differs between two runs or versions, and without the address of a DTD."""
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    svg = _saved(drawing, "svg", metadata=metadata, **options).decode()
    return re.sub(r"<!DOCTYPE[^>]*>\s*|<!--.*?-->\s*|\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)


def _saved(drawing: Drawing, form: str, **options: Any) -> bytes:
    from matplotlib.text import Text

    for text in drawing.figure.findobj(Text):  # what would break an SVG file or reorder it
        shown = one_line(text.get_text(), longest=200)
        if shown != text.get_text().strip():
            text.set_text(shown)
    target = io.BytesIO()
    with drawing_style():
        drawing.figure.savefig(target, format=form, **options)
    return target.getvalue()
