"""Vectors by their sha256: found in a directory, checked, and added up to what a layer receives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inspect_af.errors import TreatmentError
from inspect_af.providers.vllm_plugin.wire import SteeringTerm

if TYPE_CHECKING:
    from inspect_af.steering import SteeringVector


class _Held(NamedTuple):
    path: Path
    signature: tuple[int, int, int]
    vector: SteeringVector


class VectorStore:
    """A directory of vector files, by content.

    A file `SHA256.safetensors` is looked at first; else all `*.safetensors` are read once. A file that
    changed since it was read is read again: a file that was tampered with is not used under its old digest.

    Args:
        directory: Where the files are.
        recheck: Whether files are looked at again at each use. Without, a vector that was read stays what it
            is, whatever becomes of its file.
    """

    def __init__(self, directory: Path, *, recheck: bool = True) -> None:
        self.directory = directory
        self._recheck = recheck
        self._held: dict[str, _Held] = {}

    def get(self, sha256: str) -> SteeringVector:
        """The vector whose file has that digest.

        Raises:
            TreatmentError: There is none, or the file that should have it has another content.
        """
        held = self._held.get(sha256)
        if held is not None and (not self._recheck or _signature(held.path) == held.signature):
            return held.vector
        self._held.pop(sha256, None)
        named = self.directory / f"{sha256}.safetensors"
        if named.is_file():
            found = self._read(named)
            if found != sha256:
                raise TreatmentError(
                    f"{named} has the sha256 {found}: it is not the vector that its name says. Copy it again"
                )
            return self._held[sha256].vector
        known = {held.path: held.signature for held in self._held.values()}
        for path in sorted(self.directory.glob("*.safetensors")):
            if known.get(path) != _signature(path):
                try:
                    self._read(path)
                except TreatmentError:
                    continue  # a file of another kind beside the vectors
        if sha256 not in self._held:
            raise TreatmentError(
                f"no vector with sha256 {sha256} in {self.directory}, which holds {len(self._held)} other "
                "vectors; a file that was changed has another digest. Copy the vector file there"
            )
        return self._held[sha256].vector

    def _read(self, path: Path) -> str:
        from inspect_af.steering import load_vector

        signature = _signature(path)
        vector = load_vector(path)
        if signature is None or signature != _signature(path):
            raise TreatmentError(f"{path} changed while it was read; try again")
        self._held[vector.sha256] = _Held(path, signature, vector)
        return vector.sha256


def composed(
    store: VectorStore,
    terms: Sequence[SteeringTerm],
    *,
    d_model: int,
    n_layers: int,
    layers: Sequence[int],
    largest: float,
) -> NDArray[np.float32]:
    """What each of the steered layers receives: the sum of multiplier * vector.

    Args:
        store: Where vectors are.
        terms: Vectors, multipliers and layer ranges.
        d_model: Width of the residual stream.
        n_layers: Number of layers of the model.
        layers: Layers at which the server adds, ascending.
        largest: Largest number of the model's dtype.

    Returns:
        float32 [layer, d_model], in the order of `layers`; zero where no term selects the layer.

    Raises:
        TreatmentError: A vector is missing or of another width, selects a layer that the model or the
            server does not have, or the sum does not fit the dtype.
        ConfigError: A layer range is malformed.
    """
    at = {layer: position for position, layer in enumerate(layers)}
    total = np.zeros((len(layers), d_model), dtype=np.float32)
    for term in terms:
        vector = store.get(term.sha256)
        for layer in vector.check_model(d_model=d_model, n_layers=n_layers, layers=term.layers):
            if layer not in at:
                raise TreatmentError(
                    f"vector {vector.digest} at layers {term.layers}: this server adds at layers "
                    f'{layers[0]}-{layers[-1]} only, not at {layer}; start it with "layers": "all"'
                )
            with np.errstate(over="ignore"):
                total[at[layer]] += np.float32(term.multiplier) * vector.at(layer)
    if not np.abs(total).max(initial=0.0) <= largest:
        raise TreatmentError(
            f"the multipliers {', '.join(f'{term.multiplier:g}' for term in terms)} give numbers beyond "
            f"{largest:g}, the model's largest; give smaller ones"
        )
    return total


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
