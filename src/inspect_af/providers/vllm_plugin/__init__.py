"""A vLLM general plugin: steering and pooled capture per request on the stock engine.

vLLM calls `register` in each of its processes, through the entry point group `vllm.general_plugins`. Nothing
happens to a server that was not started with `--additional-config '{"af": {...}}'`
(`inspect_af.providers.vllm_plugin.wire.PluginConfig` lists the keys): its layers are not touched.
"""

from __future__ import annotations

import logging
from functools import wraps
from importlib import import_module

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
    found = []
    try:
        for module, class_name, name, wrapper in points:
            owner: type = getattr(import_module(module), class_name)
            if name not in vars(owner):
                raise AttributeError(f"{module}.{class_name} has no {name}")
            found.append((owner, name, wrapper))
    except (ImportError, AttributeError) as error:
        _log.error(
            "inspect_af: this version of vLLM cannot be steered (%s); nothing is attached. docs/vllm.md "
            "names the version that was tested",
            error,
        )
        return
    for owner, name, wrapper in found:
        method = vars(owner)[name]
        original = getattr(method, "__func__", method)  # of a class method
        if not hasattr(original, "_inspect_af_wrapped"):
            replaced = wraps(original)(wrapper(original))
            replaced._inspect_af_wrapped = True  # type: ignore[attr-defined]
            setattr(owner, name, classmethod(replaced) if isinstance(method, classmethod) else replaced)
