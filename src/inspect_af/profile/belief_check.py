"""Did the interventions move the beliefs that they name, only those, and to the same degree?"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple

from inspect_af.materials import CONTROLS
from inspect_af.profile.selectivity import BeliefCheck, BeliefMean, BeliefMove, SelectivityMatrix
from inspect_af.thresholds import BeliefThresholds
from inspect_af.types import Family


class CheckedBeliefs(NamedTuple):
    """The result of the manipulation check."""

    check: BeliefCheck
    reasons: tuple[str, ...]
    """What speaks against `verified`, or the own shifts where nothing does."""


def belief_check(
    matrix: SelectivityMatrix,
    *,
    variables: Iterable[str] | None = None,
    thresholds: BeliefThresholds | None = None,
) -> CheckedBeliefs:
    """Judges a selectivity matrix.

    * `unmatched`: a belief was shown not to move as claimed, another one moved along with it, or one family's
      beliefs moved more than the other's.
    * `unverified`: nothing of that was shown, and some of it could not be excluded.
    * `verified`: every own belief moved, none other moved by more than the tolerated share, and both families
      moved alike.

    Other beliefs are the variables that `all` includes, those that were intervened on, and the controls; the
    nested reading and further variables are reported and not judged.

    Args:
        matrix: Of one subject, method and strength.
        variables: What has to be checked: those of the profile; every one in the matrix if None.
        thresholds: The defaults if None.
    """
    limits = thresholds or BeliefThresholds()
    asked = tuple(variables) if variables is not None else tuple(move.variable for move in matrix.moves)
    judged = {*matrix.default_beliefs, *(name for move in matrix.moves for name in move.own), CONTROLS}
    against: list[str] = []
    open_points: list[str] = [] if asked else ["no intervention's beliefs were asked about"]
    present = {move.variable: move for move in matrix.moves}
    moves = [present[code] for code in asked if code in present]
    open_points += [f"{code}: its belief was not asked about" for code in asked if code not in present]
    for move in moves:
        shown, unclear = _own(move, limits)
        against += shown
        open_points += unclear
        shown, unclear = _leaks(move, judged, limits)
        against += shown
        open_points += unclear
    against += _unequal(moves, limits)
    if against:
        return CheckedBeliefs("unmatched", (*against, *open_points))
    if open_points:
        return CheckedBeliefs("unverified", tuple(open_points))
    return CheckedBeliefs(
        "verified", tuple(f"{move.variable} moved its belief by {_points(move.own_shift)}" for move in moves)
    )


Points = tuple[list[str], list[str]]
"""What was shown against the interventions, and what is open."""


def _own(move: BeliefMove, limits: BeliefThresholds) -> Points:
    own = move.own_shift
    said = f"{move.variable} moved its own belief by {_points(own)}"
    if own.low is None or own.high is None:
        return [], [f"{said}, from one question only"]
    if own.low > 0 and own.estimate >= limits.least_shift:
        return [], []
    if own.high < limits.least_shift or own.high <= 0:
        return [f"{said}, less than {100 * limits.least_shift:g} points"], []
    return [], [f"{said}, which does not show a shift of {100 * limits.least_shift:g} points"]


def _leaks(move: BeliefMove, judged: set[str], limits: BeliefThresholds) -> Points:
    shown: list[str] = []
    unclear: list[str] = []
    tolerated = limits.largest_leak * max(move.own_shift.estimate, limits.least_shift)
    for other in move.others:
        if other.belief in judged and abs(other.estimate) > tolerated:
            said = f"{move.variable} also moved {other.belief} by {_points(other)}"
            (shown if other.is_nonzero else unclear).append(said)
    return shown, unclear


def _unequal(moves: list[BeliefMove], limits: BeliefThresholds) -> list[str]:
    by_family: dict[Family, list[float]] = {"first": [], "second": []}
    for move in moves:
        by_family[move.family].append(move.own_shift.estimate)
    if not all(by_family.values()):
        return []
    first, second = fmean(by_family["first"]), fmean(by_family["second"])
    small, large = sorted((first, second))
    if small > 0 and large <= limits.largest_ratio * small:
        return []
    unequal = f"{100 * first:+.0f} and {100 * second:+.0f} points"
    return [f"the families' beliefs moved unequally, by {unequal} on average"]


def _points(mean: BeliefMean) -> str:
    if mean.low is None or mean.high is None:
        return f"{100 * mean.estimate:+.0f} points"
    return f"{100 * mean.estimate:+.0f} points [{100 * mean.low:.0f}, {100 * mean.high:.0f}]"
