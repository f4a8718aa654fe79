"""What goes into the engine and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch

from inspect_af.providers._applied import Applied
from inspect_af.providers._hf_sampling import Sampling, TokenLogprob, Uniforms

Ending = Literal["stop", "stop_sequence", "max_tokens", "model_length"]


class Generated(NamedTuple):
    """A finished reply."""

    tokens: tuple[int, ...]
    """With the token that ended it, if there is one."""
    logprobs: tuple[TokenLogprob, ...]
    """One for each token, empty where they were not asked for."""
    ending: Ending


@dataclass(eq=False)
class Request:
    """One prompt on its way; the engine's thread alone changes it, except for `cancelled`."""

    condition: Applied
    prompt: list[int]
    sampling: Sampling
    uniforms: Uniforms
    max_tokens: int
    finish: Callable[[Generated | Exception], None]
    """Called once, on the engine's thread, with the reply or with what went wrong."""
    stop: tuple[str, ...] = ()
    cancelled: bool = False
    """Set by whoever no longer waits; its row is given up at the next step."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    said: torch.Tensor | None = None
    """Which tokens are in prompt and reply, bool [vocabulary]; kept where repetition has a penalty."""
    own: int = 0
    """Tokens in the cache past the shared prefix."""

    def __post_init__(self) -> None:
        self.condition_key = self.condition.key
