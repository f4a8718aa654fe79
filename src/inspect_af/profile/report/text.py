"""Numbers as a reader wants them, and foreign text made harmless to look at.

Escaping for HTML is not done here but where markup is made, see `markup`.
"""

from __future__ import annotations

import math
import unicodedata

LONGEST_EXCERPT = 6_000
"""Characters of one excerpt that a page shows."""

_KEPT_CONTROLS = "\n\t"
_KEPT_FORMATS = "\u200c\u200d"  # joiners that emoji and several scripts need
_MISSING = "–"


def visible(text: str, *, longest: int = LONGEST_EXCERPT, whole: int | None = None) -> str:
    """Foreign text in which nothing is hidden and nothing reorders its surroundings.

    Control characters, invisible format characters (direction overrides among them) and halves of
    surrogate pairs are spelt out, as in `[U+202E]`. What would take more than `longest`
    characters is cut, and says so; `whole` is the length of a text that had been cut before.
    """
    shown: list[str] = []
    used = read = 0
    for character in text:
        piece = _visible(character)
        if used + len(piece) > longest:
            break
        shown.append(piece)
        used += len(piece)
        read += 1
    if read < (whole or len(text)):
        shown.append(f"\n[cut here: {read:,} of {whole or len(text):,} characters shown]")
    return "".join(shown)


def one_line(text: str, *, longest: int = 80) -> str:
    """A foreign name for a label: visible, on one line, with an ellipsis in its middle where it is long."""
    flat = " ".join(visible(text[:2_000]).split())
    if len(flat) <= longest:
        return flat
    tail = longest // 3
    return f"{flat[: longest - tail - 1]}…{flat[-tail:]}"


def _visible(character: str) -> str:
    if character in _KEPT_CONTROLS or character in _KEPT_FORMATS:
        return character
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return f"[U+{ord(character):04X}]"
    return character


def percent(value: float | None) -> str:
    """A rate of 0 to 1 in percent, without the sign: `41.0`."""
    return _MISSING if _unknown(value) else f"{100 * float(value or 0):.1f}"


def rate(value: float | None, low: float | None, high: float | None) -> str:
    """A rate of 0 to 1 in percent with its interval, where one is known: `41.0 (35.2–47.1)`."""
    if low is None or high is None:
        return percent(value)
    return f"{percent(value)} ({percent(low)}–{percent(high)})"


def points(value: float | None) -> str:
    """A difference of rates in percentage points, always signed, with a true minus: `+12.5`, `−3.0`."""
    if _unknown(value):
        return _MISSING
    written = f"{100 * float(value or 0):+.1f}"
    return "0.0" if written in ("+0.0", "-0.0") else written.replace("-", "−")


def between(low: float | None, high: float | None) -> str:
    """Bounds of a difference in percentage points: `+3.1 to +20.4`; a dash where they are not known."""
    return _MISSING if _unknown(low) or _unknown(high) else f"{points(low)} to {points(high)}"


def count(n: int) -> str:
    """A whole number with a thin separator between thousands."""
    return f"{n:,}".replace(",", "\u202f")


def plural(n: int, one: str, many: str | None = None) -> str:
    """`1 log`, `3 logs`."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def _unknown(value: float | None) -> bool:
    return value is None or math.isnan(value)
