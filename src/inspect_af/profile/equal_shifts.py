"""Steering once more, at multipliers that move each concept's own score alike.

Doses say how hard the residual stream was pushed, not how much reasoning changed. Where a judge scored the
replies, the second comparison holds the change of reasoning equal instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from inspect_af.profile.concepts import ConceptScore
from inspect_af.profile.contrast import variable_sensitivity
from inspect_af.profile.core import Core, Data, by_family
from inspect_af.profile.design import Group
from inspect_af.profile.dose import opposed, pick_levels
from inspect_af.profile.result import EqualShifts
from inspect_af.types import condition_label


def equal_shifts(
    core: Core, data: Data, scores: Sequence[ConceptScore]
) -> tuple[EqualShifts | None, str | None]:
    """The sensitivities at equal shifts of the concept score, or the reason why they are not given.

    The shift of a concept at m is its mean score at +m less that at -m, the mean over tiers of means over
    requests. Multipliers are chosen as for doses: the common shift is the one, among those that were found,
    for which the worst concept is least far off.
    """
    analysis = core.analysis
    if analysis.method != "steering":
        return None, None
    pairs = opposed(analysis, core.included)
    if not pairs:
        return None, "no concept was run at +m and -m"
    found: dict[str, list[tuple[float, Group, Group]]] = {}
    simulated = False
    for concept, both_ways in pairs.items():
        for amplify, suppress in both_ways:
            up, down = (_score(core, data, scores, group) for group in (amplify, suppress))
            if up is None or down is None:
                continue
            simulated |= up[1] or down[1]
            if (shift := up[0] - down[0]) > 0:
                found.setdefault(concept, []).append((shift, amplify, suppress))
        if concept not in found:
            return (
                None,
                f"no multiplier raised the concept score of {concept}, or no judge read its replies",
            )
    chosen = pick_levels(found)
    shifts = {concept: size for concept, (size, _, _) in chosen.items()}
    families = by_family(
        tuple(variable_sensitivity(data.strict, *both_ways) for _, *both_ways in chosen.values())
    )
    both = [result.statistic for result in families.values()]
    contrast = [both[0] - both[1]] if len(both) == 2 else []
    estimates = data.estimator.of([*both, *contrast])
    return (
        EqualShifts(
            strengths={concept: amplify.level.label or "" for concept, (_, amplify, _) in chosen.items()},
            shifts=shifts,
            ratio=max(shifts.values()) / min(shifts.values()),
            sensitivity={core.label(family): row for family, row in zip(families, estimates, strict=False)},
            contrast=estimates[-1] if contrast else None,
            simulated_judge=simulated,
        ),
        None,
    )


def _score(core: Core, data: Data, scores: Sequence[ConceptScore], group: Group) -> tuple[float, bool] | None:
    """Mean score of the group's own concept, tiers weighing the same, and whether a judge was simulated."""
    if group.family is None:
        return None
    concept = core.label(group.family)
    labels = {condition_label(data.requests.conditions[position].treatments) for position in group.conditions}
    wanted = (core.analysis.subject.label, core.analysis.setting.prompt_digest, concept)
    own = [s for s in scores if (s.subject, s.setting, s.concept) == wanted and s.condition in labels]
    if {s.condition for s in own} != labels:
        return None
    return fmean(s.mean for s in own), any(s.simulated for s in own)
