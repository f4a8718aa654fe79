"""What a vLLM server is asked for: Inspect's generate config as the body of one completion."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from inspect_ai.model import GenerateConfig

from inspect_af.errors import ConfigError
from inspect_af.providers.vllm_plugin.wire import CAPTURE_ARGUMENT, PROBE_ARGUMENT, STEER_ARGUMENT

# These change what a model says, and are not passed on: an answer without them would be another experiment's.
_REFUSED = ("best_of", "prompt_logprobs")
_IGNORED = ("effort", "reasoning_effort", "reasoning_mode", "reasoning_tokens", "verbosity")
_OF_CHATS = (
    "add_generation_prompt",
    "chat_template",
    "chat_template_kwargs",
    "continue_final_message",
    "messages",
)


def request_body(config: GenerateConfig, *, steer: str | None) -> dict[str, Any]:
    """The request without model and prompt; what is not set is left to the server.

    Args:
        config: Inspect's; its `extra_body` is passed on.
        steer: The condition as the plugin reads it, None where nothing is added.

    Raises:
        ConfigError: An option that changes replies and is not offered; or `extra_body` steers or captures
            past the provider, so that no log would say so, asks for beam search, in which vLLM loses a
            request's condition, or speaks of chats, which are rendered here.
    """
    for name in _REFUSED:
        value = getattr(config, name, None)
        if value and not (name == "best_of" and value == 1):
            raise ConfigError(f"af-vllm has no {name} (given {value!r}); leave it out")
    if ignored := [name for name in _IGNORED if getattr(config, name, None) is not None]:
        warnings.warn(
            f"af-vllm ignores {', '.join(ignored)}; vLLM's own options go into extra_body", stacklevel=2
        )
    extra = dict(config.extra_body or {})
    arguments = extra.get("vllm_xargs") or {}
    if not isinstance(arguments, Mapping):
        raise ConfigError(f"extra_body vllm_xargs={arguments!r}; an object of names and values is needed")
    if own := [name for name in (STEER_ARGUMENT, CAPTURE_ARGUMENT, PROBE_ARGUMENT) if name in arguments]:
        raise ConfigError(
            f"extra_body names {own[0]}, which no log would record as a treatment; give -M vector=FILE and "
            "-M multiplier= instead"
        )
    if extra.get("use_beam_search"):
        raise ConfigError("extra_body use_beam_search: vLLM steers no beam search; leave it out")
    if chats := [name for name in _OF_CHATS if name in extra]:
        raise ConfigError(
            f"extra_body {chats[0]}: chats are rendered by af-vllm, not by the server; give "
            "-M template_args.NAME=VALUE or -M chat_template=FILE. An assistant message last is continued"
        )
    if steer is not None:
        extra["vllm_xargs"] = {**arguments, STEER_ARGUMENT: steer}
    schema = config.response_schema
    named = {
        "max_tokens": config.max_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "seed": config.seed,
        "stop": config.stop_seqs,
        "n": config.num_choices,
        "frequency_penalty": config.frequency_penalty,
        "presence_penalty": config.presence_penalty,
        "logit_bias": config.logit_bias,
        "logprobs": (config.top_logprobs or 0) if config.logprobs or config.top_logprobs else None,
        "response_format": None
        if schema is None
        else {
            "type": "json_schema",
            "json_schema": {
                "name": schema.name,
                "schema": schema.json_schema.model_dump(exclude_none=True),
                "strict": schema.strict,
            },
        },
    }
    given = {name: value for name, value in named.items() if value is not None}
    return {**given, **extra, "return_token_ids": True, "return_tokens_as_token_ids": True}
