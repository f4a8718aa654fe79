"""A local transformers model to look into and to steer: its decoder layers and the residual stream.

Architectures name their layers differently (`model.layers`, `transformer.h`, `gpt_neox.layers`) and PEFT and
multimodal wrappers nest them deeper, so they are found by what they are: the one list of
`config.num_hidden_layers` modules of one size in the text decoder.

Steering is h <- h + v_l after each selected decoder layer, at every token that passes. torch is imported
when a function is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from inspect_af.config import require
from inspect_af.errors import ConfigError, TreatmentError, check_one_of
from inspect_af.rendering import ChatTemplate, set_template
from inspect_af.steering.vector import SteeringVector

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("auto", "float32", "bfloat16", "float16")  # `auto` is the dtype that the checkpoint was saved in

_ENCODERS = frozenset({"encoder", "vision_tower", "vision_model", "visual", "audio_tower"})


class LoadedModel(NamedTuple):
    """A model with its tokenizer, its name with those of its adapters, and its revision on the hub."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    revision: str | None = None


def load_model(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device_map: str | None = None,
    template: ChatTemplate | None = None,
) -> LoadedModel:
    """Loads a model from a directory or the hub. No code that comes with it is run, and no pickle is read.

    The name and the revision (a commit, tag or branch on the hub) are as transformers takes them,
    `device_map` as accelerate does: by default `auto` where there is an accelerator, which spreads a model
    over all of them, and the processor alone otherwise. The template says how the tokenizer renders chats,
    where not as it does by itself with a fixed date. Means are accumulated in float32, whatever the dtype.

    Raises:
        ConfigError: The model or its tokenizer cannot be loaded, or the dtype is unknown.
        MissingExtraError: torch or transformers is not installed.
    """
    check_one_of(dtype, DTYPES, what="dtype")
    with require("local", "local models"):
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    if device_map is None and torch.accelerator.is_available():
        device_map = "auto"
    source: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **source)
        set_template(tokenizer, template or ChatTemplate())
        config = AutoConfig.from_pretrained(name, **source)
        # PyTorch's own attention knows no cap on its logits (Gemma 2): some versions of transformers leave
        # it out without a word.
        capped = getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=dtype,
            device_map=device_map,
            attn_implementation="eager" if capped else None,
            use_safetensors=True,
            **source,
        )
    # The last three come from devices and quantisations that are not there.
    except (OSError, ValueError, ImportError, RuntimeError, AssertionError) as error:
        raise ConfigError(f"model {name!r} cannot be loaded: {error}") from error
    model.train(False)
    return LoadedModel(model, tokenizer, name, revision)


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
    """The layers of a decoder-only model in the order in which they run, also behind a wrapper of PEFT.

    A TreatmentError where they cannot be found, or several lists could be them.
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
    lists = {name: part for name, part in model.named_modules() if isinstance(part, torch.nn.ModuleList)}
    # Outermost only: a layer may hold lists of its own, such as experts.
    outer = {
        name: part for name, part in lists.items() if not any(name.startswith(f"{one}.") for one in lists)
    }
    fitting = [
        name
        for name, part in outer.items()
        if len(part) == count and _ENCODERS.isdisjoint(name.split("."))  # not of an image or audio encoder
    ]
    if len(fitting) > 1:
        usual = ("layers", "h", "blocks", "block")
        fitting = [name for name in fitting if name.rpartition(".")[2] in usual] or fitting
    if len(fitting) != 1:
        seen = ", ".join(f"{name} ({len(part)})" for name, part in outer.items()) or "none"
        raise TreatmentError(
            f"cannot tell which modules of {kind} are its {count} decoder layers: "
            f"{'several' if fitting else 'none'} of its lists of modules fit; lists found: {seen}. "
            "This architecture is not supported"
        )
    return fitting[0], outer[fitting[0]]


def residual(output: Any) -> torch.Tensor:
    """The residual stream, [batch, token, d_model], in what a decoder layer returned: it, or a tuple with it.

    A TreatmentError where there is no tensor with three axes in it.
    """
    import torch

    stream = output[0] if isinstance(output, tuple | list) and output else output
    if isinstance(stream, torch.Tensor) and stream.ndim == 3:
        return stream
    shape = f"a tensor with {stream.ndim} axes" if isinstance(stream, torch.Tensor) else type(stream).__name__
    raise TreatmentError(
        f"a decoder layer returned {shape} where the residual stream [batch, token, d_model] was expected; "
        "this architecture is not supported"
    )


def with_residual(output: Any, stream: torch.Tensor) -> Any:
    """A layer's output with another residual stream in its place; the counterpart of `residual`."""
    return type(output)([stream, *output[1:]]) if isinstance(output, tuple | list) else stream


class _EnoughError(Exception):
    """Ends a forward after the last layer that is needed."""


@contextmanager
def _hooked(model: PreTrainedModel, layers: Sequence[int], hook: Callable[[int, Any], Any]) -> Iterator[None]:
    """Calls `hook(layer, output)` after each of the layers, and takes what it returns as the output."""
    modules = decoder_layers(model)
    if beyond := [layer for layer in layers if not 0 <= layer < len(modules)]:
        raise TreatmentError(
            f"layers {beyond} would touch nothing: this model's layers are 0-{len(modules) - 1}"
        )
    with ExitStack() as stack:
        for layer in layers:
            handle = modules[layer].register_forward_hook(
                lambda _module, _inputs, output, layer=layer: hook(layer, output)
            )
            stack.callback(handle.remove)
        yield


@contextmanager
def watched_forward(
    model: PreTrainedModel, layers: Sequence[int], see: Callable[[int, torch.Tensor], None]
) -> Iterator[Callable[[list[list[int]]], None]]:
    """Hooks a model for as long as the context is open, and gives the function that runs token ids.

    The forward runs in inference mode, without the language-model head, and ends after the last layer that
    is needed.

    `see` is given each of the layers, which ascend, and its residual stream, [batch, token, d_model]. A
    TreatmentError where the model has not all of them.
    """
    import torch

    forward = decoder(model)

    def hook(layer: int, output: Any) -> None:
        see(layer, residual(output))
        if layer == layers[-1]:
            raise _EnoughError

    def run(ids: list[list[int]]) -> None:
        with suppress(_EnoughError):
            forward(input_ids=torch.tensor(ids, device=first_device(model)), use_cache=False)

    was_training = model.training
    try:
        model.train(False)
        with _hooked(model, layers, hook), torch.inference_mode():
            yield run
    finally:
        model.train(was_training)


def first_device(model: PreTrainedModel) -> torch.device:
    """Where ids go in: at the first weights; accelerate moves them on where the embeddings are elsewhere."""
    return next((part.device for part in model.parameters() if part.device.type != "meta"), model.device)


def additions(
    vector: SteeringVector, multiplier: float, layers: str, model: PreTrainedModel
) -> dict[int, torch.Tensor]:
    """What `steering` adds for a vector: multiplier * v_l for each selected layer, float32 [d_model].

    Errors are as of `SteeringVector.treatment` and `SteeringVector.check_model`.
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

    Additions are by decoder layer, counted from 0: [d_model], cast to the stream's dtype and device.

    A TreatmentError where there is nothing to add, a layer is not there, or a width is not the model's.
    """
    width = d_model(model)
    if not additions:
        raise TreatmentError("steering without additions would touch nothing; give at least one layer")
    for layer, addition in additions.items():
        if tuple(addition.shape) != (width,):
            raise TreatmentError(
                f"the addition at layer {layer} has shape {tuple(addition.shape)}; this model's is ({width},)"
            )
    cast = dict(additions)

    def add(layer: int, output: Any) -> Any:
        stream = residual(output)
        if cast[layer].dtype != stream.dtype or cast[layer].device != stream.device:
            cast[layer] = additions[layer].to(device=stream.device, dtype=stream.dtype)
        return with_residual(output, stream + cast[layer])

    with _hooked(model, list(additions), add):
        yield
