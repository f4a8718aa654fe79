"""From logits to one token for each row: penalty, temperature, top-k, top-p, a row's own random numbers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from inspect_af.errors import ConfigError

_CANDIDATES = 1024  # tokens that are looked at first for top-p: sorting a whole vocabulary takes long

GREEDY = 1e-5  # Temperatures below this are greedy decoding


class Sampling(NamedTuple):
    """How one request's tokens are drawn."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0 is all
    repetition_penalty: float = 1.0
    """Divides positive logits of tokens in prompt and reply, and multiplies negative ones; 1 is none."""
    logprobs: bool = False
    top_logprobs: int = 0


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
    given: Sequence[int | None] = (),
) -> Choice:
    """Draws a token for each row by inverting its cumulative distribution at the row's next random number.

    Args:
        logits: [row, vocabulary], any float dtype.
        rows: How to draw.
        uniforms: Each sampled row's numbers; one is used up.
        said: Which tokens are in prompt and reply, bool [vocabulary], of rows with a repetition penalty.
        given: Tokens that rows have in place of a drawn one; their numbers are not used up.

    Raises:
        ConfigError: A row's logits are not numbers.
    """
    own = logits = logits.float()
    if logits.device.type == "mps":
        own = logits = logits.cpu()  # float64, in which draws are made, is not there
    for i, mask in enumerate(said or ()):
        if mask is not None:  # as in transformers and vLLM
            logits = logits.clone() if logits is own else logits
            row, penalty = logits[i], rows[i].repetition_penalty
            penalised = torch.where(row < 0, row * penalty, row / penalty)
            logits[i] = torch.where(mask.to(row.device), penalised, row)
    highest, tokens = logits.max(dim=-1)
    if not highest.isfinite().all():  # a maximum with a NaN is NaN
        raise ConfigError(
            "the model's logits are not finite, so there is nothing to draw from: a value was too large for "
            "the dtype, or steering is too strong. Give -M dtype=bfloat16 or float32, or a smaller multiplier"
        )
    settled = {i: token for i, token in enumerate(given) if token is not None}
    if sampled := [i for i, row in enumerate(rows) if row.temperature >= GREEDY and i not in settled]:
        numbers = [uniforms[i].next() for i in sampled]
        tokens[sampled] = _draw(logits[sampled], [rows[i] for i in sampled], numbers)
    chosen: list[int] = tokens.tolist()
    for i, token in settled.items():
        chosen[i] = token
    return Choice(chosen, _logprobs(own, chosen, rows))


def _draw(logits: torch.Tensor, rows: Sequence[Sampling], numbers: Sequence[float]) -> torch.Tensor:
    temperatures = torch.tensor([[row.temperature] for row in rows], device=logits.device)
    logits = _filtered(logits / temperatures, rows)
    at = torch.tensor(numbers, dtype=torch.float64, device=logits.device)[:, None]
    cumulative = torch.softmax(logits, dim=-1, dtype=torch.float64).cumsum(dim=-1)
    # The total is 1 up to rounding; scaled by it, a number below 1 finds a token of positive probability.
    found = torch.searchsorted(cumulative, at * cumulative[:, -1:], right=True)[:, 0]
    return found.clamp(max=logits.shape[-1] - 1)


def _filtered(logits: torch.Tensor, rows: Sequence[Sampling]) -> torch.Tensor:
    """Logits with minus infinity outside top-k, then outside top-p of what is left.

    Top-p keeps the fewest tokens, likeliest first, whose probabilities reach p, as transformers does.
    """
    logits, size = logits.clone(), logits.shape[-1]
    if at := [i for i, row in enumerate(rows) if 0 < row.top_k < size]:
        logits[at] = _likeliest(logits[at], torch.tensor([rows[i].top_k for i in at], device=logits.device))
    if at := [i for i, row in enumerate(rows) if row.top_p < 1]:
        p = torch.tensor([[rows[i].top_p] for i in at], device=logits.device)
        probabilities = torch.softmax(logits[at], dim=-1)
        for looked_at in (min(_CANDIDATES, size), size):
            ordered = probabilities.topk(looked_at, dim=-1).values
            kept = (ordered.cumsum(dim=-1) - ordered < p).sum(dim=-1)
            if bool((kept < looked_at).all()):
                break
        logits[at] = _likeliest(logits[at], kept.clamp(min=1))
    return logits


def _likeliest(logits: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Each row's likeliest `counts` tokens, of equally likely ones the first; minus infinity elsewhere."""
    least = logits.topk(int(counts.max()), dim=-1).values.gather(-1, counts[:, None] - 1)
    above, equal = logits > least, logits == least
    room = counts[:, None] - above.sum(dim=-1, keepdim=True)
    return logits.masked_fill(~(above | (equal & (equal.cumsum(dim=-1) <= room))), float("-inf"))


def _logprobs(
    logits: torch.Tensor, chosen: Sequence[int], rows: Sequence[Sampling]
) -> list[TokenLogprob | None]:
    found: list[TokenLogprob | None] = [None] * len(rows)
    if asked := [i for i, row in enumerate(rows) if row.logprobs]:
        logprobs = torch.log_softmax(logits[asked], dim=-1)
        most = min(max(rows[i].top_logprobs for i in asked), logits.shape[-1])
        values, tokens = (part.tolist() for part in logprobs.topk(most, dim=-1))
        for at, i in enumerate(asked):
            top = tuple(zip(tokens[at], values[at], strict=True))[: rows[i].top_logprobs]
            found[i] = TokenLogprob(float(logprobs[at, chosen[i]]), top)
    return found
