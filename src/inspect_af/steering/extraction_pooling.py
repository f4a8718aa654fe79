"""Means over token spans, taken inside the forward: nothing of size tokens x layers is ever kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inspect_af.steering._tensors import Float32Array, FloatArray
from inspect_af.steering.decoder import watched_forward
from inspect_af.steering.extraction_text import LocatedSpan

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class Pooled(NamedTuple):
    """One batch."""

    means: Float32Array
    """Residual stream after each layer, averaged over the span, [layer, row, d_model]."""
    norm_sums: FloatArray
    """Sum of the stream's Euclidean norms over the span's tokens, [layer, row]."""


PooledForward = Callable[[Sequence[LocatedSpan]], Pooled]


@contextmanager
def pooled_forward(model: PreTrainedModel, layers: Sequence[int]) -> Iterator[PooledForward]:
    """Hooks a model for as long as the context is open, and gives the function that runs a batch.

    Rows are padded at their end; with causal attention nothing before the padding sees it, so no mask is
    needed. Sums are accumulated in float32, whatever the model's dtype.

    Args:
        model: Any decoder-only transformers model, on one device or dispatched over several.
        layers: Ascending indices of decoder layers.

    Raises:
        TreatmentError: The model has not all of these layers.
    """
    found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    spans: list[_BatchSpans] = []

    def see(layer: int, stream: torch.Tensor) -> None:
        found[layer] = spans[0].pool(stream)

    with watched_forward(model, layers, see) as forward:

        def run(batch: Sequence[LocatedSpan]) -> Pooled:
            found.clear()
            spans[:] = [_BatchSpans(batch)]
            forward(_padded(batch))
            means = np.stack([found[layer][0].cpu().numpy() for layer in layers])
            norm_sums = np.stack([found[layer][1].cpu().numpy() for layer in layers])
            return Pooled(means, norm_sums.astype(np.float64))

        yield run


class _BatchSpans:
    """The spans of a batch as weights, on whichever device a layer's output is."""

    def __init__(self, batch: Sequence[LocatedSpan]) -> None:
        self.first, self.end = min(row.start for row in batch), max(row.end for row in batch)
        self.inside = np.zeros((len(batch), self.end - self.first), dtype=np.float32)
        for at, row in enumerate(batch):
            self.inside[at, row.start - self.first : row.end - self.first] = 1
        self._on_device: dict[torch.device, torch.Tensor] = {}

    def pool(self, stream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Means [row, d_model] and sums of norms [row], in float32."""
        import torch

        if stream.device not in self._on_device:
            self._on_device[stream.device] = torch.from_numpy(self.inside).to(stream.device)
        inside = self._on_device[stream.device]
        part = stream[:, self.first : self.end].float()
        means = torch.bmm(inside.unsqueeze(1), part).squeeze(1) / inside.sum(1, keepdim=True)
        return means, (torch.linalg.vector_norm(part, dim=-1) * inside).sum(1)


def _padded(batch: Sequence[LocatedSpan]) -> list[list[int]]:
    longest = max(len(row.ids) for row in batch)
    return [row.ids + row.ids[-1:] * (longest - len(row.ids)) for row in batch]
