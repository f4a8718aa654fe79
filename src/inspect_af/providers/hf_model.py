"""A transformers model as af-hf runs it: loading, one forward pass, applying a condition, and its attention.

The attention is over a prefix that all rows share and over each row's own tokens. All tokens of a step stand
in one sequence, [1, token, d_model]: either one token for each row (decoding) or consecutive tokens of one
or more rows (prefill). The prefix's keys are read once for all rows, in one product, which is what makes
long shared prompts cheap in prefill and in decoding. Scores are in the model's dtype and their softmax in
float32, as in transformers' `eager` attention.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from transformers import AttentionInterface, AutoModelForCausalLM, AutoTokenizer

from inspect_af.errors import ConfigError, TreatmentError
from inspect_af.providers.settings import Applied
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

    def cache_tokens(self) -> float:
        """How many tokens' keys and values fit into the memory that is free now.

        A token takes 2 x layers x key-value heads x head width numbers of the model's dtype. Half of the
        memory is left to activations, and to the copy that is there while the cache grows.
        """
        config, free = text_config(self.model), _free_memory(self._device)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        size = 2 * config.num_hidden_layers * heads * width * self.model.dtype.itemsize
        return 0.5 * free / float(size)

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


def _free_memory(device: torch.device) -> float:
    """Bytes that are free where the model is; infinite where nobody says."""
    if device.type == "cuda":
        # Layers and their caches are spread over all devices alike.
        count = torch.cuda.device_count()
        return sum(
            torch.cuda.mem_get_info(at)[0] + torch.cuda.memory_reserved(at) - torch.cuda.memory_allocated(at)
            for at in ([device.index or 0] if count == 1 else range(count))
        )
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    return math.inf


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ConfigError(f"dtype {name!r}; one of auto, float32, bfloat16, float16")
    return found


NAME = "af_shared_prefix"
"""Under which the attention is registered with transformers."""
_UNSERVED = ("position_bias", "indices", "block_indices", "sinks")  # further terms of some attentions
_LARGEST_SCORES = 2**27  # elements of one block of scores; 512 MiB in float32


class Span(NamedTuple):
    """Consecutive new tokens of one row in a step."""

    row: int
    """Slot in the cache."""
    start: int
    """How many of the row's own tokens are in the cache already."""
    length: int


class KeyValues:
    """Keys and values of one layer: of the shared prefix, and of each row after it.

    `prefix_*` are [kv head, prefix token, head dim]; `own_*` are [slot, kv head, own token, head dim], of
    which tokens past a row's length hold nothing of value.
    """

    def __init__(self) -> None:
        self.prefix_k: torch.Tensor | None = None
        self.prefix_v: torch.Tensor | None = None
        self.own_k: torch.Tensor | None = None
        self.own_v: torch.Tensor | None = None

    def reserve(self, like: torch.Tensor, values_like: torch.Tensor, slots: int, tokens: int) -> None:
        """Makes room for `slots` rows of `tokens` own tokens each, keeping what is there."""
        if self.own_k is not None and self.own_k.shape[0] >= slots and self.own_k.shape[2] >= tokens:
            return
        self.own_k = _grown(self.own_k, like, slots, tokens)
        self.own_v = _grown(self.own_v, values_like, slots, tokens)


class SharedPrefixCache:
    """Keys and values of all layers."""

    def __init__(self) -> None:
        self.layers: dict[int, KeyValues] = {}
        self.prefix_length = 0

    def move(self, source: int, target: int) -> None:
        """Puts one row into another slot."""
        for layer in self.layers.values():
            assert layer.own_k is not None and layer.own_v is not None
            layer.own_k[target] = layer.own_k[source]
            layer.own_v[target] = layer.own_v[source]

    def cut_prefix(self, length: int) -> None:
        """Forgets the prefix past `length` tokens. Only where no row stands on it."""
        for layer in self.layers.values():
            if layer.prefix_k is not None and layer.prefix_v is not None:
                layer.prefix_k = layer.prefix_k[:, :length].contiguous()
                layer.prefix_v = layer.prefix_v[:, :length].contiguous()
        self.prefix_length = length

    def extend_prefix(self, row: int, length: int, lengths: Sequence[int]) -> None:
        """Moves the first `length` own tokens, which all rows have in common, to the prefix.

        Args:
            row: The row from which they are taken.
            length: How many.
            lengths: Own tokens in the cache, by slot.
        """
        for layer in self.layers.values():
            assert layer.own_k is not None and layer.own_v is not None
            # Copies: the row's own place is written to again.
            layer.prefix_k = _joined(layer.prefix_k, layer.own_k[row, :, :length].clone())
            layer.prefix_v = _joined(layer.prefix_v, layer.own_v[row, :, :length].clone())
            for slot, held in enumerate(lengths):
                if held > length:
                    layer.own_k[slot, :, : held - length] = layer.own_k[slot, :, length:held].clone()
                    layer.own_v[slot, :, : held - length] = layer.own_v[slot, :, length:held].clone()
        self.prefix_length += length


class _Rows(NamedTuple):
    """Where the tokens of a decoding step go; the same in every layer of a device."""

    slots: torch.Tensor
    """[row]"""
    at: torch.Tensor
    """Place among the row's own tokens, [row]."""
    distance: torch.Tensor
    """From own keys to the new token, negative for keys after it, [row, own token]."""


class _Step:
    def __init__(self, cache: SharedPrefixCache, spans: Sequence[Span]) -> None:
        self.cache = cache
        self.spans = spans
        self.seen: dict[int, int | None] = {}
        """By layer whose attention ran: the sliding window that it asked for."""
        self.slots = max(span.row for span in spans) + 1
        self.longest = max(span.start + span.length for span in spans)
        self.decoding = all(span.length == 1 and span.row == i for i, span in enumerate(spans))
        self._rows: dict[torch.device, _Rows] = {}

    def rows(self, device: torch.device) -> _Rows:
        if device not in self._rows:
            at = torch.tensor([span.start for span in self.spans], device=device)
            distance = at[:, None] - torch.arange(self.longest, device=device)
            self._rows[device] = _Rows(torch.arange(len(self.spans), device=device), at, distance)
        return self._rows[device]


_current = threading.local()


@contextmanager
def step(cache: SharedPrefixCache, spans: Sequence[Span]) -> Iterator[dict[int, int | None]]:
    """Says what the tokens of a forward pass are; gives the sliding window of each layer that ran."""
    _current.step = _Step(cache, spans)
    try:
        yield _current.step.seen
    finally:
        _current.step = None


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **ignored: Any,
) -> tuple[torch.Tensor, None]:
    """Transformers' attention interface; query [1, head, token, head dim], key and value by kv head."""
    now: _Step | None = getattr(_current, "step", None)
    if now is None:
        raise ConfigError("this model was loaded for af-hf and runs in its engine only")
    unserved = [name for name in _UNSERVED if ignored.get(name) is not None]
    if unserved or ignored.get("is_causal") is False:
        raise TreatmentError(
            f"{type(module).__name__} attends with {', '.join(unserved) or 'tokens that are still to come'}, "
            "which af-hf does not know. Use Inspect's hf/ or af-vllm for this model"
        )
    prefix = now.cache.prefix_length
    now.seen[module.layer_idx] = sliding_window
    held = now.cache.layers.setdefault(module.layer_idx, KeyValues())
    held.reserve(key, value, now.slots, now.longest)
    rule = _Rule(
        window=sliding_window,
        softcap=softcap,
        sinks=getattr(module, "sinks", None) if ignored.get("s_aux") is None else ignored["s_aux"],
    )
    # Scaled here and not at the scores, which are many more numbers.
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    grouped = query[0].reshape(key.shape[1], -1, *query.shape[2:])  # [kv head, group, token, head dim]
    if now.decoding:
        out = _decode(grouped, key[0], value[0], held, now.rows(query.device), prefix, rule)
    else:
        parts, at = [], 0
        for span in now.spans:
            here = slice(at, at + span.length)
            new = grouped[:, :, here], key[0, :, here], value[0, :, here]
            parts.append(_prefill(*new, held, span, prefix, rule))
            at += span.length
        out = torch.cat(parts, dim=2)
    return out.flatten(0, 1).transpose(0, 1).unsqueeze(0), None  # [1, token, head, head dim]


class _Rule(NamedTuple):
    window: int | None
    softcap: float | None
    sinks: torch.Tensor | None
    """Logit of attending to nothing, by head."""

    def weights(self, scores: torch.Tensor) -> torch.Tensor:
        """Attention weights from masked scores [kv head, group, ..., key]."""
        if self.sinks is None:
            return torch.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)
        sinks = self.sinks.reshape(*scores.shape[:2], *(1,) * (scores.ndim - 2))
        with_sink = torch.cat([scores, sinks.expand(*scores.shape[:-1], 1).to(scores.dtype)], dim=-1)
        return torch.softmax(with_sink, dim=-1, dtype=torch.float32).to(scores.dtype)[..., :-1]

    def scores(self, products: torch.Tensor) -> torch.Tensor:
        return products if self.softcap is None else torch.tanh(products / self.softcap) * self.softcap


def _decode(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    held: KeyValues,
    rows_at: _Rows,
    prefix: int,
    rule: _Rule,
) -> torch.Tensor:
    """One token for each row of slots 0, 1, ...; shapes as in `_prefill`, token for row."""
    assert held.own_k is not None and held.own_v is not None
    slots, at, distance = rows_at
    rows, longest = distance.shape
    held.own_k[slots, :, at] = key.transpose(0, 1)
    held.own_v[slots, :, at] = value.transpose(0, 1)
    by_row = query.permute(2, 0, 1, 3)  # [row, kv head, group, head dim]
    scores = rule.scores(by_row @ held.own_k[:rows, :, :longest].transpose(2, 3))
    scores = scores.permute(1, 2, 0, 3)  # [kv head, group, row, own token]
    scores = scores.masked_fill(_hidden(distance, rule.window), float("-inf"))
    if prefix:
        assert held.prefix_k is not None and held.prefix_v is not None
        shared = rule.scores(_by_head(query, held.prefix_k.transpose(1, 2)))
        if rule.window is not None:
            far = (at + prefix)[:, None] - torch.arange(prefix, device=query.device)
            shared = shared.masked_fill(_hidden(far, rule.window), float("-inf"))
        scores = torch.cat([shared, scores], dim=-1)
    weights = rule.weights(scores)
    own = weights[..., prefix:].permute(2, 0, 1, 3) @ held.own_v[:rows, :, :longest]
    out = own.permute(1, 2, 0, 3)
    if prefix:
        assert held.prefix_v is not None
        out = out + _by_head(weights[..., :prefix], held.prefix_v)
    return out


def _prefill(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    held: KeyValues,
    span: Span,
    prefix: int,
    rule: _Rule,
) -> torch.Tensor:
    """Consecutive tokens of one row; query [kv head, group, token, head dim], key without the group."""
    assert held.own_k is not None and held.own_v is not None
    end = span.start + span.length
    held.own_k[span.row, :, span.start : end] = key
    held.own_v[span.row, :, span.start : end] = value
    keys, values = held.own_k[span.row, :, :end], held.own_v[span.row, :, :end]
    if prefix:
        keys, values = _joined(held.prefix_k, keys), _joined(held.prefix_v, values)
    if rule.softcap is None and rule.sinks is None:
        return _fused(query, keys, values, prefix + span.start, rule)
    heads = query.shape[0] * query.shape[1]
    block = max(1, _LARGEST_SCORES // (heads * (prefix + end)))
    blocks = []
    for first in range(0, span.length, block):
        part = query[:, :, first : first + block]
        at = prefix + span.start + first + torch.arange(part.shape[2], device=query.device)
        distance = at[:, None] - torch.arange(prefix + end, device=query.device)
        scores = rule.scores(_by_head(part, keys.transpose(1, 2)))
        scores = scores.masked_fill(_hidden(distance, rule.window), float("-inf"))
        blocks.append(_by_head(rule.weights(scores), values))
    return torch.cat(blocks, dim=2)


def _fused(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, start: int, rule: _Rule
) -> torch.Tensor:
    """The same by torch's own kernel, which holds no scores; for rules that it knows."""
    group = query.shape[1]
    at = start + torch.arange(query.shape[2], device=query.device)
    distance = at[:, None] - torch.arange(keys.shape[1], device=query.device)
    out = torch.nn.functional.scaled_dot_product_attention(
        query.flatten(0, 1)[None],
        keys.repeat_interleave(group, dim=0)[None] if group > 1 else keys[None],
        values.repeat_interleave(group, dim=0)[None] if group > 1 else values[None],
        attn_mask=~_hidden(distance, rule.window),
        scale=1.0,
    )
    return out[0].reshape(query.shape[0], group, query.shape[2], -1)


def _by_head(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """left [kv head, group, token, n] times right [kv head, n, m], one product for each kv head."""
    product = left.flatten(1, 2) @ right
    return product.reshape(*left.shape[:3], product.shape[-1])


def _hidden(distance: torch.Tensor, window: int | None) -> torch.Tensor:
    """Keys that a query does not see: later ones, and those a window or more behind."""
    later = distance < 0
    return later if window is None else later | (distance >= window)


def _joined(prefix: torch.Tensor | None, own: torch.Tensor) -> torch.Tensor:
    return own.contiguous() if prefix is None else torch.cat([prefix, own], dim=1)


def _grown(held: torch.Tensor | None, like: torch.Tensor, slots: int, tokens: int) -> torch.Tensor:
    """Zeros [slot, kv head, token, head dim] with `held` in its corner; what grows, by half or more."""
    if held is not None:
        slots, tokens = (
            has if has >= needed else max(needed, has * 3 // 2)
            for has, needed in ((held.shape[0], slots), (held.shape[2], tokens))
        )
    grown = like.new_zeros(slots, like.shape[1], tokens, like.shape[3])
    if held is not None:
        grown[: held.shape[0], :, : held.shape[2]] = held
    return grown
