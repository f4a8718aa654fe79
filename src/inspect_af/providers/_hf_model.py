"""A transformers model with its tokenizer: loading, one forward pass, and applying a condition."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from transformers import AttentionInterface, AutoModelForCausalLM, AutoTokenizer

from inspect_af.errors import ConfigError, TreatmentError
from inspect_af.providers._applied import Applied
from inspect_af.providers._hf_attention import NAME, SharedPrefixCache, Span, attention, step
from inspect_af.sdf.adapters import Adapter, adapter_config, adapter_digest, check_base
from inspect_af.sdf.combine import LoadedAdapters
from inspect_af.steering.hooks import additions, steering
from inspect_af.steering.model import decoder_layers, text_config

_BATCH_DEPENDENT_ROTATIONS = ("dynamic", "longrope")
_LAYER_TYPES = ("full_attention", "sliding_attention")
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq")  # these subtract what they start from
_NO_DEFAULTS = (
    "bad_words_ids",
    "begin_suppress_tokens",
    "encoder_repetition_penalty",
    "epsilon_cutoff",
    "eta_cutoff",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "min_length",
    "min_new_tokens",
    "min_p",
    "no_repeat_ngram_size",
    "sequence_bias",
    "suppress_tokens",
    "top_h",
    "typical_p",
)
"""Of a checkpoint's generation defaults, those that change replies and are not there."""


class ModelKey(NamedTuple):
    """What decides which weights are in memory and how."""

    name: str
    """Hub id or local directory."""
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"


class LocalModel:
    """A model that runs steps of the shared-prefix attention.

    Raises:
        ConfigError: It cannot be loaded.
        TreatmentError: Its architecture cannot be served by af-hf.
    """

    def __init__(self, key: ModelKey) -> None:
        AttentionInterface.register(NAME, attention)
        self.key = key
        where = _device_map(key.device)
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(
                key.name, revision=key.revision, trust_remote_code=False
            )
            self.model: Any = AutoModelForCausalLM.from_pretrained(
                key.name,
                revision=key.revision,
                dtype=key.dtype if key.dtype == "auto" else _dtype(key.dtype),
                device_map=where,
                attn_implementation=NAME,
                trust_remote_code=False,
                use_safetensors=True,
            )
        except KeyError as error:
            if NAME not in error.args:
                raise
            raise TreatmentError(
                f"{key.name} takes its attention from a table of its own, in which af-hf's is not. Use "
                "Inspect's hf/ or af-vllm for this model"
            ) from error
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"af-hf cannot load {key.name!r} (revision {key.revision or 'default'}, dtype {key.dtype}, "
                f"device {key.device}): {error}"
            ) from error
        self.model.train(mode=False)
        self._refuse_unsupported()
        _warn_of_defaults(self.model.generation_config, key.name)
        self._device: torch.device = cast(torch.Tensor, self.model.get_input_embeddings().weight).device
        self._adapters = LoadedAdapters(self.model)
        self._spoiled_by: str | None = None
        """An adapter that failed halfway: what was loaded of it would act on every condition."""
        self._checked = False

    @property
    def context_length(self) -> int | None:
        """Tokens that prompt and reply may have together; None where the configuration does not say."""
        limit = getattr(text_config(self.model), "max_position_embeddings", None)
        return limit if isinstance(limit, int) and limit > 0 else None

    @property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end a reply."""
        named = [self.model.generation_config.eos_token_id, self.tokenizer.eos_token_id]
        flat = [token for one in named for token in (one if isinstance(one, list) else [one])]
        return frozenset(token for token in flat if token is not None)

    def logits(
        self,
        cache: SharedPrefixCache,
        spans: Sequence[Span],
        tokens: Sequence[int],
        keep: Sequence[int],
    ) -> torch.Tensor:
        """One forward pass over the tokens of the spans, which it adds to the cache.

        Args:
            cache: Keys and values so far.
            spans: Whose tokens these are, in order.
            tokens: All spans' tokens, one after the other.
            keep: At which of them logits are wanted.

        Returns:
            [kept token, vocabulary].
        """
        positions = [
            cache.prefix_length + span.start + offset for span in spans for offset in range(span.length)
        ]
        with step(cache, spans) as seen:
            output = self.model(
                input_ids=torch.tensor([tokens], device=self._device),
                position_ids=torch.tensor([positions], device=self._device),
                # No tensor: it would lie on the first device, and hidden states may come from the last.
                logits_to_keep=list(keep),
                use_cache=False,
            )
        if not self._checked:
            self._check_attention_ran(seen)
        logits: torch.Tensor = output.logits[0]
        return logits

    @contextmanager
    def applied(self, condition: Applied) -> Iterator[None]:
        """Adapters and steering of one condition, while the context is open.

        Raises:
            TreatmentError: An adapter is for another base or cannot be taken off again, a vector does not
                fit the model, or an adapter has failed while it was loaded.
        """
        if self._spoiled_by is not None:
            raise TreatmentError(
                f"{self.key.name} may hold part of the adapter {self._spoiled_by}, which failed while it was "
                "loaded; start anew without that adapter"
            )
        self._adapters.activate([self._adapter(adapter, condition) for adapter in condition.adapters])
        held = condition.steered
        if held is None:
            yield
            return
        with steering(self.model, additions(held.vector, held.multiplier, held.layers, self.model)):
            yield

    def _adapter(self, adapter: Adapter, condition: Applied) -> str:
        """The name under which an adapter is in the model, which it is put into on first use."""
        path, name = str(adapter.path), str(adapter.digest)
        if name in self._adapters.names:
            return name
        check_base(
            adapter,
            self.model.config,
            name=self.key.name,
            directory=self.key.name if Path(self.key.name).is_dir() else None,
            any_name=condition.any_base,
            override="-M adapter_base=any",
        )
        _refuse_inseparable(adapter)
        if adapter_digest(adapter.path) != name:
            raise TreatmentError(f"adapter {path} has changed since it was read; start again")
        try:
            self._adapters.add(adapter.path, name)
        except TreatmentError:
            raise
        except Exception as error:
            self._spoiled_by = path
            if not isinstance(error, ValueError | RuntimeError | KeyError):
                raise
            raise TreatmentError(
                f"adapter {path} does not fit {self.key.name}: {error}. It was trained on another base, or "
                "with an option that PEFT cannot combine"
            ) from error
        return name

    def _refuse_unsupported(self) -> None:
        config, kind = text_config(self.model), type(self.model).__name__
        rotations = getattr(config, "rope_parameters", None) or {}
        nested = [rotations, *(value for value in rotations.values() if isinstance(value, dict))]
        for rotation in (one.get("rope_type") for one in nested):
            if rotation in _BATCH_DEPENDENT_ROTATIONS:
                raise TreatmentError(
                    f"{kind} rotates positions by {rotation!r}, where one row's length changes the rows "
                    "beside it; use Inspect's hf/ or af-vllm for this model"
                )
        other = set(getattr(config, "layer_types", None) or ()) - set(_LAYER_TYPES)
        if other or getattr(config, "attention_chunk_size", None):
            raise TreatmentError(
                f"{kind} has {', '.join(sorted(other)) or 'chunked attention'} layers; af-hf serves "
                f"{' and '.join(_LAYER_TYPES)}. Use Inspect's hf/ or af-vllm for this model"
            )

    def _check_attention_ran(self, windows: Mapping[int, int | None]) -> None:
        kind, layers = type(self.model).__name__, len(decoder_layers(self.model))
        if sorted(windows) != list(range(layers)):
            raise TreatmentError(
                f"{kind} called af-hf's attention in {len(windows)} of {layers} "
                "layers: it has an attention of its own. Use Inspect's hf/ or af-vllm for this model"
            )
        # Some models say a window to their mask alone, which af-hf does not use.
        for layer, meant in enumerate(_windows(text_config(self.model), layers, self.context_length)):
            if meant is not None and windows[layer] != meant:
                raise TreatmentError(
                    f"layer {layer} of {kind} has a sliding window of {meant} tokens by its configuration "
                    f"and {windows[layer] or 'none'} in its attention, so af-hf would attend to other tokens "
                    "than the model was trained with. Use Inspect's hf/ or af-vllm for this model"
                )
        self._checked = True


def _windows(config: Any, layers: int, context: int | None) -> list[int | None]:
    """The sliding window of each layer by the configuration; None without one that a prompt can reach."""
    window = getattr(config, "sliding_window", None)
    if not window or getattr(config, "use_sliding_window", True) is False or window >= (context or math.inf):
        return [None] * layers
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * layers
    return [window if kind == "sliding_attention" else None for kind in kinds]


def _refuse_inseparable(adapter: Adapter) -> None:
    """Refuses adapters that change the base's own weights: with them the base would not be itself any more.

    Raises:
        TreatmentError: It is one of those, or one that acts from a token on.
    """
    config = adapter_config(adapter.path)
    start = config.get("init_lora_weights")
    for given, changes in (
        (f"bias={config.get('bias')!r}", config.get("bias", "none") != "none"),
        (f"init_lora_weights={start!r}", isinstance(start, str) and start.startswith(_CHANGES_BASE)),
        ("alora_invocation_tokens", bool(config.get("alora_invocation_tokens"))),
    ):
        if changes:
            raise TreatmentError(
                f"adapter {adapter.path} has {given}, so it cannot be taken off again while other conditions "
                "share the model; merge it into a model directory of its own (PEFT's merge_and_unload) and "
                "give that as the model"
            )


def _warn_of_defaults(defaults: Any, name: str) -> None:
    """Warns of what a checkpoint's generation_config.json asks for and af-hf does not do."""
    given = {setting: getattr(defaults, setting, None) for setting in _NO_DEFAULTS}
    if asked := {setting: value for setting, value in given.items() if value not in (None, 0, 1, [], {})}:
        shown = ", ".join(f"{setting}={value!r}" for setting, value in asked.items())
        warnings.warn(f"af-hf ignores {shown} of {name}'s generation_config.json", stacklevel=2)


def _device_map(device: str) -> str:
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda:0" if torch.cuda.device_count() == 1 else "auto"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ConfigError(f"dtype {name!r}; one of auto, float32, bfloat16, float16")
    return found
