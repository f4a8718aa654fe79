"""Which tokens of a step count towards which capture, and the files in which results are left."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inspect_af.errors import TreatmentError
from inspect_af.providers.vllm_plugin.wire import CaptureSpec


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
