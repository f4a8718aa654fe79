"""How the effect of an intervention by synthetic documents follows its effect by a prompt.

Every intervention is one point: change of the gap by its claim, change of the gap by its documents. Both
are measured with noise, so that a plain least-squares slope is too small. Subtracting the noise's expected
part, which the requests' influence gives, from the sums of squares and products mends it. Intervals come
from the shared resample of the requests; they are conditional on these interventions, texts and checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from inspect_af.profile.bootstrap import Draws
from inspect_af.profile.convergence.cases import Case
from inspect_af.profile.convergence.reading import Trace
from inspect_af.profile.convergence.result import Calibration, CalibrationPoint
from inspect_af.profile.core import gap_effects
from inspect_af.profile.estimands import FloatArray
from inspect_af.profile.estimator import optional
from inspect_af.profile.statistic import Statistic

LEAST_INTERVENTIONS = 4
"""Fewer points than this carry no slope."""


class Slope(NamedTuple):
    """A slope with its interval."""

    value: float
    low: float
    high: float


def calibrate(prompt: Case, sdf: Case, trace: Trace, draws: Draws) -> Calibration | None:
    """The calibration of one model; None where both methods share no intervention on the same requests."""
    if prompt.data is not sdf.data:
        return None
    by_prompt, by_sdf = gap_effects(prompt.core, prompt.data), gap_effects(sdf.core, sdf.data)
    codes = [code for code in by_prompt if code in by_sdf and min(by_prompt[code].n, by_sdf[code].n) > 1]
    if not codes:
        return None
    x, y = [by_prompt[code] for code in codes], [by_sdf[code] for code in codes]
    estimator = prompt.data.estimator
    estimates = estimator.of([*x, *y])
    family_of = {group.code: group.family for group in prompt.core.headline_groups}
    enough = len(codes) >= LEAST_INTERVENTIONS
    slope = fit_slope(x, y, draws, confidence=estimator.thresholds.confidence) if enough else None
    values = np.array([[s.value for s in x], [s.value for s in y]])
    return Calibration(
        subject=prompt.core.analysis.subject_label,
        points=tuple(
            CalibrationPoint(
                intervention=code,
                family=family_of[code],
                prompt=estimates[k],
                sdf=estimates[len(codes) + k],
            )
            for k, code in enumerate(codes)
        ),
        slope=slope.value if slope else None,
        slope_low=slope.low if slope else None,
        slope_high=slope.high if slope else None,
        refusal=None if slope else (_UNBOUNDED if enough else _few(len(codes))),
        plain_slope=_plain_slope(values) if enough else None,
        rank_correlation=optional(spearman(values[0], values[1])) if enough else None,
        logs=trace.logs({*prompt.places, *sdf.places}),
    )


_UNBOUNDED = (
    "the prompt effects of these interventions differ from one another by too little beside chance, so that "
    "a slope on them is not bounded"
)


def _few(n: int) -> str:
    return f"{n} interventions by both methods; {LEAST_INTERVENTIONS} are needed"


def fit_slope(
    x: Sequence[Statistic], y: Sequence[Statistic], draws: Draws, *, confidence: float
) -> Slope | None:
    """The slope of y on x over interventions, corrected for noise; None where no interval is bounded.

    The interval holds the slopes b for which the corrected moment of x with (y - b x) is within its resampled
    spread of 0. As Fieller's, it does not divide by a noisy number.

    Args:
        x: Effects by prompt, one per intervention.
        y: Effects by documents, in the same order.
        draws: The request bootstrap's.
        confidence: Of the interval.
    """
    values = np.array([[s.value for s in x], [s.value for s in y]])
    influence = np.stack([[s.influence for s in x], [s.influence for s in y]])  # [method, code, request]
    # What the baselines do to all interventions alike drops out here, and with it their noise.
    pulls = influence - influence.mean(axis=1, keepdims=True)
    n = pulls.shape[2]
    noise = np.einsum("akr,bkr->ab", pulls, pulls) / n**2
    centred = values - values.mean(axis=1, keepdims=True)
    products = centred @ centred.T
    signal, product = (products - noise)[0]
    if signal <= 0:
        return None
    slope = float(product / signal)
    moved = (pulls.reshape(-1, n) @ draws.units.T.astype(np.float64) / n).reshape(2, len(x), -1)
    shifted = centred[:, :, None] + moved
    xx = np.square(shifted[0]).sum(axis=0) - products[0, 0] - noise[0, 0]
    xy = (shifted[0] * shifted[1]).sum(axis=0) - products[0, 1] - noise[0, 1]
    errors = np.cov(np.stack([xy, xx]))
    moment = xy - slope * xx
    spread = float(np.std(moment))
    critical = float(np.quantile(np.abs(moment) / spread, confidence)) if spread > 0 else 0.0
    # (product - b signal)^2 <= critical^2 (Vxy - 2 b Cov + b^2 Vxx), a quadratic in b
    quadratic = signal**2 - critical**2 * errors[1, 1]
    linear = slope * signal**2 - critical**2 * errors[0, 1]
    constant = product**2 - critical**2 * errors[0, 0]
    if quadratic <= 0:
        return None
    root = float(np.sqrt(max(linear**2 - quadratic * constant, 0.0)))
    return Slope(slope, float((linear - root) / quadratic), float((linear + root) / quadratic))


def _plain_slope(values: FloatArray) -> float | None:
    centred = values - values.mean(axis=1, keepdims=True)
    signal = float(np.square(centred[0]).sum())
    return float(centred[0] @ centred[1]) / signal if signal > 0 else None


def spearman(x: FloatArray, y: FloatArray) -> float:
    """Rank correlation with mean ranks for ties; NaN where one side has no spread."""
    from scipy.stats import spearmanr

    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(spearmanr(x, y).statistic)
