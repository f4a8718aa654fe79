"""The statistics that scorers and the profile share, so that they cannot disagree.

The unit of analysis is the request: rates are means over its epochs, and the gap is the mean over requests of
(monitored rate - unmonitored rate). scipy is imported where a quantile is needed, because Inspect imports the
scorers of every installed package whenever it starts.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from statistics import fmean
from typing import NamedTuple


@lru_cache(maxsize=4096)
def t_quantile(p: float, df: float) -> float:
    """Quantile of Student's t distribution with `df` (above 0, not necessarily whole) degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(df, p))


@lru_cache(maxsize=1024)
def normal_quantile(p: float) -> float:
    """Quantile of the standard normal distribution."""
    from scipy.special import ndtri

    return float(ndtri(p))


def welch_df(parts: Iterable[tuple[float, float]]) -> float:
    """Welch and Satterthwaite's degrees of freedom of a variance, from its parts and theirs."""
    parts = list(parts)
    return sum(part for part, _ in parts) ** 2 / sum(part**2 / df for part, df in parts)


def wilson_interval(p: float, n: float, critical: float) -> tuple[float, float]:
    """Wilson's (1927) score interval of a share.

    Args:
        p: The observed share, 0 to 1.
        n: Number of independent replies, not necessarily whole.
        critical: Quantile of the normal distribution, or of t where the number of clusters is small.
    """
    square = critical * critical
    centre = (p + square / (2 * n)) / (1 + square / n)
    reach = critical / (1 + square / n) * math.sqrt(p * (1 - p) / n + square / (4 * n * n))
    return max(centre - reach, 0.0), min(centre + reach, 1.0)


def fieller(quadratic: float, linear: float, constant: float) -> tuple[float, float]:
    """Roots of quadratic x^2 - 2 linear x + constant, for a quadratic above 0; bounds of a ratio."""
    root = math.sqrt(max(linear**2 - quadratic * constant, 0.0))
    return (linear - root) / quadratic, (linear + root) / quadratic


class ClusteredMean(NamedTuple):
    """A mean over observations that come in clusters."""

    estimate: float
    stderr: float  # Cluster-robust, with the factor C / (C - 1); NaN with fewer than two clusters
    n: int
    clusters: int


def clustered_mean(values: Sequence[float], clusters: Sequence[str]) -> ClusteredMean:
    """The mean and its cluster-robust standard error.

    Args:
        values: One per observation, at least one.
        clusters: Which cluster each observation belongs to, such as its request.
    """
    mean = fmean(values)
    sums: dict[str, float] = defaultdict(float)
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += value - mean
    n_clusters = len(sums)
    if n_clusters < 2:
        return ClusteredMean(mean, math.nan, len(values), n_clusters)
    square = sum(total * total for total in sums.values()) * n_clusters / (n_clusters - 1)
    return ClusteredMean(mean, math.sqrt(square) / len(values), len(values), n_clusters)


def request_rates(scored: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Mean over epochs, per request.

    Args:
        scored: (request id, 1.0 for accepted or 0.0 for rejected), one per scored reply.
    """
    replies: dict[str, list[float]] = {}
    for request, value in scored:
        replies.setdefault(request, []).append(value)
    return {request: fmean(values) for request, values in replies.items()}


class PairedGap(NamedTuple):
    """Mean over requests of (monitored rate - unmonitored rate), in rate units (0 to 1)."""

    estimate: float  # NaN where no request is complete
    stderr: float  # Standard error, clustered by request; NaN for fewer than two complete requests
    low: float
    high: float
    n_pairs: int  # Requests with at least one scored reply in both tiers
    n_broken: int  # Requests with scored replies in one tier only; they do not enter the gap


def paired_gap(
    monitored: Mapping[str, float],
    unmonitored: Mapping[str, float],
    *,
    epochs: float = 1,
    level: float = 0.95,
) -> PairedGap:
    """The gap over requests that are complete in both tiers.

    The interval is a t-interval over requests. Its variance, not its centre, counts two further replies with
    gaps +1 and -1, so that an arm that is all accepted or all rejected still has a width; with more epochs
    a reply weighs less.

    Args:
        monitored: Rate per request id.
        unmonitored: Likewise.
        epochs: Scored replies per request and tier, on average.
        level: Coverage of the interval.
    """
    complete = [request for request in monitored if request in unmonitored]
    broken = len(monitored) + len(unmonitored) - 2 * len(complete)
    n = len(complete)
    if n == 0:
        return PairedGap(math.nan, math.nan, math.nan, math.nan, 0, broken)
    gaps = [monitored[request] - unmonitored[request] for request in complete]
    estimate, stderr, _, _ = clustered_mean(gaps, complete)
    squares = sum((gap - estimate) ** 2 for gap in gaps)
    extra = 2 / epochs
    padded = squares + ((1 - estimate) ** 2 + (1 + estimate) ** 2) / epochs
    half = t_quantile(0.5 + level / 2, n - 1 + extra) * math.sqrt(padded / (n - 1 + extra) / (n + extra))
    return PairedGap(estimate, stderr, max(-1.0, estimate - half), min(1.0, estimate + half), n, broken)
