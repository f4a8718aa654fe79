"""Attention over a prefix that all rows share and over each row's own tokens, as a transformers attention.

All tokens of a step stand in one sequence, [1, token, d_model]: either one token for each row (decoding)
or consecutive tokens of one or more rows (prefill). The prefix's keys are read once for all rows, in one
product, which is what makes long shared prompts cheap in prefill and in decoding. Scores are in the model's
dtype and their softmax in float32, as in transformers' `eager` attention.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from inspect_af.errors import ConfigError, TreatmentError

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
            layer.prefix_k = _joined(layer.prefix_k, layer.own_k[row, :, :length])
            layer.prefix_v = _joined(layer.prefix_v, layer.own_v[row, :, :length])
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
