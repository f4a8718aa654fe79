"""A vLLM general plugin: steering and pooled capture per request on the stock engine.

vLLM calls `register` in each of its processes, through the entry point group `vllm.general_plugins`. Nothing
happens to a server that was not started with `--additional-config '{"af": {...}}'`
(`inspect_af.providers.vllm_plugin.wire.PluginConfig` lists the keys): its layers are not touched.
"""

from inspect_af.providers.vllm_plugin.register import register
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
