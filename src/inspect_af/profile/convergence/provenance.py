"""Where the numbers came from: logs by the shortest name that tells them apart, and no machine's paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from inspect_af.profile.convergence.result import Convergence


def relative_names(locations: Sequence[str]) -> dict[str, str]:
    """Every location by its name below the directory, bucket or server that holds all of them.

    Locations that share none (a bucket and a disk) keep as many of their last parts, two at least, as tell
    them apart.
    """
    parts = [location.replace("\\", "/").split("/") for location in locations]
    shared = _shared([each[:-1] for each in parts])
    if any(shared):
        return {
            location: "/".join(each[len(shared) :]) for location, each in zip(locations, parts, strict=True)
        }
    deepest = max(2, *map(len, parts)) if parts else 2
    for kept in range(2, deepest + 1):
        names = ["/".join(each[-kept:]) for each in parts]
        if len(set(names)) == len(names):
            break
    return dict(zip(locations, names, strict=True))


def _shared(directories: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The parts with which all of them begin."""
    level = zip(*directories, strict=False)
    return tuple(names[0] for names in takewhile(lambda names: len(set(names)) == 1, level))


def shortened(report: Convergence, names: Mapping[str, str]) -> Convergence:
    """The report with every log under its short name, in notes too."""
    longest = sorted(names, key=len, reverse=True)

    def short(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: short(v, k) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [short(item, key) for item in value]
        if isinstance(value, str) and key in ("logs", "belief_logs"):
            return names.get(value, "/".join(value.split("/")[-2:]))
        if isinstance(value, str) and key in ("notes", "warnings"):
            for location in longest:
                value = value.replace(location, names[location])
        return value

    return Convergence.model_validate(short(report.model_dump(by_alias=True)))
