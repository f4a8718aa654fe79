"""The entry point: wraps the four methods of vLLM that steering and capture need.

Each wrapper asks the engine's own configuration first and is the original where the plugin was not asked for.
A vLLM that has not all four is left as it is, since this runs in every vLLM process of the environment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

_MARK = "_inspect_af_wrapped"
_log = logging.getLogger("vllm.inspect_af")


def register() -> None:
    """Called by vLLM in each of its processes, possibly several times.

    Where a method is missing nothing is wrapped: half of the plugin would give wrong replies, and a client
    that asks for it is told that there is none.
    """
    from inspect_af.providers.vllm_plugin import engine, frontend, worker

    points = (
        ("vllm.v1.engine.input_processor", "InputProcessor", "process_inputs", frontend.checked),
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
