"""The model that is trained: the base in its precision, the parents, and fresh LoRA matrices on top."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_af.errors import ConfigError, MissingExtraError
from inspect_af.sdf.adapters import Hyperparameters, check_base, check_effect, check_parents, load_adapter
from inspect_af.sdf.base_model import base_directory, base_fingerprint, base_shape
from inspect_af.sdf.combine import LoadedBase, combined, merge, stack
from inspect_af.sdf.training_config import Attention, TrainingConfig

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from inspect_af.sdf.base_model import BaseShape


def require_training() -> None:
    """Makes sure that the optional dependencies are there.

    Raises:
        MissingExtraError: One is not; the message names it.
    """
    for name in ("torch", "transformers", "peft", "trl", "datasets", "tensorboard", "matplotlib"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(f"training needs {name}; pip install 'inspect-af[train]'")


def load_base(config: TrainingConfig) -> PreTrainedModel:
    """The base with the parents in it, nothing trainable yet.

    Raises:
        TreatmentError: A parent is of another base, or cannot be merged or stacked.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = AutoConfig.from_pretrained(config.base, revision=config.revision, trust_remote_code=False)
    capped = getattr(shape.get_text_config(), "attn_logit_softcapping", None) is not None
    dtype = torch.bfloat16 if config.hyperparameters.precision == "bf16" else torch.float32
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        config.base,
        revision=config.revision,
        dtype=dtype,
        attn_implementation=attention_kind(config.attention, capped=capped),
        trust_remote_code=False,
        use_safetensors=True,
    )
    model.config.use_cache = False
    if config.parents:
        _add_parents(model, config.parents, config.combine, config.base)
    return model


def load_tokenizer(config: TrainingConfig) -> PreTrainedTokenizerBase:
    """The base's tokenizer.

    Raises:
        ConfigError: It has no end-of-text token, by which documents are separated.
    """
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        config.base, revision=config.revision, trust_remote_code=False
    )
    if tokenizer.eos_token is None:
        raise ConfigError(f"base {config.base}: its tokenizer has no eos_token, which ends each document")
    return tokenizer


def lora_config(hyperparameters: Hyperparameters) -> LoraConfig:
    """PEFT's configuration of the matrices that are trained."""
    from peft import LoraConfig

    modules = hyperparameters.target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=hyperparameters.rank,
        lora_alpha=hyperparameters.alpha,
        lora_dropout=hyperparameters.dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
        bias="none",
    )


def attention_kind(wanted: Attention, *, capped: bool) -> str:
    """The attention that transformers is told to use.

    Flash attention takes a row's documents apart without a mask. PyTorch's own does it with one, whose cost
    grows with the square of the row; it knows no cap on attention logits, as Gemma 2 has.
    """
    if wanted != "auto":
        return wanted
    import torch

    if torch.cuda.is_available() and importlib.util.find_spec("flash_attn") is not None:
        return "flash_attention_2"
    return "eager" if capped else "sdpa"


def describe_base(model: PreTrainedModel, config: TrainingConfig) -> tuple[BaseShape, str | None, str | None]:
    """Shape, fingerprint and exact revision of the base, as far as they can be known."""
    directory = base_directory(config.base, config.revision)
    commit = getattr(model.config, "_commit_hash", None)
    return (
        base_shape(model.config),
        base_fingerprint(directory) if directory else None,
        commit or config.revision,
    )


def _add_parents(model: Any, paths: Sequence[Path], combine: str, base: str) -> None:
    parents = [load_adapter(path) for path in paths]
    check_parents(parents)
    for parent in parents:
        check_base(parent, model.config, name=base, directory=base if Path(base).is_dir() else None)
        check_effect(parent.path, LoadedBase(model))
    (merge if combine == "merge" else stack)(model, combined(paths))
