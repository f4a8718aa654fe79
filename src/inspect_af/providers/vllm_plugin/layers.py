"""Decoder layers that add and sum: subclasses made at start, with tensor operations only.

vLLM's layers return the stream in two parts, `(hidden, residual)`, whose sum is the residual stream after the
layer; the next layer's norm adds them up. What is added to `hidden` is added to the stream.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from inspect_af.errors import TreatmentError

_FAMILIES = ("Llama", "Mistral", "Mixtral", "Qwen2", "Qwen2Moe", "Qwen3", "Qwen3Moe", "Gemma2", "Gemma3")
TWO_PARTS = frozenset(f"{family}DecoderLayer" for family in _FAMILIES)
"""Classes whose additions and sums were compared with transformers, token for token (tests/vllm)."""


def decoder_layers(model: nn.Module, n_layers: int) -> dict[int, nn.Module]:
    """The decoder's layers that this process holds, by their index in the whole model.

    A pipeline stage has placeholders for the layers of the others.

    Raises:
        TreatmentError: The layers cannot be found, or were never compared with transformers.
    """
    found = []
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == n_layers:
            held = {i: layer for i, layer in enumerate(module) if type(layer).__name__ != "PPMissingLayer"}
            if held and all(type(layer).__name__.endswith(("Layer", "Block")) for layer in held.values()):
                found.append(held)
    if len(found) != 1:
        raise TreatmentError(
            f"inspect_af: {len(found)} lists of {n_layers} layers in {type(model).__name__}; it cannot be "
            "steered. Use af-hf for this model"
        )
    if unknown := {type(layer).__name__ for layer in found[0].values()} - TWO_PARTS:
        raise TreatmentError(
            f"inspect_af: layers of class {', '.join(sorted(unknown))} were never compared with "
            "transformers, and layers return the residual stream in different forms; tested are "
            f"{', '.join(sorted(TWO_PARTS))}. Use af-hf for this model"
        )
    return found[0]


class Sums(NamedTuple):
    """Running sums of one layer, by slot; slot 0 takes tokens that nobody asked for, and is never read."""

    stream: torch.Tensor  # float32 [slot, d_model]
    norm: torch.Tensor  # float32 [slot], of the stream's Euclidean norm


def attach(
    layer: nn.Module,
    *,
    table: torch.Tensor | None = None,
    rows: torch.Tensor | None = None,
    sums: Sums | None = None,
    slots: torch.Tensor | None = None,
) -> None:
    """Makes a layer add `table[rows]`, then sum its stream into `sums[slots]`, where it has them.

    Names of modules and weights do not move: the layer's class is replaced by a subclass. The table is
    [row, d_model] in the model's dtype; rows and slots are [token].

    Raises:
        TreatmentError: The layer has a `forward` of its own, which would hide the subclass'.
    """
    if "forward" in vars(layer):
        raise TreatmentError(
            f"inspect_af: something replaced the forward of a {type(layer).__name__}, as offloading weights "
            "does, so that nothing would be added. Start the server without --cpu-offload-gb and --offload-* "
            "options"
        )
    base: Any = type(layer)
    adds, counts = table is not None, sums is not None
    buffers: dict[str, torch.Tensor | None] = {}
    if adds:
        buffers |= {"af_table": table, "af_rows": rows}
    if sums is not None:
        buffers |= {"af_stream": sums.stream, "af_norm": sums.norm, "af_slots": slots}
    for name, buffer in buffers.items():
        layer.register_buffer(name, buffer, persistent=False)

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        hidden, residual = base.forward(self, *args, **kwargs)
        n = hidden.shape[0]
        if adds:
            hidden = hidden + self.af_table.index_select(0, self.af_rows[:n])
        if counts:
            stream, slot = hidden.float() + residual.float(), self.af_slots[:n]
            self.af_stream.index_add_(0, slot, stream)
            self.af_norm.index_add_(0, slot, stream.norm(dim=1))
        return hidden, residual

    if buffers:
        layer.__class__ = type(base.__name__, (base,), {"forward": forward, "__module__": base.__module__})


_OFFSET = 4  # what vLLM subtracts


class Returning(torch.Generator):
    """A generator for CPU that can be turned back to where it was at the start of a step.

    vLLM's engine on CPU ends when a seeded request is prefilled in parts: after a part it throws the sampled
    token away and turns the request's generator back, by an offset that generators for CPU do not have.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: torch.Tensor | None = None

    def keep(self) -> None:
        """Marks the state to return to."""
        self._kept = self.get_state()

    def get_offset(self) -> int:
        return _OFFSET

    def set_offset(self, offset: int) -> torch.Generator:
        """Returns to the state that was kept."""
        if self._kept is not None:
            self.set_state(self._kept)
        return self


def keep_generators(runner: Any) -> None:
    """Makes the generators of a step's requests ones that can be turned back.

    Args:
        runner: vLLM's model runner, after its requests were brought up to date.
    """
    batch = runner.input_batch
    for index, generator in list(batch.generators.items()):
        if not isinstance(generator, Returning):
            returning = Returning()
            returning.set_state(generator.get_state())
            batch.generators[index] = generator = returning
            runner.requests[batch.req_ids[index]].generator = returning
        generator.keep()
