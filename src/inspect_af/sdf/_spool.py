"""Clean documents on disk with their sizes in memory, and the choice of those that a corpus takes.

Memory: one line of numbers per document; the texts stay on disk.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inspect_af.sdf.documents import SourceDocument
from inspect_af.sdf.tokens import TokenCounter

BATCH = 256
"""Documents that are tokenized at a time."""


class Selection(NamedTuple):
    """Which documents of a spool go where, in the order in which they are written."""

    train: tuple[int, ...]
    held_out: tuple[int, ...]
    cut: int
    """Documents that were left out to meet the size."""


class Spool:
    """Documents in a file, each findable by its position."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.ids: list[str] = []
        self.groups: list[str] = []
        self.tokens = array("q")
        self._offsets = array("q")

    def fill(
        self,
        documents: Iterable[SourceDocument],
        counter: TokenCounter,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Writes the documents; `progress` is called with the number written so far."""
        with self.file.open("wb") as out:
            rest = iter(documents)
            while batch := list(islice(rest, BATCH)):
                counts = counter.count([document.text for document in batch])
                for document, tokens in zip(batch, counts, strict=True):
                    self._offsets.append(out.tell())
                    self.ids.append(document.id)
                    self.groups.append(document.group)
                    self.tokens.append(tokens)
                    out.write(_line(document, tokens))
                if progress is not None:
                    progress(len(self.ids))

    def lines(self, positions: Sequence[int]) -> Iterator[bytes]:
        """The lines of the documents at the positions, in that order."""
        with self.file.open("rb") as lines:
            for position in positions:
                lines.seek(self._offsets[position])
                yield lines.readline()

    def size(self, positions: Sequence[int]) -> int:
        """Tokens of the documents at the positions."""
        return sum(self.tokens[position] for position in positions)


def split(spool: Spool, *, held_out: float, seed: int) -> tuple[list[int], list[int]]:
    """Splits a spool into training and held-out documents, whole groups at a time.

    The order of both is random, by `seed`, and depends on the ids alone, not on the order of the sources.

    Returns:
        Positions for training, and positions held out: at least one group where `held_out` is above 0 and
        there are two groups.
    """
    by_group: dict[str, list[int]] = {}
    for position in sorted(range(len(spool.ids)), key=spool.ids.__getitem__):
        by_group.setdefault(spool.groups[position], []).append(position)
    names = sorted(by_group)
    rng = np.random.default_rng(seed)
    order = [names[index] for index in rng.permutation(len(names))]
    wanted = held_out * len(spool.ids)
    kept_out: list[int] = []
    while len(kept_out) < wanted and len(order) > 1:
        kept_out += by_group[order.pop()]
    train = [position for name in order for position in by_group[name]]
    return [train[index] for index in rng.permutation(len(train))], kept_out


def cut_to(spool: Spool, positions: Sequence[int], tokens: int) -> list[int]:
    """The documents, in order, that fit into `tokens`; one that does not fit is passed over."""
    chosen: list[int] = []
    room = tokens
    for position in positions:
        if spool.tokens[position] <= room:
            chosen.append(position)
            room -= spool.tokens[position]
    return chosen


def _line(document: SourceDocument, tokens: int) -> bytes:
    row = {"id": document.id, "text": document.text, "group": document.group, "tokens": tokens}
    if document.kind is not None:
        row["kind"] = document.kind
    # ASCII escapes: no text of a model can then end the line or break the encoding.
    return json.dumps(row).encode() + b"\n"
