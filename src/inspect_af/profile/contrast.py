"""Effects of interventions and the sensitivities of families, as statistics over shared requests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from inspect_af.profile.arms import log_odds, reply_share
from inspect_af.profile.design import Analysis, Group, Level
from inspect_af.profile.estimands import ARM_TIERS, Estimand, FloatArray, accepted_rate
from inspect_af.profile.outcomes import RequestSet
from inspect_af.profile.statistic import Statistic, average, mean_over_requests
from inspect_af.types import Family

Quantity = Literal["gap", "monitored", "unmonitored", "mean"]
QUANTITIES: tuple[Quantity, ...] = ("gap", "monitored", "unmonitored", "mean")
_WEIGHTS: dict[Quantity, tuple[float, float]] = {
    "gap": (1.0, -1.0),
    "monitored": (1.0, 0.0),
    "unmonitored": (0.0, 1.0),
    "mean": (0.5, 0.5),
}
"""How each quantity weighs the monitored and the unmonitored arm."""


class Cell(NamedTuple):
    """The two arms of one condition, or of several averaged within each request."""

    rates: FloatArray
    """[request, arm of two]; NaN where a request has no scored reply."""
    loadings: FloatArray
    """[condition], the share with which each condition enters."""


class Arms:
    """Accepted rates of all conditions of a request set, under one estimand."""

    def __init__(self, requests: RequestSet, estimand: Estimand = "strict") -> None:
        self.rates = np.stack([accepted_rate(c, estimand)[:, ARM_TIERS] for c in requests.conditions])
        """[condition, request, arm of two]"""
        scored = ~np.isnan(self.rates)
        n = scored.sum(axis=1)
        total = np.where(scored, self.rates, 0.0).sum(axis=1)
        means = np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)
        self.means = means.ravel()
        """Accepted rate of every arm, [arm]: both tiers of the first condition, then of the next."""

        self._cells: dict[tuple[int, ...], Cell] = {}

    @cached_property
    def pseudo_weights(self) -> FloatArray:
        """How much of a request one independent reply is worth in every arm, [arm]; 1 at one epoch."""
        return np.array([reply_share(rates[:, k]) for rates in self.rates for k in (0, 1)])

    @property
    def n_requests(self) -> int:
        return int(self.rates.shape[1])

    def cell(self, conditions: Sequence[int]) -> Cell:
        """Averages conditions within each request, over those that have scored replies for it in both arms.

        A condition with one arm only would move the average of that arm alone, and so pass for a gap.
        """
        key = tuple(conditions)
        if key not in self._cells:
            self._cells[key] = self._average(key)
        return self._cells[key]

    def gaps(self, conditions: Sequence[int]) -> tuple[float, ...]:
        """The gap of every condition by itself; NaN without a complete request."""
        return tuple(level_of(self.cell([position])).value for position in conditions)

    def _average(self, conditions: tuple[int, ...]) -> Cell:
        chosen = self.rates[list(conditions)]
        loadings = np.zeros(len(self.means) // 2)
        loadings[list(conditions)] = 1 / len(conditions)
        if len(conditions) == 1:
            return Cell(chosen[0], loadings)
        complete = ~np.isnan(chosen).any(axis=2, keepdims=True)
        n = np.broadcast_to(complete, chosen.shape).sum(axis=0)
        total = np.where(complete, chosen, 0.0).sum(axis=0)
        rates = np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)
        return Cell(rates, loadings)


def level_of(cell: Cell, quantity: Quantity = "gap") -> Statistic:
    """A quantity of one cell, over the requests complete in both tiers."""
    values = cell.rates[:, 0] - cell.rates[:, 1] if quantity == "gap" else _weighed(cell.rates, quantity)
    return mean_over_requests(values, _spread(cell.loadings, quantity))


def effect(cell: Cell, reference: Cell, quantity: Quantity = "gap") -> Statistic:
    """Change of a quantity from a reference, over the requests complete in all four arms."""
    return mean_over_requests(
        _weighed(cell.rates - reference.rates, quantity),
        _spread(cell.loadings - reference.loadings, quantity),
    )


def log_odds_gap(cell: Cell, reference: Cell | None = None) -> float:
    """Difference of the marginal arms' log-odds, over the requests complete in them and in the reference."""
    rates = cell.rates if reference is None else cell.rates - reference.rates
    keep = ~np.isnan(rates).any(axis=1)
    n = int(np.count_nonzero(keep))
    if n == 0:
        return float("nan")
    monitored, unmonitored = (float(cell.rates[keep, k].sum()) for k in (0, 1))
    return log_odds(monitored, n) - log_odds(unmonitored, n)


def log_odds_sensitivity(amplify: Cell, suppress: Cell) -> Statistic:
    """gap(+) - gap(-) in log-odds of the marginal arms, with its influence by the delta method."""
    keep = ~np.isnan(amplify.rates + suppress.rates).any(axis=1)
    n, total = int(np.count_nonzero(keep)), len(amplify.rates)
    n_arms = 2 * len(amplify.loadings)
    value, influence, loadings = 0.0, np.zeros(total), np.zeros(n_arms)
    weights = np.zeros(n_arms)
    if n == 0:
        return Statistic(float("nan"), influence, loadings, 0, weights)
    for cell, sign in ((amplify, 1.0), (suppress, -1.0)):
        for tier, weight in enumerate((sign, -sign)):
            rates = cell.rates[keep, tier]
            k = float(rates.sum())
            p = (k + 0.5) / (n + 1)
            slope = weight / (p * (1 - p))
            value += weight * log_odds(k, n)
            influence[keep] += slope * (rates - k / n) * total / n
            loadings[tier::2] += slope * cell.loadings * total / n
            weights[tier::2] += np.where(cell.loadings > 0, weight * np.inf, 0.0)
    return Statistic(value, influence, loadings, n, weights)


def log_odds_effect(cell: Cell, reference: Cell) -> float:
    """Change of the log-odds gap from a reference, over the requests complete in all four arms."""
    return log_odds_gap(cell, reference) - log_odds_gap(reference, cell)


def _weighed(rates: FloatArray, quantity: Quantity) -> FloatArray:
    monitored, unmonitored = _WEIGHTS[quantity]
    values: FloatArray = monitored * rates[:, 0] + unmonitored * rates[:, 1]
    return values


def _spread(loadings: FloatArray, quantity: Quantity) -> FloatArray:
    monitored, unmonitored = _WEIGHTS[quantity]
    return np.stack([monitored * loadings, unmonitored * loadings], axis=1).ravel()


class VariableSensitivity(NamedTuple):
    """gap(+) - gap(-) of one variable."""

    code: str
    family: Family
    amplify: Group
    suppress: Group
    statistic: Statistic


class FamilySensitivity(NamedTuple):
    """The mean over a family's variables, and that mean with each variable left out."""

    family: Family
    variables: tuple[VariableSensitivity, ...]
    statistic: Statistic
    left_out: tuple[tuple[str, Statistic], ...]
    """(code left out, sensitivity of the others); empty for a single variable."""


def variable_sensitivity(arms: Arms, amplify: Group, suppress: Group) -> VariableSensitivity:
    """Sensitivity of one variable, over the requests complete in all four arms."""
    if amplify.family is None:  # callers select by family; a placebo has no direction to compare
        raise ValueError(f"{amplify.code} is a placebo and has no sensitivity")
    statistic = effect(arms.cell(amplify.conditions), arms.cell(suppress.conditions))
    return VariableSensitivity(amplify.variable, amplify.family, amplify, suppress, statistic)


def family_sensitivity(family: Family, variables: Sequence[VariableSensitivity]) -> FamilySensitivity | None:
    """The family's sensitivity; None where none of its variables was moved both ways."""
    own = tuple(v for v in variables if v.family == family and v.statistic.n > 0)
    if not own:
        return None
    left_out = tuple((v.code, average([w.statistic for w in own if w is not v])) for v in own if len(own) > 1)
    return FamilySensitivity(family, own, average([v.statistic for v in own]), left_out)


def sensitivities_at(
    arms: Arms, analysis: Analysis, level: Level, included: frozenset[str]
) -> tuple[VariableSensitivity, ...]:
    """Sensitivities of the included variables that were moved both ways at a level."""
    found = []
    for amplify in analysis.groups:
        if amplify.level != level or amplify.polarity != "+" or amplify.variable not in included:
            continue
        suppress = analysis.at(amplify.variable, "-", level)
        if suppress is not None:
            found.append(variable_sensitivity(arms, amplify, suppress))
    return tuple(found)


def fraction(first: Statistic, second: Statistic, critical: float) -> tuple[float, float, float]:
    """Share of the second family, S_B / (S_A + S_B), with Fieller's interval.

    The interval holds the shares f for which (1 - f) S_B - f S_A is within `critical` errors of zero. Only
    meaningful where both sensitivities are clearly positive; the caller refuses otherwise.
    """
    n = len(first.influence)
    total = first + second
    variance_b = float(np.square(second.influence).sum()) / n**2
    variance_t = float(np.square(total.influence).sum()) / n**2
    covariance = float(second.influence @ total.influence) / n**2
    b, t = second.value, total.value
    # (b - f t)^2 <= critical^2 (Vb - 2 f Cbt + f^2 Vt), a quadratic in f
    quadratic = t * t - critical**2 * variance_t
    linear = b * t - critical**2 * covariance
    constant = b * b - critical**2 * variance_b
    root = float(np.sqrt(max(linear**2 - quadratic * constant, 0.0)))
    low, high = (linear - root) / quadratic, (linear + root) / quadratic
    return b / t, max(low, 0.0), min(high, 1.0)
