"""The `-M` arguments of af-hf, checked before any weights are read; torch-free."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

from inspect_af.errors import ConfigError, one_of
from inspect_af.providers._applied import Applied, Steered
from inspect_af.rendering import OPTIONS, ChatTemplate, is_option, read_template
from inspect_af.sdf.adapters import MANIFEST, Adapter, Role, check_parents, load_adapter
from inspect_af.steering import load_vector

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
    plain = [path for path in paths if not (path / MANIFEST).exists()]
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
