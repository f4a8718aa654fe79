"""A transformers model as af-hf runs it: loading, one forward pass, applying a condition, and its attention.

The attention is over a prefix that all rows share and over each row's own tokens. All tokens of a step stand
in one sequence, [1, token, d_model]: either one token for each row (decoding) or consecutive tokens of one
or more rows (prefill). The prefix's keys are read once for all rows, in one product, which is what makes
long shared prompts cheap in prefill and in decoding. Scores are in the model's dtype and their softmax in
float32, as in transformers' `eager` attention.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast

import psutil
import torch
from transformers import AttentionInterface, AutoModelForCausalLM, AutoTokenizer

from inspect_af.errors import ConfigError, TreatmentError
from inspect_af.providers.settings import Applied, ModelKey, check_unchanged
from inspect_af.sdf.adapters import Adapter, adapter_digest, check_base, refuse_other_base
from inspect_af.sdf.combine import LoadedAdapters, LoadedBase
from inspect_af.steering.model import additions, decoder_layers, steering, text_config

NAME = "af_shared_prefix"  # Under which the attention is registered with transformers
_BATCH_DEPENDENT_ROTATIONS = {"dynamic", "longrope"}
_LAYER_TYPES = ("full_attention", "sliding_attention")
_UNSERVED = ("position_bias", "indices", "block_indices", "sinks")  # further terms of some attentions
_LARGEST_SCORES = 2**27  # elements of one block of scores; 512 MiB in float32
_ELSEWHERE = "Use Inspect's hf/ or af-vllm for this model"
_NO_DEFAULTS = (
    *("bad_words_ids", "begin_suppress_tokens", "encoder_repetition_penalty", "epsilon_cutoff", "eta_cutoff"),
    *("exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id", "min_length"),
    *("min_new_tokens", "min_p", "no_repeat_ngram_size", "sequence_bias", "suppress_tokens", "top_h"),
    "typical_p",
)
"""Of a checkpoint's generation defaults, those that change replies and are not there."""


class LocalModel:
    """A model that runs steps of the shared-prefix attention.

    Raises:
        ConfigError: It cannot be loaded.
        TreatmentError: Its architecture cannot be served by af-hf.
    """

    def __init__(self, key: ModelKey) -> None:
        AttentionInterface.register(NAME, attention)
        self.key = key
        device, dtype = _device_map(key.device), getattr(torch, key.dtype, key.dtype)
        if dtype != "auto" and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise ConfigError(f"dtype {key.dtype!r}; one of auto, float32, bfloat16, float16")
        check_unchanged(key.name, key.base)
        loaded = {"revision": key.revision, "trust_remote_code": False}
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(key.name, **loaded)
            self.model: Any = AutoModelForCausalLM.from_pretrained(
                key.name,
                dtype=dtype,
                device_map=device,
                attn_implementation=NAME,
                use_safetensors=True,
                **loaded,
            )
        except KeyError as error:
            if NAME not in error.args:
                raise
            raise TreatmentError(
                f"{key.name} takes its attention from a table of its own, in which af-hf's is not. "
                f"{_ELSEWHERE}"
            ) from error
        # The last three come from devices and quantisations that are not there.
        except (OSError, ValueError, ImportError, RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"af-hf cannot load {key.name!r} (revision {key.revision or 'default'}, dtype {key.dtype}, "
                f"device {key.device}): {error}"
            ) from error
        self.model.train(mode=False)
        self._refuse_unsupported()
        defaults = {name: getattr(self.model.generation_config, name, None) for name in _NO_DEFAULTS}
        if ignored := [f"{k}={v!r}" for k, v in defaults.items() if v not in (None, 0, 1, [], {})]:
            warnings.warn(
                f"af-hf ignores {', '.join(ignored)} of {key.name}'s generation_config.json", stacklevel=2
            )
        self._device: torch.device = cast(torch.Tensor, self.model.get_input_embeddings().weight).device
        self._adapters = LoadedAdapters(self.model)
        self._spoiled_by: Path | None = None
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
        config = text_config(self.model)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        size = 2 * config.num_hidden_layers * heads * width * self.model.dtype.itemsize
        return 0.5 * _free_memory(self._device) / float(size)

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
        starts = [(cache.prefix_length + span.start, span.length) for span in spans]
        positions = list(chain.from_iterable(range(start, start + length) for start, length in starts))
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
        path, name = adapter.path, adapter.digest
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
        refuse_other_base(path, LoadedBase(self.model))
        if adapter_digest(path) != name:
            raise TreatmentError(f"adapter {path} has changed since it was read; start again")
        try:
            self._adapters.add(path, name)
        except TreatmentError:
            raise
        except Exception as error:
            self._spoiled_by = path
            raise TreatmentError(
                f"adapter {path} does not fit {self.key.name}: {error}. It was trained on another base, or "
                "with an option that PEFT cannot combine"
            ) from error
        return name

    def _refuse_unsupported(self) -> None:
        config, kind = text_config(self.model), type(self.model).__name__
        rotations = getattr(config, "rope_parameters", None) or {}
        types = {
            str(one.get("rope_type")) for one in (rotations, *rotations.values()) if isinstance(one, dict)
        }
        if dependent := sorted(types & _BATCH_DEPENDENT_ROTATIONS):
            raise TreatmentError(
                f"{kind} rotates positions by {dependent[0]!r}, where one row's length changes the rows "
                f"beside it. {_ELSEWHERE}"
            )
        other = set(getattr(config, "layer_types", None) or ()) - set(_LAYER_TYPES)
        if other or getattr(config, "attention_chunk_size", None):
            raise TreatmentError(
                f"{kind} has {', '.join(sorted(other)) or 'chunked attention'} layers; af-hf serves "
                f"{' and '.join(_LAYER_TYPES)}. {_ELSEWHERE}"
            )

    def _check_attention_ran(self, windows: Mapping[int, int | None]) -> None:
        """Compares the window of each layer whose attention ran with the configuration's."""
        config, kind = text_config(self.model), type(self.model).__name__
        layers = len(decoder_layers(self.model))
        if sorted(windows) != list(range(layers)):
            raise TreatmentError(
                f"{kind} called af-hf's attention in {len(windows)} of {layers} layers: it has an attention "
                f"of its own. {_ELSEWHERE}"
            )
        # Some models say a window to their mask alone, which af-hf does not use.
        window = getattr(config, "sliding_window", None)
        if window and getattr(config, "use_sliding_window", True) and window < (self.context_length or 1e18):
            kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * layers
            for layer, layer_type in enumerate(kinds):
                if layer_type == "sliding_attention" and windows[layer] != window:
                    raise TreatmentError(
                        f"layer {layer} of {kind} has a sliding window of {window} tokens by its "
                        f"configuration and {windows[layer] or 'none'} in its attention, so af-hf would "
                        f"attend to other tokens than the model was trained with. {_ELSEWHERE}"
                    )
        self._checked = True


def _device_map(device: str) -> str:
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda:0" if torch.cuda.device_count() == 1 else "auto"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _free_memory(device: torch.device) -> float:
    """Bytes that are free where the model is."""
    if device.type != "cuda":
        return float(psutil.virtual_memory().available)
    # Layers and their caches are spread over all devices alike.
    count = torch.cuda.device_count()
    return sum(
        torch.cuda.mem_get_info(at)[0] + torch.cuda.memory_reserved(at) - torch.cuda.memory_allocated(at)
        for at in ([device.index or 0] if count == 1 else range(count))
    )


class Span(NamedTuple):
    """Consecutive new tokens of one row in a step."""

    row: int  # Slot in the cache
    start: int  # How many of the row's own tokens are in the cache already
    length: int


class _Held:
    """Keys, or values, of one layer: of the shared prefix, and of each row after it."""

    def __init__(self, like: torch.Tensor) -> None:
        _, heads, _, width = like.shape
        self.prefix = like.new_zeros(heads, 0, width)
        """[kv head, prefix token, head dim]"""
        self.own = like.new_zeros(0, heads, 0, width)
        """[slot, kv head, own token, head dim]; tokens past a row's length hold nothing of value."""

    def reserve(self, slots: int, tokens: int) -> None:
        """Makes room for `slots` rows of `tokens` own tokens each; what grows, by half or more."""
        held, (n_slots, heads, n_tokens, width) = self.own, self.own.shape
        if slots > n_slots or tokens > n_tokens:
            slots = n_slots if slots <= n_slots else max(slots, n_slots * 3 // 2)
            tokens = n_tokens if tokens <= n_tokens else max(tokens, n_tokens * 3 // 2)
            self.own = held.new_zeros(slots, heads, tokens, width)
            self.own[:n_slots, :, :n_tokens] = held


class SharedPrefixCache:
    """Keys and values of all layers."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[_Held, _Held]] = {}
        self.prefix_length = 0

    def move(self, source: int, target: int) -> None:
        """Puts one row into another slot."""
        for held in chain.from_iterable(self.layers.values()):
            held.own[target] = held.own[source]

    def cut_prefix(self, length: int) -> None:
        """Forgets the prefix past `length` tokens. Only where no row stands on it."""
        for held in chain.from_iterable(self.layers.values()):
            held.prefix = held.prefix[:, :length].contiguous()
        self.prefix_length = length

    def extend_prefix(self, row: int, length: int, lengths: Sequence[int]) -> None:
        """Moves the first `length` own tokens, which all rows have in common, to the prefix.

        Args:
            row: The row from which they are taken.
            length: How many.
            lengths: Own tokens in the cache, by slot.
        """
        for held in chain.from_iterable(self.layers.values()):
            held.prefix = torch.cat([held.prefix, held.own[row, :, :length]], dim=1)
            for slot, n in enumerate(lengths):
                if n > length:
                    held.own[slot, :, : n - length] = held.own[slot, :, length:n].clone()
        self.prefix_length += length


class _Step:
    """The forward pass that runs."""

    def __init__(self, cache: SharedPrefixCache, spans: Sequence[Span]) -> None:
        self.cache = cache
        self.spans = spans
        self.seen: dict[int, int | None] = {}
        """By layer whose attention ran: the sliding window that it asked for."""
        self.slots = max(span.row for span in spans) + 1
        self.longest = max(span.start + span.length for span in spans)
        self.decoding = all(span.length == 1 and span.row == i for i, span in enumerate(spans))
        self._rows: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    def rows(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Of a decoding step, the same in every layer of a device: each row's place among its own tokens,
        [row], and how far it is from the prefix's and its own keys, [row, key]."""
        if device not in self._rows:
            at = torch.tensor([span.start for span in self.spans], device=device)
            keys = torch.arange(-self.cache.prefix_length, self.longest, device=device)
            self._rows[device] = at, at[:, None] - keys
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
            f"which af-hf does not know. {_ELSEWHERE}"
        )
    now.seen[module.layer_idx] = sliding_window
    held = now.cache.layers.setdefault(module.layer_idx, (_Held(key), _Held(value)))
    for one in held:
        one.reserve(now.slots, now.longest)
    sinks = getattr(module, "sinks", None) if ignored.get("s_aux") is None else ignored["s_aux"]
    layer = _Layer(now, *held, sliding_window, softcap, sinks)
    # Scaled here and not at the scores, which are many more numbers.
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    new = (query[0].reshape(key.shape[1], -1, *query.shape[2:]), key[0], value[0])
    if now.decoding:
        out = layer.decode(*new)
    else:
        lengths = [span.length for span in now.spans]
        parts = zip(now.spans, *(torch.split(one, lengths, dim=-2) for one in new), strict=True)
        out = torch.cat([layer.prefill(*part) for part in parts], dim=2)
    return out.flatten(0, 1).transpose(0, 1).unsqueeze(0), None  # [1, token, head, head dim]


class _Layer(NamedTuple):
    """One layer in a forward pass: which keys a query attends to, and how.

    Queries are [kv head, group, token, head dim], new keys and values without the group.
    """

    now: _Step
    keys: _Held
    values: _Held
    window: int | None
    softcap: float | None
    sinks: torch.Tensor | None  # Logit of attending to nothing, by head

    def hidden(self, distance: torch.Tensor) -> torch.Tensor:
        """Keys that a query does not see, by distance: later ones, and those a window or more behind."""
        return distance < 0 if self.window is None else (distance < 0) | (distance >= self.window)

    def weights(self, scores: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
        """Attention weights from scores [kv head, group, token, key] and distances [token, key]."""
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        scores = scores.masked_fill(self.hidden(distance), float("-inf"))
        if self.sinks is not None:
            sinks = self.sinks.reshape(*scores.shape[:2], 1, 1).expand(*scores.shape[:3], 1)
            scores = torch.cat([scores, sinks.to(scores.dtype)], dim=-1)
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)
        return weights if self.sinks is None else weights[..., :-1]

    def decode(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """One token for each row of slots 0, 1, ...; a row stands for a token in the shapes."""
        at, distance = self.now.rows(query.device)
        n, prefix, longest = len(at), self.now.cache.prefix_length, self.now.longest
        slots = torch.arange(n, device=at.device)
        self.keys.own[slots, :, at] = key.transpose(0, 1)
        self.values.own[slots, :, at] = value.transpose(0, 1)
        # [row, kv head, group, own token]
        own = query.permute(2, 0, 1, 3) @ self.keys.own[:n, :, :longest].transpose(2, 3)
        shared = _by_head(query, self.keys.prefix.transpose(1, 2))  # [kv head, group, row, prefix token]
        weights = self.weights(torch.cat([shared, own.permute(1, 2, 0, 3)], dim=-1), distance)
        out = weights[..., prefix:].permute(2, 0, 1, 3) @ self.values.own[:n, :, :longest]
        return out.permute(1, 2, 0, 3) + _by_head(weights[..., :prefix], self.values.prefix)

    def prefill(
        self, span: Span, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """Consecutive tokens of one row."""
        own = span.row, slice(None), slice(span.start, span.start + span.length)
        self.keys.own[own], self.values.own[own] = key, value
        keys, values = (
            torch.cat([held.prefix, held.own[span.row, :, : span.start + span.length]], dim=1)
            for held in (self.keys, self.values)
        )
        at = torch.arange(keys.shape[1], device=query.device)
        distance = at[-span.length :, None] - at
        heads, group = query.shape[:2]
        if self.softcap is None and self.sinks is None:  # torch's own kernel, which holds no scores
            key, value = (one.repeat_interleave(group, dim=0)[None] for one in (keys, values))
            out = torch.nn.functional.scaled_dot_product_attention(
                query.flatten(0, 1)[None], key, value, attn_mask=~self.hidden(distance), scale=1.0
            )
            return out[0].reshape(heads, group, span.length, -1)
        block = max(1, _LARGEST_SCORES // (heads * group * len(at)))
        blocks = zip(torch.split(query, block, dim=2), torch.split(distance, block), strict=True)
        scored = ((_by_head(part, keys.transpose(1, 2)), far) for part, far in blocks)
        return torch.cat([_by_head(self.weights(scores, far), values) for scores, far in scored], dim=2)


def _by_head(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """left [kv head, group, token, n] times right [kv head, n, m], one product for each kv head."""
    product = left.flatten(1, 2) @ right
    return product.reshape(*left.shape[:3], product.shape[-1])
