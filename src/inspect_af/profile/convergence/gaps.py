"""Per method: the headline, the gap under every condition, and methods against one another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from inspect_af.profile.contrast import effect, level_of
from inspect_af.profile.convergence.cases import Case
from inspect_af.profile.convergence.reading import Trace
from inspect_af.profile.convergence.result import ConditionGap, MethodPair, MethodResult
from inspect_af.profile.convergence.statement import Finding, size_of
from inspect_af.profile.core import core_of
from inspect_af.profile.judgement import check_of
from inspect_af.profile.result import Estimate
from inspect_af.profile.selectivity import SelectivityMatrix
from inspect_af.profile.statistic import Statistic


def method_result(
    case: Case, finding: Finding, selectivity: Sequence[SelectivityMatrix], trace: Trace
) -> MethodResult:
    """One column of the side-by-side table."""
    one, thresholds = case.profile, case.data.estimator.thresholds
    return MethodResult(
        method=case.method,
        prompt_settings=dict(case.core.analysis.setting.prompt_settings),
        requests=one.requests,
        n_requests=one.n_requests,
        strength=one.strength,
        sensitivity={label: plain(estimate) for label, estimate in one.sensitivity.items()},
        contrast=one.contrast,
        reference_gap=one.reference_gap,
        verdict=one.verdict,
        verdict_code=one.verdict_code,
        verdict_sentence=one.verdict_sentence,
        verdict_suffix=one.verdict_suffix,
        beliefs=check_of(case.core, selectivity, thresholds),
        direction=finding.direction,
        direction_reason=finding.reason,
        gaps=_gaps(case),
        logs=trace.logs(case.places),
    )


def compared(cases: Sequence[Case], strength: str | None) -> tuple[MethodPair, ...]:
    """Every two methods of one model, over the variables that both moved both ways.

    Steering moves concepts, not single variables, so that its families are compared as they are.
    """
    return tuple(_pair(one, other, strength) for one, other in combinations(cases, 2))


def plain(estimate: Estimate) -> Estimate:
    """The estimate without what a subclass adds."""
    return Estimate(**{name: getattr(estimate, name) for name in Estimate.model_fields})


def _pair(one: Case, other: Case, strength: str | None) -> MethodPair:
    def refused(reason: str) -> MethodPair:
        return MethodPair(
            first=one.method,
            second=other.method,
            sensitivity={},
            contrast=None,
            size=None,
            variables={},
            refusal=reason,
        )

    if one.data is not other.data:
        return refused(
            f"they were run on different requests ({one.profile.requests}, {other.profile.requests})"
        )
    if one.core.analysis.setting.pair.digest != other.core.analysis.setting.pair.digest:
        return refused("they were run with different hypothesis pairs")
    cores = (one.core, other.core)
    if "steering" not in (one.method, other.method):
        shared = _moved(one) & _moved(other)
        cores = (
            core_of(one.core.analysis, one.data, strength=strength, variables=shared),
            core_of(other.core.analysis, other.data, strength=strength, variables=shared),
        )
    families = [family for family in cores[0].families if family in cores[1].families]
    if not families:
        return refused("they moved no variable in common both ways")
    statistics: list[Statistic] = [
        cores[0].families[f].statistic - cores[1].families[f].statistic for f in families
    ]
    contrasts = cores[0].contrast, cores[1].contrast
    if contrasts[0] is not None and contrasts[1] is not None:
        statistics.append(contrasts[0] - contrasts[1])
    estimates = one.data.estimator.of(statistics)
    contrast = estimates[-1] if len(estimates) > len(families) else None
    return MethodPair(
        first=one.method,
        second=other.method,
        sensitivity={cores[0].label(f): e for f, e in zip(families, estimates, strict=False)},
        contrast=contrast,
        size=size_of(contrast, one.data.estimator.thresholds),
        variables={
            core.analysis.method: tuple(v.code for f in families for v in core.families[f].variables)
            for core in cores
        },
    )


def _moved(case: Case) -> frozenset[str]:
    return frozenset(v.code for family in case.core.families.values() for v in family.variables)


def _gaps(case: Case) -> tuple[ConditionGap, ...]:
    """The baseline, the headline interventions, and the placebos at their level."""
    analysis, arms = case.core.analysis, case.data.strict
    groups = [*case.core.headline_groups]
    if analysis.method != "steering":
        groups += [g for level in case.core.headline_levels for g in analysis.controls(level)]
    cells = [arms.cell(group.conditions) for group in groups]
    base = None if analysis.baseline is None else arms.cell([analysis.baseline])
    levels = case.data.estimator.of([level_of(cell) for cell in ([base] if base else []) + cells])
    changes: tuple[Estimate, ...] | None = None
    if base is not None:
        changes = case.data.estimator.of([effect(cell, base) for cell in cells])
    rows = []
    if base is not None:
        rows.append(
            ConditionGap(intervention="baseline", family=None, placebo=False, gap=levels[0], change=None)
        )
        levels = levels[1:]
    rows += [
        ConditionGap(
            intervention=group.code,
            family=group.family,
            placebo=group.family is None,
            gap=levels[k],
            change=changes[k] if changes else None,
        )
        for k, group in enumerate(groups)
    ]
    return tuple(rows)
