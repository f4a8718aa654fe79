"""What a study can detect, from assumed rates or from a pilot's observed variances.

A quantity's variance over requests is split in two: `between`, which only more requests reduce, and
`within`, which more epochs reduce too. With n requests and E epochs its squared error is
(between + within / E) / n.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import Literal, NamedTuple

import numpy as np

from inspect_af.errors import AnalysisError, ConfigError, one_of
from inspect_af.profile.contrast import effect, level_of
from inspect_af.profile.core import Core, Data, core_of, data_of, reference_gap
from inspect_af.profile.design import analyses_of
from inspect_af.profile.estimands import ARM_TIERS, FloatArray
from inspect_af.profile.outcomes import ConditionCounts, Outcomes
from inspect_af.profile.statistic import Statistic
from inspect_af.stats import normal_quantile
from inspect_af.thresholds import Thresholds
from inspect_af.types import OUTCOMES

PowerQuantity = Literal["gap", "effect", "sensitivity", "contrast"]
POWER_QUANTITIES: tuple[PowerQuantity, ...] = ("gap", "effect", "sensitivity", "contrast")


class Variance(NamedTuple):
    """Variance of one request's contribution to a quantity."""

    between: float
    """The part that stays however often a request is repeated."""
    within: float
    """The part of a single reply's chance, at one epoch."""

    def at(self, epochs: int) -> float:
        return self.between + self.within / epochs


def assumed_variance(
    quantity: PowerQuantity,
    *,
    monitored: float,
    unmonitored: float,
    gap_sd: float,
    n_variables: tuple[int, int] = (2, 2),
) -> Variance:
    """Variance from assumed rates, taken to be alike in all conditions.

    Args:
        quantity: what is to be detected.
        monitored: assumed accepted rate of the monitored arm, 0 to 1.
        unmonitored: that of the unmonitored arm.
        gap_sd: standard deviation over requests of a condition's true gap; 0 if requests differ in nothing,
            in which case epochs are as good as requests. Not in source; a pilot with several epochs gives it.
        n_variables: variables of the first and the second family.

    Raises:
        ConfigError: a rate is outside 0 to 1, `gap_sd` is negative or larger than the rates allow, a family
            is empty, or the quantity is unknown.
    """
    for name, rate in (("monitored", monitored), ("unmonitored", unmonitored)):
        if not 0 <= rate <= 1:
            raise ConfigError(f"{name} rate {rate} is outside 0 to 1; give a share, such as 0.14")
    if min(n_variables) < 1:
        raise ConfigError(f"n_variables {n_variables}: each family needs at least one variable")
    chance = monitored * (1 - monitored) + unmonitored * (1 - unmonitored)
    if not 0 <= gap_sd <= sqrt(chance):
        raise ConfigError(
            f"gap_sd {gap_sd} is outside 0 to {sqrt(chance):.3f}, the most that these rates allow"
        )
    first, second = n_variables
    gaps = {
        "gap": 1.0,
        "effect": 2.0,
        "sensitivity": 2 / min(n_variables),
        "contrast": 2 / first + 2 / second,
    }
    if quantity not in gaps:
        raise one_of(quantity, POWER_QUANTITIES, what="quantity")
    factor = gaps[quantity]
    return Variance(between=factor * gap_sd**2, within=factor * (chance - gap_sd**2))


def detectable_effect(
    variance: Variance, *, n_requests: int, epochs: int, power: float = 0.8, confidence: float = 0.95
) -> float:
    """(z of confidence + z of power) x standard error; two-sided test.

    Raises:
        ConfigError: requests or epochs below 1, or power outside 0 to 1.
    """
    if n_requests < 1 or epochs < 1:
        raise ConfigError(f"{n_requests} requests x {epochs} epochs; both must be at least 1")
    return _critical(power, confidence) * sqrt(variance.at(epochs) / n_requests)


def requests_needed(
    variance: Variance, *, target: float, epochs: int, power: float = 0.8, confidence: float = 0.95
) -> int:
    """Requests for which a true value of `target` is detected with the given power.

    Raises:
        ConfigError: `target` is not above 0, or epochs are below 1.
    """
    if target <= 0 or epochs < 1:
        raise ConfigError(f"target {target} and epochs {epochs}; give a target above 0 and at least 1 epoch")
    return max(2, ceil(variance.at(epochs) * (_critical(power, confidence) / target) ** 2))


class Pilot(NamedTuple):
    """What a pilot says about the variances of one subject under one method."""

    subject: str
    method: str
    variances: dict[PowerQuantity, Variance]
    epochs: int
    """Scored replies a request and arm, on average, in the condition with the fewest. With 1 the split in
    `between` and `within` is unknown; all counts as `between`, so that further epochs promise nothing."""


def pilot_variances(outcomes: Outcomes, *, thresholds: Thresholds | None = None) -> tuple[Pilot, ...]:
    """Variances observed in a pilot, one entry a subject and method.

    Raises:
        AnalysisError: no analysis has both arms.
    """
    pilots = []
    for requests in outcomes.request_sets:
        data = data_of(requests, thresholds or Thresholds())
        noise = np.stack([_reply_noise(condition) for condition in requests.conditions]).ravel()
        for analysis in analyses_of(requests):
            core = core_of(analysis, data, strength=None, variables=None)
            used = [p for g in (*analysis.groups, *analysis.placebos) for p in g.conditions]
            used.extend([] if analysis.baseline is None else [analysis.baseline])
            epochs = min(_replies_per_request(requests.conditions[position]) for position in used)
            # Requests that only another analysis of the same logs asked are no attrition of this one.
            asked = max(_requests_asked(requests.conditions[position]) for position in used)
            found = {
                quantity: _observed(statistic, noise, epochs, asked)
                for quantity, statistic in _statistics(core, data).items()
            }
            if found:
                pilots.append(Pilot(analysis.subject_label, analysis.method, found, epochs))
    if not pilots:
        raise AnalysisError(
            "the pilot has no analysis with both arms; run the untouched subject and at least one "
            "intervention in the monitored and the unmonitored tier"
        )
    return tuple(pilots)


def _statistics(core: Core, data: Data) -> dict[PowerQuantity, Statistic]:
    """One statistic a quantity: the most variable one where there are several."""
    found: dict[PowerQuantity, Statistic] = {}
    reference = reference_gap(core, data)
    if reference is not None:
        cell, gap, _ = reference
        found["gap"] = gap
        effects = [effect(data.strict.cell(group.conditions), cell) for group in core.analysis.groups]
        if effects:
            found["effect"] = max(effects, key=lambda statistic: statistic.se)
    elif core.analysis.groups:
        found["gap"] = level_of(data.strict.cell(core.analysis.groups[0].conditions))
    if core.families:
        found["sensitivity"] = max((f.statistic for f in core.families.values()), key=lambda s: s.se)
    if core.contrast is not None:
        found["contrast"] = core.contrast
    return {quantity: statistic for quantity, statistic in found.items() if statistic.n > 1}


def _observed(statistic: Statistic, noise: FloatArray, epochs: int, asked: int) -> Variance:
    """Variance of a request that is asked: where only some are complete, each of those stands for more."""
    total = statistic.se**2 * asked
    if epochs < 2:
        return Variance(between=total, within=0.0)
    used = statistic.weights != 0
    within = float((np.square(statistic.weights[used]) * noise[used]).sum()) * asked / statistic.n
    # The pilot's own error already holds within / epochs; what is left is between, and never negative.
    return Variance(between=max(total - within / epochs, 0.0), within=within)


def _reply_noise(condition: ConditionCounts) -> FloatArray:
    """Mean over requests of the unbiased variance of a single reply, [arm of two]; 0 where never repeated."""
    accepted, rejected = (condition.counts[:, ARM_TIERS, OUTCOMES.index(o)] for o in ("accepted", "rejected"))
    n = accepted + rejected
    rate = accepted / np.maximum(n, 1)
    variance = np.where(n > 1, n * rate * (1 - rate) / np.maximum(n - 1, 1), 0.0)
    repeated = (n > 1).sum(axis=0)
    return np.asarray(variance.sum(axis=0) / np.maximum(repeated, 1))


def _requests_asked(condition: ConditionCounts) -> int:
    asked = condition.counts[:, ARM_TIERS].sum(axis=-1) + condition.failed[:, ARM_TIERS] > 0
    return int(asked.any(axis=1).sum())


def _replies_per_request(condition: ConditionCounts) -> int:
    accepted, rejected = (condition.counts[:, ARM_TIERS, OUTCOMES.index(o)] for o in ("accepted", "rejected"))
    scored = accepted + rejected
    present = scored[scored > 0]
    return round(float(present.mean())) if len(present) else 0


def _critical(power: float, confidence: float) -> float:
    if not (0 < power < 1 and 0 < confidence < 1):
        raise ConfigError(f"power {power} and confidence {confidence} must lie between 0 and 1")
    return normal_quantile((1 + confidence) / 2) + normal_quantile(power)
