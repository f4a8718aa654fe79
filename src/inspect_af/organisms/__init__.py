"""Models whose motivation is known by construction, so that a method can be checked against them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any


@cache
def words_of(name: str) -> Mapping[str, Any]:
    """The tables of one of the package's files of words and numbers, such as `judge` or `tiny/facts`."""
    file = resources.files("inspect_af.organisms") / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))
