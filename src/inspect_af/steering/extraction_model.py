"""Loading a model to look into: its decoder, its tokenizer, and where both are placed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from inspect_af.errors import ConfigError, MissingExtraError, one_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""`auto` is the dtype that the checkpoint was saved in."""


_ADAPTER_WEIGHTS = "adapter_model.safetensors"


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
    adapters: tuple[str, ...] = (),
) -> LoadedModel:
    """Loads a model from a directory or the hub. No code that comes with it is run, and no pickle is read.

    Args:
        name: As transformers takes it.
        revision: Commit, tag or branch on the hub.
        dtype: Of weights and activations; means are accumulated in float32 in any case.
        device_map: As accelerate takes it; by default `auto` where there is an accelerator, which spreads a
            model over all of them, and the processor alone otherwise.
        adapters: Directories of PEFT adapters in safetensors, merged into the weights one after the other.

    Raises:
        ConfigError: The model, its tokenizer or an adapter cannot be loaded, or the dtype is unknown.
        MissingExtraError: torch or transformers is not installed.
    """
    if dtype not in get_args(Dtype):
        raise one_of(dtype, get_args(Dtype), what="dtype")
    try:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("local models need torch; pip install 'inspect-af[local]'") from error
    for adapter in adapters:
        if not (Path(adapter) / _ADAPTER_WEIGHTS).is_file():
            raise ConfigError(
                f"adapter {adapter!r}: there is no {_ADAPTER_WEIGHTS} in it; give a directory with a PEFT "
                "adapter in safetensors (pickled .bin weights are not read)"
            )
    if device_map is None and torch.accelerator.is_available():
        device_map = "auto"
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            dtype=dtype,
            device_map=device_map,
            attn_implementation=_attention(config),
            trust_remote_code=False,
            use_safetensors=True,
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"model {name!r} cannot be loaded: {error}") from error
    for adapter in adapters:
        model = _merged(model, adapter)
    model.train(False)
    return LoadedModel(model, tokenizer)


def _attention(config: Any) -> str | None:
    """`eager` where attention logits are capped, as in Gemma 2; None leaves the choice to transformers.

    PyTorch's own attention knows no cap: some versions of transformers leave it out without a word.
    """
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    return None if capped is None else "eager"


def _merged(model: PreTrainedModel, adapter: str) -> PreTrainedModel:
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MissingExtraError("adapters need peft; pip install 'inspect-af[local]'") from error
    try:
        wrapped = PeftModel.from_pretrained(model, adapter)
        merged: PreTrainedModel = wrapped.merge_and_unload(safe_merge=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"adapter {adapter!r} cannot be applied: {error}") from error
    return merged
