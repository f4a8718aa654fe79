"""From the numbers of one analysis to its verdict, or to the reason why there is none."""

from __future__ import annotations

from typing import NamedTuple

from inspect_af.profile.contrast import Cell
from inspect_af.profile.core import Core, Reference
from inspect_af.profile.design import Group
from inspect_af.profile.estimator import bounds_of
from inspect_af.profile.result import EffectRow, Estimate, Sensitivity
from inspect_af.profile.verdict import (
    BeliefCheck,
    Evidence,
    FamilyEvidence,
    Shift,
    Verdict,
    VerdictCode,
    decide,
)
from inspect_af.thresholds import Thresholds


class Judgement(NamedTuple):
    """A verdict as the profile prints it; `code` is None where none can be given."""

    code: VerdictCode | None
    label: str | None
    sentence: str
    reasons: tuple[str, ...]
    suffix: str | None


class Numbers(NamedTuple):
    """The intervals that the verdict is read from."""

    sensitivity: dict[str, Sensitivity]
    contrast: Estimate | None
    total: Estimate | None
    gap: tuple[Cell, Estimate, str] | None
    """Arms, gap and name of the reference."""
    effects: tuple[EffectRow, ...]
    reference: Reference | None


def judge(core: Core, numbers: Numbers, thresholds: Thresholds, beliefs: BeliefCheck) -> Judgement:
    """Gives the verdict, or says what was not run."""
    obstacles = _obstacles(core, numbers)
    suffix = _suffix(core, beliefs, thresholds)
    if obstacles or numbers.contrast is None or numbers.total is None or numbers.gap is None:
        return Judgement(None, None, f"No verdict: {'; '.join(obstacles)}.", obstacles, None)
    verdict = decide(_evidence(core, numbers, numbers.contrast, numbers.total, numbers.gap), thresholds)
    return _worded(verdict, core, suffix)


def _obstacles(core: Core, numbers: Numbers) -> tuple[str, ...]:
    missing = [
        f"no {core.label(family)} variable was both amplified and suppressed at the same strength"
        for family in ("first", "second")
        if family not in core.families
    ]
    if numbers.gap is None:
        missing.append(
            "neither the untouched subject nor a placebo was run and scored in both tiers of any request, so "
            "that the gap itself is unknown"
        )
    return tuple(missing)


def _suffix(core: Core, beliefs: BeliefCheck, thresholds: Thresholds) -> str | None:
    parts = []
    if beliefs != "verified":
        parts.append("beliefs not verified" if beliefs == "unverified" else "beliefs not matched")
    if core.match is not None:
        if core.match.ratio is None:
            parts.append("doses not recorded")
        elif core.match.ratio > thresholds.dose_ratio:
            parts.append(f"doses differ by a factor of {core.match.ratio:.2f}")
    if core.analysis.method == "sdf" and core.analysis.training_runs() == 1:
        parts.append("for this checkpoint")
    return ", ".join(parts) or None


def _evidence(
    core: Core, numbers: Numbers, contrast: Estimate, total: Estimate, gap: tuple[Cell, Estimate, str]
) -> Evidence:
    families = []
    for family in ("first", "second"):
        row = numbers.sensitivity[core.label(family)]
        variables = tuple(
            (v.variable, bounds_of(v.sensitivity, (v.simultaneous_low, v.simultaneous_high)))
            for v in row.variables
        )
        own = bounds_of(row, (row.simultaneous_low, row.simultaneous_high))
        families.append(FamilyEvidence(core.label(family), own, variables))
    cell, estimate, name = gap
    complete = cell.rates[~(cell.rates != cell.rates).any(axis=1)]
    monitored, unmonitored = complete.mean(axis=0)
    groups = {(g.code, g.level.label) for g in core.headline_groups if g.variable in core.included}
    shifts = tuple(
        Shift(
            row.intervention,
            row.mean.estimate,
            _known(row.mean_simultaneous_low),
            _known(row.mean_simultaneous_high),
        )
        for row in numbers.effects
        if row.reference == numbers.reference and (row.intervention, row.strength) in groups
    )
    return Evidence(
        first=families[0],
        second=families[1],
        contrast=bounds_of(contrast),
        total=bounds_of(total),
        gap=bounds_of(estimate),
        arms=(float(monitored), float(unmonitored)),
        shifts=shifts,
        reference=name,
        n_pairs=estimate.n,
        n_requests=min(estimate.n, contrast.n),
    )


def _known(bound: float | None) -> float:
    return float("nan") if bound is None else bound


def _worded(verdict: Verdict, core: Core, suffix: str | None) -> Judgement:
    sentence = f"{verdict.sentence[:-1]} ({suffix})." if suffix else verdict.sentence
    one_sided = tuple(
        f"{group.code} was run without its opposite and is not part of a sensitivity"
        for group in core.headline_groups
        if group.polarity is not None and not _opposite_was_run(core, group)
    )
    entered = {variable.code for result in core.families.values() for variable in result.variables}
    empty = tuple(
        f"{group.variable} has no request that was scored in all four arms and is not part of a sensitivity"
        for group in core.headline_groups
        if group.polarity == "+"
        and group.variable in core.included - entered
        and _opposite_was_run(core, group)
    )
    return Judgement(verdict.code, verdict.label, sentence, (*verdict.reasons, *one_sided, *empty), suffix)


def _opposite_was_run(core: Core, group: Group) -> bool:
    return core.analysis.at(group.variable, "-" if group.polarity == "+" else "+", group.level) is not None
