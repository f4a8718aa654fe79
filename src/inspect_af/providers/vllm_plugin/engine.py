"""In the front end and the engine: requests are checked before they enter, conditions are kept apart in the
cache.

An error inside of the engine ends the server, so that what can be wrong with a request is found before.
Blocks of the prefix cache belong to one condition, and hits end before a capture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from inspect_af.errors import ConfigError, InspectAFError
from inspect_af.providers.vllm_plugin.files import VectorStore, composed
from inspect_af.providers.vllm_plugin.wire import (
    CAPTURE_ARGUMENT,
    PROBE_ARGUMENT,
    PROBE_MARK,
    STEER_ARGUMENT,
    PluginConfig,
    ServerInfo,
    argument,
    parse_capture,
    parse_steering,
    plugin_config,
)


def checked(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `InputProcessor.process_inputs`; what is refused there becomes HTTP status 400."""

    def process_inputs(
        self: Any, request_id: Any, prompt: Any, params: Any, *args: Any, **kwargs: Any
    ) -> Any:
        from vllm.exceptions import VLLMValidationError

        probed = argument(params, PROBE_ARGUMENT) is not None
        try:
            if "_inspect_af_gate" not in vars(self):  # made at the first request
                self._inspect_af_gate = _gate(self.vllm_config)
            gate: Gate | None = self._inspect_af_gate
            if gate is not None and probed:
                raise ConfigError(f"{PROBE_MARK}{gate.info.coded}:")
            if probed or (
                gate is None and (argument(params, STEER_ARGUMENT) or argument(params, CAPTURE_ARGUMENT))
            ):
                raise ConfigError(
                    "this server has inspect_af's plugin, but was started without it; add "
                    '--additional-config \'{"af": {"vectors": "DIR"}}\''
                )
            request = original(self, request_id, prompt, params, *args, **kwargs)
            if gate is not None:
                gate.check(request, params)
            return request
        except InspectAFError as error:
            raise VLLMValidationError(error.message) from error

    return process_inputs


class Gate:
    """What one server allows; pure apart from reading vector files.

    Args:
        config: The plugin's settings.
        info: What the server says of itself.
        largest: Largest number of the model's dtype.
    """

    def __init__(self, config: PluginConfig, info: ServerInfo, largest: float) -> None:
        self.config = config
        self.info = info
        self._largest = largest
        self._store = None if config.vectors is None else VectorStore(config.vectors)
        self._fits = lru_cache(maxsize=4096)(self._composes)

    def check(self, request: Any, params: Any) -> None:
        """Checks a request that the front end has processed.

        Raises:
            InspectAFError: An argument is malformed or not possible on this server.
        """
        if self.info.lora and self.info.device == "cpu" and request.lora_request is None:
            raise ConfigError(
                "on CPU builds of vLLM a request without an adapter, beside requests with one, can get the "
                "other's reply; send it to an adapter that is all zeros"
            )
        steer, capture = argument(params, STEER_ARGUMENT), argument(params, CAPTURE_ARGUMENT)
        if (steer is not None or capture is not None) and getattr(request, "resumable", False):
            raise ConfigError("streamed input cannot be steered or captured")
        if steer is not None:
            if self._store is None:
                raise ConfigError('this server does not steer; start it with "vectors": "DIR"')
            # The files first, at each request: a file that was changed is not used under its old digest.
            for term in parse_steering(steer):
                self._store.get(term.sha256)
            self._fits(self._store, steer)
        if capture is not None:
            if self.config.captures is None:
                raise ConfigError('this server does not capture; start it with "captures": "DIR"')
            end, prompt, n = parse_capture(capture).end, request.prompt_token_ids, getattr(params, "n", 1)
            if prompt is None:
                raise ConfigError("a capture needs a prompt of tokens, not of embeddings")
            if end > len(prompt):
                raise ConfigError(
                    f"{CAPTURE_ARGUMENT}: spans end at {end}, the prompt has {len(prompt)} tokens"
                )
            if n != 1:
                raise ConfigError(f"{CAPTURE_ARGUMENT}: n={n}; one completion is captured at a time")

    def _composes(self, store: VectorStore, text: str) -> None:
        sizes = self.info.model_dump(include={"d_model", "n_layers", "layers"})
        composed(store, parse_steering(text), **sizes, largest=self._largest)


def _gate(vllm_config: Any) -> Gate | None:
    """None where the plugin was not asked for.

    Raises:
        ConfigError: The settings are malformed.
        TreatmentError: The model does not have their layers.
    """
    config = plugin_config(vllm_config.additional_config)
    if config is None:
        return None
    import torch
    from vllm.platforms import current_platform

    from inspect_af.steering.vector import parse_layers

    model, lora = vllm_config.model_config, vllm_config.lora_config
    n_layers = model.get_total_num_hidden_layers()
    info = ServerInfo(
        version=version("inspect-af"),
        model=model.model,
        d_model=model.get_hidden_size(),
        n_layers=n_layers,
        layers=() if config.vectors is None else parse_layers(config.layers, range(n_layers)),
        vectors=None if config.vectors is None else str(config.vectors),
        captures=None if config.captures is None else str(config.captures),
        device=current_platform.device_type,
        lora=lora is not None,
        max_lora_rank=None if lora is None else lora.max_lora_rank,
        pipeline_stages=vllm_config.parallel_config.pipeline_parallel_size,
        max_num_seqs=vllm_config.scheduler_config.max_num_seqs,
        max_model_len=model.max_model_len,
        dtype=str(model.dtype).removeprefix("torch."),
    )
    return Gate(config, info, float(torch.finfo(model.dtype).max))


def condition_salt(steer: str, salt: str | None) -> str:
    """The cache salt of a request: of its condition, and of the salt that its client gave.

    KV blocks of a steered request hold steered keys and values. Hashed with this salt, they are found by
    requests of the same condition only.
    """
    return hashlib.sha256(f"inspect_af\0{steer}\0{salt or ''}".encode()).hexdigest()


def salted(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `Request.from_engine_core_request`, through which every request enters the engine."""

    def from_engine_core_request(cls: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        steer = argument(request.sampling_params, STEER_ARGUMENT)
        if isinstance(steer, str):
            request.cache_salt = condition_salt(steer, request.cache_salt)
        return original(cls, request, *args, **kwargs)

    return from_engine_core_request


def capped(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `KVCacheManager.get_computed_blocks`: tokens that are captured must be computed, not found."""

    def get_computed_blocks(self: Any, request: Any) -> Any:
        spec = argument(request.sampling_params, CAPTURE_ARGUMENT)
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
