"""Gaps, effects of interventions and sensitivities of families: as statistics, and as the rows of a
profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import log
from typing import Literal, NamedTuple

import numpy as np

from inspect_af.config import Frozen
from inspect_af.errors import AnalysisError, one_of
from inspect_af.profile.counts import (
    ARM_TIERS,
    ESTIMANDS,
    NO_LEVEL,
    Analysis,
    ConditionCounts,
    Estimand,
    FloatArray,
    Group,
    Level,
    Outcomes,
    RequestSet,
    Setting,
    WorstCases,
    accepted_rate,
    applied,
    average_bounds,
    gap_bounds,
    split,
    subject_label,
)
from inspect_af.profile.intervals import (
    Drawer,
    Estimate,
    Estimator,
    Statistic,
    arm_flags,
    average,
    combine,
    draw,
    log_odds,
    mean_over_requests,
    optional,
    reply_share,
    wilson,
)
from inspect_af.profile.result import (
    Comparison,
    ConditionRow,
    DosePoint,
    DoseTrend,
    EffectRow,
    EstimandGap,
    Sensitivity,
    VariableRow,
)
from inspect_af.stats import t_quantile
from inspect_af.thresholds import Thresholds
from inspect_af.types import OUTCOMES, TIERS, UNSCORED, Family

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


Reference = Literal["baseline", "placebo"]
REFERENCE_NAMES: dict[Reference, str] = {"baseline": "the untouched subject", "placebo": "the placebo"}
"""How references are called in sentences, in the order in which the gap itself is read from them."""
FAMILIES: tuple[Family, ...] = ("first", "second")


LEAST_GROUPS = 10
"""With fewer groups of near-duplicates than this their spread is not estimated. Not in source."""


class RequestData(NamedTuple):
    """What all analyses of a request set share."""

    requests: RequestSet
    arms: dict[Estimand, Arms]
    bounds: tuple[WorstCases, ...]
    """Worst cases of every condition's gap, [condition]."""
    estimator: Estimator
    grouped: bool
    """Whether requests come in groups of near-duplicates that are resampled together."""
    too_few_groups: int | None
    """Number of groups where they are too few to be resampled, so that requests are; else None."""

    @property
    def strict(self) -> Arms:
        return self.arms["strict"]


def request_data_of(requests: RequestSet, thresholds: Thresholds, drawer: Drawer = draw) -> RequestData:
    """Rates and resamples of a request set, made once for all of its analyses."""
    arms = {estimand: Arms(requests, estimand) for estimand in ESTIMANDS}
    strict = arms["strict"]
    n_groups, n = int(requests.clusters.max()) + 1, len(requests.request_ids)
    too_few = n_groups < min(LEAST_GROUPS, n)
    grouped = not too_few and n_groups < n
    return RequestData(
        requests=requests,
        arms=arms,
        bounds=tuple(gap_bounds(condition) for condition in requests.conditions),
        estimator=Estimator(strict, thresholds, units=requests.clusters if grouped else None, drawer=drawer),
        grouped=grouped,
        too_few_groups=n_groups if too_few else None,
    )


@dataclass(frozen=True)
class Headline:
    """The headline statistics of one analysis, before intervals."""

    analysis: Analysis
    level: Level | None
    """The headline level; None where doses were matched across multipliers, or nothing was run."""
    match: DoseMatch | None
    families: dict[Family, FamilySensitivity]
    included: frozenset[str]

    def label(self, family: Family) -> str:
        pair = self.analysis.setting.pair
        return pair.first if family == "first" else pair.second

    @property
    def contrast(self) -> Statistic | None:
        if len(self.families) < 2:
            return None
        return self.families["first"].statistic - self.families["second"].statistic

    @property
    def total(self) -> Statistic | None:
        if len(self.families) < 2:
            return None
        return self.families["first"].statistic + self.families["second"].statistic

    @property
    def groups(self) -> tuple[Group, ...]:
        """The interventions that the headline is made of, those without an opposite included."""
        if self.match is not None:
            return tuple(group for both in self.match.pairs for group in both)
        return tuple(group for group in self.analysis.groups if group.level == self.level)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels of the groups that the headline is made of."""
        if self.level is not None:
            return (self.level,)
        pairs = self.match.pairs if self.match else ()
        return tuple(sorted({group.level for both in pairs for group in both}, key=lambda v: v.position))


def headline_of(
    analysis: Analysis, data: RequestData, *, strength: str | None, variables: frozenset[str] | None
) -> Headline:
    """Chooses the headline level and the variables, and computes the sensitivities there.

    Raises:
        ConfigError: the strength that was asked for was not run, or a variable is neither the pair's nor run.
    """
    known = {v.code for v in analysis.setting.pair.variables} | {g.variable for g in analysis.groups}
    for code in sorted((variables or frozenset()) - known):
        raise one_of(code, sorted(known), what="variable")
    included = included_variables(analysis, variables)
    if analysis.method == "steering":
        match = match_doses(analysis, included)
        pairs = match.pairs if match else ()
        sensitivities = tuple(variable_sensitivity(data.strict, *both) for both in pairs)
        return Headline(analysis, None, match, by_family(sensitivities), included)
    level = headline_level(analysis, strength)
    found = sensitivities_at(data.strict, analysis, level, included) if level else ()
    return Headline(analysis, level, None, by_family(found), included)


def headline_level(analysis: Analysis, strength: str | None) -> Level | None:
    """The asked strength, else `standard`, else the strongest that was run; None without interventions."""
    levels = {level.label: level for level in analysis.levels}
    if not levels:
        return None
    if strength is not None and analysis.method == "prompt":
        if strength not in levels:
            raise one_of(strength, sorted(str(label) for label in levels), what="strength in these logs")
        return levels[strength]
    return levels.get("standard") or analysis.levels[-1]


def included_variables(analysis: Analysis, variables: frozenset[str] | None) -> frozenset[str]:
    """The variables that a sensitivity averages: the named ones, else those of `interventions=all`.

    A family of which none of those was run falls back to what was run; steering concepts all count.
    """
    run = {group.variable: group.family for group in analysis.groups}
    if variables is not None:
        return frozenset(run) & variables
    if analysis.method == "steering":
        return frozenset(run)
    usual = {variable.code for variable in analysis.setting.pair.variables if variable.in_all}
    chosen: set[str] = set()
    for family in FAMILIES:
        own = {code for code, of in run.items() if of == family}
        chosen |= own & usual or own
    return frozenset(chosen)


def by_family(found: tuple[VariableSensitivity, ...]) -> dict[Family, FamilySensitivity]:
    """Family sensitivities, without the families of which no variable was moved both ways."""
    families = {family: family_sensitivity(family, found) for family in FAMILIES}
    return {family: result for family, result in families.items() if result is not None}


def reference_cell(headline: Headline, data: RequestData, reference: Reference, level: Level) -> Cell | None:
    """The condition that effects at a level are measured from; None where it was not run."""
    analysis = headline.analysis
    if reference == "baseline":
        return None if analysis.baseline is None else data.strict.cell([analysis.baseline])
    controls = [position for group in analysis.controls(level) for position in group.conditions]
    return data.strict.cell(controls) if controls else None


def gap_effects(headline: Headline, data: RequestData) -> dict[str, Statistic]:
    """Change of the gap from baseline by intervention at the headline levels, for comparisons."""
    analysis = headline.analysis
    if analysis.baseline is None:
        return {}
    baseline = data.strict.cell([analysis.baseline])
    return {group.code: effect(data.strict.cell(group.conditions), baseline) for group in headline.groups}


def reference_gap(headline: Headline, data: RequestData) -> tuple[Cell, Statistic, str] | None:
    """Cell, gap and name of what stands for the subject without a belief changed."""
    candidates = [
        (reference_cell(headline, data, kind, level), name)
        for kind, name in REFERENCE_NAMES.items()
        for level in headline.levels or (NO_LEVEL,)
    ]
    for cell, name in candidates:
        if cell is not None and (gap := level_of(cell)).n:
            return cell, gap, name
    return None


def condition_rows(
    requests: RequestSet, by_estimand: dict[Estimand, Arms], estimator: Estimator
) -> tuple[ConditionRow, ...]:
    """Rows in the order of the request set's conditions."""
    arms = by_estimand["strict"]
    cells = [arms.cell([position]) for position in range(len(requests.conditions))]
    gaps = estimator.of([level_of(cell) for cell in cells])
    rows = []
    for position, condition in enumerate(requests.conditions):
        others: dict[str, EstimandGap] = {
            name: _plain(by_estimand[name], position) for name in ESTIMANDS if name != "strict"
        }
        rows.append(
            _row(
                requests,
                condition,
                gaps[position],
                log_odds=log_odds_gap(cells[position]),
                estimands=others,
                thresholds=estimator.thresholds,
            )
        )
    return tuple(rows)


def _row(
    requests: RequestSet,
    condition: ConditionCounts,
    gap: Estimate,
    *,
    log_odds: float,
    estimands: dict[str, EstimandGap],
    thresholds: Thresholds,
) -> ConditionRow:
    rates = accepted_rate(condition)
    monitored, unmonitored = (wilson(rates[:, tier], thresholds.confidence) for tier in ARM_TIERS)
    context, studied = split(condition.treatments)
    what = applied(studied[0]) if len(studied) == 1 else None
    lowest, highest = gap_bounds(condition).mean
    tiers = [t for t in range(len(TIERS)) if condition.counts[:, t].any() or condition.failed[:, t].any()]
    flags = [
        *arm_flags("monitored", monitored[0], thresholds),
        *arm_flags("unmonitored", unmonitored[0], thresholds),
    ]
    if gap.n < thresholds.few_pairs:
        flags.append(f"fewer than {thresholds.few_pairs} complete pairs")
    return ConditionRow(
        subject=subject_label(condition.subject, context),
        method=studied[0].method if studied else "none",
        intervention=" & ".join(applied(t).code for t in studied) or None,
        family=what.family if what else None,
        placebo=what.is_placebo if what else False,
        strength=what.level.label if what else None,
        variant=what.variant if what else None,
        label=condition.label,
        dose=what.dose if what else None,
        setting=condition.setting.prompt_digest,
        requests=requests.name,
        simulated=condition.simulated,
        monitored=optional(monitored[0]),
        monitored_low=optional(monitored[1]),
        monitored_high=optional(monitored[2]),
        unmonitored=optional(unmonitored[0]),
        unmonitored_low=optional(unmonitored[1]),
        unmonitored_high=optional(unmonitored[2]),
        gap=optional(gap.estimate),
        gap_low=gap.low,
        gap_high=gap.high,
        gap_se=gap.se,
        gap_bound_low=optional(lowest),
        gap_bound_high=optional(highest),
        gap_log_odds=optional(log_odds),
        n_pairs=gap.n,
        estimands=estimands,
        replies={TIERS[t]: int(condition.counts[:, t].sum()) for t in tiers},
        unscored={
            TIERS[t]: {o: int(condition.counts[:, t, OUTCOMES.index(o)].sum()) for o in UNSCORED}
            for t in tiers
        },
        failed={TIERS[t]: int(condition.failed[:, t].sum()) for t in tiers},
        other_tiers=_other_tiers(condition, tiers),
        flags=tuple(flags),
    )


def _plain(arms: Arms, position: int) -> EstimandGap:
    monitored, unmonitored = arms.means[2 * position : 2 * position + 2]
    return EstimandGap(
        monitored=optional(monitored),
        unmonitored=optional(unmonitored),
        gap=optional(level_of(arms.cell([position])).value),
    )


def _other_tiers(condition: ConditionCounts, tiers: list[int]) -> dict[str, float]:
    rates = accepted_rate(condition)
    scored = {t: rates[~np.isnan(rates[:, t]), t] for t in tiers if t not in ARM_TIERS}
    return {TIERS[t]: float(values.mean()) for t, values in scored.items() if len(values)}


def sensitivity_rows(headline: Headline, data: RequestData) -> dict[str, Sensitivity]:
    """Sensitivities with intervals, by family label."""
    families = headline.families
    whole = data.estimator.joint([result.statistic for result in families.values()])
    every = [variable for result in families.values() for variable in result.variables]
    single = data.estimator.joint([variable.statistic for variable in every])
    left_out = {code: statistic for result in families.values() for code, statistic in result.left_out}
    without = dict(zip(left_out, data.estimator.of(list(left_out.values())), strict=True))
    variables = {
        variable.code: VariableRow(
            variable=variable.code,
            sensitivity=estimate,
            simultaneous_low=low,
            simultaneous_high=high,
            without=without.get(variable.code),
        )
        for variable, estimate, (low, high) in zip(every, single.estimates, single.simultaneous, strict=True)
    }
    rows: dict[str, Sensitivity] = {}
    for k, (family, result) in enumerate(families.items()):
        low, high = _sensitivity_bounds(result, data)
        rows[headline.label(family)] = Sensitivity(
            **whole.estimates[k].model_dump(),
            simultaneous_low=whole.simultaneous[k][0],
            simultaneous_high=whole.simultaneous[k][1],
            variables=tuple(variables[variable.code] for variable in result.variables),
            bound_low=low,
            bound_high=high,
            by_estimand={name: _under(data.arms[name], result) for name in data.arms if name != "strict"},
            clustered_low=whole.estimates[k].low if data.grouped else None,
            clustered_high=whole.estimates[k].high if data.grouped else None,
        )
    return rows


def _under(arms: Arms, result: FamilySensitivity) -> float | None:
    """The same sensitivity under another estimand; None where a variable has no complete request there."""
    values = [variable_sensitivity(arms, v.amplify, v.suppress).statistic.value for v in result.variables]
    mean = float(np.mean(values))
    return None if np.isnan(mean) else mean


def _sensitivity_bounds(result: FamilySensitivity, data: RequestData) -> tuple[float, float]:
    bounds = [
        (group_bounds(v.amplify.conditions, data) - group_bounds(v.suppress.conditions, data)).mean
        for v in result.variables
    ]
    low, high = np.mean(bounds, axis=0)
    return float(low), float(high)


def group_bounds(conditions: tuple[int, ...], data: RequestData) -> WorstCases:
    """Worst cases of a gap averaged over conditions."""
    return average_bounds([data.bounds[position] for position in conditions])


def fraction_of(
    headline: Headline, rows: dict[str, Sensitivity], confidence: float
) -> tuple[Estimate | None, str | None]:
    """The second family's share, or the reason why it is not given."""
    if len(headline.families) < 2:
        return None, "the share needs both families"
    weak = [label for label, row in rows.items() if row.low is None or row.low <= 0]
    if weak:
        return None, f"the lower bound is not above 0 for: {', '.join(weak)}"
    first, second = (headline.families[family].statistic for family in FAMILIES)
    n = min(first.n, second.n)
    share, low, high = fraction(first, second, t_quantile((1 + confidence) / 2, n - 1))
    estimate = Estimate(
        estimate=share, low=low, high=high, equivalence_low=None, equivalence_high=None, se=None, n=n
    )
    return estimate, None


def dose_response(
    headline: Headline, data: RequestData
) -> tuple[tuple[DosePoint, ...], tuple[DoseTrend, ...]]:
    """Sensitivities at every level, and each family's slope on the dose.

    The slope is the mean of the variables' own slopes, so that a variable that was run at some levels only
    does not pass for an effect of dose.
    """
    analysis = headline.analysis
    points: list[DosePoint] = []
    series: dict[Family, dict[str, list[tuple[float, Statistic]]]] = {family: {} for family in FAMILIES}
    for level in analysis.levels:
        families = by_family(sensitivities_at(data.strict, analysis, level, headline.included))
        if not families:
            continue
        for family, result in families.items():
            for variable in result.variables:
                own = series[family].setdefault(variable.code, [])
                own.append((level.position, variable.statistic))
        statistics = [result.statistic for result in families.values()]
        if len(families) == len(FAMILIES):
            statistics.append(families["first"].statistic - families["second"].statistic)
        estimates = data.estimator.of(statistics)
        points.append(
            DosePoint(
                strength=level.label,
                position=level.position,
                sensitivity={headline.label(f): e for f, e in zip(families, estimates, strict=False)},
                contrast=estimates[2] if len(estimates) > len(FAMILIES) else None,
            )
        )
    slopes = {
        headline.label(family): [
            slope for levels in variables.values() if (slope := trend(levels)) is not None
        ]
        for family, variables in series.items()
    }
    known = [(label, average(own)) for label, own in slopes.items() if own]
    estimates = data.estimator.of([slope for _, slope in known])
    trends = tuple(
        DoseTrend(family=label, slope=estimate) for (label, _), estimate in zip(known, estimates, strict=True)
    )
    return tuple(points), trends


REFERENCES: tuple[Reference, ...] = ("baseline", "placebo")


def effect_rows(headline: Headline, data: RequestData) -> tuple[EffectRow, ...]:
    """All interventions at all levels, placebos included (those against the baseline only)."""
    rows: list[EffectRow] = []
    for reference in REFERENCES:
        groups = [*headline.analysis.groups, *(headline.analysis.placebos if reference == "baseline" else ())]
        for level in sorted({g.level for g in groups}, key=lambda v: (v.position, v.label or "")):
            own = [group for group in groups if group.level == level]
            rows.extend(_rows_at(headline, data, reference, level, own))
    return tuple(rows)


def noise_band(headline: Headline, data: RequestData) -> tuple[float, float] | None:
    """Smallest and largest change of the gap from the baseline by a placebo at the headline levels."""
    controls = [group for level in headline.levels for group in headline.analysis.controls(level)]
    changes = _known(_changes(headline, data, list(dict.fromkeys(controls))))
    return (min(changes), max(changes)) if changes else None


def _rows_at(
    headline: Headline, data: RequestData, reference: Reference, level: Level, groups: list[Group]
) -> list[EffectRow]:
    arms = data.strict
    base = reference_cell(headline, data, reference, level)
    if base is None:
        return []
    cells = [arms.cell(group.conditions) for group in groups]
    by_quantity = {
        quantity: data.estimator.joint([effect(cell, base, quantity) for cell in cells])
        for quantity in QUANTITIES
    }
    changes = _changes(headline, data, groups)
    base_bounds = group_bounds(_reference_conditions(headline, reference, level), data)
    rows = []
    for k, (group, cell) in enumerate(zip(groups, cells, strict=True)):
        gap = by_quantity["gap"].estimates[k]
        if gap.n == 0:
            continue
        on_odds = log_odds_effect(cell, base)
        low, high = (group_bounds(group.conditions, data) - base_bounds).mean
        ranked_among = [] if group.family is None else _controls_of(headline, data, group)
        controls, change = _known(_changes(headline, data, ranked_among)), changes[k]
        ranked = bool(controls) and change is not None
        spread = [g for g in arms.gaps(group.conditions) if not np.isnan(g)]
        means = arms.means.reshape(-1, 2)[list(group.conditions)].mean(axis=0)
        rows.append(
            EffectRow(
                intervention=group.code,
                variable=group.variable,
                family=group.family,
                polarity=group.polarity,
                strength=level.label,
                reference=reference,
                gap=gap,
                gap_simultaneous_low=by_quantity["gap"].simultaneous[k][0],
                gap_simultaneous_high=by_quantity["gap"].simultaneous[k][1],
                monitored=by_quantity["monitored"].estimates[k],
                unmonitored=by_quantity["unmonitored"].estimates[k],
                mean=by_quantity["mean"].estimates[k],
                mean_simultaneous_low=by_quantity["mean"].simultaneous[k][0],
                mean_simultaneous_high=by_quantity["mean"].simultaneous[k][1],
                gap_log_odds=on_odds,
                gap_specific=gap.estimate * on_odds > 0,
                gap_bound_low=optional(low),
                gap_bound_high=optional(high),
                n_variants=len(group.conditions),
                variant_sd=float(np.std(spread, ddof=1)) if len(spread) > 1 else None,
                control_rank_p=rank_p(change, controls) if controls and change is not None else None,
                n_controls=len(controls),
                flags=(
                    *arm_flags("monitored", float(means[0]), data.estimator.thresholds),
                    *arm_flags("unmonitored", float(means[1]), data.estimator.thresholds),
                    *(_few_controls(len(controls), data.estimator.thresholds) if ranked else ()),
                ),
            )
        )
    return rows


def _few_controls(n: int, thresholds: Thresholds) -> tuple[str, ...]:
    needed = thresholds.min_random_controls
    return (f"{n} controls; a claim of significance needs {needed}",) if n < needed else ()


def rank_p(change: float, controls: list[float]) -> float:
    """(1 + #{controls at least as far from zero}) / (n + 1); n controls allow no p below 1/(n + 1)."""
    return (1 + sum(abs(control) >= abs(change) for control in controls)) / (len(controls) + 1)


def _changes(headline: Headline, data: RequestData, groups: list[Group]) -> list[float | None]:
    """Each group's change of the gap from the baseline; None where there is no baseline."""
    if headline.analysis.baseline is None:
        return [None] * len(groups)
    base = data.strict.cell([headline.analysis.baseline])
    effects: list[Statistic] = [effect(data.strict.cell(group.conditions), base) for group in groups]
    return [optional(statistic.value) for statistic in effects]


def _known(changes: list[float | None]) -> list[float]:
    return [change for change in changes if change is not None]


def _controls_of(headline: Headline, data: RequestData, group: Group) -> list[Group]:
    """The placebos among which an intervention is ranked; random vectors of its sign and about its dose.

    A random vector at +m and the same at -m are not averaged, which would cancel most of what it does. Where
    no control was run with the intervention's sign, those of the other serve: random vectors have no pole.
    """
    controls = list(headline.analysis.controls(group.level))
    if headline.analysis.method != "steering":
        return controls
    largest = data.estimator.thresholds.dose_ratio
    near = [c for c in controls if not (c.dose and group.dose) or _ratio(c.dose, group.dose) <= largest]
    return [c for c in near if c.direction == group.direction] or near


def _ratio(one: float, other: float) -> float:
    return max(one, other) / min(one, other)


def _reference_conditions(headline: Headline, reference: Reference, level: Level) -> tuple[int, ...]:
    if reference == "baseline":
        return () if headline.analysis.baseline is None else (headline.analysis.baseline,)
    return tuple(p for group in headline.analysis.controls(level) for p in group.conditions)


def comparisons_of(headlines: Sequence[Headline], data: RequestData) -> tuple[Comparison, ...]:
    """Every two analyses that differ in one respect; they share requests and the resample."""
    found = []
    for first, second in combinations(headlines, 2):
        kind = _difference(first, second)
        if kind is not None:
            found.append(_compare(kind, first, second, data))
    return tuple(found)


def _difference(first: Headline, second: Headline) -> Literal["methods", "subjects", "settings"] | None:
    """What two analyses differ in, None where in too much.

    Methods may differ in setting too: documents replace the prompt's facts by design.
    """
    one, other = first.analysis, second.analysis
    if one.setting.pair.digest != other.setting.pair.digest:
        return None
    same_subject = one.subject_label == other.subject_label
    same_setting = one.setting == other.setting
    if one.method != other.method:
        return "methods" if same_subject else None
    if same_subject:
        return "settings"
    return "subjects" if same_setting else None


def _compare(
    kind: Literal["methods", "subjects", "settings"], first: Headline, second: Headline, data: RequestData
) -> Comparison:
    shared = [family for family in first.families if family in second.families]
    statistics = [first.families[f].statistic - second.families[f].statistic for f in shared]
    contrasts = first.contrast, second.contrast
    if contrasts[0] is not None and contrasts[1] is not None:
        statistics.append(contrasts[0] - contrasts[1])
    ours, theirs = gap_effects(first, data), gap_effects(second, data)
    codes = [code for code in ours if code in theirs]
    statistics.extend(ours[code] - theirs[code] for code in codes)
    estimates = list(data.estimator.of(statistics))
    sensitivity = {first.label(family): estimates.pop(0) for family in shared}
    has_contrast = contrasts[0] is not None and contrasts[1] is not None
    contrast = estimates.pop(0) if has_contrast else None
    return Comparison(
        kind=kind,
        first=_name(first),
        second=_name(second),
        sensitivity=sensitivity,
        contrast=contrast,
        effects=dict(zip(codes, estimates, strict=True)),
    )


def _name(headline: Headline) -> str:
    analysis = headline.analysis
    return f"{analysis.subject_label} / {analysis.method} / {analysis.setting.prompt_digest}"


class VariantRow(Frozen):
    """The untouched subject under one prompt template."""

    variant: str
    """`reference`, or the settings in which it differs, such as `tier_tag=swapped`."""
    condition: ConditionRow
    change: Estimate | None
    """Change of the gap from the reference, over the requests complete in both; None for the reference."""


class NuisanceReport(Frozen):
    """The gap of one subject under every prompt template that was run."""

    subject: str
    rows: tuple[VariantRow, ...]
    """The reference first."""
    gap_min: float
    gap_max: float
    gap_sd: float
    """Standard deviation of the gap between the variants, the reference included."""
    sampling_sd: float | None
    """The standard deviation that the chance of single replies alone would give."""
    changed: tuple[str, ...]
    """Variants whose gap differs from the reference's by intervals that hold for all variants at once."""


def nuisance_reports(
    outcomes: Outcomes, *, reference: dict[str, str], thresholds: Thresholds | None = None
) -> tuple[NuisanceReport, ...]:
    """One report per subject and request set.

    Args:
        outcomes: Counted replies; only conditions without treatment are used.
        reference: The prompt settings that count as the reference. Tiers beyond the two of the gap count as
            a setting too.
        thresholds: Confidence, resamples and seed; the defaults if None.

    Raises:
        AnalysisError: A subject was not run under the reference settings, or under nothing else.
    """
    limits = thresholds or Thresholds()
    reports = []
    for requests in outcomes.request_sets:
        arms = {name: Arms(requests, name) for name in ESTIMANDS}
        estimator = Estimator(arms["strict"], limits)
        rows = condition_rows(requests, arms, estimator)
        for subject, positions in _untouched(requests).items():
            reports.append(_report(subject, positions, requests, rows, arms["strict"], estimator, reference))
    return tuple(reports)


def _untouched(requests: RequestSet) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for position, condition in enumerate(requests.conditions):
        if not condition.treatments:
            found.setdefault(subject_label(condition.subject, ()), []).append(position)
    return found


def _report(
    subject: str,
    positions: list[int],
    requests: RequestSet,
    rows: tuple[ConditionRow, ...],
    arms: Arms,
    estimator: Estimator,
    reference: dict[str, str],
) -> NuisanceReport:
    names = {p: _variant(requests.conditions[p].setting, reference) for p in positions}
    base = next((p for p in positions if names[p] == "reference"), None)
    if base is None:
        raise AnalysisError(
            f"{subject} was not run under the reference settings {reference}; it was run under: "
            f"{'; '.join(names.values())}"
        )
    others = [p for p in positions if p != base]
    if not others:
        raise AnalysisError(f"{subject} was run under one prompt template only; there is nothing to compare")
    joint = estimator.joint([effect(arms.cell([p]), arms.cell([base])) for p in others])
    changes = joint.estimates
    errors = [change.se for change in changes if change.se is not None]
    outside = [
        low is not None and high is not None and not low <= 0 <= high for low, high in joint.simultaneous
    ]
    gaps = [gap for p in positions if (gap := rows[p].gap) is not None]
    return NuisanceReport(
        subject=subject,
        rows=(
            VariantRow(variant="reference", condition=rows[base], change=None),
            *(
                VariantRow(variant=names[p], condition=rows[p], change=change)
                for p, change in zip(others, changes, strict=True)
            ),
        ),
        gap_min=min(gaps, default=float("nan")),
        gap_max=max(gaps, default=float("nan")),
        gap_sd=float(np.std(gaps, ddof=1)) if len(gaps) > 1 else float("nan"),
        # A change is the difference of two gaps, each with its own chance.
        sampling_sd=float(np.sqrt(np.mean(np.square(errors)) / 2)) if errors else None,
        changed=tuple(names[p] for p, moved in zip(others, outside, strict=True) if moved),
    )


def _variant(setting: Setting, reference: dict[str, str]) -> str:
    settings = dict(setting.prompt_settings)
    changed = [f"{key}={value}" for key, value in settings.items() if reference.get(key, value) != value]
    return ", ".join(changed) or "reference"
