"""The `-M` arguments of af-hf and af-vllm, checked before any weights are read or any server is started.

Torch-free: making a model, or scoring a log, must not need one.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple, cast

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    StopReason,
    TopLogprob,
)
from inspect_ai.util import store

from inspect_af.config import (
    as_list,
    is_file,
    local_path,
    number,
    text_digest,
    true_or_false,
    user_path,
    whole_number,
)
from inspect_af.errors import ConfigError, TreatmentError, check_one_of, one_of
from inspect_af.logs.headers import SPEED_OPTIONS, subject_of
from inspect_af.materials.organisms import find_organism
from inspect_af.rendering import OPTIONS, ChatTemplate, Rendered, Renderer, is_option, read_template
from inspect_af.sdf.adapters import (
    MANIFEST,
    Adapter,
    Role,
    check_base,
    check_effect,
    check_parents,
    check_sum,
    load_adapter,
    refuse_other_base,
)
from inspect_af.sdf.base_model import BaseFiles, base_directory, digest_if_local
from inspect_af.sdf.hub import hub_directory
from inspect_af.steering.vector import SteeringVector, load_vector
from inspect_af.types import ARMS, CURRENT_TIER, Subject, Tier, Training, Treatment

_log = getLogger(__name__)
ORGANISM = "organism"  # Argument that names an entry of the catalogue
ADAPTER_ARGUMENTS = ("adapter", "adapter_role", "intervention", "intervention_pair", "adapter_base")
STEERING_ARGUMENTS = ("vector", "multiplier", "layers", "vector_tier")
ARGUMENTS = (
    *(*ADAPTER_ARGUMENTS, *STEERING_ARGUMENTS),
    *("revision", "dtype", "device", "max_requests", "max_batch_tokens", *OPTIONS),
)
"""Of af-hf."""
_TREATMENT = (*ADAPTER_ARGUMENTS, *STEERING_ARGUMENTS)
_OWN = ("port", "server_python", "server_log", "start_timeout", "request_timeout", "capture")
_MODEL_OPTIONS = (
    *("attention_backend", "config_format", "disable_cascade_attn", "disable_sliding_window", "dtype"),
    *("enable_expert_parallel", "fully_sharded_loras", "generation_config", "hf_config_path", "hf_overrides"),
    *("kv_cache_dtype", "language_model_only", "limit_mm_per_prompt", "logprobs_mode", "lora_dtype"),
    *("max_logprobs", "max_model_len", "model_impl", "moe_backend", "override_generation_config"),
    *("quantization", "quantization_config", "revision", "rope_scaling", "rope_theta", "seed"),
    *("structured_outputs_config", "tokenizer", "tokenizer_mode", "tokenizer_revision"),
)
"""vLLM's options that can change replies and are passed on."""
_OPERATION = (
    *SPEED_OPTIONS,
    *("async_scheduling", "compilation_config", "disable_custom_all_reduce", "download_dir"),
    *("max_num_scheduled_tokens", "optimization_level", "performance_mode"),
)
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
_BOUNDS = {
    "max_tokens": (1, None),
    "num_choices": (1, None),
    "temperature": (0, None),
    "top_p": (0, 1),
    "top_k": (-1, None),  # as in vLLM, 0 and -1 are all tokens
    "top_logprobs": (0, None),
}
"""Least and most of numbers in Inspect's generation settings."""
_IGNORED = ("effort", "reasoning_effort", "reasoning_mode", "reasoning_tokens", "verbosity")


def is_path(name: str) -> bool:
    """Whether a model's name cannot be one of the hub's, which is `NAME` or `ORGANISATION/NAME`."""
    return bool(re.match(r"[./~\\]|[A-Za-z]:[/\\]", name)) or name.count("/") > 1 or "\\" in name


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
    if is_path(name) and not Path(name).exists():
        hint = "" if Path(name).is_absolute() else f" (from {Path.cwd()})"
        if name.startswith("~"):
            hint = " (~ is not expanded here; give $HOME/... or an absolute path)"
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
    tier: Tier | None = None  # The only tier in which it is added; None where it is added in every tier
    file: Path | None = None


@dataclass(frozen=True, eq=False)
class Applied:
    """A condition as the engine sees it. Two with equal keys do the same to every token."""

    adapters: tuple[Adapter, ...] = ()
    steered: Steered | None = None
    any_base: bool = False  # Whether the user has said that the adapters are meant for a base of another name

    @property
    def key(self) -> str:
        """Digest of everything that changes the model's output."""
        parts = [adapter.digest for adapter in self.adapters]
        if (held := self.steered) is not None:
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
    def training(self) -> Training | None:
        """How the last adapter that belongs to the subject was trained, None where none says so."""
        organisms = [adapter for adapter in self.adapters if adapter.role == "organism"]
        return organisms[-1].training if organisms else None

    @property
    def treatments(self) -> tuple[Treatment, ...]:
        """What logs record: adapters of interventions in order, then the vector."""
        found: list[Treatment] = [t for adapter in self.adapters for t in adapter.treatments]
        if (held := self.steered) is not None:
            found.append(held.vector.treatment(held.multiplier, held.layers, held.tier))
        return tuple(found)


class ModelKey(NamedTuple):
    """What decides which weights af-hf has in memory, and how."""

    name: str  # Hub id or local directory
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    base: str | None = None
    """Digest of the directory, by which one whose content was replaced is told from what it was."""


class Limits(NamedTuple):
    """How much af-hf does at once."""

    max_requests: int = 64
    max_batch_tokens: int = 2048

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self._asdict().items())


class Settings(NamedTuple):
    """What the arguments of af-hf say."""

    applied: Applied
    key: ModelKey
    limits: Limits
    template: ChatTemplate


def read_settings(model: str, arguments: Mapping[str, Any]) -> Settings:
    """Reads and checks the arguments of af-hf.

    Args:
        model: Hub id or directory.
        arguments: As Inspect gives them: strings, numbers, and lists where a value has commas.

    Raises:
        ConfigError: An unknown argument, a malformed value, or arguments that do not go together.
        TreatmentError: An adapter or the vector cannot be used.
    """
    for name in arguments:
        if name == "trust_remote_code":
            raise ConfigError(
                "trust_remote_code is not offered: af-hf runs no code from a model's repository"
            )
        if name not in (ORGANISM, *ARGUMENTS) and not is_option(name):
            raise one_of(name, (ORGANISM, *ARGUMENTS), what="argument of af-hf")
    given = with_organism(model, {name: value for name, value in arguments.items() if value is not None})
    limits = {n: whole_number(given.get(n, usual), n, least=1) for n, usual in Limits()._asdict().items()}
    key = {name: str(given[name]) for name in ("revision", "dtype", "device") if name in given}
    loaded = ModelKey(model, **key, base=digest_if_local(model))
    return Settings(_applied(given), loaded, Limits(**limits), read_template(given))


def check_unchanged(model: str, base: str | None) -> None:
    """Makes sure, before a model is loaded, that its directory holds what it held when its digest was taken.

    Raises:
        ConfigError: It does not.
    """
    if base is not None and digest_if_local(model) != base:
        raise ConfigError(f"the model {model} has changed since it was read; start again")


def with_organism(model: str, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments with `organism=NAME` spelt out: adapters as part of the subject, and the revision.

    Adapters on the Hub are downloaded into its cache. What is not pinned is warned about.

    Raises:
        ConfigError: The entry is unknown, or is another model's; or the revision is given twice.
        TreatmentError: An adapter cannot be downloaded.
    """
    if ORGANISM not in given:
        return given
    given = dict(given)
    name = given.pop(ORGANISM)
    entry = find_organism(str(name))
    if model != entry.base:
        raise ConfigError(f"organism={name} is {entry.base}, not {model}; give that model, or leave it out")
    if entry.revision is not None and given.setdefault("revision", entry.revision) != entry.revision:
        raise ConfigError(f"organism={name} pins revision {entry.revision}; leave revision out")
    if entry.unpinned:
        _log.warning(f"organism={name}: {', '.join(entry.unpinned)} not pinned; the newest version is taken")
    pins = entry.adapter_revisions or (None,) * len(entry.adapters)
    if places := [hub_directory(each, pin) for each, pin in zip(entry.adapters, pins, strict=True)]:
        own, roles = _listed(given, "adapter"), _listed(given, "adapter_role")
        given["adapter"] = [*map(str, places), *own]
        if plain := _plain(places):
            own_roles = roles * len(_plain(map(Path, own))) if len(roles) == 1 else roles
            given["adapter_role"] = ["organism"] * len(plain) + own_roles
    return given


def _plain(adapters: Iterable[Path]) -> list[Path]:
    """Those without a manifest."""
    return [path for path in adapters if not is_file(path / MANIFEST)]


def _applied(given: Mapping[str, Any]) -> Applied:
    any_base = given.get("adapter_base")
    if any_base not in (None, "any"):
        raise ConfigError(
            f"adapter_base={any_base!r}; give adapter_base=any to use adapters whose own base has another "
            "name and the same dimensions, or leave it out"
        )
    return Applied(_adapters(given), _steered(given), any_base is not None)


def _adapters(given: Mapping[str, Any]) -> tuple[Adapter, ...]:
    paths = [local_path(path, "adapter=") for path in _listed(given, "adapter")]
    if not paths:
        if alone := [name for name in ADAPTER_ARGUMENTS[1:4] if name in given]:
            raise ConfigError(
                f"{alone[0]}={given[alone[0]]} says something about an adapter; give adapter=DIR too"
            )
        return ()
    roles = _each("adapter_role", given, paths)
    # A code belongs to interventions only, so an organism in between takes none.
    codes = _each("intervention", given, [path for path in paths if roles.get(path) != "organism"])
    adapters = tuple(
        load_adapter(
            path,
            role=cast(Role | None, roles.get(path)),
            intervention=codes.get(path),
            pair=given.get("intervention_pair"),
        )
        for path in paths
    )
    if len({adapter.digest for adapter in adapters}) < len(adapters):
        raise ConfigError(f"adapter={','.join(map(str, paths))}: the same weights are named twice")
    check_parents(adapters)
    treating = tuple(adapter for adapter in adapters if adapter.role == "intervention")
    for together in dict.fromkeys((adapters, treating)):
        if len(together) > 1:
            check_sum([adapter.path for adapter in together])
    return adapters


def _each(name: str, given: Mapping[str, Any], paths: list[Path]) -> dict[Path, str]:
    """An argument's values: one for each adapter, for each without a manifest, or one for all of those."""
    values, plain = _listed(given, name), _plain(paths)
    for named in (paths, plain):
        if len(values) == len(named):
            return dict(zip(named, values, strict=True))
    if len(values) > 1:
        raise ConfigError(
            f"{name}={','.join(values)}: {len(values)} values for {len(paths)} adapters, {len(plain)} of "
            "them without a manifest; give one for each, in order"
        )
    return dict.fromkeys(plain, values[0]) if values else {}


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
    multiplier, file = given["multiplier"], user_path(str(given["vector"]))
    if isinstance(multiplier, str):
        with suppress(ValueError):
            multiplier = float(multiplier)
    vector = load_vector(file)
    # Complains now rather than at the first sample.
    layers = vector.treatment(multiplier, ",".join(_listed(given, "layers")) or "all").layers
    if (tier := given.get("vector_tier")) is not None:
        check_one_of(tier, ARMS, what="vector_tier")
    return Steered(vector, float(multiplier), layers, tier, file)


def _listed(given: Mapping[str, Any], name: str) -> list[str]:
    """Inspect splits at commas; a value without one is alone, and a script may give a string with some."""
    return [item for item in as_list(given.get(name, "")) if item]


class Launch(NamedTuple):
    """How a server is started. Conditions with equal ones share a server."""

    model: str
    python: str  # Interpreter of the environment in which vLLM is installed
    options: tuple[tuple[str, str], ...]
    """vLLM's own options as `(name, value)`, names with hyphens; an empty value is a flag."""
    port: int | None
    log: Path | None
    start_timeout: float
    capture: bool
    base: str | None = None  # Digest of the model's directory


class VLLMSettings(NamedTuple):
    """What the arguments of af-vllm say."""

    applied: Applied
    launch: Launch
    template: ChatTemplate
    tokenizer: tuple[str, str | None]  # Name or directory, and revision
    request_timeout: float
    identity: dict[str, Any]
    """The arguments that change what the subject says: vLLM's own, apart from those about speed, and those
    about the chat template."""


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
    known = (ORGANISM, *_TREATMENT, *_OWN, *_MODEL_OPTIONS, *_OPERATION)
    for name in given:
        if name in _REFUSED:
            raise ConfigError(f"{name} is not an argument of af-vllm: {_REFUSED[name]}")
        if name not in known and not is_option(name):
            # vLLM takes abbreviations, so that anything else could be an option that was refused.
            close = get_close_matches(name, (*known, *OPTIONS), n=1)
            raise ConfigError(
                f"unknown argument of af-vllm {name!r}{f' (did you mean {close[0]}?)' if close else ''}. "
                "vLLM's options are taken by their whole names, where their effect on replies is known. With "
                "any other, start the server yourself (docs/vllm.md) and give base_url"
            )
    named = {name: given[name] for name in (ORGANISM, "adapter_base") if name in given}
    given = with_organism(model, given)
    template = {name: value for name, value in given.items() if is_option(name)}
    options = {n: v for n, v in given.items() if n not in (*_TREATMENT, *_OWN) and n not in template}
    revision = options.get("tokenizer_revision", options.get("revision"))
    applied = _applied(given)
    _check_adapters(applied, model, options.get("revision"))
    port = given.get("port")
    seconds = {
        name: number(given.get(name, 3600.0), name, least=1) for name in ("start_timeout", "request_timeout")
    }
    identity = {name: value for name, value in options.items() if name not in _OPERATION} | named
    return VLLMSettings(
        applied=applied,
        launch=Launch(
            model=model,
            python=str(given.get("server_python", sys.executable)),
            options=tuple(sorted(_option(name, value) for name, value in options.items())),
            port=None if port is None else whole_number(port, "port", least=1024, most=65535),
            log=Path(str(given["server_log"])) if "server_log" in given else None,
            start_timeout=seconds["start_timeout"],
            capture=true_or_false(given.get("capture", False), "capture"),
            base=digest_if_local(model),
        ),
        template=read_template(template),
        tokenizer=(str(options.get("tokenizer", model)), None if revision is None else str(revision)),
        request_timeout=seconds["request_timeout"],
        identity=identity | template,
    )


def _check_adapters(applied: Applied, model: str, revision: str | None) -> None:
    """Compares adapters with the base's files, where those are on this machine, before a server starts."""
    for adapter in applied.adapters:
        refuse_other_base(adapter.path)
    directory = base_directory(model, revision) if applied.adapters else None
    if directory is None or not (directory / "config.json").is_file():
        return
    base = BaseFiles(directory)
    for adapter in applied.adapters:
        check_base(
            adapter,
            directory,
            name=model,
            directory=directory,
            any_name=applied.any_base,
            override="-M adapter_base=any",
        )
        check_effect(adapter.path, base)
        refuse_other_base(adapter.path, base)


def _option(name: str, value: object) -> tuple[str, str]:
    name = name.replace("_", "-")
    if isinstance(value, bool):
        return (name if value else f"no-{name}"), ""
    if isinstance(value, dict):
        return name, json.dumps(value, sort_keys=True)
    return name, ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class ConditionAPI(ModelAPI):
    """What af-hf and af-vllm have in common: a base model under a condition, read by its token ids.

    An assistant message that comes last is gone on with. `GenerateConfig.prompt_logprobs=1` gives the
    log-probability of each token of such a beginning of a reply, as the choice's `prompt_logprobs`.

    Args:
        provider: `af-hf` or `af-vllm`.
        model_name: The part of the name after it.
        applied: Adapters and steering.
        address: What Inspect's response cache keys on beside the model's name: everything that changes
            replies, since it does not look at model arguments. Nothing is contacted there.
        arguments: Those that change what the subject says.
        api_key: As Inspect gives it.
        config: As Inspect gives it.
    """

    continues_replies = True
    scores_replies = True

    def __init__(
        self,
        provider: str,
        model_name: str,
        applied: Applied,
        *,
        address: Sequence[str],
        arguments: Mapping[str, Any],
        api_key: str | None,
        config: GenerateConfig | None,
    ) -> None:
        config = config or GenerateConfig()
        if config.max_connections is None and config.adaptive_connections is None:
            # Inspect would find out by and by how much a server takes; a batch is best full from the start.
            config.adaptive_connections = False
        self.base = digest_if_local(model_name) or ""
        steered = applied.steered and applied.steered.vector
        if steered and self.base and steered.header.base not in (None, self.base):
            _log.warning(
                f"vector {steered.digest} was fitted to activations of {steered.header.model}, whose files "
                f"have digest {steered.header.base}; those of {model_name} have {self.base}"
            )
        scheme = {"af-hf": "local", "af-vllm": "vllm"}[provider]
        identity = f"{scheme}://{text_digest(model_name, *address, self.base)}"
        super().__init__(model_name, identity, api_key, [], config)
        self.label = f"{provider}/{model_name}"
        self.applied = applied
        self.treatments: tuple[Treatment, ...] = applied.treatments
        carried = {"organism": applied.organism, "training": applied.training}
        self.subject: Subject = subject_of(self.label, arguments).model_copy(update=carried)

    def choice(
        self,
        renderer: Renderer,
        rendered: Rendered,
        tokens: Sequence[int],
        stop_reason: StopReason,
        *,
        stop: Sequence[str] = (),
        logprobs: Iterable[tuple[int, float, Sequence[tuple[int, float]]]] | None = None,
        beginning: Iterable[tuple[int, float]] = (),
    ) -> ChatCompletionChoice:
        """A reply as Inspect has it.

        Args:
            renderer: Of the tokens.
            rendered: The prompt.
            tokens: As generated.
            stop_reason: Why the reply ended.
            stop: Sequences of which one ended the reply.
            logprobs: Of each token its id and log-probability, and those of the likeliest.
            beginning: Id and log-probability of each token that was given, where they were asked for.
        """
        message = ChatMessageAssistant(
            content=renderer.content(tokens, opened=rendered.opened, stop=stop),
            model=self.label,
            source="generate",
        )

        def entry(token: int, logprob: float, likeliest: Sequence[tuple[int, float]] = ()) -> Logprob:
            top = [TopLogprob(token=renderer.token(one), logprob=value) for one, value in likeliest]
            return Logprob(token=renderer.token(token), logprob=logprob, top_logprobs=top or None)

        scored = [entry(*each) for each in beginning]
        return ChatCompletionChoice(
            message=message,
            stop_reason=stop_reason,
            logprobs=None if logprobs is None else Logprobs(content=[entry(*each) for each in logprobs]),
            prompt_logprobs=Logprobs(content=scored) if scored else None,
        )


def scored_beginning(config: GenerateConfig, rendered: Rendered, provider: str) -> tuple[int, ...]:
    """The given tokens of a reply whose log-probabilities are asked for; none where they are not.

    Raises:
        ConfigError: There is no such beginning, or more is asked for than the tokens' own.
    """
    if config.prompt_logprobs is None:
        return ()
    if config.prompt_logprobs != 1 or not rendered.begun:
        raise ConfigError(
            f"prompt_logprobs={config.prompt_logprobs}: {provider} gives prompt_logprobs=1, and of the "
            "beginning of a reply alone; give an assistant message last, or leave it out"
        )
    return rendered.begun


def check_config(config: GenerateConfig, provider: str, refused: Iterable[str], hint: str) -> None:
    """Refuses options that would be dropped silently, and warns of those that mean nothing here.

    Raises:
        ConfigError: An option that changes replies and that the provider does not have, or a number that none
            can be.
    """
    for name, (least, most) in _BOUNDS.items():
        if (value := getattr(config, name)) is not None:
            number(value, name, least=least, most=most)
    for name in refused:
        value = getattr(config, name, None)
        if value and (name, value) != ("best_of", 1):
            raise ConfigError(f"{provider} has no {name} (given {value!r}); leave it out. {hint}")
    if ignored := [name for name in _IGNORED if getattr(config, name, None) is not None]:
        warnings.warn(f"{provider} ignores {', '.join(ignored)}", stacklevel=3)
