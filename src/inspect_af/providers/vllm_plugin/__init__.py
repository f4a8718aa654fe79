"""A vLLM general plugin: steering and pooled capture per request on the stock engine.

vLLM calls `register` in each of its processes, through the entry point group `vllm.general_plugins`. Nothing
happens to a server that was not started with `--additional-config '{"af": {...}}'`
(`inspect_af.providers.vllm_plugin.wire.PluginConfig` lists the keys): its layers are not touched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

from inspect_af.providers.vllm_plugin.wire import (
    CAPTURE_ARGUMENT,
    PROBE_ARGUMENT,
    STEER_ARGUMENT,
    CaptureSpec,
    PluginConfig,
    ServerInfo,
    SteeringTerm,
    capture_text,
    parse_capture,
    parse_steering,
    steering_text,
)

__all__ = [
    "CAPTURE_ARGUMENT",
    "PROBE_ARGUMENT",
    "STEER_ARGUMENT",
    "CaptureSpec",
    "PluginConfig",
    "ServerInfo",
    "SteeringTerm",
    "capture_text",
    "parse_capture",
    "parse_steering",
    "register",
    "steering_text",
]

_MARK = "_inspect_af_wrapped"
_log = logging.getLogger("vllm.inspect_af")


def register() -> None:
    """Called by vLLM in each of its processes, possibly several times.

    Where a method is missing nothing is wrapped: half of the plugin would give wrong replies, and a client
    that asks for it is told that there is none.
    """
    from inspect_af.providers.vllm_plugin import engine, worker

    points = (
        ("vllm.v1.engine.input_processor", "InputProcessor", "process_inputs", engine.checked),
        ("vllm.v1.request", "Request", "from_engine_core_request", engine.salted),
        ("vllm.v1.core.kv_cache_manager", "KVCacheManager", "get_computed_blocks", engine.capped),
        ("vllm.v1.worker.worker_base", "WorkerWrapperBase", "init_device", worker.installed),
    )
    try:
        owners = [_owner(*point[:3]) for point in points]
    except (ImportError, AttributeError) as error:
        _log.error(
            "inspect_af: this version of vLLM cannot be steered (%s); nothing is attached. docs/vllm.md "
            "names the version that was tested",
            error,
        )
        return
    for owner, (_, _, name, wrapper) in zip(owners, points, strict=True):
        _wrap(owner, name, wrapper)


def _owner(module: str, class_name: str, method: str) -> type:
    owner: type = getattr(import_module(module), class_name)
    if method not in owner.__dict__:
        raise AttributeError(f"{module}.{class_name} has no {method}")
    return owner


def _wrap(owner: type, name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replaces a method or class method once by what `wrapper` makes of it."""
    found = owner.__dict__[name]
    if getattr(found, _MARK, False) or getattr(getattr(found, "__func__", None), _MARK, False):
        return
    original = found.__func__ if isinstance(found, classmethod) else found
    replaced = wraps(original)(wrapper(original))
    setattr(replaced, _MARK, True)
    setattr(owner, name, classmethod(replaced) if isinstance(found, classmethod) else replaced)
