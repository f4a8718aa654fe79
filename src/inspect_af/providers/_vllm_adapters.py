"""Adapters as a vLLM server takes them: one directory and one rank for each condition."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_af.errors import TreatmentError
from inspect_af.sdf.adapters import CONFIG, WEIGHTS, Adapter, adapter_config

ZERO = "af-zero"
"""Name of the adapter that changes nothing."""
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM can be started for."""


class Served(NamedTuple):
    """An adapter as it is served."""

    name: str
    path: Path


def served_name(adapters: Sequence[Adapter]) -> str:
    """`af-DIGEST`, of several adapters their digests joined by hyphens."""
    return f"af-{'-'.join(adapter.digest for adapter in adapters)}"


def served(adapters: Sequence[Adapter], directory: Path) -> Served:
    """One adapter for a condition: its only one where it is, several composed into `directory`.

    Raises:
        TreatmentError: They cannot be composed.
        MissingExtraError: torch is not installed, which composing needs.
    """
    name = served_name(adapters)
    if len(adapters) == 1:
        return Served(name, adapters[0].path.resolve())
    target = directory / name
    if not target.exists():
        from inspect_af.sdf.combine import compose

        compose([adapter.path for adapter in adapters], target)
    return Served(name, target)


def zero_adapter(like: Adapter, directory: Path) -> Served:
    """An adapter of the same shapes whose numbers are all zero; of any dtype, without torch."""
    target = directory / ZERO
    if not target.exists():
        partial = directory / f"{ZERO}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        shutil.copyfile(like.path / CONFIG, partial / CONFIG)
        with (like.path / WEIGHTS).open("rb") as source, (partial / WEIGHTS).open("wb") as out:
            length = source.read(8)
            header = source.read(struct.unpack("<Q", length)[0])
            out.write(length + header)
            out.truncate(source.seek(0, 2))  # the rest reads as zeros
        partial.rename(target)
    return Served(ZERO, target)


def max_rank(adapters: Sequence[Sequence[Adapter]]) -> int:
    """The smallest rank that vLLM can be started for and that fits all conditions; composed ranks add up.

    Raises:
        TreatmentError: One is larger than vLLM offers.
    """
    needed = max((sum(rank(adapter) for adapter in one) for one in adapters), default=_RANKS[0])
    fitting = [offered for offered in _RANKS if offered >= needed]
    if not fitting:
        raise TreatmentError(
            f"the adapters of one condition have rank {needed} together; vLLM serves at most {_RANKS[-1]}. "
            "Merge the organism into the base"
        )
    return fitting[0]


def rank(adapter: Adapter) -> int:
    """Largest rank of an adapter's modules."""
    config = adapter_config(adapter.path)
    pattern = config.get("rank_pattern") or {}
    found = [config.get("r"), *pattern.values()]
    if not all(isinstance(one, int) and one > 0 for one in found):
        raise TreatmentError(f"{adapter.path / CONFIG}: rank {json.dumps(found)} is not a positive number")
    return int(max(found))
