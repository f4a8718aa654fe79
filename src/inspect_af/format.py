"""How numbers and foreign text are written for people, the same in terminals, pages, figures and sentences.

Rates and differences of rates are on the scale 0 to 1 and are written in percent and percentage points. A
dash stands for what is not known. Text from models, logs and files passes `visible` or `one_line` before it
is shown.
"""

from __future__ import annotations

import math
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol, TypeVar

_T = TypeVar("_T")
Columns = Mapping[str, Callable[[_T], str]]  # Heading of every column, and its cell in a row

DASH = "-"  # Stands for a number that is not known

LONGEST_TEXT = 20_000  # Characters of one text that `visible` shows unless told otherwise

_KEPT_CONTROLS = "\n\t"
_KEPT_FORMATS = "\u200c\u200d"  # joiners that emoji and several scripts need


class WithInterval(Protocol):
    """A number between two bounds, such as `profile.Estimate`."""

    @property
    def estimate(self) -> float: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def sign_of(found: WithInterval) -> int:
    """The sign that an interval shows, or 0."""
    if found.low is None or found.high is None:
        return 0
    return (found.low > 0) - (found.high < 0)


def percent(value: float | None) -> str:
    """A rate, such as `57.9%`."""
    return DASH if _unknown(value) else f"{100 * (value or 0.0):.1f}%"


def signed(value: float | None, *, scale: float = 100.0) -> str:
    """A difference of rates in percentage points, such as `+42.9`; `scale=1` for scores of another kind."""
    if _unknown(value):
        return DASH
    written = f"{scale * (value or 0.0):+.1f}"
    return "0.0" if written in ("+0.0", "-0.0") else written


def interval(low: float | None, high: float | None, *, scale: float = 100.0) -> str:
    """Two bounds of a difference in percentage points, such as `[+37.6, +48.0]`."""
    if _unknown(low) or _unknown(high):
        return DASH
    return f"[{signed(low, scale=scale)}, {signed(high, scale=scale)}]"


def points(found: WithInterval | None) -> str:
    """An estimate in percentage points with its interval, such as `+42.9 [+37.6, +48.0]`."""
    return DASH if found is None else change(found.estimate, found.low, found.high)


def change(value: float | None, low: float | None, high: float | None, *, scale: float = 100.0) -> str:
    """The same of numbers, or of scores of another kind with `scale=1`."""
    written, between = signed(value, scale=scale), interval(low, high, scale=scale)
    return written if DASH in (written, between) else f"{written} {between}"


def rate(value: float | None, low: float | None, high: float | None) -> str:
    """A rate with its interval, such as `41.0% [35.2%, 47.1%]`."""
    if _unknown(value) or _unknown(low) or _unknown(high):
        return percent(value)
    return f"{percent(value)} [{percent(low)}, {percent(high)}]"


def rate_of(found: WithInterval | None) -> str:
    """The same of an estimate."""
    return DASH if found is None else rate(found.estimate, found.low, found.high)


def count(n: int) -> str:
    """A whole number with a comma between thousands."""
    return f"{n:,}"


def plural(n: int, one: str, many: str | None = None) -> str:
    """`1 log`, `3 logs`."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def listed(items: Sequence[str], word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {word} {items[-1]}"


def visible(text: str, *, longest: int = LONGEST_TEXT, whole: int | None = None) -> str:
    """Foreign text in which nothing is hidden, reorders its surroundings or drives a terminal.

    Control characters (escape and bell among them), invisible format characters (direction overrides among
    them) and halves of surrogate pairs are spelt out, as in `[U+202E]`. What would take more than `longest`
    characters is cut, and says so; `whole` is the length of a text that had been cut before.
    """
    pieces = [_visible(character) for character in text[:longest]]
    read = bisect_right(list(accumulate(map(len, pieces))), longest)
    if read < (whole or len(text)):
        cut = f"\n[cut here: {read:,} of {whole or len(text):,} characters shown]"
        return "".join([*pieces[:read], cut])
    return "".join(pieces)


def say(text: str, *, err: bool = False) -> None:
    """Prints text that may hold foreign names; nothing in it drives the terminal. `err` is standard error."""
    print(visible(text, longest=10_000_000), file=sys.stderr if err else sys.stdout, flush=True)


def one_line(text: str, *, longest: int = 80) -> str:
    """A foreign name for a label: visible, on one line, with an ellipsis in its middle where it is long."""
    flat = " ".join(visible(text[:2_000]).split())
    if len(flat) <= longest:
        return flat
    tail = longest // 3
    return f"{flat[: longest - tail - 1]}…{flat[-tail:]}"


def text_table(rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,), indent: int = 0) -> str:
    """Columns of text for a terminal, two spaces apart; cells are foreign text and made visible.

    Args:
        rows: The heading first; shorter rows are filled with nothing.
        left: Columns that are aligned to the left; the others are aligned to the right.
        indent: Spaces in front of every line.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = max((len(row) for row in rows), default=0)
    table = Table.grid(padding=(0, 2, 0, 0))
    for k in range(width):
        table.add_column(justify="left" if k in left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(one_line(cell, longest=200)) for cell in row))
    console = Console(width=100_000, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(" " * indent + line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


class Table(NamedTuple):
    """A table for people, on a page or in a terminal.

    The first `words` columns, and the last one of a table with `remarks`, hold words, the others numbers.
    """

    caption: str
    header: tuple[str, ...]
    rows: list[list[str]]
    words: int = 1
    remarks: bool = False

    def text(self, *, indent: int = 2) -> str:
        """The columns for a terminal, without the caption."""
        left = {*range(self.words), *([len(self.header) - 1] if self.remarks else [])}
        return text_table([self.header, *self.rows], left=left, indent=indent)


_SAID_ONCE = ("pairs", "n", "requests", "controls", "flags")


def table(
    caption: str, rows: Iterable[_T], columns: Columns[_T], *, words: int = 1, remarks: bool = False
) -> Table | None:
    """A table without the columns that carry nothing, or None without rows.

    Args:
        caption: What stands above it; what is the same in every row is said there once.
        rows: What the cells are made from.
        columns: Heading and cell.
        words: Columns of words at the left.
        remarks: Whether the last column holds words.
    """
    if not (rows := list(rows)):
        return None
    cells = {title: [cell(row) for row in rows] for title, cell in columns.items()}
    shown: dict[str, list[str]] = {}
    for at, (title, column) in enumerate(cells.items()):
        if at >= words and not any(value not in ("", DASH) for value in column):
            continue
        if title in _SAID_ONCE and len(rows) > 2 and len(set(column)) == 1:
            caption += f" · {title}: {column[0]}"
        else:
            shown[title] = column
    last = remarks and list(columns)[-1] in shown
    return Table(caption, tuple(shown), [list(row) for row in zip(*shown.values(), strict=True)], words, last)


def _visible(character: str) -> str:
    if character in _KEPT_CONTROLS or character in _KEPT_FORMATS:
        return character
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return f"[U+{ord(character):04X}]"
    return character


def _unknown(value: float | None) -> bool:
    return value is None or math.isnan(value)
