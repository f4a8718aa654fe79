"""What lies in files between client and server: vectors by their sha256, and pooled activations."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inspect_af.errors import TreatmentError
from inspect_af.providers.vllm_plugin.wire import CaptureSpec, SteeringTerm

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


@dataclass
class Progress:
    """How far one capture has come. Each position counts once, also when a preempted request starts again."""

    spec: CaptureSpec
    position: int = 0
    """All positions below are counted, or lie in no span."""
    counted: int = 0
    broken: str | None = None
    """Why the result would be wrong."""

    def __post_init__(self) -> None:
        self.position = max(self.position, self.spec.start)

    def advance(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Which tokens of a step count, [stop - start].

        Args:
            start: First position that the step computes.
            stop: Position after the last one.
        """
        skipped = sum(max(0, min(high, start) - max(low, self.position)) for low, high in self.spec.spans)
        if skipped:
            self.broken = f"{skipped} tokens were not computed again after an interruption"
        counts = np.zeros(stop - start, dtype=np.bool_)
        for low, high in self.spec.spans:
            first, last = max(low, start, self.position), min(high, stop)
            if first < last:
                counts[first - start : last - start] = True
                self.counted += last - first
        self.position = max(self.position, stop)
        return counts

    @property
    def finished(self) -> bool:
        return self.position >= self.spec.end


class Pooled(NamedTuple):
    """A finished capture."""

    mean: NDArray[np.float32]
    """Mean of the residual stream over the tokens of the spans, [layer, d_model]."""
    norm: NDArray[np.float32]
    """Mean of its Euclidean norm, [layer]."""
    layers: tuple[int, ...]
    n_tokens: int


def write_part(directory: Path, progress: Progress, stage: int, n_stages: int, pooled: Pooled | None) -> None:
    """Leaves a pipeline stage's part of a result, whole or not at all: `KEY.STAGE-STAGES.safetensors`.

    Without a result, `KEY.STAGE-STAGES.json` says why.
    """
    from safetensors.numpy import save

    stem = f"{progress.spec.key}.{stage}-{n_stages}"
    if pooled is None:
        content, path = json.dumps({"error": progress.broken}).encode(), directory / f"{stem}.json"
    else:
        arrays: dict[str, NDArray[Any]] = {
            "mean": np.ascontiguousarray(pooled.mean, dtype=np.float32),
            "norm": np.ascontiguousarray(pooled.norm, dtype=np.float32),
            "layers": np.array(pooled.layers, dtype=np.int64),
        }
        content = save(arrays, metadata={"n_tokens": str(pooled.n_tokens)})
        path = directory / f"{stem}.safetensors"
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def read_parts(directory: Path, key: str, n_stages: int, *, remove: bool = True) -> Pooled:
    """Puts a result together from the parts of all pipeline stages.

    Raises:
        TreatmentError: A part is missing, or the server says that the capture went wrong.
    """
    from safetensors import safe_open

    means: list[NDArray[np.float32]] = []
    norms: list[NDArray[np.float32]] = []
    layers: list[int] = []
    n_tokens = 0
    stems = [directory / f"{key}.{stage}-{n_stages}" for stage in range(n_stages)]
    for stem in stems:
        failed = stem.with_name(stem.name + ".json")
        if failed.is_file():
            reason = json.loads(failed.read_text(encoding="utf-8"))["error"]
            failed.unlink(missing_ok=True)
            raise TreatmentError(f"capture {key}: {reason}; ask for it again")
        path = stem.with_name(stem.name + ".safetensors")
        if not path.is_file():
            raise TreatmentError(
                f"capture {key}: the server left no {path.name} in {directory}. It must write to a directory "
                "that is seen here under the same path"
            )
        with safe_open(path, framework="numpy") as file:
            means.append(np.asarray(file.get_tensor("mean")))
            norms.append(np.asarray(file.get_tensor("norm")))
            layers.extend(int(layer) for layer in file.get_tensor("layers"))
            n_tokens = int((file.metadata() or {})["n_tokens"])
        if remove:
            path.unlink()
    return _in_order(np.concatenate(means), np.concatenate(norms), layers, n_tokens)


def _in_order(
    mean: NDArray[np.float32], norm: NDArray[np.float32], layers: Sequence[int], n_tokens: int
) -> Pooled:
    order = np.argsort(np.array(layers))
    return Pooled(mean[order], norm[order], tuple(sorted(layers)), n_tokens)
