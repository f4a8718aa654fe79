"""The `-M` arguments of af-vllm, checked before any server is started; torch-free."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from inspect_af.errors import ConfigError
from inspect_af.logs.headers import SPEED_OPTIONS
from inspect_af.providers._applied import Applied
from inspect_af.providers.settings import read_settings
from inspect_af.rendering import OPTIONS, ChatTemplate, is_option, read_template

_TREATMENT = (
    "adapter",
    "adapter_role",
    "intervention",
    "intervention_pair",
    "adapter_base",
    "vector",
    "multiplier",
    "layers",
    "vector_tier",
)
_OWN = ("port", "server_python", "server_log", "start_timeout", "request_timeout", "capture")
_MODEL_OPTIONS = frozenset(
    {
        "attention_backend",
        "config_format",
        "disable_cascade_attn",
        "disable_sliding_window",
        "dtype",
        "enable_expert_parallel",
        "fully_sharded_loras",
        "generation_config",
        "hf_config_path",
        "hf_overrides",
        "kv_cache_dtype",
        "language_model_only",
        "limit_mm_per_prompt",
        "logprobs_mode",
        "lora_dtype",
        "max_logprobs",
        "max_model_len",
        "model_impl",
        "moe_backend",
        "override_generation_config",
        "quantization",
        "quantization_config",
        "revision",
        "rope_scaling",
        "rope_theta",
        "seed",
        "structured_outputs_config",
        "tokenizer",
        "tokenizer_mode",
        "tokenizer_revision",
    }
)
"""vLLM's options that can change replies and are passed on."""
_OPERATION = SPEED_OPTIONS | {
    "async_scheduling",
    "compilation_config",
    "disable_custom_all_reduce",
    "download_dir",
    "max_num_scheduled_tokens",
    "optimization_level",
    "performance_mode",
}
"""vLLM's options about where and how fast a model runs."""
_REFUSED = {
    "uds": "the server listens on loopback only; start one yourself and give base_url for a socket",
    "hf_token": "arguments can be seen by every user of the machine; set HF_TOKEN in the environment",
    "reasoning_parser": "native reasoning is read here, from the token ids",
    "host": "the server listens on loopback only; start one yourself and give base_url for another machine",
    "api_key": "a random key is made and given by environment",
    "additional_config": "the plugin's settings are made here",
    "model": "the model is the part of the name after af-vllm/",
    "served_model_name": "the server is asked under a name of its own",
    "trust_remote_code": "code from a model's repository is not run",
    "lora_modules": "give adapter=DIR to the conditions that use one",
}
START_TIMEOUT, REQUEST_TIMEOUT = 3600.0, 3600.0


class Launch(NamedTuple):
    """How a server is started. Conditions with equal ones share a server."""

    model: str
    python: str
    """Interpreter of the environment in which vLLM is installed."""
    options: tuple[tuple[str, str], ...]
    """vLLM's own options as `(name, value)`, names with hyphens; an empty value is a flag."""
    port: int | None
    log: Path | None
    start_timeout: float
    capture: bool


class Settings(NamedTuple):
    """What the arguments say."""

    applied: Applied
    vector_file: Path | None
    launch: Launch
    template: ChatTemplate
    tokenizer: tuple[str, str | None]
    """Name or directory, and revision."""
    request_timeout: float
    identity: dict[str, Any]
    """The arguments that change what the subject says: vLLM's own, apart from those about speed, and those
    about the chat template."""


def read_vllm_settings(model: str, arguments: Mapping[str, Any]) -> Settings:
    """Reads and checks the arguments; what is not ours has to be an option of vLLM whose effect is known.

    Args:
        model: Name or directory of the base model.
        arguments: As Inspect gives them: strings, numbers, and lists where a value has commas.

    Raises:
        ConfigError: A value is malformed, an option is not offered, or arguments do not go together.
        TreatmentError: An adapter or the vector cannot be used.
    """
    given = {name.replace("-", "_"): value for name, value in arguments.items() if value is not None}
    for name in given:
        if name in _REFUSED:
            raise ConfigError(f"{name} is not an argument of af-vllm: {_REFUSED[name]}")
        known = (*_TREATMENT, *_OWN, *_MODEL_OPTIONS, *_OPERATION)
        if name not in known and not is_option(name):
            # vLLM takes abbreviations, so that anything else could be an option that was refused.
            close = get_close_matches(name, (*known, *OPTIONS), n=1)
            raise ConfigError(
                f"unknown argument of af-vllm {name!r}{f' (did you mean {close[0]}?)' if close else ''}. "
                "vLLM's options are taken by their whole names, where their effect on replies is known. With "
                "any other, start the server yourself (docs/vllm.md) and give base_url"
            )
    treatment = {name: given[name] for name in _TREATMENT if name in given}
    options = {
        name: value
        for name, value in given.items()
        if name not in (*_TREATMENT, *_OWN) and not is_option(name)
    }
    revision = options.get("tokenizer_revision", options.get("revision"))
    template = {name: value for name, value in given.items() if is_option(name)}
    return Settings(
        applied=read_settings(treatment, (1, 1)).applied,
        vector_file=Path(str(given["vector"])) if "vector" in given else None,
        launch=Launch(
            model=model,
            python=str(given.get("server_python", sys.executable)),
            options=tuple(sorted(_options(options))),
            port=_port(given.get("port")),
            log=Path(str(given["server_log"])) if "server_log" in given else None,
            start_timeout=_seconds("start_timeout", given.get("start_timeout", START_TIMEOUT)),
            capture=bool(_flag("capture", given.get("capture"))),
        ),
        template=read_template(template),
        tokenizer=(str(options.get("tokenizer", model)), None if revision is None else str(revision)),
        request_timeout=_seconds("request_timeout", given.get("request_timeout", REQUEST_TIMEOUT)),
        identity={name: value for name, value in options.items() if name not in _OPERATION}
        | ({"adapter_base": given["adapter_base"]} if "adapter_base" in given else {})
        | template,
    )


def _options(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for name, value in options.items():
        option = name.replace("_", "-")
        if value is True:
            found.append((option, ""))
        elif value is False:
            found.append((f"no-{option}", ""))
        elif isinstance(value, dict):
            found.append((option, json.dumps(value, sort_keys=True)))
        elif isinstance(value, list | tuple):
            found.append((option, ",".join(map(str, value))))
        else:
            found.append((option, str(value)))
    return found


def _flag(name: str, value: object) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{name}={value!r}; true or false is needed")
    return value


def _port(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1024 <= value <= 65535:
        raise ConfigError(f"port={value!r}; a number from 1024 to 65535 is needed, or leave it out")
    return value


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ConfigError(f"{name}={value!r}; a positive number of seconds is needed")
    return float(value)
