"""Where the numbers came from: logs by the shortest name that tells them apart, and no machine's paths."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from inspect_af.profile.convergence.result import Convergence


def relative_names(locations: Sequence[str]) -> dict[str, str]:
    """Every location by its name below the directory that holds all of them.

    Locations without a common directory (a bucket and a disk) keep their last two parts.
    """
    paths = [location.replace("\\", "/") for location in locations]
    try:
        root = posixpath.commonpath([posixpath.dirname(path) for path in paths]) if paths else ""
    except ValueError:  # absolute and relative paths mixed
        root = ""
    if root in ("", "/"):
        return {
            location: "/".join(path.split("/")[-2:]) for location, path in zip(locations, paths, strict=True)
        }
    return {location: path[len(root) :].lstrip("/") for location, path in zip(locations, paths, strict=True)}


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
