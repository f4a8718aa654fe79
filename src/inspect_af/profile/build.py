"""Outcomes in, profile out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inspect_af.profile.analysis import dose_response, fraction_of, sensitivity_rows
from inspect_af.profile.bootstrap import Drawer, draw
from inspect_af.profile.compare import comparisons_of
from inspect_af.profile.concepts import ConceptScore
from inspect_af.profile.conditions import condition_rows
from inspect_af.profile.core import Core, Data, core_of, data_of, reference_cell, reference_gap
from inspect_af.profile.design import analyses_of
from inspect_af.profile.effects import REFERENCES, effect_rows, noise_band
from inspect_af.profile.judgement import Judgement, judge
from inspect_af.profile.notes import notes_of
from inspect_af.profile.outcomes import Outcomes
from inspect_af.profile.result import Comparison, ConditionRow, Estimate, MethodProfile, Profile
from inspect_af.profile.selectivity import BeliefCheck, SelectivityMatrix
from inspect_af.profile.statistic import Statistic
from inspect_af.thresholds import Thresholds


def build_profile(
    outcomes: Outcomes,
    *,
    thresholds: Thresholds | None = None,
    strength: str | None = None,
    variables: Iterable[str] | None = None,
    selectivity: Sequence[SelectivityMatrix] = (),
    beliefs: BeliefCheck | None = None,
    concepts: Sequence[ConceptScore] = (),
    drawer: Drawer = draw,
) -> Profile:
    """Analyses counted replies: conditions, effects, sensitivities, verdicts and comparisons.

    Args:
        outcomes: from `count_outcomes`.
        thresholds: levels, margins, resamples and seed; the defaults of `Thresholds` if None.
        strength: strength of prompt claims at which the headline is computed; None takes `standard` where it
            was run and else the strongest.
        variables: codes that the sensitivities average; None takes the run ones of `interventions=all`.
        selectivity: which beliefs the interventions moved; without the matrix of a subject, method and
            strength its verdict says that beliefs were not verified.
        beliefs: result of a check of the beliefs that was made elsewhere, for all subjects.
        concepts: mean judge scores, from `ConceptScores`.
        drawer: makes the bootstrap's draws; replaced only to reuse draws between analyses of equal shape.

    Raises:
        ConfigError: `strength` was not run.
    """
    limits = thresholds or Thresholds()
    chosen = None if variables is None else frozenset(variables)
    rows: list[ConditionRow] = []
    profiles: list[MethodProfile] = []
    comparisons: list[Comparison] = []
    for requests in outcomes.request_sets:
        data = data_of(requests, limits, drawer)
        cores = [
            core_of(analysis, data, strength=strength, variables=chosen) for analysis in analyses_of(requests)
        ]
        rows.extend(condition_rows(requests, data.arms, data.estimator))
        profiles.extend(
            _method_profile(core, data, judge(core, data, selectivity, beliefs)) for core in cores
        )
        comparisons.extend(comparisons_of(cores, data))
    only = profiles[0] if len(profiles) == 1 else None
    sentence = "There is no verdict: only untouched subjects were run."
    if profiles:
        sentence = f"{len(profiles)} profiles, each with its own verdict."
    return Profile(
        conditions=tuple(rows),
        sensitivity=only.sensitivity if only else None,
        contrast=only.contrast if only else None,
        verdict=only.verdict if only else None,
        verdict_code=only.verdict_code if only else None,
        verdict_sentence=only.verdict_sentence if only else sentence,
        verdict_reasons=only.verdict_reasons if only else (),
        verdict_suffix=only.verdict_suffix if only else None,
        profiles=tuple(profiles),
        comparisons=tuple(comparisons),
        thresholds=limits,
        notes=notes_of(outcomes),
        n_replies=outcomes.n_replies,
        n_duplicates=outcomes.n_duplicates,
        n_failed=outcomes.n_failed,
        n_logs=len(outcomes.logs),
        intervals=_how(limits),
        prompt_settings={
            condition.setting.prompt_digest: dict(condition.setting.prompt_settings)
            for requests in outcomes.request_sets
            for condition in requests.conditions
        },
        concepts=tuple(concepts),
        selectivity=tuple(selectivity),
    )


def _method_profile(core: Core, data: Data, judgement: Judgement) -> MethodProfile:
    analysis, thresholds = core.analysis, data.estimator.thresholds
    sensitivity = sensitivity_rows(core, data)
    contrast, total = _optional(core.contrast, data), _optional(core.total, data)
    share, refusal = fraction_of(core, sensitivity, thresholds.confidence)
    effects = effect_rows(core, data)
    reference = next(
        (
            name
            for name in reversed(REFERENCES)
            if core.headline_levels
            and all(reference_cell(core, data, name, level) is not None for level in core.headline_levels)
        ),
        None,
    )
    found = reference_gap(core, data)
    gap = (found[0], data.estimator.of([found[1]])[0], found[2]) if found else None
    points, trends = dose_response(core, data)
    return MethodProfile(
        subject=analysis.subject_label,
        method=analysis.method,
        setting=analysis.setting.prompt_digest,
        requests=data.requests.name,
        n_requests=len(data.requests.request_ids),
        strength=core.level.label if core.level else ("matched dose" if core.match else None),
        variables={
            core.label(family): tuple(v.code for v in result.variables)
            for family, result in core.families.items()
        },
        reference=reference,
        reference_gap=gap[1] if gap else None,
        reference_gap_of=gap[2] if gap else None,
        sensitivity=sensitivity,
        contrast=contrast,
        total=total,
        fraction=share,
        fraction_refusal=refusal,
        effects=effects,
        noise_band=noise_band(core, data),
        dose_response=points,
        dose_trends=trends,
        dose_match_ratio=core.match.ratio if core.match else None,
        plane=_plane(core),
        verdict=judgement.label,
        verdict_code=judgement.code,
        verdict_sentence=judgement.sentence,
        verdict_reasons=judgement.reasons,
        verdict_suffix=judgement.suffix,
        verdict_levels=judgement.levels,
        unit_spread=judgement.spread,
        beyond_refusal=judgement.beyond_refusal,
        simulated=analysis.simulated,
    )


def _optional(statistic: Statistic | None, data: Data) -> Estimate | None:
    return None if statistic is None else data.estimator.of([statistic])[0]


def _plane(core: Core) -> tuple[float, float, float] | None:
    if len(core.families) < 2:
        return None
    first, second = (core.families[family].statistic.influence for family in ("first", "second"))
    scale = len(first) ** 2
    return float(first @ first) / scale, float(second @ second) / scale, float(first @ second) / scale


def _how(thresholds: Thresholds) -> str:
    return (
        f"Arms: Wilson intervals adjusted for clustering by request. Gaps, effects and sensitivities: "
        "bootstrap-t over requests (over groups of near-duplicates where there are any), equal-tailed, "
        f"{thresholds.n_resamples} resamples shared by all "
        f"conditions, seed {thresholds.seed}. `simultaneous`: max-T over the interventions of one reference "
        f"and strength. "
        f"Share of the second family: Fieller. All at {thresholds.confidence:.0%}; `equivalence`: "
        f"{thresholds.equivalence_confidence:.0%}. `bound`: worst cases over missing replies. Beyond these "
        "texts: "
        "interventions and placebos are taken to share one spread of text effects, and no interval is "
        "narrower than "
        f"the one for these texts."
    )
