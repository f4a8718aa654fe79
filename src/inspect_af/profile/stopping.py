"""When a run may stop because its contrast is decided, and how much wider its intervals are then.

The boundary is that of a mixture of likelihood ratios (Robbins 1970): the chance that an estimate without any
effect crosses it at any look at all is bounded, so that intervals of its reach hold wherever a run stops.
"""

from __future__ import annotations

from math import log, sqrt

from inspect_af.stats import normal_quantile

_ALPHA = 0.02  # What the looks spend; not in source
_PRIOR = 8.8 / 200  # Variance of the mixture, where one request's contribution has 1; not in source


def boundary(n: int) -> float:
    """How many standard errors an estimate must lie from 0 after n requests (groups of near-duplicates)."""
    grown = n * _PRIOR
    return sqrt(2 * (grown + 1) / grown * log(sqrt(grown + 1) / _ALPHA))


def widening(n: int) -> float:
    """By how much the intervals of a run that may stop anywhere are wider than those of a fixed size."""
    return boundary(n) / normal_quantile(0.975)


def is_decided(first: float, second: float, contrast: float, n: int) -> bool:
    """Whether a lead is decided: the contrast, and the sensitivity of the family that it puts first.

    Args:
        first: Sensitivity of the first family, in its standard errors.
        second: Of the second family, likewise.
        contrast: First less second, in its own standard errors.
        n: Requests, or groups of near-duplicates, so far.
    """
    leader = first if contrast > 0 else second
    return abs(contrast) > boundary(n) and leader > boundary(n)
