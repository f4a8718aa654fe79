"""From logits to one token for each row: penalty, temperature, top-k, top-p, a row's own random numbers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from inspect_af.errors import ConfigError

_CANDIDATES = 1024  # tokens that are looked at first for top-p

GREEDY = 1e-5
"""Temperatures below this are greedy decoding."""


class Sampling(NamedTuple):
    """How one request's tokens are drawn."""

    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 is all."""
    repetition_penalty: float = 1.0
    """Divides positive logits of tokens in prompt and reply, and multiplies negative ones; 1 is none."""
    logprobs: bool = False
    top_logprobs: int = 0

    @property
    def greedy(self) -> bool:
        return self.temperature < GREEDY


class TokenLogprob(NamedTuple):
    """A generated token's log-probability and the likeliest tokens', by the model's own logits."""

    logprob: float
    top: tuple[tuple[int, float], ...]


class Uniforms:
    """A row's random numbers in [0, 1): they depend on its seed alone, never on the rows beside it."""

    def __init__(self, seed: int | None, choice: int = 0) -> None:
        content = os.urandom(32) if seed is None else f"{seed}:{choice}".encode()
        self._key = int.from_bytes(hashlib.sha256(content).digest()[:16], "little")
        self.restart()

    def restart(self) -> None:
        """Goes back to the first number."""
        self._generator = np.random.Generator(np.random.Philox(key=self._key))

    def next(self) -> float:
        return float(self._generator.random())


class Choice(NamedTuple):
    """What was drawn for the rows of a step."""

    tokens: list[int]
    logprobs: list[TokenLogprob | None]


def choose(
    logits: torch.Tensor,
    rows: Sequence[Sampling],
    uniforms: Sequence[Uniforms],
    said: Sequence[torch.Tensor | None] | None = None,
) -> Choice:
    """Draws a token for each row by inverting its cumulative distribution at the row's next random number.

    Args:
        logits: [row, vocabulary], any float dtype.
        rows: How to draw.
        uniforms: Each sampled row's numbers; one is used up.
        said: Which tokens are in prompt and reply, bool [vocabulary], of rows with a repetition penalty.

    Raises:
        ConfigError: A row's logits are not numbers.
    """
    own = logits = logits.float()
    if logits.device.type == "mps":
        own = logits = logits.cpu()  # float64, in which draws are made, is not there
    if said is not None:
        logits = _penalised(logits, rows, said)
    highest, tokens = logits.max(dim=-1)
    if not highest.isfinite().all():  # a maximum with a NaN is NaN
        raise ConfigError(
            "the model's logits are not finite, so there is nothing to draw from: a value was too large for "
            "the dtype, or steering is too strong. Give -M dtype=bfloat16 or float32, or a smaller multiplier"
        )
    sampled = [i for i, row in enumerate(rows) if not row.greedy]
    if sampled:
        drawn = _draw(
            logits if len(sampled) == len(rows) else logits[sampled],
            [rows[i] for i in sampled],
            [uniforms[i].next() for i in sampled],
        )
        tokens[torch.tensor(sampled, device=tokens.device)] = drawn
    chosen: list[int] = tokens.tolist()
    return Choice(chosen, _logprobs(own, chosen, rows))


def _penalised(
    logits: torch.Tensor, rows: Sequence[Sampling], said: Sequence[torch.Tensor | None]
) -> torch.Tensor:
    """Logits after the repetition penalty of those rows that have one, as in transformers and vLLM."""
    at = [i for i, mask in enumerate(said) if mask is not None]
    if not at:
        return logits
    masks = torch.stack([mask for mask in said if mask is not None]).to(logits.device)
    penalty = torch.tensor([[rows[i].repetition_penalty] for i in at], device=logits.device)
    plain = logits[at]
    penalised = torch.where(plain < 0, plain * penalty, plain / penalty)
    logits = logits.clone()
    logits[at] = torch.where(masks, penalised, plain)
    return logits


def _draw(logits: torch.Tensor, rows: Sequence[Sampling], numbers: Sequence[float]) -> torch.Tensor:
    device = logits.device
    logits = logits / torch.tensor([[row.temperature] for row in rows], device=device)
    size = logits.shape[-1]
    if any(0 < row.top_k < size or row.top_p < 1 for row in rows):
        logits = _filtered(logits, rows)
    at = torch.tensor(numbers, dtype=torch.float64, device=device)[:, None]
    cumulative = torch.softmax(logits, dim=-1, dtype=torch.float64).cumsum(dim=-1)
    # The total is 1 up to rounding; scaled by it, a number below 1 finds a token of positive probability.
    return torch.searchsorted(cumulative, at * cumulative[:, -1:], right=True)[:, 0].clamp(max=size - 1)


def _filtered(logits: torch.Tensor, rows: Sequence[Sampling]) -> torch.Tensor:
    """Logits with minus infinity outside top-k, then outside top-p of what is left.

    Top-p keeps the fewest tokens, likeliest first, whose probabilities reach p, as transformers does.
    """
    device, size = logits.device, logits.shape[-1]
    ks = [row.top_k if 0 < row.top_k < size else size for row in rows]
    if min(ks) < size:
        logits = _likeliest(logits, torch.tensor(ks, device=device))
    if all(row.top_p >= 1 for row in rows):
        return logits
    p = torch.tensor([[row.top_p if row.top_p < 1 else 2.0] for row in rows], device=device)
    probabilities = torch.softmax(logits, dim=-1)
    # Sorting a whole vocabulary takes a hundred times longer than finding the tokens that matter.
    found = min(_CANDIDATES, size)
    while True:
        ordered = probabilities.topk(found, dim=-1).values
        kept = (ordered.cumsum(dim=-1) - ordered < p).sum(dim=-1)
        if found == size or not bool(((kept == found) & (p[:, 0] < 1)).any()):
            break
        found = min(8 * found, size)
    counts = torch.where(p[:, 0] < 1, kept.clamp(min=1), size)
    return _likeliest(logits, counts)


def _likeliest(logits: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Each row's likeliest `counts` tokens, of equally likely ones the first; minus infinity elsewhere."""
    size = logits.shape[-1]
    whole = counts >= size
    most = int(counts.masked_fill(whole, 1).max())
    values, tokens = logits.topk(min(most + 1, size), dim=-1)
    last = (counts.clamp(max=values.shape[-1] - 1) - 1)[:, None]
    least = values.gather(-1, last)
    if bool((least == values.gather(-1, last + 1)).any()):  # at the edge; rare
        above, equal = logits > least, logits == least
        room = counts[:, None] - above.sum(dim=-1, keepdim=True)
        outside = ~(above | (equal & (equal.cumsum(dim=-1) <= room)))
        return logits.masked_fill(outside & ~whole[:, None], float("-inf"))
    values = values.masked_fill(
        torch.arange(values.shape[-1], device=logits.device) >= counts[:, None], float("-inf")
    )
    kept = torch.full_like(logits, float("-inf")).scatter(-1, tokens, values)
    return torch.where(whole[:, None], logits, kept) if bool(whole.any()) else kept


def _logprobs(
    logits: torch.Tensor, chosen: Sequence[int], rows: Sequence[Sampling]
) -> list[TokenLogprob | None]:
    asked = [i for i, row in enumerate(rows) if row.logprobs]
    found: list[TokenLogprob | None] = [None] * len(rows)
    if not asked:
        return found
    logprobs = torch.log_softmax(logits[asked], dim=-1)
    most = min(max(rows[i].top_logprobs for i in asked), logits.shape[-1])
    values, tokens = logprobs.topk(most, dim=-1)
    own = logprobs.gather(-1, torch.tensor([[chosen[i]] for i in asked], device=logits.device))[:, 0].tolist()
    for i, logprob, likeliest, their in zip(asked, own, tokens.tolist(), values.tolist(), strict=True):
        top = tuple(zip(likeliest, their, strict=True))[: rows[i].top_logprobs]
        found[i] = TokenLogprob(logprob, top)
    return found
