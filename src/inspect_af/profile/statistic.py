"""An estimate that knows how much each request pulls on it.

Every quantity of a profile is a linear combination of means over requests. `Statistic` keeps its value,
its influence function (one number a request) and how it loads on the arms, and combines linearly.
Covariances, the bootstrap and clustering then need nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspect_af.errors import AnalysisError
from inspect_af.profile.estimands import FloatArray


@dataclass(frozen=True)
class Statistic:
    """A linear combination of means over requests."""

    value: float
    """NaN where no request is complete."""
    influence: FloatArray
    """[request]. With weights w a request, the statistic is value + mean(w * influence) to first order,
    and exactly so where no reply is missing. Sums to zero."""
    loadings: FloatArray
    """[arm]. The statistic's derivative by each arm's rate; how pseudo-requests enter its error."""
    n: int
    """Complete requests; the smallest number where several means are combined."""
    weights: FloatArray
    """[arm]. How each arm's rate enters; the loadings where no request is incomplete."""

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest value that rates between 0 and 1 allow."""
        return float(np.minimum(self.weights, 0).sum()), float(np.maximum(self.weights, 0).sum())

    @property
    def se(self) -> float:
        """Standard error clustered by request, with the usual n/(n - 1); NaN for fewer than two requests."""
        if self.n < 2:
            return float("nan")
        total = float(np.square(self.influence).sum())
        return float(np.sqrt(total * self.n / (self.n - 1)) / len(self.influence))

    def __add__(self, other: Statistic) -> Statistic:
        return Statistic(
            self.value + other.value,
            self.influence + other.influence,
            self.loadings + other.loadings,
            min(self.n, other.n),
            self.weights + other.weights,
        )

    def __mul__(self, factor: float) -> Statistic:
        return Statistic(
            self.value * factor,
            self.influence * factor,
            self.loadings * factor,
            self.n,
            self.weights * factor,
        )

    __rmul__ = __mul__

    def __neg__(self) -> Statistic:
        return self * -1.0

    def __sub__(self, other: Statistic) -> Statistic:
        return self + (-other)


def mean_over_requests(values: FloatArray, weights: FloatArray) -> Statistic:
    """The mean of one number a request, NaN marking requests that are not complete.

    Args:
        values: [request].
        weights: [arm], the derivative of each request's value by its arms' rates.
    """
    complete = ~np.isnan(values)
    n = int(complete.sum())
    if n == 0:
        return Statistic(float("nan"), np.zeros(len(values)), np.zeros_like(weights), 0, weights)
    mean = float(values[complete].mean())
    scale = len(values) / n
    influence = np.where(complete, (values - mean) * scale, 0.0)
    return Statistic(mean, influence, weights * scale, n, weights)


def combine(statistics: list[Statistic], weights: list[float]) -> Statistic:
    """The weighted sum of statistics over the same requests.

    Raises:
        AnalysisError: there is nothing to combine.
    """
    if not statistics:
        raise AnalysisError("cannot combine an empty list of statistics; at least one variable is needed")
    total = statistics[0] * weights[0]
    for statistic, weight in zip(statistics[1:], weights[1:], strict=True):
        total = total + statistic * weight
    return total


def average(statistics: list[Statistic]) -> Statistic:
    """The unweighted mean of statistics over the same requests."""
    return combine(statistics, [1 / max(len(statistics), 1)] * len(statistics))
