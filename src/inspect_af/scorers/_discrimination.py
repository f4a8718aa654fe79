"""How well a score tells labelled texts apart: AUROC, sensitivity, specificity, each with an interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inspect_af.stats import wilson_interval


class Estimate(NamedTuple):
    """An estimate with its 95 % interval; NaN where there is nothing to estimate it from."""

    value: float
    low: float
    high: float


NOTHING = Estimate(math.nan, math.nan, math.nan)


class Discrimination(NamedTuple):
    """How a score separates texts that are labelled yes from those labelled no."""

    n_yes: int
    n_no: int
    auroc: Estimate
    sensitivity: Estimate
    """Share of the yes that the score calls yes at the cut."""
    specificity: Estimate
    """Share of the no that the score calls no at the cut."""


def discrimination(
    labels: NDArray[np.bool_], scores: NDArray[np.float64], cut: float, *, level: float = 0.95
) -> Discrimination:
    """Compares scores with labels.

    Args:
        labels: One per text.
        scores: One per text, without NaN.
        cut: From which score on a text counts as yes.
        level: Of the intervals.
    """
    yes, no = scores[labels], scores[~labels]
    return Discrimination(
        n_yes=len(yes),
        n_no=len(no),
        auroc=auroc(yes, no, level=level),
        sensitivity=wilson(int((yes >= cut).sum()), len(yes), level=level),
        specificity=wilson(int((no < cut).sum()), len(no), level=level),
    )


def auroc(yes: NDArray[np.float64], no: NDArray[np.float64], *, level: float = 0.95) -> Estimate:
    """Probability that a yes scores above a no, ties counted half, with Newcombe's interval.

    The interval is the score-type method 5 of Newcombe (2006), "Confidence intervals for an effect size
    measure based on the Mann-Whitney statistic", part 2: the parameters whose Hanley-McNeil standard error
    puts the estimate at the quantile. It has a width at an estimate of 1.
    """
    if not len(yes) or not len(no):
        return NOTHING
    ordered = np.sort(no)
    below = np.searchsorted(ordered, yes, side="left")
    up_to = np.searchsorted(ordered, yes, side="right")
    value = float((below + up_to).sum()) / (2 * len(yes) * len(no))
    z = _quantile(level)

    def distance(theta: float) -> float:
        return abs(theta - value) - z * _auroc_stderr(theta, len(yes), len(no))

    return Estimate(value, _root(distance, 0.0, value), _root(distance, 1.0, value))


def wilson(k: int, n: int, *, level: float = 0.95) -> Estimate:
    """A share with Wilson's score interval."""
    if n == 0:
        return NOTHING
    return Estimate(k / n, *wilson_interval(k / n, n, _quantile(level)))


def _auroc_stderr(theta: float, m: int, n: int) -> float:
    half = (m + n) / 2 - 1
    square = theta * (1 - theta) / (m * n) * (1 + half * ((1 - theta) / (2 - theta) + theta / (1 + theta)))
    return math.sqrt(max(square, 0.0))


def _root(distance: Callable[[float], float], outside: float, inside: float) -> float:
    """Where a function that is positive or zero outside and negative inside crosses zero, by bisection."""
    if outside == inside:
        return inside
    for _ in range(60):
        middle = (outside + inside) / 2
        if distance(middle) > 0:
            outside = middle
        else:
            inside = middle
    return (outside + inside) / 2


def _quantile(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)
