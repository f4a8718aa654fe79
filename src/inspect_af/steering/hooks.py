"""Steering at inference: h <- h + v_l after each selected decoder layer, at every token that passes.

Needs torch, which is imported when a function is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from inspect_af.errors import TreatmentError
from inspect_af.steering.model import d_model, decoder_layers, residual, with_residual
from inspect_af.steering.vector import SteeringVector

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def additions(
    vector: SteeringVector, multiplier: float, layers: str, model: PreTrainedModel
) -> dict[int, torch.Tensor]:
    """What `steering` adds for a vector: multiplier * v_l for each selected layer, float32 [d_model].

    Raises:
        ConfigError: The multiplier is not a finite number, or the range of layers is malformed.
        TreatmentError: The vector is for a model of another width, or a layer is not in the vector or the
            model.
    """
    import torch

    size = vector.treatment(multiplier, layers).multiplier
    selected = vector.check_model(d_model=d_model(model), n_layers=len(decoder_layers(model)), layers=layers)
    return {layer: torch.tensor(vector.at(layer)) * size for layer in selected}


@contextmanager
def steering(model: PreTrainedModel, additions: Mapping[int, torch.Tensor]) -> Iterator[None]:
    """Adds a direction to the residual stream while the context is open, at prompt and generated tokens.

    Contexts nest, and their additions sum. An addition of zeros leaves every bit of the stream as it is.
    A cache of keys and values that was filled under other additions must not be used in here.

    Args:
        model: Any model whose layers `decoder_layers` finds.
        additions: By decoder layer, counted from 0: [d_model], cast to the stream's dtype and device.

    Raises:
        TreatmentError: There is nothing to add, a layer is not there, or a width is not the model's.
    """
    found = decoder_layers(model)
    width = d_model(model)
    if not additions:
        raise TreatmentError("steering without additions would touch nothing; give at least one layer")
    for layer, addition in additions.items():
        if not 0 <= layer < len(found):
            raise TreatmentError(
                f"steering at layer {layer} would touch nothing: this model's layers are 0-{len(found) - 1}"
            )
        if tuple(addition.shape) != (width,):
            raise TreatmentError(
                f"the addition at layer {layer} has shape {tuple(addition.shape)}; this model's is ({width},)"
            )
    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for layer, addition in additions.items():
            handles.append(found[layer].register_forward_hook(_adding(addition)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _adding(addition: torch.Tensor) -> Callable[[Any, Any, Any], Any]:
    cast = addition

    def hook(module: Any, inputs: Any, output: Any) -> Any:
        nonlocal cast
        stream = residual(output)
        if cast.dtype != stream.dtype or cast.device != stream.device:
            cast = addition.to(device=stream.device, dtype=stream.dtype)
        return with_residual(output, stream + cast)

    return hook
