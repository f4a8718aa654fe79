"""Rows of activations on their way to a file: kept as they are found, so that a killed run goes on.

Beside the file to write stands `FILE.partial/` with `rows.f32`, a mapped array [side, layer, pair, d_model],
and `journal.jsonl`, a line for every batch whose rows are in it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.steering._record import Record
from inspect_af.steering._tensors import Float32Array, replace_file
from inspect_af.steering.activations import (
    Activations,
    ActivationsHeader,
    Locus,
    load_activations,
    write_activations,
)
from inspect_af.steering.extraction_pooling import Pooled
from inspect_af.steering.pairs import PairSet


class Item(NamedTuple):
    """One transcript to run."""

    side: int
    """0 the positive, 1 the negative."""
    pair: int


class _Settings(Record):
    fingerprint: str
    shape: tuple[int, int, int]


class _Batch(Record):
    items: tuple[tuple[int, int], ...]
    n_tokens: tuple[int, ...]
    norm_sums: tuple[tuple[float, ...], ...]
    """[layer, item]"""


class RowStore:
    """What has been found so far. Batches are added; `finish` writes the file and removes the rest."""

    def __init__(self, out: Path, fingerprint: str, shape: tuple[int, int, int]) -> None:
        """
        Args:
            out: The file to write in the end.
            fingerprint: Of everything that the values depend on.
            shape: (layer, pair, d_model).

        Raises:
            ConfigError: What is left of an earlier run was found with other settings, or another model.
        """
        self._out = out
        self._directory = out.with_name(f"{out.name}.partial")
        self._journal = self._directory / "journal.jsonl"
        self._settings = settings = _Settings(fingerprint=fingerprint, shape=shape)
        self._batches = self._resumed(settings)
        rows, full = self._directory / "rows.f32", (2, *shape)
        if not self._batches:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._journal.write_text(settings.model_dump_json() + "\n", encoding="utf-8")
        self._rows: Float32Array = np.memmap(
            rows, dtype=np.float32, mode="r+" if self._batches else "w+", shape=full
        )

    @property
    def done(self) -> frozenset[Item]:
        """Transcripts whose rows are there."""
        return frozenset(Item(*item) for batch in self._batches for item in batch.items)

    def add(self, items: Sequence[Item], n_tokens: Sequence[int], pooled: Pooled) -> None:
        """Keeps a batch: its rows first, then the line that says that they are there."""
        sides, pairs = (list(axis) for axis in zip(*items, strict=True))
        for at in range(pooled.means.shape[0]):
            self._rows[sides, at, pairs] = pooled.means[at]
        batch = _Batch(
            items=tuple((item.side, item.pair) for item in items),
            n_tokens=tuple(n_tokens),
            norm_sums=tuple(tuple(map(float, layer)) for layer in pooled.norm_sums),
        )
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(batch.model_dump_json() + "\n")
        self._batches.append(batch)

    def mean_norms(self) -> tuple[float, ...]:
        """Mean norm of the stream over all tokens of all transcripts, [layer]."""
        # In an order that does not depend on which run found which batch.
        batches = sorted(self._batches, key=lambda batch: batch.items)
        total = np.sum([np.sum(batch.norm_sums, axis=1) for batch in batches], axis=0)
        n_tokens = sum(sum(batch.n_tokens) for batch in batches)
        return tuple(float(layer) / n_tokens for layer in total)

    def finish(
        self, pairs: PairSet, *, model: str, revision: str | None, layers: tuple[int, ...], locus: Locus
    ) -> Activations:
        """Writes the file and removes what was kept beside it.

        Args:
            pairs: What was run, in the order of the rows.
            model: Name of the model.
            revision: Of the model, if it has one.
            layers: Layers of the rows, in their order.
            locus: Where in a transcript the rows were pooled.
        """
        header = ActivationsHeader(
            model=model,
            revision=revision,
            d_model=self._settings.shape[2],
            layers=layers,
            locus=locus,
            concept=pairs.concept,
            source=pairs.source,
            pairs_digest=pairs.digest,
            pair_ids=tuple(pair.id for pair in pairs.pairs),
            groups=tuple(pair.group for pair in pairs.pairs),
            splits=tuple(pair.split for pair in pairs.pairs),
            mean_norms=self.mean_norms(),
            fingerprint=self._settings.fingerprint,
        )
        written = write_activations(self._out, header, self._rows[0], self._rows[1])
        shutil.rmtree(self._directory)
        return written

    def _resumed(self, settings: _Settings) -> list[_Batch]:
        try:
            first, *lines = self._journal.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return []
        try:
            known = _Settings.model_validate_json(first)
        except ValidationError:
            return []  # killed before its first line was complete
        if known != settings:
            raise ConfigError(
                f"{self._directory} is left of an extraction with other pairs, layers or settings, or of "
                "another model; repeat that command to finish it, delete the directory, or choose another "
                "file to write"
            )
        batches: list[_Batch] = []
        for line in lines:
            try:
                batches.append(_Batch.model_validate_json(line))
            except ValidationError:
                break  # empty, or killed while it was written
        kept = [settings.model_dump_json(), *(batch.model_dump_json() for batch in batches)]
        replace_file(self._journal, ("\n".join(kept) + "\n").encode())
        return batches


def finished(out: Path, fingerprint: str) -> Activations | None:
    """The file, if it is there already and was found with the same settings on the same model."""
    try:
        held = load_activations(out)
    except MaterialsError:
        return None
    return held if held.header.fingerprint == fingerprint else None
