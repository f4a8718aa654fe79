"""Logs or counted replies in, profile out: one walk of the analysis, whose cases the other reports read
too."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inspect_af.logs import (
    BELIEFS,
    DIRECT_REQUESTS,
    LogHeader,
    Progress,
    ReadNotes,
    ScoredSample,
    Skipped,
    read_logs,
)
from inspect_af.materials import load_pair
from inspect_af.plan import Plan
from inspect_af.profile.beliefs import BeliefCheck, SelectivityMatrix, selectivity_from_logs
from inspect_af.profile.counts import (
    ARM_TIERS,
    ConceptScore,
    ConceptScores,
    ConditionCounts,
    Outcomes,
    Place,
    Setting,
    accepted_rate,
    analyses_of,
    count_outcomes,
    split,
    subject_label,
)
from inspect_af.profile.direct import DirectReport, direct_requests_from_logs
from inspect_af.profile.effects import (
    REFERENCES,
    Headline,
    RequestData,
    comparisons_of,
    condition_rows,
    dose_response,
    effect_rows,
    fraction_of,
    headline_of,
    noise_band,
    reference_cell,
    reference_gap,
    request_data_of,
    sensitivity_rows,
)
from inspect_af.profile.intervals import Drawer, Estimate, Statistic, draw
from inspect_af.profile.judgement import Judgement, judge
from inspect_af.profile.result import CodeWords, Comparison, ConditionRow, MethodProfile, Profile
from inspect_af.reply import READING
from inspect_af.thresholds import Thresholds
from inspect_af.types import BASELINE, TIERS, Method, Subject, condition_label


def notes_of(outcomes: Outcomes) -> tuple[str, ...]:
    """Sentences, most important first; empty where nothing is out of the ordinary."""
    notes: list[str] = []
    if any(condition.simulated for group in outcomes.request_sets for condition in group.conditions):
        notes.append("Some subjects are simulated organisms: their behaviour was planted, not observed.")
    if outcomes.n_duplicates:
        names = ", ".join(log.location for log in outcomes.logs if log.n_duplicates)
        notes.append(f"{outcomes.n_duplicates} replies were in more than one log and count once: {names}.")
    if outcomes.n_repeated:
        notes.append(
            f"{outcomes.n_repeated} replies repeat a run with the same run seed and epoch and do not count; "
            "for further replies ask for more epochs, or for another run_seed."
        )
    if outcomes.n_failed:
        notes.append(f"{outcomes.n_failed} samples failed and are missing data.")
    if outcomes.n_drifted:
        notes.append(
            f"{outcomes.n_drifted} replies saw another rendered prompt than earlier replies to the same "
            "request, tier and condition (messages, chat template, its arguments or its date); they were "
            "counted together, so check what changed between the logs."
        )
    for subject, ways in outcomes.sampling:
        if len(ways) > 1:
            notes.append(
                f"{subject} was sampled in {len(ways)} ways, which are counted and compared together: "
                f"{'; '.join(ways)}."
            )
    if broken := sum(_broken_pairs(c) for group in outcomes.request_sets for c in group.conditions):
        notes.append(
            f"Broken pairs: {broken} requests were scored in one tier only and do not enter the gap of their "
            "condition (unscored replies, or a --limit that cuts a request in two)."
        )
    notes.extend(_kept_apart(outcomes))
    return tuple(notes)


def _broken_pairs(condition: ConditionCounts) -> int:
    scored = ~np.isnan(accepted_rate(condition)[:, ARM_TIERS])
    asked = (condition.counts.sum(axis=(0, 2)) > 0)[list(ARM_TIERS)]
    return int((scored[:, 0] != scored[:, 1]).sum()) if asked.all() else 0


def _kept_apart(outcomes: Outcomes) -> list[str]:
    notes = []
    if len(outcomes.request_sets) > 1:
        names = ", ".join(f"{group.name} ({group.digest})" for group in outcomes.request_sets)
        notes.append(f"Different request sets are analysed apart: {names}.")
    settings: dict[str, set[str]] = defaultdict(set)
    pairs: set[str] = set()
    revisions: dict[str, set[str]] = defaultdict(set)
    for group in outcomes.request_sets:
        for condition in group.conditions:
            label = subject_label(condition.subject, split(condition.treatments)[0])
            settings[label].add(condition.setting.prompt_digest)
            pairs.add(f"{condition.setting.pair.name} ({condition.setting.pair.digest})")
            revisions[condition.subject.model].add(str(condition.subject.revision))
    for label, digests in settings.items():
        if len(digests) > 1:
            notes.append(
                f"{label} was run with {len(digests)} prompt templates, analysed apart: "
                f"{', '.join(sorted(digests))}."
            )
    if len(pairs) > 1:
        notes.append(f"Different hypothesis pairs are analysed apart: {', '.join(sorted(pairs))}.")
    for model, found in revisions.items():
        if len(found) > 1:
            notes.append(
                f"Revisions of {model} are analysed as different subjects: {', '.join(sorted(found))}."
            )
    return notes


def deviations(plan: Plan, headers: Sequence[LogHeader], outcomes: Outcomes) -> tuple[str, ...]:
    """Every way in which the logs depart from the plan, as sentences; empty where they fit.

    Args:
        plan: What was meant to be run.
        headers: Headers of the logs that were used.
        outcomes: What was counted in them.
    """
    found = _headers(plan, headers)
    planned = {BASELINE, *(condition.label for condition in plan.conditions)}
    models = {_model(subject.model) for subject in plan.subjects}
    epochs = plan.generation.epochs

    run: dict[str, set[str]] = {}
    amounts: dict[tuple[str, int], list[str]] = {}
    for requests in outcomes.request_sets:
        for condition in requests.conditions:
            name = _model(condition.subject.model)
            label = condition_label(condition.treatments)
            run.setdefault(name, set()).add(label)
            for tier in plan.prompt.tiers:
                n = int(condition.counts[:, TIERS.index(tier)].sum())
                if name in models and label in planned and n != plan.requests.n * epochs:
                    amounts.setdefault((name, n), []).append(f"{label} {tier}")
    for (name, n), cells in amounts.items():
        found.append(
            f"{name}: {n} replies instead of the planned {plan.requests.n * epochs} in {_some(cells)}."
        )
    for model in sorted(models - set(run)):
        found.append(f"{model} is planned and was not run.")
    for model, labels in run.items():
        if model not in models:
            found.append(f"{model} was run and is not planned.")
            continue
        if missing := sorted(planned - labels):
            found.append(f"{model}: planned and not run: {_some(missing)}.")
        if extra := sorted(labels - planned):
            found.append(f"{model}: run and not planned: {_some(extra)}.")
    return tuple(dict.fromkeys(found))


def analysis_deviations(
    plan: Plan,
    *,
    thresholds: Thresholds | None,
    strength: str | None,
    variables: Iterable[str] | None,
) -> tuple[str, ...]:
    """What was asked of the analysis otherwise than planned; None asks for the plan's own."""
    found = []
    if thresholds is not None and thresholds != plan.thresholds:
        planned, used = plan.thresholds.model_dump(), thresholds.model_dump()
        changed = [
            f"{name} {used[name]}, planned {planned[name]}" for name in used if used[name] != planned[name]
        ]
        found.append(f"Thresholds of the analysis: {'; '.join(changed)}.")
    if strength is not None and plan.headline_strength not in (None, strength):
        found.append(f"Strength of the headline: {strength}, planned {plan.headline_strength}.")
    if variables is not None and plan.variables and set(variables) != set(plan.variables):
        chosen, listed = (", ".join(sorted(set(codes))) for codes in (variables, plan.variables))
        found.append(f"Variables of the sensitivities: {chosen}, planned {listed}.")
    return tuple(found)


def _headers(plan: Plan, headers: Sequence[LogHeader]) -> list[str]:
    """What the logs' headers say otherwise than the plan, each departure once for all logs that share it."""
    found: dict[str, list[str]] = {}
    for header in headers:
        meta = header.meta
        compared: dict[str, tuple[object, object]] = {
            "the hypothesis pair's digest": (plan.pair_digest, meta.pair.digest),
            "the prompt template's digest": (plan.prompt.digest, meta.prompt_digest),
            "the requests' digest": (plan.requests.digest, meta.requests_digest),
            "the run seed": (plan.generation.run_seed, meta.run_seed),
            "the number of epochs": (plan.generation.epochs, header.epochs),
        }
        sampled = {name: json.loads(value) for name, value in header.generation}
        compared["the temperature"] = (
            _or_default(plan.generation.temperature),
            _or_default(sampled.get("temperature")),
        )
        if plan.generation.max_tokens is not None:  # else the task's own, which the template's choices give
            compared["max_tokens"] = plan.generation.max_tokens, sampled.get("max_tokens")
        for what, (want, got) in compared.items():
            if got != want:
                found.setdefault(f"{what} is {got}, planned {want}", []).append(header.location)
    return [f"{difference}: {_some(logs)}." for difference, logs in found.items()]


def _or_default(value: float | None) -> float | str:
    return "the provider's default" if value is None else value


def _some(names: Sequence[str], most: int = 4) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _model(label: str) -> str:
    """The model's name without the arguments in brackets."""
    return label.partition("[")[0]


METHODS: tuple[Method, ...] = ("prompt", "sdf", "steering")


class Case(NamedTuple):
    """One analysis of the profile with the data that it was made from."""

    headline: Headline
    data: RequestData
    profile: MethodProfile

    @property
    def method(self) -> Method:
        return self.headline.analysis.method

    @property
    def labels(self) -> tuple[str, str]:
        pair = self.headline.analysis.setting.pair
        return pair.first, pair.second

    @property
    def positions(self) -> tuple[int, ...]:
        """Every condition of this analysis, the untouched subject included, in the request set's order."""
        analysis = self.headline.analysis
        own = {p for group in (*analysis.groups, *analysis.placebos) for p in group.conditions}
        return tuple(sorted(own if analysis.baseline is None else {*own, analysis.baseline}))

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(place_of(self.data.requests.conditions[p]) for p in self.positions)

    @property
    def n_replies(self) -> int:
        return sum(int(self.data.requests.conditions[p].counts.sum()) for p in self.positions)


class Untouched(NamedTuple):
    """One condition without treatment."""

    position: int
    data: RequestData
    condition: ConditionCounts


class Cases(NamedTuple):
    """Everything that was analysed."""

    profile: Profile
    cases: tuple[Case, ...]
    untouched: tuple[Untouched, ...]

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """In the order of the profile."""
        found = [case.headline.analysis.subject for case in self.cases]
        return tuple(dict.fromkeys([*(u.condition.subject for u in self.untouched), *found]))

    def methods_of(self, subject: Subject) -> tuple[Case, ...]:
        """The main analysis of each method: the one with most conditions, then with most replies."""
        found = []
        for method in METHODS:
            own = [
                case
                for case in self.cases
                if case.headline.analysis.subject == subject
                and case.method == method
                and not case.headline.analysis.context
            ]
            if own:
                found.append(max(own, key=lambda case: (len(case.positions), case.n_replies)))
        return tuple(found)

    def main_untouched(self, subject: Subject) -> Untouched | None:
        """The subject under its main prompt template: that of its first method, else of most replies."""
        own = [u for u in self.untouched if u.condition.subject == subject]
        settings = [(c.headline.analysis.setting, c.data.requests.digest) for c in self.methods_of(subject)]
        for setting, digest in settings:
            for u in own:
                if (u.condition.setting, u.data.requests.digest) == (setting, digest):
                    return u
        return max(own, key=lambda u: int(u.condition.counts.sum()), default=None)

    def on_checkpoints(self) -> tuple[Case, ...]:
        """Prompt claims on models with SDF adapters."""
        return tuple(
            case
            for case in self.cases
            if case.method == "prompt"
            and case.headline.analysis.context
            and all(t.method == "sdf" for t in case.headline.analysis.context)
        )


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
    return analyse(
        outcomes,
        thresholds=thresholds,
        strength=strength,
        variables=variables,
        selectivity=selectivity,
        beliefs=beliefs,
        concepts=concepts,
        drawer=drawer,
    ).profile


def analyse(
    outcomes: Outcomes,
    *,
    thresholds: Thresholds | None = None,
    strength: str | None = None,
    variables: Iterable[str] | None = None,
    selectivity: Sequence[SelectivityMatrix] = (),
    beliefs: BeliefCheck | None = None,
    concepts: Sequence[ConceptScore] = (),
    drawer: Drawer = draw,
) -> Cases:
    """The profile with the statistics that it was made from; arguments as in `build_profile`.

    Raises:
        ConfigError: `strength` or a variable was not run.
    """
    limits = thresholds or Thresholds()
    chosen = None if variables is None else frozenset(variables)
    rows: list[ConditionRow] = []
    cases: list[Case] = []
    untouched: list[Untouched] = []
    comparisons: list[Comparison] = []
    for requests in outcomes.request_sets:
        data = request_data_of(requests, limits, drawer)
        headlines = [
            headline_of(analysis, data, strength=strength, variables=chosen)
            for analysis in analyses_of(requests)
        ]
        rows.extend(condition_rows(requests, data.arms, data.estimator))
        untouched += [Untouched(p, data, c) for p, c in enumerate(requests.conditions) if not c.treatments]
        for headline in headlines:
            judgement = judge(headline, data, selectivity, beliefs)
            cases.append(Case(headline, data, _method_profile(headline, data, judgement)))
        comparisons.extend(comparisons_of(headlines, data))
    profiles = tuple(case.profile for case in cases)
    only = profiles[0] if len(profiles) == 1 else None
    sentence = "There is no verdict: only untouched subjects were run."
    if profiles:
        sentence = f"{len(profiles)} profiles, each with its own verdict."
    profile = Profile(
        conditions=tuple(rows),
        sensitivity=only.sensitivity if only else None,
        contrast=only.contrast if only else None,
        verdict=only.verdict if only else None,
        verdict_code=only.verdict_code if only else None,
        verdict_sentence=only.verdict_sentence if only else sentence,
        verdict_reasons=only.verdict_reasons if only else (),
        verdict_suffix=only.verdict_suffix if only else None,
        profiles=profiles,
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
    return Cases(profile, tuple(cases), tuple(untouched))


def _method_profile(headline: Headline, data: RequestData, judgement: Judgement) -> MethodProfile:
    analysis, thresholds = headline.analysis, data.estimator.thresholds
    sensitivity = sensitivity_rows(headline, data)
    contrast, total = _optional(headline.contrast, data), _optional(headline.total, data)
    share, refusal = fraction_of(headline, sensitivity, thresholds.confidence)
    effects = effect_rows(headline, data)
    reference = next(
        (
            name
            for name in reversed(REFERENCES)
            if headline.levels
            and all(reference_cell(headline, data, name, level) is not None for level in headline.levels)
        ),
        None,
    )
    found = reference_gap(headline, data)
    gap = (found[0], data.estimator.of([found[1]])[0], found[2]) if found else None
    points, trends = dose_response(headline, data)
    return MethodProfile(
        subject=analysis.subject_label,
        method=analysis.method,
        setting=analysis.setting.prompt_digest,
        requests=data.requests.name,
        n_requests=len(data.requests.request_ids),
        strength=headline.level.label if headline.level else ("matched dose" if headline.match else None),
        variables={
            headline.label(family): tuple(v.code for v in result.variables)
            for family, result in headline.families.items()
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
        noise_band=noise_band(headline, data),
        dose_response=points,
        dose_trends=trends,
        dose_match_ratio=headline.match.ratio if headline.match else None,
        plane=_plane(headline),
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


def _optional(statistic: Statistic | None, data: RequestData) -> Estimate | None:
    return None if statistic is None else data.estimator.of([statistic])[0]


def _plane(headline: Headline) -> tuple[float, float, float] | None:
    if len(headline.families) < 2:
        return None
    first, second = (headline.families[family].statistic.influence for family in ("first", "second"))
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


Logs = Iterable[tuple[LogHeader, Iterable[ScoredSample]]]


def profile_logs(
    sources: Sequence[str | Path],
    *,
    thresholds: Thresholds | None = None,
    strength: str | None = None,
    variables: Iterable[str] | None = None,
    plan: Plan | None = None,
    progress: Progress | None = None,
    watch: Callable[[Logs], Logs] | None = None,
) -> Profile:
    """Reads any mix of logs and analyses them.

    Logs of `inspect_af/beliefs` among them say whether the interventions moved the beliefs that they name,
    those of `inspect_af/direct_requests` what is refused without the scenario. Logs that cannot be used are
    named in the profile's notes; the others are still analysed.

    Args:
        sources: Log files, directories (searched recursively), globs or URLs.
        thresholds: Levels and margins; the plan's, or else the defaults, if None.
        strength: Strength at which the headline is computed; the plan's if None.
        variables: Codes that the sensitivities average; the planned ones, or else those of `all`, if None.
        plan: What was meant to be run; every way in which the logs depart from it becomes a note.
        progress: Called with (logs done, logs in all).
        watch: Sees every row on its way to being counted, such as `report.ExcerptDraw.watch`.

    Raises:
        LogError: A source does not exist, or no log can be used; each reason is listed. It is an
            `OtherTasksError` where none is of `inspect_af/alignment_faking`; `side_tables` may read them.
        ConfigError: `strength` was not run.
    """
    reader = read_logs(sources, progress=progress)
    scores = ConceptScores()
    outcomes = count_outcomes(scores.watch(reader if watch is None else watch(reader)))
    variables = None if variables is None else tuple(variables)
    changed: tuple[str, ...] = ()
    if plan is not None:
        changed = analysis_deviations(plan, thresholds=thresholds, strength=strength, variables=variables)
        thresholds = thresholds or plan.thresholds
        strength = strength or plan.headline_strength
        variables = variables or plan.variables or None
    skipped = reader.notes.skipped
    beside = _side_tables(_of(BELIEFS, skipped), _of(DIRECT_REQUESTS, skipped), thresholds)
    profile = build_profile(
        outcomes,
        thresholds=thresholds,
        strength=strength,
        variables=variables,
        selectivity=beside.selectivity,
        concepts=scores.means(),
    )
    notes = [*profile.notes, *note_sentences(reader.notes), *beside.notes]
    departures = None if plan is None else (*changed, *deviations(plan, reader.headers, outcomes))
    return profile.model_copy(
        update={
            "notes": tuple(dict.fromkeys(notes)),
            "logs": tuple(log.location for log in outcomes.logs),
            "plan_digest": None if plan is None else plan.digest,
            "deviations": departures,
            "direct_requests": beside.direct_requests,
            "codes": code_words(reader.headers),
            "scenarios": tuple(dict.fromkeys(header.meta.scenario for header in reader.headers)),
        }
    )


def code_words(headers: Iterable[LogHeader]) -> tuple[CodeWords, ...]:
    """What the codes of every hypothesis pair in the logs stand for, pairs in order of appearance.

    Logs say it in one line each; those of the bundled pair also in full, and old logs of it at all.
    """
    bundled = load_pair()
    found: dict[tuple[str, str], CodeWords] = {}
    for header in headers:
        pair = header.meta.pair
        own = pair.digest == bundled.digest
        says = {**(bundled.says() if own else {}), **header.meta.says}
        arms = [(f"{v.code}{pole}", v.code, v.name, v.family) for v in pair.variables for pole in "+-"]
        placebos = [(code, code, says.get(code, code), None) for code in pair.placebos]
        for code, variable, name, family in (*arms, *placebos):
            claim = bundled.claim(bundled.intervention(code), "standard").text if own else ""
            words = CodeWords(
                code=code,
                variable=variable,
                name=name,
                family=family,
                says=says.get(code, ""),
                claim=" ".join(claim.split()),
            )
            found.setdefault((pair.digest, code), words)
    return tuple(found.values())


class SideTables(NamedTuple):
    """What logs of other tasks than `inspect_af/alignment_faking` say."""

    selectivity: tuple[SelectivityMatrix, ...]
    direct_requests: tuple[DirectReport, ...]
    notes: tuple[str, ...]
    """What was dropped or could not be used, a sentence each."""


def side_tables(sources: Sequence[str | Path], *, thresholds: Thresholds | None = None) -> SideTables:
    """Beliefs and direct requests alone, where there is no log to make a profile of.

    Raises:
        LogError: A source does not exist.
    """
    return _side_tables(sources, sources, thresholds)


def _side_tables(
    beliefs: Sequence[str | Path], direct: Sequence[str | Path], thresholds: Thresholds | None
) -> SideTables:
    matrices: tuple[SelectivityMatrix, ...] = ()
    reports: tuple[DirectReport, ...] = ()
    notes: list[str] = []
    if beliefs:
        asked = selectivity_from_logs(beliefs)
        matrices = asked.matrices
        notes += [*note_sentences(asked.notes), *asked.problems]
    if direct:
        found = direct_requests_from_logs(direct, thresholds=thresholds)
        reports = found.reports
        notes += note_sentences(found.notes)
    return SideTables(matrices, reports, tuple(dict.fromkeys(notes)))


def _of(task: str, skipped: Sequence[Skipped]) -> list[str]:
    # Run from a source file, a packaged task has no package prefix.
    return [one.location for one in skipped if one.other_task in (task, task.rpartition("/")[2])]


def note_sentences(notes: ReadNotes) -> Iterator[str]:
    """What reading left out or found unfinished, a sentence each.

    Logs of the beliefs and direct_requests tasks are not named: `side_tables` reads them.
    """
    read = {*_of(BELIEFS, notes.skipped), *_of(DIRECT_REQUESTS, notes.skipped)}
    for log, reason, _ in notes.skipped:
        if log not in read:
            yield f"Skipped {log}: {reason}"
    for log, status, n_read, n_planned in notes.incomplete:
        yield f"Incomplete ({status}): {log} holds {n_read} of {n_planned} planned samples."
    for log, n, reason in notes.bad_rows:
        yield f"Left out {n} samples of {log}: {reason}"
    for version, n in notes.readings:
        if version != READING:
            yield (
                f"{n} replies count as version {version} read them (this is version {READING}). "
                "They cannot be read again: the logs do not hold their text, or their scores were corrected."
            )


def place_of(condition: ConditionCounts) -> Place:
    return Place(condition.subject, condition.setting.prompt_digest, condition.treatments)


def differences(setting: Setting, reference: Setting) -> Iterator[tuple[str, str]]:
    """The prompt settings in which one template differs from another, by name."""
    usual = dict(reference.prompt_settings)
    if setting.scenario != reference.scenario:
        yield "scenario", setting.scenario
    for key, value in setting.prompt_settings:
        if usual.get(key) != value:
            yield key, value
