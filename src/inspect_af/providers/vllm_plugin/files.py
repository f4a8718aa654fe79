"""What lies in files between client and server: vectors by their sha256, and pooled activations."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inspect_af.config import write_whole
from inspect_af.errors import TreatmentError
from inspect_af.providers.vllm_plugin.wire import CaptureSpec, SteeringTerm

if TYPE_CHECKING:
    from inspect_af.steering.vector import SteeringVector


class VectorStore:
    """A directory of vector files, by content.

    A file `SHA256.safetensors` is looked at first, else all `*.safetensors`. A file that changed since it was
    read is read again: a file that was tampered with is not used under its old digest.

    Args:
        directory: Where the files are.
        recheck: Whether files are looked at again at each use. Without, a vector that was read stays what it
            is, whatever becomes of its file.
    """

    def __init__(self, directory: Path, *, recheck: bool = True) -> None:
        self.directory = directory
        self._recheck = recheck
        self._files: dict[Path, tuple[tuple[int, int, int], SteeringVector | None]] = {}
        self._used: dict[str, SteeringVector] = {}

    def get(self, sha256: str) -> SteeringVector:
        """The vector whose file has that digest.

        Raises:
            TreatmentError: There is none, or the file that should have it has another content.
        """
        if sha256 in self._used and not self._recheck:
            return self._used[sha256]
        named = self.directory / f"{sha256}.safetensors"
        paths = [named] if named.is_file() else sorted(self.directory.glob("*.safetensors"))
        for path in paths:
            vector = self._read(path)
            if vector is not None and vector.sha256 == sha256:
                self._used[sha256] = vector
                return vector
        if named in paths:
            raise TreatmentError(
                f"{named} has another sha256: it is not the vector that its name says. Copy it again"
            )
        raise TreatmentError(
            f"no vector with sha256 {sha256} in {self.directory}, which holds {len(paths)} other files; one "
            "that was changed has another digest. Copy the vector file there"
        )

    def _read(self, path: Path) -> SteeringVector | None:
        """What is in a file, read again where it has changed; None where that is no vector."""
        from inspect_af.steering.vector import load_vector

        found = path.stat()
        signature = found.st_mtime_ns, found.st_size, found.st_ino
        if path not in self._files or self._files[path][0] != signature:
            vector = None
            with suppress(TreatmentError):
                vector = load_vector(path)
            self._files[path] = signature, vector
        return self._files[path][1]


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
        n_layers: Of the model.
        layers: Those at which the server adds, ascending.
        largest: Largest number of the model's dtype.

    Returns:
        float32 [layer, d_model], in the order of `layers`; zero where no term selects the layer.

    Raises:
        TreatmentError: A vector is missing or of another width, selects a layer that the model or the
            server does not have, or the sum does not fit the dtype.
        ConfigError: A layer range is malformed.
    """
    total = np.zeros((len(layers), d_model), dtype=np.float32)
    for term in terms:
        vector = store.get(term.sha256)
        for layer in vector.check_model(d_model=d_model, n_layers=n_layers, layers=term.layers):
            if layer not in layers:
                raise TreatmentError(
                    f"vector {vector.digest} at layers {term.layers}: this server adds at layers "
                    f'{layers[0]}-{layers[-1]} only, not at {layer}; start it with "layers": "all"'
                )
            with np.errstate(over="ignore"):
                total[layers.index(layer)] += np.float32(term.multiplier) * vector.at(layer)
    if not np.abs(total).max(initial=0.0) <= largest:
        raise TreatmentError(
            f"the multipliers {', '.join(f'{term.multiplier:g}' for term in terms)} give numbers beyond "
            f"{largest:g}, the model's largest; give smaller ones"
        )
    return total


@dataclass
class Progress:
    """How far one capture has come. Each position counts once, also when a preempted request starts again."""

    spec: CaptureSpec
    position: int = 0  # All positions below are counted, or lie in no span
    counted: int = 0
    broken: str | None = None  # Why the result would be wrong

    def advance(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Which tokens of a step count, [stop - start].

        Args:
            start: First position that the step computes.
            stop: Position after the last one.
        """
        counts, skipped = np.zeros(stop - start, dtype=np.bool_), 0
        for low, high in self.spec.spans:
            low = max(low, self.position)
            skipped += max(0, min(high, start) - low)
            counts[max(low - start, 0) : max(high - start, 0)] = True
        if skipped:
            self.broken = f"{skipped} tokens were not computed again after an interruption"
        self.counted += int(counts.sum())
        self.position = max(self.position, stop)
        return counts

    @property
    def finished(self) -> bool:
        return self.position >= self.spec.end


class Pooled(NamedTuple):
    """A finished capture."""

    mean: NDArray[np.float32]  # Mean of the residual stream over the tokens of the spans, [layer, d_model]
    norm: NDArray[np.float32]  # Mean of its Euclidean norm, [layer]
    layers: tuple[int, ...]
    n_tokens: int


def write_part(directory: Path, progress: Progress, stage: int, n_stages: int, pooled: Pooled | None) -> None:
    """Leaves a pipeline stage's part of a result, whole or not at all: `KEY.STAGE-STAGES.safetensors`.

    Without a result, its metadata say why.
    """
    from safetensors.numpy import save

    arrays: dict[str, NDArray[Any]] = {}
    metadata = {"error": str(progress.broken)}
    if pooled is not None:
        arrays = {
            "mean": np.ascontiguousarray(pooled.mean, dtype=np.float32),
            "norm": np.ascontiguousarray(pooled.norm, dtype=np.float32),
            "layers": np.array(pooled.layers, dtype=np.int64),
        }
        metadata = {"n_tokens": str(pooled.n_tokens)}
    path = directory / f"{progress.spec.key}.{stage}-{n_stages}.safetensors"
    write_whole(path, [save(arrays, metadata=metadata)])


def read_parts(directory: Path, key: str, n_stages: int) -> Pooled:
    """Puts a result together from the parts of all pipeline stages, and removes these.

    Raises:
        TreatmentError: A part is missing, or the server says that the capture went wrong.
    """
    from safetensors import safe_open

    parts: list[dict[str, NDArray[Any]]] = []
    for stage in range(n_stages):
        path = directory / f"{key}.{stage}-{n_stages}.safetensors"
        if not path.is_file():
            raise TreatmentError(
                f"capture {key}: the server left no {path.name} in {directory}. It must write to a directory "
                "that is seen here under the same path"
            )
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            parts.append({name: np.asarray(file.get_tensor(name)) for name in file.keys()})  # noqa: SIM118
        path.unlink()
        if "error" in metadata:
            raise TreatmentError(f"capture {key}: {metadata['error']}; ask for it again")
    mean, norm, layers = (
        np.concatenate([part[name] for part in parts]) for name in ("mean", "norm", "layers")
    )
    order = np.argsort(layers)
    return Pooled(mean[order], norm[order], tuple(layers[order].tolist()), int(metadata["n_tokens"]))
