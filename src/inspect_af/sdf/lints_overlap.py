"""Filters of overlap: passages that a document shares with what is used to evaluate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from inspect_af.sdf._words import words

RUN_WORDS = 8
"""So many words in a row count as shared; not in source."""

SHORTEST = 5
"""Shorter texts are common property and never count."""


class PassageIndex:
    """Looks up runs of words, by their first five.

    Args:
        runs: Name and words of each run; runs of fewer than five words are left out.
    """

    def __init__(self, runs: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        self._by_start: dict[tuple[str, ...], list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        for name, run in runs:
            if len(run) >= SHORTEST:
                self._by_start[run[:SHORTEST]].append((run, name))

    def find(self, text: str) -> str | None:
        """The first run that stands in the text, with its name; None if there is none."""
        found = words(text)
        for start in range(len(found) - SHORTEST + 1):
            for run, name in self._by_start.get(tuple(found[start : start + SHORTEST]), ()):
                if tuple(found[start : start + len(run)]) == run:
                    return f"{name}: {' '.join(run)}"
        return None


def overlap_lint(texts: Iterable[tuple[str, str]], *, run: int = RUN_WORDS) -> Callable[[str], str | None]:
    """Finds runs of `run` words shared with any of the named texts; a shorter text counts as a whole."""
    runs: list[tuple[str, tuple[str, ...]]] = []
    for name, text in texts:
        found = tuple(words(text))
        length = min(run, len(found))
        runs += [(name, found[start : start + length]) for start in range(len(found) - length + 1)]
    return PassageIndex(runs).find
