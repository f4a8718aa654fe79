"""Words and sentences of a text, normalised alike for every filter."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]*\s+|\n+")


def words(text: str) -> list[str]:
    """The words in order, in lower case, without punctuation."""
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def sentences(text: str) -> list[str]:
    """The sentences in order; a line break ends one too."""
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]


def excerpt(text: str, at: int, end: int, *, margin: int = 40) -> str:
    """The passage from `at` to `end` with what stands around it, on one line."""
    start, stop = max(0, at - margin), min(len(text), end + margin)
    passage = " ".join(text[start:stop].split())
    return f"{'...' if start else ''}{passage}{'...' if stop < len(text) else ''}"
