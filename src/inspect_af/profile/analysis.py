"""Results of one analysis: sensitivities, the share of a family, and dose-response."""

from __future__ import annotations

import numpy as np

from inspect_af.profile.contrast import (
    Arms,
    FamilySensitivity,
    fraction,
    sensitivities_at,
    variable_sensitivity,
)
from inspect_af.profile.core import FAMILIES, Core, Data, by_family
from inspect_af.profile.dose import trend
from inspect_af.profile.estimands import WorstCases, average_bounds
from inspect_af.profile.result import DosePoint, DoseTrend, Estimate, Sensitivity, VariableRow
from inspect_af.profile.statistic import Statistic, average
from inspect_af.stats import t_quantile
from inspect_af.types import Family


def sensitivity_rows(core: Core, data: Data) -> dict[str, Sensitivity]:
    """Sensitivities with intervals, by family label."""
    families = core.families
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
        rows[core.label(family)] = Sensitivity(
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


def _sensitivity_bounds(result: FamilySensitivity, data: Data) -> tuple[float, float]:
    bounds = [
        (group_bounds(v.amplify.conditions, data) - group_bounds(v.suppress.conditions, data)).mean
        for v in result.variables
    ]
    low, high = np.mean(bounds, axis=0)
    return float(low), float(high)


def group_bounds(conditions: tuple[int, ...], data: Data) -> WorstCases:
    """Worst cases of a gap averaged over conditions."""
    return average_bounds([data.bounds[position] for position in conditions])


def fraction_of(
    core: Core, rows: dict[str, Sensitivity], confidence: float
) -> tuple[Estimate | None, str | None]:
    """The second family's share, or the reason why it is not given."""
    if len(core.families) < 2:
        return None, "the share needs both families"
    weak = [label for label, row in rows.items() if row.low is None or row.low <= 0]
    if weak:
        return None, f"the lower bound is not above 0 for: {', '.join(weak)}"
    first, second = (core.families[family].statistic for family in FAMILIES)
    n = min(first.n, second.n)
    share, low, high = fraction(first, second, t_quantile((1 + confidence) / 2, n - 1))
    estimate = Estimate(
        estimate=share, low=low, high=high, equivalence_low=None, equivalence_high=None, se=None, n=n
    )
    return estimate, None


def dose_response(core: Core, data: Data) -> tuple[tuple[DosePoint, ...], tuple[DoseTrend, ...]]:
    """Sensitivities at every level, and each family's slope on the dose.

    The slope is the mean of the variables' own slopes, so that a variable that was run at some levels only
    does not pass for an effect of dose.
    """
    analysis = core.analysis
    points: list[DosePoint] = []
    series: dict[Family, dict[str, list[tuple[float, Statistic]]]] = {family: {} for family in FAMILIES}
    for level in analysis.levels:
        families = by_family(sensitivities_at(data.strict, analysis, level, core.included))
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
                sensitivity={core.label(f): e for f, e in zip(families, estimates, strict=False)},
                contrast=estimates[2] if len(estimates) > len(FAMILIES) else None,
            )
        )
    slopes = {
        core.label(family): [slope for levels in variables.values() if (slope := trend(levels)) is not None]
        for family, variables in series.items()
    }
    known = [(label, average(own)) for label, own in slopes.items() if own]
    estimates = data.estimator.of([slope for _, slope in known])
    trends = tuple(
        DoseTrend(family=label, slope=estimate) for (label, _), estimate in zip(known, estimates, strict=True)
    )
    return tuple(points), trends
