"""In the engine process: a prefix cache that keeps conditions apart, and hits that end before a capture."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from inspect_af.providers.vllm_plugin.wire import CAPTURE_ARGUMENT, STEER_ARGUMENT, argument, parse_capture


def condition_salt(steer: str, salt: str | None) -> str:
    """The cache salt of a request: of its condition, and of the salt that its client gave.

    KV blocks of a steered request hold steered keys and values. Hashed with this salt, they are found by
    requests of the same condition only.
    """
    return hashlib.sha256(f"inspect_af\0{steer}\0{salt or ''}".encode()).hexdigest()


def salted(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `Request.from_engine_core_request`, through which every request enters the engine."""

    def from_engine_core_request(cls: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        steer = _argument(request.sampling_params, STEER_ARGUMENT)
        if isinstance(steer, str):
            request.cache_salt = condition_salt(steer, request.cache_salt)
        return original(cls, request, *args, **kwargs)

    return from_engine_core_request


def capped(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `KVCacheManager.get_computed_blocks`: tokens that are captured must be computed, not found."""

    def get_computed_blocks(self: Any, request: Any) -> Any:
        spec = _argument(request.sampling_params, CAPTURE_ARGUMENT)
        if not isinstance(spec, str):
            return original(self, request)
        # The original finds hits up to num_tokens - 1.
        return original(self, _Shortened(request, parse_capture(spec).start + 1))

    return get_computed_blocks


class _Shortened:
    """A request as the lookup sees it, with fewer tokens."""

    def __init__(self, request: Any, num_tokens: int) -> None:
        self._request = request
        self.num_tokens = min(num_tokens, request.num_tokens)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


def _argument(sampling_params: Any, name: str) -> Any:
    return None if sampling_params is None else argument(sampling_params.extra_args, name)
