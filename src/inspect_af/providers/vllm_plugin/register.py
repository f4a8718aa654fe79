"""The entry point: wraps the four methods of vLLM that steering and capture need.

Each wrapper asks the engine's own configuration first and is the original where the plugin was not asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

_MARK = "_inspect_af_wrapped"


def register() -> None:
    """Called by vLLM in each of its processes, possibly several times."""
    from vllm.v1.core.kv_cache_manager import KVCacheManager
    from vllm.v1.engine.input_processor import InputProcessor
    from vllm.v1.request import Request
    from vllm.v1.worker.worker_base import WorkerWrapperBase

    from inspect_af.providers.vllm_plugin import engine, frontend, worker

    _wrap(InputProcessor, "process_inputs", frontend.checked)
    _wrap(Request, "from_engine_core_request", engine.salted)
    _wrap(KVCacheManager, "get_computed_blocks", engine.capped)
    _wrap(WorkerWrapperBase, "init_device", worker.installed)


def _wrap(owner: type, name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replaces a method or class method once by what `wrapper` makes of it."""
    found = owner.__dict__[name]
    if getattr(found, _MARK, False) or getattr(getattr(found, "__func__", None), _MARK, False):
        return
    original = found.__func__ if isinstance(found, classmethod) else found
    replaced = wraps(original)(wrapper(original))
    setattr(replaced, _MARK, True)
    setattr(owner, name, classmethod(replaced) if isinstance(found, classmethod) else replaced)
