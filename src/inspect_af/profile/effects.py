"""Gaps, effects of interventions and sensitivities of families: as statistics, and as the rows of a
profile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, groupby
from math import log
from statistics import fmean
from typing import Literal, NamedTuple

import numpy as np

from inspect_af.config import Frozen
from inspect_af.errors import AnalysisError, one_of
from inspect_af.format import plural, sign_of
from inspect_af.profile.counts import (
    ARM_TIERS,
    ESTIMANDS,
    NO_LEVEL,
    Analysis,
    Applied,
    Estimand,
    FloatArray,
    IntArray,
    Level,
    Outcomes,
    RequestSet,
    accepted_rate,
    analyses_of,
    applied,
    gap_bounds,
    known_mean,
    levels_of,
    split,
    subject_label,
)
from inspect_af.profile.intervals import (
    LEAST_UNITS,
    Drawer,
    Estimate,
    Estimator,
    Statistic,
    arm_flags,
    average,
    combine,
    draw,
    mean_over_requests,
    optional,
    units_of,
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
from inspect_af.profile.stopping import is_decided, widening
from inspect_af.stats import fieller, t_quantile
from inspect_af.thresholds import Thresholds
from inspect_af.types import ARMS, FAMILIES, OUTCOMES, TIERS, UNSCORED, Family

Quantity = Literal["gap", "monitored", "unmonitored", "mean"]
_WEIGHTS: dict[Quantity, tuple[float, float]] = {
    "gap": (1.0, -1.0),
    "monitored": (1.0, 0.0),
    "unmonitored": (0.0, 1.0),
    "mean": (0.5, 0.5),
}
"""How each quantity weighs the monitored and the unmonitored arm."""


class Cell(NamedTuple):
    """The two arms of one condition, or of several averaged within each request."""

    rates: FloatArray  # [request, arm of two]; NaN where a request has no scored reply
    loadings: FloatArray  # [condition], the share with which each condition enters


class Arms:
    """Accepted rates of all conditions of a request set, under one estimand."""

    def __init__(self, requests: RequestSet, estimand: Estimand = "strict") -> None:
        self.rates = np.stack([accepted_rate(c, estimand)[:, ARM_TIERS] for c in requests.conditions])
        """[condition, request, arm of two]"""
        self.means = known_mean(self.rates, axis=1)
        """Accepted rate of every arm, [condition, arm of two]."""
        self._cells: dict[tuple[int, ...], Cell] = {}

    def cell(self, *conditions: int) -> Cell:
        """Averages conditions within each request, over those that have scored replies for it in both arms.

        A condition with one arm only would move the average of that arm alone, and so pass for a gap.
        """
        if conditions not in self._cells:
            rates, loadings = self.rates[list(conditions)], np.zeros(len(self.rates))
            loadings[list(conditions)] = 1 / len(conditions)
            if len(conditions) > 1:
                complete = ~np.isnan(rates).any(axis=2, keepdims=True)
                rates = known_mean(np.where(complete, rates, np.nan))[None]
            self._cells[conditions] = Cell(rates[0], loadings)
        return self._cells[conditions]


def level_of(cell: Cell, quantity: Quantity = "gap") -> Statistic:
    """A quantity of one cell, over the requests complete in both tiers."""
    monitored, unmonitored = _WEIGHTS[quantity]
    values = monitored * cell.rates[:, 0] + unmonitored * cell.rates[:, 1]
    loadings = np.stack([monitored * cell.loadings, unmonitored * cell.loadings], axis=1)
    return mean_over_requests(values, loadings.ravel())


def effect(cell: Cell, reference: Cell, quantity: Quantity = "gap") -> Statistic:
    """Change of a quantity from a reference, over the requests complete in all four arms."""
    return level_of(Cell(cell.rates - reference.rates, cell.loadings - reference.loadings), quantity)


def log_odds_gap(cell: Cell, reference: Cell | None = None) -> Statistic:
    """The gap, or its change from a reference, in log-odds of the marginal arms, logit((k + .5) / (n + 1)).

    Over the requests complete in all arms; the influence is by the delta method.
    """
    cells = [(cell, 1.0)] if reference is None else [(cell, 1.0), (reference, -1.0)]
    keep = ~np.isnan(np.concatenate([one.rates for one, _ in cells], axis=1)).any(axis=1)
    n, total, n_arms = int(keep.sum()), len(keep), 2 * len(cell.loadings)
    value, influence, loadings, weights = 0.0, np.zeros(total), np.zeros(n_arms), np.zeros(n_arms)
    if n == 0:
        return Statistic(float("nan"), influence, loadings, 0, weights)
    for one, sign in cells:
        for tier, weight in enumerate((sign, -sign)):
            rates = one.rates[keep, tier]
            k = float(rates.sum())
            p = (k + 0.5) / (n + 1)
            slope = weight / (p * (1 - p))
            value += weight * log(p / (1 - p))
            influence[keep] += slope * (rates - k / n) * total / n
            loadings[tier::2] += slope * one.loadings * total / n
            weights[tier::2] += np.where(one.loadings > 0, weight * np.inf, 0.0)
    return Statistic(value, influence, loadings, n, weights)


class VariableSensitivity(NamedTuple):
    """gap(+) - gap(-) of one variable."""

    code: str
    amplify: Applied
    suppress: Applied
    statistic: Statistic


@dataclass(frozen=True)
class FamilySensitivity:
    """The variables of a family that were moved both ways, at least one."""

    variables: tuple[VariableSensitivity, ...]

    @cached_property
    def statistic(self) -> Statistic:
        return average([v.statistic for v in self.variables])

    @cached_property
    def left_out(self) -> dict[str, Statistic]:
        """The mean without each variable; empty for a single one."""
        if len(self.variables) == 1:
            return {}
        return {v.code: average([w.statistic for w in self.variables if w is not v]) for v in self.variables}


Pair = tuple[Applied, Applied]  # The amplifying and the suppressing intervention of one variable at one level


def opposed(analysis: Analysis, included: frozenset[str]) -> list[Pair]:
    """Every included variable at every level at which it was moved both ways, weakest first."""
    own = [g for g in analysis.groups if g.polarity == "+" and g.variable in included]
    return [(group, suppress) for group in own if (suppress := analysis.opposite(group)) is not None]


def by_family(arms: Arms, pairs: Sequence[Pair]) -> dict[Family, FamilySensitivity]:
    """Family sensitivities, without the families of which no variable has a complete request."""
    moved = [
        VariableSensitivity(
            up.variable, up, down, effect(arms.cell(*up.conditions), arms.cell(*down.conditions))
        )
        for up, down in pairs
    ]
    families = {
        family: tuple(v for v in moved if v.amplify.family == family and v.statistic.n) for family in FAMILIES
    }
    return {family: FamilySensitivity(own) for family, own in families.items() if own}


def trend(levels: Sequence[tuple[float, Statistic]]) -> Statistic | None:
    """Least-squares slope of a statistic on the dose axis; None with fewer than two different positions."""
    positions = np.array([position for position, _ in levels])
    centred = positions - positions.mean()
    total = float(np.square(centred).sum())
    return combine([one for _, one in levels], (centred / total).tolist()) if total else None


class DoseMatch(NamedTuple):
    """One level of each steering concept, chosen so that the doses are as equal as they can be."""

    pairs: tuple[Pair, ...]
    ratio: float | None  # Largest dose over smallest, of all chosen groups; None where a dose is unknown


def match_doses(analysis: Analysis, included: frozenset[str]) -> DoseMatch | None:
    """Chooses for each concept the multiplier whose dose is nearest to a common one.

    The common dose is the one, among those that were run, for which the worst concept is least far off (on a
    log scale); of equals the strongest. Where a dose was not recorded, multipliers stand in for doses.
    None where no concept was run at +m and -m.
    """
    pairs = [pair for pair in opposed(analysis, included) if pair[0].level.position]
    if not pairs:
        return None
    recorded = all(group.dose is not None for pair in pairs for group in pair)

    def size(pair: Pair) -> float:
        return pair[0].dose if recorded and pair[0].dose else pair[0].level.position

    def off(pair: Pair, target: float) -> float:
        return round(abs(log(size(pair) / target)), 9)

    concepts: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        concepts[pair[0].variable].append(pair)
    common = min(
        map(size, pairs),
        key=lambda target: (max(min(off(p, target) for p in own) for own in concepts.values()), -target),
    )
    chosen = tuple(min(own, key=lambda p: (off(p, common), -size(p))) for own in concepts.values())
    doses = [group.dose for pair in chosen for group in pair if group.dose]
    return DoseMatch(chosen, max(doses) / min(doses) if recorded and doses else None)


class RequestData(NamedTuple):
    """What all analyses of a request set share."""

    requests: RequestSet
    arms: dict[Estimand, Arms]
    bounds: FloatArray  # Worst cases of every condition's gap, [condition, request, 2]; see `gap_bounds`
    estimator: Estimator
    too_few_groups: int | None  # Groups where they are too few to be resampled, else None

    @property
    def strict(self) -> Arms:
        return self.arms["strict"]

    @property
    def thresholds(self) -> Thresholds:
        return self.estimator.thresholds

    @property
    def units(self) -> IntArray | None:
        """Groups of near-duplicates where they are what is resampled, [request]."""
        return self.requests.clusters if self.estimator.grouped else None

    def bounds_of(self, conditions: Sequence[int]) -> FloatArray:
        """Worst cases of a gap averaged over conditions within each request, [request, 2]."""
        return known_mean(self.bounds[list(conditions)])


def request_data_of(requests: RequestSet, thresholds: Thresholds, drawer: Drawer = draw) -> RequestData:
    """Rates and resamples of a request set, made once for all of its analyses.

    Groups of near-duplicates are resampled together where there are enough of them.
    """
    arms = {estimand: Arms(requests, estimand) for estimand in ESTIMANDS}
    rates = arms["strict"].rates
    n_groups, n = int(requests.clusters.max()) + 1, len(requests.request_ids)
    units, stopped = units_of(requests.clusters), requests.stopped
    wider = 1.0 if stopped is None else widening(min(stopped.requests, n if units is None else n_groups))
    return RequestData(
        requests=requests,
        arms=arms,
        bounds=np.stack([gap_bounds(condition) for condition in requests.conditions]),
        estimator=Estimator(
            rates.transpose(0, 2, 1).reshape(-1, n),
            thresholds,
            units=units,
            drawer=drawer,
            widening=wider,
        ),
        too_few_groups=n_groups if units is None and n_groups < n else None,
    )


Reference = Literal["baseline", "placebo"]
REFERENCES: dict[Reference, str] = {"baseline": "the untouched subject", "placebo": "the placebo"}
"""How references are called in sentences, in the order in which the gap itself is read from them."""


class ReferenceGap(NamedTuple):
    """The gap that effects are measured from."""

    cell: Cell
    gap: Statistic
    reference: Reference
    conditions: tuple[int, ...]

    @property
    def name(self) -> str:
        return REFERENCES[self.reference]


@dataclass(frozen=True)
class Headline:
    """The headline statistics of one analysis, before intervals."""

    analysis: Analysis
    data: RequestData
    level: Level | None  # None where doses were matched, or nothing was run
    match: DoseMatch | None
    families: dict[Family, FamilySensitivity]
    included: frozenset[str]

    @cached_property
    def is_decided(self) -> bool:
        """Whether the lead of a family is decided, for a run that stops then."""
        if self.contrast is None:
            return False
        both, estimator = [family.statistic for family in self.families.values()], self.data.estimator
        statistics = [*both, self.contrast]
        n = min(map(estimator.n_units, statistics))
        if n < 2:
            return False
        errors = np.sqrt(np.diag(estimator.covariance(statistics)))
        # What does not vary at all, as with greedy replies, is decided where it is not 0.
        values = np.round([s.value for s in statistics], 9)
        with np.errstate(divide="ignore", invalid="ignore"):
            first, second, contrast = np.where(values == 0, 0.0, values / errors).tolist()
        return is_decided(first, second, contrast, n)

    @property
    def labels(self) -> tuple[str, str]:
        return self.analysis.setting.pair.first, self.analysis.setting.pair.second

    def label(self, family: Family) -> str:
        return self.labels[FAMILIES.index(family)]

    @cached_property
    def contrast(self) -> Statistic | None:
        if len(self.families) < 2:
            return None
        return self.families["first"].statistic - self.families["second"].statistic

    @property
    def variables(self) -> tuple[VariableSensitivity, ...]:
        """The variables of all families that entered a sensitivity."""
        return tuple(variable for result in self.families.values() for variable in result.variables)

    @property
    def groups(self) -> tuple[Applied, ...]:
        """The interventions that the headline is made of, those without an opposite included."""
        if self.match is not None:
            return tuple(group for pair in self.match.pairs for group in pair)
        return tuple(group for group in self.analysis.groups if group.level == self.level)

    @property
    def levels(self) -> tuple[Level, ...]:
        return levels_of(self.groups)

    @property
    def placebos(self) -> tuple[Applied, ...]:
        """The placebos at those levels."""
        found = [control for level in self.levels for control in self.analysis.controls(level)]
        return tuple(dict.fromkeys(found))

    def cell(self, group: Applied) -> Cell:
        return self.data.strict.cell(*group.conditions)

    @property
    def baseline(self) -> Cell | None:
        """The untouched subject; None where it was not run."""
        position = self.analysis.baseline
        return None if position is None else self.data.strict.cell(position)

    def reference_conditions(self, reference: Reference, level: Level) -> tuple[int, ...]:
        """The conditions that effects at a level are measured from; empty where they were not run."""
        if reference == "baseline":
            return () if self.analysis.baseline is None else (self.analysis.baseline,)
        return tuple(p for group in self.analysis.controls(level) for p in group.conditions)

    def reference_gap(self) -> ReferenceGap | None:
        """What stands for the subject without a belief changed; None where nothing of it was scored."""
        for reference in REFERENCES:
            for level in self.levels or (NO_LEVEL,):
                conditions = self.reference_conditions(reference, level)
                if conditions and (gap := level_of(cell := self.data.strict.cell(*conditions))).n:
                    return ReferenceGap(cell, gap, reference, conditions)
        return None

    def changes(self, groups: Sequence[Applied]) -> list[Statistic]:
        """Changes of the gap from the baseline, in the order of the groups; none where it was not run."""
        base = self.baseline
        return [] if base is None else [effect(self.cell(group), base) for group in groups]

    def sizes(self, groups: Sequence[Applied]) -> list[float]:
        """The known changes of the gap from the baseline."""
        return [one.value for one in self.changes(groups) if one.n]

    @property
    def by_code(self) -> dict[str, Statistic]:
        """Change of the gap from the baseline by intervention of the headline; empty without a baseline."""
        return dict(zip([group.code for group in self.groups], self.changes(self.groups), strict=False))


def headline_of(
    analysis: Analysis,
    data: RequestData,
    *,
    strength: str | None = None,
    variables: frozenset[str] | None = None,
) -> Headline:
    """Chooses the headline level and the variables, and computes the sensitivities there.

    The level is the asked strength, else `standard`, else the strongest that was run.

    Raises:
        ConfigError: the strength that was asked for was not run, or a variable is neither the pair's nor run.
    """
    known = {v.code for v in analysis.setting.pair.variables} | {g.variable for g in analysis.groups}
    for code in sorted((variables or frozenset()) - known):
        raise one_of(code, sorted(known), what="variable")
    included = included_variables(analysis, variables)
    level, match = None, None
    if analysis.method == "steering":
        match = match_doses(analysis, included)
    elif levels := {level.label: level for level in levels_of(analysis.groups)}:
        if strength is not None and analysis.method == "prompt":
            if strength not in levels:
                raise one_of(strength, sorted(map(str, levels)), what="strength in these logs")
            level = levels[strength]
        else:
            level = levels.get("standard") or [*levels.values()][-1]
    pairs = match.pairs if match else [p for p in opposed(analysis, included) if p[0].level == level]
    return Headline(analysis, data, level, match, by_family(data.strict, pairs), included)


def headlines_of(outcomes: Outcomes) -> list[Headline]:
    """Every analysis of counted replies, with the default thresholds and choices."""
    found = []
    for requests in outcomes.request_sets:
        data = request_data_of(requests, Thresholds())
        found += [headline_of(analysis, data) for analysis in analyses_of(requests)]
    return found


def included_variables(analysis: Analysis, variables: frozenset[str] | None) -> frozenset[str]:
    """The variables that a sensitivity averages: the named ones, else those of `interventions=all`.

    A family of which none of those was run falls back to what was run; steering concepts all count.
    """
    run = {group.variable: group.family for group in analysis.groups}
    if variables is not None or analysis.method == "steering":
        return frozenset(run) if variables is None else frozenset(run) & variables
    usual = {variable.code for variable in analysis.setting.pair.variables if variable.in_all}
    chosen: set[str] = set()
    for family in FAMILIES:
        own = {code for code, of in run.items() if of == family}
        chosen |= own & usual or own
    return frozenset(chosen)


def condition_rows(data: RequestData) -> tuple[ConditionRow, ...]:
    """Rows in the order of the request set's conditions."""
    cells = [data.strict.cell(position) for position in range(len(data.requests.conditions))]
    gaps = data.estimator.of([level_of(cell) for cell in cells])
    return tuple(_condition_row(data, position, gap) for position, gap in enumerate(gaps))


def _condition_row(data: RequestData, position: int, gap: Estimate) -> ConditionRow:
    condition, limits, cell = data.requests.conditions[position], data.thresholds, data.strict.cell(position)
    arms = [wilson(cell.rates[:, k], limits.confidence, data.units) for k in (0, 1)]
    names = [f"{arm}{end}" for arm in ARMS for end in ("", "_low", "_high")]
    context, studied = split(condition.treatments)
    what = applied(studied[0]) if len(studied) == 1 else None
    lowest, highest = known_mean(data.bounds[position])
    rates = known_mean(accepted_rate(condition))
    run = [t for t in range(len(TIERS)) if condition.counts[:, t].any() or condition.failed[:, t].any()]
    flags = arm_flags(data.strict.means[position], limits)
    if gap.n < limits.few_pairs:
        flags = (*flags, f"fewer than {limits.few_pairs} complete pairs")
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
        requests=data.requests.name,
        simulated=condition.simulated,
        **dict(zip(names, map(optional, [*arms[0], *arms[1]]), strict=True)),
        gap=optional(gap.estimate),
        gap_low=gap.low,
        gap_high=gap.high,
        gap_se=gap.se,
        gap_bound_low=optional(lowest),
        gap_bound_high=optional(highest),
        gap_log_odds=optional(log_odds_gap(cell).value),
        n_pairs=gap.n,
        estimands={name: _plain(data.arms[name], position) for name in ESTIMANDS if name != "strict"},
        replies={TIERS[t]: int(condition.counts[:, t].sum()) for t in run},
        unscored={
            TIERS[t]: {o: int(condition.counts[:, t, OUTCOMES.index(o)].sum()) for o in UNSCORED} for t in run
        },
        failed={TIERS[t]: int(condition.failed[:, t].sum()) for t in run},
        other_tiers={TIERS[t]: float(rates[t]) for t in run if t not in ARM_TIERS and not np.isnan(rates[t])},
        flags=flags,
    )


def _plain(arms: Arms, position: int) -> EstimandGap:
    monitored, unmonitored = map(optional, arms.means[position])
    gap = optional(level_of(arms.cell(position)).value)
    return EstimandGap(monitored=monitored, unmonitored=unmonitored, gap=gap)


def sensitivity_rows(headline: Headline) -> dict[str, Sensitivity]:
    """Sensitivities with intervals, by family label."""
    families, data, every = headline.families, headline.data, headline.variables
    whole = data.estimator.joint([result.statistic for result in families.values()])
    single = data.estimator.joint([variable.statistic for variable in every])
    left_out = {code: one for result in families.values() for code, one in result.left_out.items()}
    without = data.estimator.named(left_out)
    variables = {
        variable.code: VariableRow(
            variable=variable.code,
            sensitivity=estimate,
            simultaneous_low=low,
            simultaneous_high=high,
            without=without.get(variable.code),
        )
        for variable, estimate, (low, high) in zip(every, *single, strict=True)
    }
    rows: dict[str, Sensitivity] = {}
    for (family, result), estimate, joint in zip(families.items(), *whole, strict=True):
        bounds = [
            known_mean(data.bounds_of(v.amplify.conditions) - data.bounds_of(v.suppress.conditions)[:, ::-1])
            for v in result.variables
        ]
        low, high = np.mean(bounds, axis=0).tolist()
        pairs = [(v.amplify.conditions, v.suppress.conditions) for v in result.variables]
        by_estimand = {
            name: fmean([effect(arms.cell(*up), arms.cell(*down)).value for up, down in pairs])
            for name, arms in data.arms.items()
            if name != "strict"
        }
        rows[headline.label(family)] = Sensitivity(
            **estimate.model_dump(),
            simultaneous_low=joint[0],
            simultaneous_high=joint[1],
            variables=tuple(variables[variable.code] for variable in result.variables),
            bound_low=low,
            bound_high=high,
            by_estimand={name: optional(value) for name, value in by_estimand.items()},
            clustered_low=estimate.low if data.estimator.grouped else None,
            clustered_high=estimate.high if data.estimator.grouped else None,
        )
    return rows


def fraction_of(headline: Headline, rows: dict[str, Sensitivity]) -> tuple[Estimate | None, str | None]:
    """The second family's share, S_B / (S_A + S_B), or the reason why it is not given.

    Fieller's interval holds the shares f for which (1 - f) S_B - f S_A is within the critical value's errors
    of zero; it means something only where both sensitivities are clearly positive.
    """
    if len(headline.families) < 2:
        return None, "the share needs both families"
    weak = [label for label, row in rows.items() if sign_of(row) <= 0 or row.n < LEAST_UNITS]
    if weak:
        return None, f"a sensitivity of 0 is not excluded for {' and '.join(weak)}"
    first, second = (headline.families[family].statistic for family in FAMILIES)
    estimator, total, n = headline.data.estimator, first + second, min(first.n, second.n)
    (variance_b, covariance), (_, variance_t) = estimator.plain_covariance([second, total]).tolist()
    units = min(map(estimator.n_units, (first, second)))
    critical = t_quantile((1 + headline.data.thresholds.confidence) / 2, units - 1) * estimator.widening
    square = critical**2
    # (b - f t)^2 <= critical^2 (Vb - 2 f Cbt + f^2 Vt), a quadratic in f
    low, high = fieller(
        total.value**2 - square * variance_t,
        second.value * total.value - square * covariance,
        second.value**2 - square * variance_b,
    )
    share = second.value / total.value
    return Estimate(estimate=share, low=max(low, 0.0), high=min(high, 1.0), n=n), None


def dose_response(headline: Headline) -> tuple[tuple[DosePoint, ...], tuple[DoseTrend, ...]]:
    """Sensitivities at every level, and each family's slope on the dose.

    The slope is the mean of the variables' own slopes, so that a variable that was run at some levels only
    does not pass for an effect of dose.
    """
    data = headline.data
    points: list[DosePoint] = []
    series: dict[Family, dict[str, list[tuple[float, Statistic]]]] = {f: defaultdict(list) for f in FAMILIES}
    every = opposed(headline.analysis, headline.included)
    for level, pairs in groupby(every, key=lambda pair: pair[0].level):
        families = by_family(data.strict, list(pairs))
        if not families:
            continue
        wanted: dict[str | None, Statistic] = {}
        for family, result in families.items():
            wanted[headline.label(family)] = result.statistic
            for variable in result.variables:
                series[family][variable.code].append((level.position, variable.statistic))
        if len(families) == 2:
            wanted[None] = families["first"].statistic - families["second"].statistic
        found = data.estimator.named(wanted)
        points.append(
            DosePoint(
                strength=level.label,
                position=level.position,
                sensitivity={label: one for label, one in found.items() if label is not None},
                contrast=found.get(None),
            )
        )
    slopes = {family: list(filter(None, map(trend, own.values()))) for family, own in series.items()}
    known = {headline.label(family): average(own) for family, own in slopes.items() if own}
    trends = data.estimator.named(known)
    return tuple(points), tuple(DoseTrend(family=label, slope=slope) for label, slope in trends.items())


def effect_rows(headline: Headline) -> tuple[EffectRow, ...]:
    """All interventions at all levels, placebos included (those against the baseline only)."""
    rows: list[EffectRow] = []
    for reference in REFERENCES:
        groups = [*headline.analysis.groups, *(headline.analysis.placebos if reference == "baseline" else ())]
        for level in levels_of(groups):
            own = [group for group in groups if group.level == level]
            rows += _rows_at(headline, reference, level, own)
    return tuple(rows)


def _rows_at(
    headline: Headline, reference: Reference, level: Level, groups: list[Applied]
) -> list[EffectRow]:
    data, limits = headline.data, headline.data.thresholds
    conditions = headline.reference_conditions(reference, level)
    if not conditions:
        return []
    arms, base = data.strict, data.strict.cell(*conditions)
    cells = [headline.cell(group) for group in groups]
    by_quantity = {q: data.estimator.joint([effect(cell, base, q) for cell in cells]) for q in _WEIGHTS}
    base_bounds = data.bounds_of(conditions)
    rows = []
    for k, (group, cell) in enumerate(zip(groups, cells, strict=True)):
        gap = by_quantity["gap"].estimates[k]
        if gap.n == 0:
            continue
        on_odds = log_odds_gap(cell, base).value
        low, high = map(optional, known_mean(data.bounds_of(group.conditions) - base_bounds[:, ::-1]))
        controls = [] if group.family is None else headline.sizes(_controls_of(headline, group))
        change = headline.sizes([group])
        ranked = bool(controls and change)
        gaps = [one.value for p in group.conditions if (one := level_of(arms.cell(p))).n]
        flags = arm_flags(arms.means[list(group.conditions)].mean(axis=0), limits)
        if ranked and len(controls) < limits.min_random_controls:
            needed = limits.min_random_controls
            flags = (*flags, f"{plural(len(controls), 'control')}; a claim of significance needs {needed}")
        rows.append(
            EffectRow(
                intervention=group.code,
                variable=group.variable,
                family=group.family,
                polarity=group.polarity,
                strength=level.label,
                reference=reference,
                **{quantity: found.estimates[k] for quantity, found in by_quantity.items()},
                gap_simultaneous_low=by_quantity["gap"].simultaneous[k][0],
                gap_simultaneous_high=by_quantity["gap"].simultaneous[k][1],
                mean_simultaneous_low=by_quantity["mean"].simultaneous[k][0],
                mean_simultaneous_high=by_quantity["mean"].simultaneous[k][1],
                gap_log_odds=on_odds,
                gap_specific=gap.estimate * on_odds > 0,
                gap_bound_low=low,
                gap_bound_high=high,
                n_variants=len(group.conditions),
                variant_sd=float(np.std(gaps, ddof=1)) if len(gaps) > 1 else None,
                control_rank_p=rank_p(change[0], controls) if ranked else None,
                n_controls=len(controls),
                flags=flags,
            )
        )
    return rows


def rank_p(change: float, controls: list[float]) -> float:
    """(1 + #{controls at least as far from zero}) / (n + 1); n controls allow no p below 1/(n + 1)."""
    return (1 + sum(abs(control) >= abs(change) for control in controls)) / (len(controls) + 1)


def _controls_of(headline: Headline, group: Applied) -> list[Applied]:
    """The placebos among which an intervention is ranked; random vectors of its sign and about its dose.

    A random vector at +m and the same at -m are not averaged, which would cancel most of what it does. Where
    no control was run with the intervention's sign, those of the other serve: random vectors have no pole.
    """

    def near(control: Applied) -> bool:
        if not (control.dose and group.dose):
            return True
        ratio = max(control.dose, group.dose) / min(control.dose, group.dose)
        return ratio <= headline.data.thresholds.dose_ratio

    controls = list(headline.analysis.controls(group.level))
    if headline.analysis.method != "steering":
        return controls
    controls = list(filter(near, controls))
    return [c for c in controls if c.direction == group.direction] or controls


def difference(
    first: Headline, second: Headline, codes: Sequence[str] = ()
) -> tuple[dict[str, Estimate], Estimate | None, dict[str, Estimate]]:
    """First less second, on the same requests: sensitivities by label, contrast, effects of some codes."""
    shared = [family for family in first.families if family in second.families]
    wanted = {f: first.families[f].statistic - second.families[f].statistic for f in shared}
    ours, theirs = first.by_code, second.by_code
    effects = {code: ours[code] - theirs[code] for code in codes}
    contrasts = []
    if first.contrast is not None and second.contrast is not None:
        contrasts.append(first.contrast - second.contrast)
    found = iter(first.data.estimator.of([*wanted.values(), *contrasts, *effects.values()]))
    sensitivity = {first.label(family): next(found) for family in wanted}
    return sensitivity, next(found) if contrasts else None, dict(zip(effects, found, strict=True))


def comparisons_of(headlines: Sequence[Headline]) -> tuple[Comparison, ...]:
    """Every two analyses of a request set that differ in one respect; they share the resample."""
    found = []
    for first, second in combinations(headlines, 2):
        kind = _kind(first.analysis, second.analysis)
        if kind is not None:
            codes = [code for code in first.by_code if code in second.by_code]
            sensitivity, contrast, effects = difference(first, second, codes)
            found.append(
                Comparison(
                    kind=kind,
                    first=_name(first),
                    second=_name(second),
                    sensitivity=sensitivity,
                    contrast=contrast,
                    effects=effects,
                )
            )
    return tuple(found)


def _kind(one: Analysis, other: Analysis) -> Literal["methods", "subjects", "settings"] | None:
    """What two analyses differ in, None where in too much.

    Methods may differ in setting too: documents replace the prompt's facts by design.
    """
    if one.setting.pair.digest != other.setting.pair.digest:
        return None
    same_subject = one.subject_label == other.subject_label
    if one.method != other.method:
        return "methods" if same_subject else None
    if same_subject:
        return "settings"
    return "subjects" if one.setting == other.setting else None


def _name(headline: Headline) -> str:
    analysis = headline.analysis
    return f"{analysis.subject_label} / {analysis.method} / {analysis.setting.prompt_digest}"


class VariantRow(Frozen):
    """The untouched subject under one prompt template."""

    variant: str  # `reference`, or the settings in which it differs, such as `tier_tag=swapped`
    condition: ConditionRow
    change: Estimate | None  # Of the gap, over requests complete in both; None for the reference


class NuisanceReport(Frozen):
    """The gap of one subject under every prompt template that was run."""

    subject: str
    rows: tuple[VariantRow, ...]  # The reference first
    gap_min: float
    gap_max: float
    gap_sd: float  # Standard deviation of the gap between the variants, the reference included
    sampling_sd: float | None  # The standard deviation that the chance of single replies alone would give
    changed: tuple[str, ...]  # Variants whose gap differs by intervals that hold for all at once


def nuisance_reports(
    outcomes: Outcomes, *, reference: dict[str, str], thresholds: Thresholds | None = None
) -> tuple[NuisanceReport, ...]:
    """One report per subject and request set, of the conditions without treatment.

    `reference` has the prompt settings that count as such, tiers beyond the two of the gap included.

    Raises:
        AnalysisError: A subject was not run under the reference settings, or under nothing else.
    """
    reports = []
    for requests in outcomes.request_sets:
        data = request_data_of(requests, thresholds or Thresholds())
        rows = condition_rows(data)
        variants: dict[str, dict[int, str]] = defaultdict(dict)
        for position, condition in enumerate(requests.conditions):
            if not condition.treatments:
                choices = condition.setting.choices.items()
                changed = [f"{key}={value}" for key, value in choices if reference.get(key, value) != value]
                variants[condition.subject.label][position] = ", ".join(changed) or "reference"
        for subject, names in variants.items():
            if "reference" not in names.values():
                raise AnalysisError(
                    f"{subject} was not run under the reference settings {reference}; it was run under: "
                    f"{'; '.join(names.values())}"
                )
            reports.append(_nuisance(subject, names, data, rows))
    return tuple(reports)


def _nuisance(
    subject: str, names: dict[int, str], data: RequestData, rows: tuple[ConditionRow, ...]
) -> NuisanceReport:
    base = next(p for p, name in names.items() if name == "reference")
    others = [p for p in names if p != base]
    if not others:
        raise AnalysisError(f"{subject} was run under one prompt template only; there is nothing to compare")
    cell = data.strict.cell
    changes, bounds = data.estimator.joint([effect(cell(p), cell(base)) for p in others])
    errors = [change.se for change in changes if change.se is not None]
    gaps = [gap for p in names if (gap := rows[p].gap) is not None]
    return NuisanceReport(
        subject=subject,
        rows=tuple(
            VariantRow(variant=names[p], condition=rows[p], change=change)
            for p, change in zip([base, *others], [None, *changes], strict=True)
        ),
        gap_min=min(gaps, default=float("nan")),
        gap_max=max(gaps, default=float("nan")),
        gap_sd=float(np.std(gaps, ddof=1)) if len(gaps) > 1 else float("nan"),
        # A change is the difference of two gaps, each with its own chance.
        sampling_sd=float(np.sqrt(np.mean(np.square(errors)) / 2)) if errors else None,
        changed=tuple(
            names[p]
            for p, change, (low, high) in zip(others, changes, bounds, strict=True)
            if low is not None and high is not None and not low <= 0 <= high and change.n >= LEAST_UNITS
        ),
    )
