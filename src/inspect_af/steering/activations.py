"""Pooled activations of contrast pairs: one file between extraction and fitting.

A safetensors file with `positive` and `negative`, float32 [layer, pair, d_model]: the residual stream after
each layer, averaged over the locus' tokens. Layers are read one at a time, so that a file may be larger
than memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from inspect_af.errors import AnalysisError, ConfigError, MaterialsError
from inspect_af.steering._record import Record
from inspect_af.steering._tensors import (
    Float32Array,
    check_array,
    open_tensors,
    read_header,
    stream_file,
)
from inspect_af.steering.pairs import PairSource, Split

Locus = Literal["response_mean", "span"]
"""Tokens that are averaged: of the whole scratchpad, or of the annotated sentence."""


class ActivationsHeader(Record):
    """Where activations come from, and what their axes mean."""

    schema_version: Literal[1] = 1
    model: str
    """Name of the model, as transformers loads it."""
    revision: str | None = None
    d_model: int = Field(ge=1)
    layers: tuple[int, ...] = Field(min_length=1)
    """Indices of the decoder layers after which the stream was read, from 0, ascending, [layer]."""
    locus: Locus
    concept: str
    source: PairSource
    pairs_digest: str
    pair_ids: tuple[str, ...] = Field(min_length=1)
    """[pair]"""
    groups: tuple[str, ...]
    """Request or topic of each pair, [pair]."""
    splits: tuple[Split, ...]
    """[pair]"""
    mean_norms: tuple[float, ...]
    """Mean Euclidean norm of the residual stream over the tokens that were averaged, [layer]."""
    fingerprint: str = ""
    """First 16 hexadecimal digits of a sha256 over all that the values depend on, with the weights."""

    @model_validator(mode="after")
    def _axes_agree(self) -> ActivationsHeader:
        check_layers(self.layers, self.mean_norms)
        if not len(self.pair_ids) == len(self.groups) == len(self.splits):
            raise ValueError(
                f"{len(self.pair_ids)} pair_ids, {len(self.groups)} groups and {len(self.splits)} splits; "
                "every pair has one of each"
            )
        if len(set(self.pair_ids)) < len(self.pair_ids):
            raise ValueError("pair_ids repeat")
        return self

    def rows(self, split: Split) -> NDArray[np.intp]:
        """Positions of a split's pairs."""
        return np.flatnonzero(np.array(self.splits) == split)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(layer, pair, d_model)."""
        return len(self.layers), len(self.pair_ids), self.d_model


def check_layers(layers: tuple[int, ...], mean_norms: tuple[float, ...]) -> None:
    """Layers ascend from 0 or later, and each has a positive mean norm; ValueError where not."""
    if layers[0] < 0 or any(later <= earlier for earlier, later in pairwise(layers)):
        raise ValueError(f"layers must ascend and not be negative, not {list(layers)}")
    if len(mean_norms) != len(layers) or min(mean_norms) <= 0:
        raise ValueError("mean_norms must hold a positive number for every layer")


class LayerActivations(NamedTuple):
    """Activations of all pairs after one layer."""

    layer: int
    positive: Float32Array
    """[pair, d_model]"""
    negative: Float32Array
    """[pair, d_model]"""

    def differences(self, rows: NDArray[np.intp]) -> Float32Array:
        """Positive minus negative, [row, d_model]."""
        return self.positive[rows] - self.negative[rows]


@dataclass(frozen=True)
class Activations:
    """An opened file: its header, and its layers when they are asked for."""

    path: Path
    header: ActivationsHeader

    def layer(self, layer: int) -> LayerActivations:
        """Reads one layer, and nothing else of the file.

        Raises:
            ConfigError: The file does not hold that layer.
            MaterialsError: A value is not finite, or the file has gone.
        """
        if layer not in self.header.layers:
            held = ", ".join(map(str, self.header.layers))
            raise ConfigError(f"{self.path} holds no layer {layer}; it holds {held}")
        at = self.header.layers.index(layer)
        with open_tensors(self.path, what="activations", error=MaterialsError) as file:
            sides = [np.asarray(file.get_slice(name)[at]) for name in ("positive", "negative")]
        for name, side in zip(("positive", "negative"), sides, strict=True):
            if not np.isfinite(side).all():
                bad = self.header.pair_ids[int(np.flatnonzero(~np.isfinite(side).all(axis=1))[0])]
                raise MaterialsError(
                    f"{self.path}: {name} has values that are not finite at layer {layer}, first in pair "
                    f"{bad!r}; extract it again in a wider dtype"
                )
        return LayerActivations(layer, *sides)

    def __iter__(self) -> Iterator[LayerActivations]:
        return (self.layer(layer) for layer in self.header.layers)


def load_activations(path: str | Path) -> Activations:
    """Opens a file of activations and checks its header; the values are read later.

    Raises:
        MaterialsError: The file cannot be read, is not safetensors, or its header does not fit its arrays.
        MissingExtraError: safetensors is not installed.
    """
    path = Path(path)
    where = f"activations {path}"
    with open_tensors(path, what="activations", error=MaterialsError) as file:
        header = read_header(file, ActivationsHeader, where=where, error=MaterialsError)
        for name in ("positive", "negative"):
            check_array(file, name, header.shape, where=where, error=MaterialsError)
    return Activations(path, header)


def write_activations(
    path: str | Path, header: ActivationsHeader, positive: Float32Array, negative: Float32Array
) -> Activations:
    """Writes activations, one layer in memory at a time: the arrays may be mapped files.

    Args:
        path: File to write; an existing one is replaced.
        header: What the axes mean.
        positive: [layer, pair, d_model]
        negative: [layer, pair, d_model]

    Raises:
        AnalysisError: A shape is not the header's, or a value is not finite.
    """
    for name, array in (("positive", positive), ("negative", negative)):
        if array.shape != header.shape:
            raise AnalysisError(f"{name} has shape {array.shape}; by the header it is {header.shape}")
        if not all(np.isfinite(layer).all() for layer in array):
            raise AnalysisError(f"{name} has values that are not finite; extract in a wider dtype")
    stream_file(Path(path), {"positive": positive, "negative": negative}, header)
    return Activations(Path(path), header)
