"""Dose-response: does a family's sensitivity grow with strength, and which doses may be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import NamedTuple

import numpy as np

from inspect_af.profile.design import Analysis, Group
from inspect_af.profile.statistic import Statistic, combine


def trend(levels: Sequence[tuple[float, Statistic]]) -> Statistic | None:
    """Least-squares slope of a statistic on the dose axis; None with fewer than two different positions."""
    positions = np.array([position for position, _ in levels])
    centred = positions - positions.mean() if len(positions) else positions
    total = float(np.square(centred).sum())
    if total == 0:
        return None
    return combine([statistic for _, statistic in levels], [float(c) / total for c in centred])


class DoseMatch(NamedTuple):
    """One level of each steering concept, chosen so that the doses are as equal as they can be."""

    pairs: tuple[tuple[Group, Group], ...]
    """(amplify, suppress) of each concept."""
    ratio: float | None
    """Largest dose over smallest, of all chosen groups; None where a dose is unknown."""


def match_doses(analysis: Analysis, included: frozenset[str]) -> DoseMatch | None:
    """Chooses for each concept the multiplier whose dose is nearest to a common one.

    The common dose is the one, among those that were run, for which the worst concept is least far off (on a
    log scale); of equals the strongest. Where a dose was not recorded, multipliers stand in for doses.
    None where no concept was run at +m and -m.
    """
    pairs = opposed(analysis, included)
    if not pairs:
        return None
    recorded = all(group.dose is not None for levels in pairs.values() for both in levels for group in both)
    chosen = pick_levels(
        {
            code: [
                (amplify.dose if recorded and amplify.dose else amplify.level.position, amplify, suppress)
                for amplify, suppress in levels
            ]
            for code, levels in pairs.items()
        }
    )
    doses = [group.dose for _, *both in chosen.values() for group in both if group.dose]
    ratio = max(doses) / min(doses) if recorded and doses else None
    return DoseMatch(tuple((amplify, suppress) for _, amplify, suppress in chosen.values()), ratio)


def opposed(analysis: Analysis, included: frozenset[str]) -> dict[str, list[tuple[Group, Group]]]:
    """Every level at which a concept was run both ways, as (amplify, suppress), by concept."""
    found: dict[str, list[tuple[Group, Group]]] = {}
    for amplify in analysis.groups:
        if amplify.polarity != "+" or amplify.variable not in included or amplify.level.position == 0:
            continue
        suppress = analysis.at(amplify.variable, "-", amplify.level)
        if suppress is not None:
            found.setdefault(amplify.variable, []).append((amplify, suppress))
    return found


def pick_levels(
    sizes: Mapping[str, Sequence[tuple[float, Group, Group]]],
) -> dict[str, tuple[float, Group, Group]]:
    """For each concept the level whose size (above 0) is nearest to a common one; of equals the strongest."""
    target = _common_dose({code: [size for size, *_ in levels] for code, levels in sizes.items()})
    return {
        code: min(levels, key=lambda level: (round(abs(log(level[0] / target)), 9), -level[0]))
        for code, levels in sizes.items()
    }


def _common_dose(sizes: Mapping[str, Sequence[float]]) -> float:
    def worst(target: float) -> float:
        return max(min(abs(log(size / target)) for size in own) for own in sizes.values())

    everything = {size for own in sizes.values() for size in own}
    return min(everything, key=lambda size: (round(worst(size), 9), -size))
