"""Where the decoder layers of a transformers model are, and what of their output is the residual stream.

Architectures name their layers differently (`model.layers`, `transformer.h`, `gpt_neox.layers`) and PEFT and
multimodal wrappers nest them deeper, so they are found by what they are: the one list of
`config.num_hidden_layers` modules of one size in the text decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from inspect_af.errors import TreatmentError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def decoder_layers(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The decoder's layers, in the order in which they run.

    Args:
        model: Any decoder-only transformers model, with or without a PEFT wrapper or a language-model head.

    Raises:
        TreatmentError: They cannot be found, or several lists could be them.
    """
    return _located(model)[1]


def decoder(model: PreTrainedModel) -> torch.nn.Module:
    """The module whose forward runs embeddings and layers without a language-model head.

    It takes `input_ids`, `attention_mask` and `position_ids`.

    Raises:
        TreatmentError: The layers cannot be found.
    """
    name = _located(model)[0]
    return model.get_submodule(name.rpartition(".")[0])


def residual(output: Any) -> torch.Tensor:
    """The residual stream in what a decoder layer returned: [batch, token, d_model].

    Layers of transformers return it alone, or as the first of a tuple.

    Raises:
        TreatmentError: There is no tensor with three axes in it.
    """
    import torch

    stream = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(stream, torch.Tensor) or stream.ndim != 3:
        shape = (
            f"a tensor with {stream.ndim} axes" if isinstance(stream, torch.Tensor) else type(stream).__name__
        )
        raise TreatmentError(
            f"a decoder layer returned {shape} where the residual stream [batch, token, d_model] was "
            "expected; this architecture is not supported"
        )
    return stream


def with_residual(output: Any, stream: torch.Tensor) -> Any:
    """A layer's output with another residual stream in its place; the counterpart of `residual`."""
    if isinstance(output, tuple):
        return (stream, *output[1:])
    if isinstance(output, list):
        return [stream, *output[1:]]
    return stream


@contextmanager
def watched_forward(
    model: PreTrainedModel, layers: Sequence[int], see: Callable[[int, torch.Tensor], None]
) -> Iterator[Callable[[list[list[int]]], None]]:
    """Hooks a model for as long as the context is open, and gives the function that runs token ids.

    The forward runs in inference mode, without the language-model head, and ends after the last layer that
    is needed.

    Args:
        model: On one device, or dispatched over several by accelerate.
        layers: Ascending indices of decoder layers.
        see: Is given each of these layers and its residual stream, [batch, token, d_model].

    Raises:
        TreatmentError: The model has not all of these layers.
    """
    import torch

    modules, forward = decoder_layers(model), decoder(model)
    if beyond := [layer for layer in layers if not 0 <= layer < len(modules)]:
        raise TreatmentError(f"no layers {beyond}: the layers of this model are 0-{len(modules) - 1}")
    # Ids go in where the first weights are; accelerate moves them on where the embeddings are elsewhere.
    device = next((part.device for part in model.parameters() if part.device.type != "meta"), model.device)

    def hook_after(layer: int) -> Callable[..., None]:
        def hook(_module: Any, _args: Any, output: Any) -> None:
            see(layer, residual(output))
            if layer == layers[-1]:
                raise _EnoughError

        return hook

    def run(ids: list[list[int]]) -> None:
        with suppress(_EnoughError):
            forward(input_ids=torch.tensor(ids, device=device), use_cache=False)

    handles: list[Any] = []
    was_training = model.training
    try:
        model.train(False)
        for layer in layers:
            handles.append(modules[layer].register_forward_hook(hook_after(layer)))
        with torch.inference_mode():
            yield run
    finally:
        for handle in handles:
            handle.remove()
        model.train(was_training)


class _EnoughError(Exception):
    """Ends a forward after the last layer that is needed."""


def d_model(model: PreTrainedModel) -> int:
    """Width of the residual stream.

    Raises:
        TreatmentError: The model's configuration does not say.
    """
    width = getattr(text_config(model), "hidden_size", None)
    if not isinstance(width, int):
        raise TreatmentError(f"the configuration of {type(model).__name__} gives no hidden_size")
    return width


def text_config(model: PreTrainedModel) -> Any:
    """Configuration of the text decoder, also of a multimodal model."""
    return model.config.get_text_config(decoder=True)


def _located(model: PreTrainedModel) -> tuple[str, torch.nn.ModuleList]:
    import torch

    count = getattr(text_config(model), "num_hidden_layers", None)
    kind = type(model).__name__
    if not isinstance(count, int) or count < 1:
        raise TreatmentError(f"the configuration of {kind} gives no num_hidden_layers")
    lists = [(name, part) for name, part in model.named_modules() if isinstance(part, torch.nn.ModuleList)]
    # Outermost only: a layer may hold lists of its own, such as experts.
    outer = [
        (name, part)
        for name, part in lists
        if not any(name.startswith(f"{other}.") for other, _ in lists if other != name)
    ]
    fitting = [(name, part) for name, part in outer if len(part) == count and not _elsewhere(name)]
    if len(fitting) > 1:
        named = [
            entry for entry in fitting if entry[0].rpartition(".")[2] in ("layers", "h", "blocks", "block")
        ]
        fitting = named or fitting
    if len(fitting) != 1:
        seen = ", ".join(f"{name} ({len(part)})" for name, part in outer) or "none"
        raise TreatmentError(
            f"cannot tell which modules of {kind} are its {count} decoder layers: "
            f"{'none' if not fitting else 'several'} of its lists of modules fit; lists found: {seen}. "
            "This architecture is not supported"
        )
    return fitting[0]


_ENCODERS = frozenset({"encoder", "vision_tower", "vision_model", "visual", "audio_tower"})


def _elsewhere(name: str) -> bool:
    """Whether a list belongs to an image, audio or text encoder beside the decoder."""
    return not _ENCODERS.isdisjoint(name.split("."))
