"""What all figures share: size, colours, type, and how they become SVG and PNG.

Lengths are in the units of the SVG's view box. A figure is drawn once, in the light palette; for a page its
colours are replaced by CSS variables, so that it follows the reader's light or dark mode.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from inspect_af.errors import MissingExtraError
from inspect_af.types import FAMILIES, Family

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 396.0
"""Of every figure: narrow, so that its type is legible on a phone."""

INK, MUTED, GRID, PAPER = "#1b1f24", "#656d78", "#dfe3e8", "#fffffe"
# Okabe and Ito's palette, which stays distinct under the common forms of colour blindness.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
)


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


def family_key(labels: Sequence[str]) -> list[tuple[str, str, str]]:
    """The entries of a key (mark, colour, name) for the labels of the first and the second family."""
    styles = [FAMILY_STYLES[family] for family in FAMILIES]
    return [(style.glyph, style.color, label) for style, label in zip(styles, labels, strict=True)]


VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    BLUE: "--blue",
    VERMILLION: "--vermillion",
    GREEN: "--green",
    PURPLE: "--purple",
    ORANGE: "--orange",
    SKY: "--sky",
}
"""CSS variable that stands for each colour on a page."""

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


class Drawing(NamedTuple):
    """One figure, drawn."""

    name: str
    """File name without suffix."""
    title: str
    caption: str
    """What to read off."""
    figure: Figure


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
    total = figure.get_figheight() * 72
    figure.text(
        left / WIDTH, 1 - top / total, text, color=color, fontsize=size, ha=align, va="center_baseline"
    )


def to_svg(drawing: Drawing) -> str:
    """A stand-alone SVG file in the light palette, with text as text."""
    target = io.StringIO()
    with drawing_style():
        drawing.figure.savefig(target, format="svg", metadata=_NO_METADATA, **_EXPORTED)
    return _anonymous(target.getvalue())


def to_png(drawing: Drawing) -> bytes:
    """A PNG in the light palette, about 1,300 pixels wide."""
    target = io.BytesIO()
    with drawing_style():
        drawing.figure.savefig(target, format="png", dpi=216, metadata={"Software": None}, **_EXPORTED)
    return target.getvalue()


def to_inline_svg(drawing: Drawing) -> str:
    """An `<svg>` element for a page: CSS variables for colours, no background, ids of its own.

    The text in it is escaped by matplotlib's writer.
    """
    target = io.StringIO()
    with drawing_style():
        drawing.figure.savefig(target, format="svg", metadata=_NO_METADATA, transparent=True)
    svg = target.getvalue()
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


_EXPORTED: dict[str, Any] = {"facecolor": PAPER, "bbox_inches": "tight", "pad_inches": 0.15}
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


def _anonymous(svg: str) -> str:
    """Without what differs between two runs or versions, and without the address of a DTD."""
    svg = re.sub(r"<!DOCTYPE[^>]*>\s*", "", svg)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
