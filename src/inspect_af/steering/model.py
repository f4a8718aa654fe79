"""A local transformers model to look into: loading it, its decoder layers, and the residual stream.

Architectures name their layers differently (`model.layers`, `transformer.h`, `gpt_neox.layers`) and PEFT and
multimodal wrappers nest them deeper, so they are found by what they are: the one list of
`config.num_hidden_layers` modules of one size in the text decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from inspect_af.config import require
from inspect_af.errors import ConfigError, TreatmentError, one_of
from inspect_af.rendering import ChatTemplate, set_template

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""`auto` is the dtype that the checkpoint was saved in."""

_ENCODERS = frozenset({"encoder", "vision_tower", "vision_model", "visual", "audio_tower"})


class LoadedModel(NamedTuple):
    """A model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def load_model(
    name: str,
    *,
    revision: str | None = None,
    dtype: Dtype = "auto",
    device_map: str | None = None,
    template: ChatTemplate | None = None,
) -> LoadedModel:
    """Loads a model from a directory or the hub. No code that comes with it is run, and no pickle is read.

    Args:
        name: As transformers takes it.
        revision: Commit, tag or branch on the hub.
        dtype: Of weights and activations; means are accumulated in float32 in any case.
        device_map: As accelerate takes it; by default `auto` where there is an accelerator, which spreads a
            model over all of them, and the processor alone otherwise.
        template: How the tokenizer renders chats, where not as it does by itself with a fixed date.

    Raises:
        ConfigError: The model or its tokenizer cannot be loaded, or the dtype is unknown.
        MissingExtraError: torch or transformers is not installed.
    """
    if dtype not in get_args(Dtype):
        raise one_of(dtype, get_args(Dtype), what="dtype")
    with require("local", "local models"):
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    if device_map is None and torch.accelerator.is_available():
        device_map = "auto"
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
        set_template(tokenizer, template or ChatTemplate())
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
        # PyTorch's own attention knows no cap on its logits (Gemma 2): some versions of transformers leave
        # it out without a word.
        capped = getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            dtype=dtype,
            device_map=device_map,
            attn_implementation="eager" if capped else None,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"model {name!r} cannot be loaded: {error}") from error
    model.train(False)
    return LoadedModel(model, tokenizer)


def text_config(model: PreTrainedModel) -> Any:
    """Configuration of the text decoder, also of a multimodal model."""
    return model.config.get_text_config(decoder=True)


def context_length(model: PreTrainedModel) -> int | None:
    """Most tokens that the model can attend to; None where its configuration does not say."""
    limit = getattr(text_config(model), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def d_model(model: PreTrainedModel) -> int:
    """Width of the residual stream; a TreatmentError where the model's configuration does not say."""
    width = getattr(text_config(model), "hidden_size", None)
    if not isinstance(width, int):
        raise TreatmentError(f"the configuration of {type(model).__name__} gives no hidden_size")
    return width


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

    It takes `input_ids`, `attention_mask` and `position_ids`. Errors are those of `decoder_layers`.
    """
    return model.get_submodule(_located(model)[0].rpartition(".")[0])


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
    fitting = [
        (name, part)
        for name, part in outer
        if len(part) == count and _ENCODERS.isdisjoint(name.split("."))  # not of an image or audio encoder
    ]
    if len(fitting) > 1:
        usual = ("layers", "h", "blocks", "block")
        fitting = [entry for entry in fitting if entry[0].rpartition(".")[2] in usual] or fitting
    if len(fitting) != 1:
        seen = ", ".join(f"{name} ({len(part)})" for name, part in outer) or "none"
        raise TreatmentError(
            f"cannot tell which modules of {kind} are its {count} decoder layers: "
            f"{'none' if not fitting else 'several'} of its lists of modules fit; lists found: {seen}. "
            "This architecture is not supported"
        )
    return fitting[0]


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


class _EnoughError(Exception):
    """Ends a forward after the last layer that is needed."""


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

    def hook_after(layer: int) -> Callable[..., None]:
        def hook(_module: Any, _args: Any, output: Any) -> None:
            see(layer, residual(output))
            if layer == layers[-1]:
                raise _EnoughError

        return hook

    def run(ids: list[list[int]]) -> None:
        with suppress(_EnoughError):
            forward(input_ids=torch.tensor(ids, device=first_device(model)), use_cache=False)

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


def first_device(model: PreTrainedModel) -> torch.device:
    """Where ids go in: at the first weights; accelerate moves them on where the embeddings are elsewhere."""
    return next((part.device for part in model.parameters() if part.device.type != "meta"), model.device)
