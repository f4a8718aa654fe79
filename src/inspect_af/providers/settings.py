"""The `-M` arguments of af-hf and af-vllm, checked before any weights are read or any server is started.

Torch-free: making a model, or scoring a log, must not need one.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

from inspect_ai.util import store

from inspect_af.config import is_file, text_digest
from inspect_af.errors import ConfigError, TreatmentError, one_of
from inspect_af.logs.headers import SPEED_OPTIONS
from inspect_af.rendering import OPTIONS, ChatTemplate, is_option, read_template
from inspect_af.sdf.adapters import (
    MANIFEST,
    Adapter,
    Role,
    check_base,
    check_effect,
    check_parents,
    load_adapter,
)
from inspect_af.sdf.base_model import BaseFiles, base_directory
from inspect_af.steering import SteeringVector, load_vector
from inspect_af.types import CURRENT_TIER, Tier, Treatment

_PATH = re.compile(r"[./~\\]|[A-Za-z]:[/\\]")


def is_path(name: str) -> bool:
    """Whether a model's name cannot be one of the hub's, which is `NAME` or `ORGANISATION/NAME`."""
    return _PATH.match(name) is not None or name.count("/") > 1 or "\\" in name


def check_model_path(name: str, *, provider: str) -> None:
    """Complains about a directory that is not there. Nothing is looked up for a name of the hub.

    A name such as `models/organism` can be either, and is left to the loader, even where there is a
    directory `models`: downloads are often kept under their organisation's name.

    Args:
        name: The part of the model's name after the provider.
        provider: For the message, such as `af-hf`.

    Raises:
        ConfigError: The name is empty, or a path that does not exist.
    """
    if not name.strip():
        raise ConfigError(f"{provider}/ without a model; give a directory or a name of the hub after it")
    if not is_path(name) or Path(name).exists():
        return
    hint = ""
    if name.startswith("~"):
        hint = " (~ is not expanded here; give $HOME/... or an absolute path)"
    elif not Path(name).is_absolute():
        hint = f" (from {Path.cwd()})"
    raise ConfigError(
        f"{provider}/{name}: there is no directory {name!r}{hint}. Give the directory of a model: "
        f"{provider}//absolute/path or {provider}/./relative/path; a model of the hub is "
        f"{provider}/ORGANISATION/NAME. (To score a log where its model is not: "
        "inspect score --model none/none)"
    )


@dataclass(frozen=True, eq=False)
class Steered:
    """A vector with how it is added."""

    vector: SteeringVector
    multiplier: float
    layers: str
    tier: Tier | None = None
    """The only tier in which it is added; None where it is added in every tier."""


@dataclass(frozen=True, eq=False)
class Applied:
    """A condition as the engine sees it. Two with equal keys do the same to every token."""

    adapters: tuple[Adapter, ...] = ()
    steered: Steered | None = None
    any_base: bool = False
    """Whether the user has said that the adapters are meant for a base of another name."""

    @property
    def key(self) -> str:
        """Digest of everything that changes the model's output."""
        parts = [adapter.digest for adapter in self.adapters]
        if self.steered is not None:
            held = self.steered
            parts += ["steer", held.vector.sha256, repr(held.multiplier), held.layers]
            parts += [held.tier] if held.tier else []
        return text_digest(*parts) if parts else "none"

    def here(self) -> Applied:
        """What acts on the sample at hand: not the vector, where it is for another tier.

        Raises:
            TreatmentError: The vector is for one tier, and the task has no such tiers.
        """
        if self.steered is None or self.steered.tier is None:
            return self
        tier = store().get(CURRENT_TIER)
        if tier not in ("monitored", "unmonitored", "rated"):
            raise TreatmentError(
                f"vector_tier={self.steered.tier}, and this sample is of no tier, so the vector would touch "
                "nothing; use the task inspect_af/alignment_faking, or leave vector_tier out"
            )
        return self if tier == self.steered.tier else Applied(self.adapters)

    @property
    def organism(self) -> tuple[str, ...]:
        """Digests of the adapters that belong to the subject, in order."""
        return tuple(digest for adapter in self.adapters for digest in adapter.organism)

    @property
    def treatments(self) -> tuple[Treatment, ...]:
        """What logs record: adapters of interventions in order, then the vector."""
        found: list[Treatment] = [t for adapter in self.adapters for t in adapter.treatments]
        if self.steered is not None:
            held = self.steered
            found.append(held.vector.treatment(held.multiplier, held.layers, held.tier))
        return tuple(found)


ARGUMENTS = (
    "adapter",
    "adapter_role",
    "intervention",
    "intervention_pair",
    "adapter_base",
    "vector",
    "multiplier",
    "layers",
    "vector_tier",
    "revision",
    "dtype",
    "device",
    "max_requests",
    "max_batch_tokens",
    *OPTIONS,
)
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


class Settings(NamedTuple):
    """What the arguments say."""

    applied: Applied
    revision: str | None
    dtype: str
    device: str
    max_requests: int
    max_batch_tokens: int
    template: ChatTemplate


def read_settings(arguments: Mapping[str, Any], defaults: tuple[int, int]) -> Settings:
    """Reads and checks the arguments.

    Args:
        arguments: As Inspect gives them: strings, numbers, and lists where a value has commas.
        defaults: `max_requests` and `max_batch_tokens`.

    Raises:
        ConfigError: An unknown argument, a malformed value, or arguments that do not go together.
        TreatmentError: An adapter or the vector cannot be used.
    """
    for name in arguments:
        if name == "trust_remote_code":
            raise ConfigError(
                "trust_remote_code is not offered: af-hf runs no code from a model's repository"
            )
        if name not in ARGUMENTS and not is_option(name):
            raise one_of(name, ARGUMENTS, what="argument of af-hf")
    given = {name: value for name, value in arguments.items() if value is not None}
    requests, tokens = (
        _count(name, given.get(name, default))
        for name, default in zip(("max_requests", "max_batch_tokens"), defaults, strict=True)
    )
    return Settings(
        applied=Applied(_adapters(given), _steered(given), _any_base(given.get("adapter_base"))),
        revision=str(given["revision"]) if "revision" in given else None,
        dtype=str(given.get("dtype", "auto")),
        device=str(given.get("device", "auto")),
        max_requests=requests,
        max_batch_tokens=tokens,
        template=read_template(given),
    )


def _adapters(given: Mapping[str, Any]) -> tuple[Adapter, ...]:
    paths = [Path(path) for path in _listed(given.get("adapter"))]
    if not paths:
        if alone := [name for name in ARGUMENTS[1:4] if name in given]:
            raise ConfigError(
                f"{alone[0]}={given[alone[0]]} says something about an adapter; give adapter=DIR too"
            )
        return ()
    plain = [path for path in paths if not is_file(path / MANIFEST)]
    roles = _each("adapter_role", given, paths, plain)
    if unsaid := [path for path in plain if path.is_dir() and path not in roles]:
        raise ConfigError(
            f"adapter {unsaid[0]} has no {MANIFEST}, so say what it is: -M adapter_role=organism (part of "
            "the model under study) or -M adapter_role=intervention -M intervention=CODE, such as A1+ or "
            "neutral. (Inspect keeps an argument named role for itself)"
        )
    # A code belongs to interventions only, so an organism in between takes none.
    coded = [path for path in plain if roles.get(path) != "organism"]
    codes = _each("intervention", given, [p for p in paths if roles.get(p) != "organism"], coded)
    pair = given.get("intervention_pair")
    adapters = tuple(
        load_adapter(path, role=_role(roles.get(path)), intervention=codes.get(path), pair=pair)
        for path in paths
    )
    digests = [adapter.digest for adapter in adapters]
    if len(set(digests)) < len(digests):
        raise ConfigError(f"adapter={','.join(map(str, paths))}: the same weights are named twice")
    check_parents(adapters)
    return adapters


def _any_base(value: object) -> bool:
    """Without an adapter it says nothing; given there too, the untouched subject has the same name."""
    if value not in (None, "any"):
        raise ConfigError(
            f"adapter_base={value!r}; give adapter_base=any to use adapters whose own base has another name "
            "and the same dimensions, or leave it out"
        )
    return value == "any"


def _role(name: str | None) -> Role | None:
    if name is None or name in get_args(Role):
        return cast(Role | None, name)
    raise one_of(name, get_args(Role), what="adapter role")


def _each(name: str, given: Mapping[str, Any], paths: list[Path], plain: list[Path]) -> dict[Path, str]:
    """An argument's values: one for each adapter, for each without a manifest, or one for all of those."""
    values = _listed(given.get(name))
    if not values:
        return {}
    if len(values) == len(paths):
        return dict(zip(paths, values, strict=True))
    if len(values) == len(plain):
        return dict(zip(plain, values, strict=True))
    if len(values) == 1:
        return dict.fromkeys(plain, values[0])
    raise ConfigError(
        f"{name}={','.join(values)}: {len(values)} values for {len(paths)} adapters, {len(plain)} of them "
        "without a manifest; give one for each, in order"
    )


def _steered(given: Mapping[str, Any]) -> Steered | None:
    if "vector" not in given:
        if alone := [name for name in ("multiplier", "layers", "vector_tier") if name in given]:
            raise ConfigError(
                f"{alone[0]}={given[alone[0]]} without a vector would touch nothing; give vector=FILE"
            )
        return None
    if "multiplier" not in given:
        raise ConfigError(
            f"vector={given['vector']} needs a multiplier, such as multiplier=4 or multiplier=-1.5"
        )
    multiplier = given["multiplier"]
    if isinstance(multiplier, str) and _NUMBER.fullmatch(multiplier.strip()):
        multiplier = float(multiplier)
    vector = load_vector(Path(str(given["vector"])))
    layers = ",".join(_listed(given.get("layers"))) or "all"
    vector.treatment(multiplier, layers)  # complains now rather than at the first sample
    tier = given.get("vector_tier")
    if tier not in (None, "monitored", "unmonitored"):
        raise one_of(tier, ("monitored", "unmonitored"), what="vector_tier")
    return Steered(vector, float(multiplier), layers, tier)


def _listed(value: object) -> list[str]:
    """Inspect splits at commas; a value without one is alone, and a script may give a string with some."""
    values = (
        list(value) if isinstance(value, list | tuple) else [] if value is None else str(value).split(",")
    )
    return [str(one).strip() for one in values if str(one).strip()]


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name}={value!r}; a whole number, 1 or more, is needed")
    return value


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


class VLLMSettings(NamedTuple):
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


def _check_adapters(applied: Applied, model: str, revision: str | None) -> None:
    """Compares adapters with the base's files, where those are on this machine, before a server starts."""
    directory = base_directory(model, revision) if applied.adapters else None
    if directory is None or not (directory / "config.json").is_file():
        return
    for adapter in applied.adapters:
        check_base(
            adapter,
            directory,
            name=model,
            directory=directory,
            any_name=applied.any_base,
            override="-M adapter_base=any",
        )
        check_effect(adapter.path, BaseFiles(directory))


def read_vllm_settings(model: str, arguments: Mapping[str, Any]) -> VLLMSettings:
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
    applied = read_settings(treatment, (1, 1)).applied
    _check_adapters(applied, model, options.get("revision"))
    return VLLMSettings(
        applied=applied,
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
