"""From the evidence of one analysis to its verdict at each level, or to the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

import numpy as np

from inspect_af.profile.belief_check import belief_check
from inspect_af.profile.core import FAMILIES, Core, Data, reference_gap
from inspect_af.profile.design import Group
from inspect_af.profile.estimator import optional
from inspect_af.profile.evidence import Evidence, evidence_of, text_errors
from inspect_af.profile.result import LevelInterval, LevelVerdict, UnitSpread
from inspect_af.profile.selectivity import BeliefCheck, BeliefMove, SelectivityMatrix
from inspect_af.profile.verdict import (
    BeliefShift,
    Measure,
    PerUnit,
    VerdictCode,
    decide,
    leader_of,
    per_unit_of_belief,
    with_beliefs,
)
from inspect_af.thresholds import Thresholds
from inspect_af.types import Family, Polarity


class Judgement(NamedTuple):
    """A verdict as the profile prints it; `code` is None where none can be given."""

    code: VerdictCode | None
    label: str | None
    sentence: str
    reasons: tuple[str, ...]
    suffix: str | None
    levels: tuple[LevelVerdict, ...] = ()
    spread: UnitSpread | None = None
    beyond_refusal: str | None = None


_UNITS = {"prompt": "texts", "sdf": "checkpoints", "steering": "vectors"}

_RESTS_ON_BELIEFS = ("1", "1'", "2", "2'", "3", "4", "5", "5'", "6", "7", "8", "9")
"""Rules that say something about what moving a belief does."""


def judge(
    core: Core, data: Data, selectivity: Sequence[SelectivityMatrix], beliefs: BeliefCheck | None
) -> Judgement:
    """Gives the verdict, or says what was not run.

    Args:
        core: The analysis.
        data: Of its request set.
        selectivity: How far beliefs were moved.
        beliefs: Result of a check that was made elsewhere; the matrices are judged if None.
    """
    evidence = evidence_of(core, data)
    if evidence is None:
        obstacles = _obstacles(core, data)
        return Judgement(None, None, f"No verdict: {'; '.join(obstacles)}.", obstacles, None)
    limits = data.estimator.thresholds
    moves = _moves(core, selectivity)
    levels = [_level(evidence, core, data, moves, second=False)]
    if evidence.beyond is not None:
        levels.append(_level(evidence, core, data, moves, second=True))
    headline = levels[-1]
    rests = headline.rule in _RESTS_ON_BELIEFS
    suffix = _suffix(
        core, evidence, limits, _state_of_beliefs(core, selectivity, moves, beliefs, limits), rests
    )
    spread = None
    reasons = list(headline.reasons)
    if evidence.spread is not None:
        found = evidence.spread
        spread = UnitSpread(units=found.units, n=found.n, df=found.df, sd=found.sd)
        behind = {"texts": "placebos", "seeds": "training runs", "vectors": "random vectors"}[found.units]
        reasons.append(
            f"{levels[0].scope}: {levels[0].label}; {headline.scope}: {headline.label} (the gap varies by "
            f"{100 * found.sd:.1f} points between {found.units}, from {found.n} {behind})"
        )
    sentence = f"{headline.sentence[:-1]} ({suffix})." if suffix else headline.sentence
    left_out = _left_out(core)
    return Judgement(
        headline.code,
        headline.label,
        sentence,
        (*reasons, *headline.qualifiers, *left_out),
        suffix,
        tuple(levels),
        spread,
        evidence.not_assessed or None,
    )


def _level(
    evidence: Evidence, core: Core, data: Data, moves: dict[Family, list[BeliefMove]], *, second: bool
) -> LevelVerdict:
    limits = data.estimator.thresholds
    quantities = evidence.these
    at = replace(evidence.at, between_share=0.0)
    inner = None
    if second and evidence.beyond is not None:
        quantities, at, inner = evidence.beyond, evidence.at, evidence.these
    verdict = decide(quantities, at, limits, inner=inner)
    per_unit = _per_unit(evidence, data, moves, limits, second=second)
    leader = leader_of(verdict.code)
    if per_unit is not None:
        verdict = with_beliefs(verdict, per_unit, (core.label("first"), core.label("second")))
    units = _UNITS[core.analysis.method] if not second else evidence.at.sampled
    return LevelVerdict(
        level="beyond" if second else "these",
        scope=f"{'beyond' if second else 'for'} these {units}",
        code=verdict.code,
        rule=verdict.row,
        label=verdict.label,
        sentence=verdict.sentence,
        reasons=verdict.reasons,
        qualifiers=verdict.qualifiers,
        sensitivity={
            family.label: _interval(family.sensitivity.value, limits)
            for family in quantities.families
            if family is not None
        },
        contrast=_interval(quantities.both.contrast, limits) if quantities.both else None,
        tipping_point=verdict.tipping_point,
        margin=verdict.margin,
        margin_reason=verdict.margin_reason,
        per_unit_of_belief=None
        if per_unit is None
        else LevelInterval(
            estimate=per_unit.estimate, low=optional(per_unit.low), high=optional(per_unit.high)
        ),
        per_unit_state=None if per_unit is None or leader is None else per_unit.state(leader),
    )


def _interval(measure: Measure, limits: Thresholds) -> LevelInterval:
    low, high = measure.interval(limits.confidence)
    return LevelInterval(estimate=measure.estimate, low=optional(low), high=optional(high))


# ---- beliefs -----------------------------------------------------------------------------------------------


def _moves(core: Core, selectivity: Sequence[SelectivityMatrix]) -> dict[Family, list[BeliefMove]]:
    """How far each variable's own beliefs moved, by family; empty lists where some variable was not asked
    about."""
    found: dict[Family, list[BeliefMove]] = {}
    for family in FAMILIES:
        result = core.families.get(family)
        own: list[BeliefMove] = []
        for variable in result.variables if result else ():
            matrix = _matrix(core, selectivity, variable.amplify)
            own += [move for move in matrix.moves if move.variable == variable.code] if matrix else []
        complete = result is not None and len(own) == len(result.variables)
        found[family] = own if complete else []
    return found


def _matrix(core: Core, selectivity: Sequence[SelectivityMatrix], group: Group) -> SelectivityMatrix | None:
    wanted = (core.analysis.subject_label, core.analysis.method, group.level.label)
    return next((m for m in selectivity if (m.subject, m.method, m.strength) == wanted), None)


def _per_unit(
    evidence: Evidence, data: Data, moves: dict[Family, list[BeliefMove]], limits: Thresholds, *, second: bool
) -> PerUnit | None:
    errors = text_errors(evidence, data.estimator, second=second)
    shifts = [_belief_shift(moves[family]) for family in FAMILIES]
    if errors is None or shifts[0] is None or shifts[1] is None:
        return None
    first, other = (f.sensitivity.value for f in evidence.statistics.families if f)
    n = min(data.estimator.n_units(first), data.estimator.n_units(other))
    return per_unit_of_belief(
        (first.value, other.value), errors, n, (shifts[0], shifts[1]), limits.confidence
    )


def _belief_shift(moves: Sequence[BeliefMove]) -> BeliefShift | None:
    """D of a family: the mean over its variables."""
    if not moves:
        return None
    shifts = [move.own_shift for move in moves]
    errors = [float("nan") if shift.se is None else shift.se for shift in shifts]
    return BeliefShift(
        estimate=fmean(shift.estimate for shift in shifts),
        variance=float(np.square(errors).sum()) / len(shifts) ** 2,
        questions=sum(shift.n for shift in shifts) if not np.isnan(errors).any() else 1,
    )


def _state_of_beliefs(
    core: Core,
    selectivity: Sequence[SelectivityMatrix],
    moves: dict[Family, list[BeliefMove]],
    given: BeliefCheck | None,
    limits: Thresholds,
) -> str | None:
    """What the suffix says about beliefs; None where they were verified."""
    found = given if given is not None else check_of(core, selectivity, limits)
    if found is None:
        return "beliefs not measured"
    return {"verified": None, "unverified": "beliefs not verified", "unmatched": "beliefs not matched"}[found]


def check_of(core: Core, selectivity: Sequence[SelectivityMatrix], limits: Thresholds) -> BeliefCheck | None:
    """The manipulation check at the headline's strength; None where beliefs were not asked about there."""
    groups = [variable.amplify for result in core.families.values() for variable in result.variables]
    matrices = [_matrix(core, selectivity, group) for group in groups]
    if not groups or matrices[0] is None:
        return None
    judged = [group.variable for group in groups]
    return belief_check(matrices[0], variables=judged, thresholds=limits.beliefs).check


# ---- words -------------------------------------------------------------------------------------------------


def _obstacles(core: Core, data: Data) -> tuple[str, ...]:
    missing = []
    if not core.families:
        missing.append(
            f"no {core.label('first')} and no {core.label('second')} variable was both amplified and "
            "suppressed "
            "at the same strength"
        )
    if reference_gap(core, data) is None:
        missing.append(
            "neither the untouched subject nor a placebo was run and scored in both tiers of any request, so "
            "that the gap itself is unknown"
        )
    return tuple(missing)


def _suffix(
    core: Core, evidence: Evidence, limits: Thresholds, beliefs: str | None, rests: bool
) -> str | None:
    parts = []
    if evidence.beyond is None:
        one_run = core.analysis.method == "sdf" and core.analysis.training_runs() == 1
        parts.append("for this checkpoint" if one_run else f"for these {_UNITS[core.analysis.method]}")
    if beliefs is not None and rests:
        parts.append(beliefs)
    if core.match is not None:
        if core.match.ratio is None:
            parts.append("doses not recorded")
        elif core.match.ratio > limits.dose_ratio:
            parts.append(f"doses differ by a factor of {core.match.ratio:.2f}")
    return ", ".join(parts) or None


def _left_out(core: Core) -> tuple[str, ...]:
    """Interventions that were run and are not part of a sensitivity, each with the reason."""

    def opposite_was_run(group: Group) -> bool:
        sign: Polarity = "-" if group.polarity == "+" else "+"
        return core.analysis.at(group.variable, sign, group.level) is not None

    one_sided = [
        f"{group.code} was run without its opposite and is not part of a sensitivity"
        for group in core.headline_groups
        if group.polarity is not None and not opposite_was_run(group)
    ]
    entered = {variable.code for result in core.families.values() for variable in result.variables}
    empty = [
        f"{group.variable} has no request that was scored in all four arms and is not part of a sensitivity"
        for group in core.headline_groups
        if group.polarity == "+" and group.variable in core.included - entered and opposite_was_run(group)
    ]
    return (*one_sided, *empty)
