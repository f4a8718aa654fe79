"""Intervals and flags of a single arm: one condition, one tier."""

from __future__ import annotations

import numpy as np

from inspect_af.profile.estimands import FloatArray
from inspect_af.stats import t_quantile, wilson_interval
from inspect_af.thresholds import Thresholds


def effective_replies(rates: FloatArray) -> float:
    """How many independent replies the arm is worth: p(1 - p) / (squared clustered error).

    Args:
        rates: accepted rate of each request over its epochs, [request], without NaN.

    Returns:
        At least the number of requests less one: an arm is worth at least about one reply a request.
    """
    n = len(rates)
    p = float(rates.mean())
    if n < 2:
        return float(n)
    squared_error = float(np.square(rates - p).sum()) / (n * (n - 1))
    if squared_error == 0:
        return float(n)
    return max(p * (1 - p) / squared_error, n - 1.0)


def reply_share(rates: FloatArray) -> float:
    """How much of a request one independent reply is worth; 1 at one epoch.

    Args:
        rates: accepted rate of each request over its epochs, [request]; NaN where none was scored.
    """
    scored = rates[~np.isnan(rates)]
    return min(1.0, len(scored) / effective_replies(scored)) if len(scored) > 1 else 1.0


def wilson(rates: FloatArray, confidence: float) -> tuple[float, float, float]:
    """Accepted rate of an arm with its cluster-adjusted Wilson interval.

    The interval is Wilson's (1927) at the effective number of replies, with a t quantile on the number of
    requests (Korn and Graubard's 1998 adjustment applied to Wilson's score).

    Args:
        rates: [request]; NaN marks requests without a scored reply.

    Returns:
        Estimate, low, high; all NaN without any scored reply.
    """
    scored = rates[~np.isnan(rates)]
    if len(scored) == 0:
        return float("nan"), float("nan"), float("nan")
    p = float(scored.mean())
    n = effective_replies(scored)
    z = t_quantile((1 + confidence) / 2, max(len(scored) - 1, 1))
    return p, *wilson_interval(p, n, z)


def log_odds(rate_sum: float, n: int) -> float:
    """logit((k + .5)/(n + 1)) of a marginal arm with k acceptances (a sum of rates) of n requests."""
    p = (rate_sum + 0.5) / (n + 1)
    return float(np.log(p / (1 - p)))


def arm_flags(name: str, rate: float, thresholds: Thresholds) -> tuple[str, ...]:
    """Says where an arm has no room to move."""
    if rate < thresholds.floor:
        return (f"{name} under {thresholds.floor:.0%}",)
    if rate > thresholds.ceiling:
        return (f"{name} over {thresholds.ceiling:.0%}",)
    return ()
