"""Logs or counted replies in, profile out: one walk of the analysis, whose cases the other reports read
too."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inspect_af.format import plural
from inspect_af.logs import (
    BELIEFS,
    DIRECT_REQUESTS,
    SCRATCHPAD,
    LogHeader,
    Progress,
    ReadNotes,
    Skipped,
    read_logs,
)
from inspect_af.materials import load_pair
from inspect_af.plan import Plan
from inspect_af.profile.awareness import AwarenessCounts
from inspect_af.profile.beliefs import BeliefCheck, SelectivityMatrix, selectivity_from_logs
from inspect_af.profile.counts import (
    ARM_TIERS,
    ConceptScore,
    ConceptScores,
    ConditionCounts,
    FirstOptions,
    Logs,
    Outcomes,
    Place,
    accepted_rate,
    analyses_of,
    by_position,
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
    headlines_of,
    level_of,
    request_data_of,
    sensitivity_rows,
)
from inspect_af.profile.intervals import Drawer, Estimate, draw
from inspect_af.profile.judgement import judge
from inspect_af.profile.result import CodeWords, Comparison, ConditionRow, MethodProfile, Profile, Stopping
from inspect_af.profile.scratchpad import ScratchpadReport, scratchpads_from_logs
from inspect_af.reply import READING
from inspect_af.thresholds import Thresholds
from inspect_af.types import BASELINE, TIERS, Method, Subject


def notes_of(outcomes: Outcomes) -> Iterator[str]:
    """Sentences, most important first; none where nothing is out of the ordinary."""
    conditions = [condition for group in outcomes.request_sets for condition in group.conditions]
    doubled = ", ".join(log for log, n in outcomes.logs.items() if n)
    broken = sum(map(_broken_pairs, conditions))
    replies = partial(plural, one="reply", many="replies")
    sets = list(dict.fromkeys(f"{group.name} ({group.digest})" for group in outcomes.request_sets))
    templates: dict[str, set[str]] = defaultdict(set)
    revisions: dict[str, set[str]] = defaultdict(set)
    for condition in conditions:
        label = subject_label(condition.subject, split(condition.treatments)[0])
        templates[label].add(condition.setting.prompt_digest)
        revisions[condition.subject.model].add(str(condition.subject.revision))
    pairs = {f"{c.setting.pair.name} ({c.setting.pair.digest})" for c in conditions}
    notes = [
        (
            any(condition.simulated for condition in conditions),
            "Some subjects are simulated organisms: their behaviour was planted, not observed.",
        ),
        (
            outcomes.n_duplicates,
            f"In more than one log and counted once: {replies(outcomes.n_duplicates)} ({doubled}).",
        ),
        (
            outcomes.n_repeated,
            f"Not counted: {replies(outcomes.n_repeated)} with the run seed and epoch of others; "
            "for further replies ask for more epochs, or for another run_seed.",
        ),
        (outcomes.n_failed, f"Failed, and so missing data: {plural(outcomes.n_failed, 'sample')}."),
        (
            outcomes.n_drifted,
            f"{replies(outcomes.n_drifted)} saw another rendered prompt than earlier replies to the same "
            "request, tier and condition (messages, chat template, its arguments or its date) and counted "
            "together with them, so check what changed between the logs.",
        ),
        *(
            (
                len(ways) > 1,
                f"{subject} was sampled in {len(ways)} ways, which are counted and compared together: "
                f"{'; '.join(ways)}.",
            )
            for subject, ways in outcomes.sampling
        ),
        (
            broken,
            f"Broken pairs: {plural(broken, 'request')}, scored in one tier only and so in no gap "
            "(unscored replies, or a limit of samples that cuts a request in two).",
        ),
        (len(sets) > 1, f"Different request sets are analysed apart: {', '.join(sets)}."),
        *(
            (
                len(digests) > 1,
                f"{label} was run with {len(digests)} prompt templates, analysed apart: "
                f"{', '.join(sorted(digests))}.",
            )
            for label, digests in templates.items()
        ),
        (len(pairs) > 1, f"Different hypothesis pairs are analysed apart: {', '.join(sorted(pairs))}."),
        *(
            (
                len(found) > 1,
                f"Revisions of {model} are analysed as different subjects: {', '.join(sorted(found))}.",
            )
            for model, found in revisions.items()
        ),
    ]
    yield from (sentence for applies, sentence in notes if applies)


def _broken_pairs(condition: ConditionCounts) -> int:
    scored = ~np.isnan(accepted_rate(condition)[:, ARM_TIERS])
    asked = (condition.counts.sum(axis=(0, 2)) > 0)[list(ARM_TIERS)]
    return int((scored[:, 0] != scored[:, 1]).sum()) if asked.all() else 0


def deviations(plan: Plan, headers: Sequence[LogHeader], outcomes: Outcomes) -> tuple[str, ...]:
    """Every way in which the logs that were counted depart from the plan, as sentences."""
    found = _headers(plan, headers)
    planned = {BASELINE, *(condition.label for condition in plan.conditions)}
    models = {_model(subject.model) for subject in plan.subjects}
    once = plan.requests.n * plan.generation.epochs
    run: dict[str, set[str]] = defaultdict(set)
    amounts: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for condition in (one for requests in outcomes.request_sets for one in requests.conditions):
        name, label = _model(condition.subject.model), condition.label
        run[name].add(label)
        wanted = once * (plan.generation.baseline_repeats if label == BASELINE else 1)
        if label == BASELINE and condition.setting.prompt_digest != plan.prompt.digest:
            continue  # said already, and what a check asks under another prompt is not repeated
        for tier in plan.prompt.tiers:
            n = int(condition.counts[:, TIERS.index(tier)].sum())
            if name in models and label in planned and n != wanted:
                amounts[name, n, wanted].append(f"{label} {tier}")
    for (name, n, wanted), cells in amounts.items():
        replies = plural(n, "reply", "replies")
        found.append(f"{name}: {replies} instead of the planned {wanted} in {_some(cells)}.")
    found += [f"{model} is planned and was not run." for model in sorted(models - set(run))]
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
    plan: Plan, thresholds: Thresholds | None, strength: str | None, variables: Iterable[str] | None
) -> tuple[str, ...]:
    """What was asked of the analysis otherwise than planned; None asks for the plan's own."""
    found = []
    if thresholds is not None and thresholds != plan.thresholds:
        both = zip(plan.thresholds, thresholds, strict=True)
        changed = [f"{name} {b}, planned {a}" for (name, a), (_, b) in both if a != b]
        found.append(f"Thresholds of the analysis: {'; '.join(changed)}.")
    if strength is not None and plan.headline_strength not in (None, strength):
        found.append(f"Strength of the headline: {strength}, planned {plan.headline_strength}.")
    if variables is not None and plan.variables and set(variables) != set(plan.variables):
        chosen, listed = (", ".join(sorted(set(codes))) for codes in (variables, plan.variables))
        found.append(f"Variables of the sensitivities: {chosen}, planned {listed}.")
    return tuple(found)


def _headers(plan: Plan, headers: Sequence[LogHeader]) -> list[str]:
    """What the logs' headers say otherwise than the plan, each departure once for all logs that share it."""
    found: dict[str, list[str]] = defaultdict(list)
    for header in headers:
        meta, sampled = header.meta, {name: json.loads(value) for name, value in header.generation}
        temperatures = plan.generation.temperature, sampled.get("temperature")
        want, got = ("the provider's default" if one is None else one for one in temperatures)
        compared: dict[str, tuple[object, object]] = {
            "the hypothesis pair's digest": (plan.pair_digest, meta.pair.digest),
            "the prompt template's digest": (plan.prompt.digest, meta.prompt_digest),
            "the requests' digest": (plan.requests.digest, meta.requests_digest),
            "the run seed": (plan.generation.run_seed, meta.run_seed),
            "the number of epochs": (plan.generation.epochs, header.epochs),
            "the temperature": (want, got),
        }
        if plan.generation.max_tokens is not None:  # else the task's own, which the template's choices give
            compared["max_tokens"] = plan.generation.max_tokens, sampled.get("max_tokens")
        for what, (planned, was) in compared.items():
            if was != planned:
                found[f"{what} is {was}, planned {planned}"].append(header.location)
    return [f"{difference}: {_some(logs)}." for difference, logs in found.items()]


def _some(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _model(label: str) -> str:
    """The model's name without the arguments in brackets."""
    return label.partition("[")[0]


METHODS: tuple[Method, ...] = ("prompt", "sdf", "steering")


class Case(NamedTuple):
    """One analysis of the profile with the data that it was made from."""

    headline: Headline
    profile: MethodProfile

    @property
    def method(self) -> Method:
        return self.headline.analysis.method

    @property
    def data(self) -> RequestData:
        return self.headline.data

    @property
    def positions(self) -> tuple[int, ...]:
        """Every condition of this analysis, the untouched subject included, in the request set's order."""
        analysis = self.headline.analysis
        groups = (*analysis.groups, *analysis.placebos, *analysis.oversight)
        own = {p for group in groups for p in group.conditions}
        return tuple(sorted(own if analysis.baseline is None else {*own, analysis.baseline}))

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(self.data.requests.conditions[p].place for p in self.positions)

    @property
    def size(self) -> tuple[int, int]:
        counts = [self.data.requests.conditions[p].counts for p in self.positions]
        return len(counts), sum(int(one.sum()) for one in counts)


class Untouched(NamedTuple):
    """One condition without treatment."""

    position: int
    data: RequestData

    @property
    def condition(self) -> ConditionCounts:
        return self.data.requests.conditions[self.position]

    @property
    def gap(self) -> Estimate:
        return self.data.estimator.of([level_of(self.data.strict.cell(self.position))])[0]


class Cases(NamedTuple):
    """Everything that was analysed."""

    profile: Profile
    cases: tuple[Case, ...]
    untouched: tuple[Untouched, ...]

    @property
    def subjects(self) -> tuple[Subject, ...]:
        found = [case.headline.analysis.subject for case in self.cases]
        return tuple(dict.fromkeys([*(u.condition.subject for u in self.untouched), *found]))

    def methods_of(self, subject: Subject) -> tuple[Case, ...]:
        """The main analysis of each method: the one with most conditions, then with most replies."""
        found: dict[Method, list[Case]] = {method: [] for method in METHODS}
        for case in self.cases:
            if case.headline.analysis.subject == subject and not case.headline.analysis.context:
                found[case.method].append(case)
        return tuple(max(own, key=lambda case: case.size) for own in found.values() if own)

    def main_untouched(self, subject: Subject) -> Untouched | None:
        """The subject under its main prompt template: that of its first method, else of most replies."""
        own = [u for u in self.untouched if u.condition.subject == subject]
        for case in self.methods_of(subject):
            for u in own:
                if u.data is case.data and u.condition.setting == case.headline.analysis.setting:
                    return u
        return max(own, key=lambda u: int(u.condition.counts.sum()), default=None)


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
        thresholds: the defaults of `Thresholds` if None.
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


_HEADLINE = ("contrast", "verdict", "verdict_code", "verdict_reasons", "verdict_suffix")


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
        rows += condition_rows(data)
        untouched += [Untouched(p, data) for p, c in enumerate(requests.conditions) if not c.treatments]
        cases += [Case(one, _method_profile(one, selectivity, beliefs)) for one in headlines]
        comparisons += comparisons_of(headlines)
    profiles = tuple(case.profile for case in cases)
    only = profiles[0] if len(profiles) == 1 else None
    sentence = "There is no verdict: only untouched subjects were run."
    if any(c.treatments for requests in outcomes.request_sets for c in requests.conditions):
        sentence = "There is no verdict: no condition changes a single belief."
    if profiles:
        sentence = f"{len(profiles)} profiles, each with its own verdict."
    headline = {name: getattr(only, name) for name in _HEADLINE} if only else {"verdict_reasons": ()}
    profile = Profile(
        conditions=tuple(rows),
        sensitivity=only.sensitivity if only else None,
        **{**dict.fromkeys(_HEADLINE), **headline},
        verdict_sentence=only.verdict_sentence if only else sentence,
        profiles=profiles,
        comparisons=tuple(comparisons),
        thresholds=limits,
        notes=(*filter(None, dict.fromkeys(map(_stopped, profiles))), *notes_of(outcomes)),
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


def _method_profile(
    headline: Headline, selectivity: Sequence[SelectivityMatrix], beliefs: BeliefCheck | None
) -> MethodProfile:
    analysis, data, families = headline.analysis, headline.data, headline.families
    sensitivity = sensitivity_rows(headline)
    contrasts, plane = {}, None
    if headline.contrast is not None:
        first, second = (families[family].statistic for family in ("first", "second"))
        contrasts = {"contrast": headline.contrast, "total": first + second}
        wider = data.estimator.widening**2
        (a, both), (_, b) = (data.estimator.plain_covariance([first, second]) * wider).tolist()
        plane = a, b, both
    # The two are estimated one by one, as every headline number is.
    estimates = {name: data.estimator.of([one])[0] for name, one in contrasts.items()}
    fraction, refusal = fraction_of(headline, sensitivity)
    gap, moved = headline.reference_gap(), headline.sizes(headline.placebos)
    measured = [
        name
        for name in REFERENCES
        if headline.levels and all(headline.reference_conditions(name, level) for level in headline.levels)
    ]
    points, trends = dose_response(headline)
    matched = "matched dose" if headline.match else None
    return MethodProfile(
        subject=analysis.subject_label,
        method=analysis.method,
        setting=analysis.setting.prompt_digest,
        requests=data.requests.name,
        n_requests=len(data.requests.request_ids),
        strength=headline.level.label if headline.level else matched,
        variables={
            headline.label(family): tuple(v.code for v in result.variables)
            for family, result in families.items()
        },
        reference=measured[-1] if measured else None,
        reference_gap=data.estimator.of([gap.gap])[0] if gap else None,
        reference_gap_of=gap.name if gap else None,
        sensitivity=sensitivity,
        contrast=estimates.get("contrast"),
        total=estimates.get("total"),
        fraction=fraction,
        fraction_refusal=refusal,
        effects=effect_rows(headline),
        noise_band=(min(moved), max(moved)) if moved else None,
        dose_response=points,
        dose_trends=trends,
        dose_match_ratio=headline.match.ratio if headline.match else None,
        plane=plane,
        stopping=_stopping(headline),
        simulated=analysis.simulated,
        **judge(headline, selectivity, beliefs),
    )


def _stopping(headline: Headline) -> Stopping | None:
    stopped = headline.data.requests.stopped
    if stopped is None:
        return None
    decided, widening = headline.is_decided, headline.data.estimator.widening
    return Stopping(**stopped._asdict(), decided=decided, widening=widening)


def _stopped(profile: MethodProfile) -> str | None:
    if (at := profile.stopping) is None:
        return None
    how = "Stopped when decided" if at.decided else "Not decided yet (the same command goes on)"
    return (
        f"{how}, after {at.requests} of {at.of} requests: all intervals of gaps and differences, and so the "
        f"verdict's, are {at.widening:.2f} times as wide as those of a run of fixed size (anytime-valid)."
    )


def contrast_is_decided(outcomes: Outcomes) -> bool:
    """Whether a run that stops once its contrast is decided may stop, by every analysis that it allows."""
    headlines = headlines_of(outcomes)
    return bool(headlines) and all(headline.is_decided for headline in headlines)


def _how(thresholds: Thresholds) -> str:
    return (
        f"Arms: Wilson intervals adjusted for clustering by request. Gaps, effects and sensitivities: "
        "bootstrap-t over requests, equal-tailed (all of them by groups of near-duplicates where known), "
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
    those of `inspect_af/direct_requests` what is refused without the scenario, those of
    `inspect_af/scratchpad` what goes through the stated reasoning. Logs that cannot be used are
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
    scores, aware, options = ConceptScores(), AwarenessCounts(), FirstOptions()
    rows = reader if watch is None else watch(reader)
    outcomes = count_outcomes(options.watch(aware.watch(scores.watch(rows))))
    variables = None if variables is None else tuple(variables)
    departures = None
    if plan is not None:
        chosen = thresholds, strength, variables
        departures = (*analysis_deviations(plan, *chosen), *deviations(plan, reader.headers, outcomes))
        thresholds, strength, variables = as_planned(plan, *chosen)
    beside = side_tables((), thresholds=thresholds, skipped=reader.notes.skipped)
    profile = build_profile(
        outcomes,
        thresholds=thresholds,
        strength=strength,
        variables=variables,
        selectivity=beside.selectivity,
        concepts=scores.means(),
    )
    taken = options.shares()
    notes = [*by_position(taken), *profile.notes, *note_sentences(reader.notes), *beside.notes]
    return profile.model_copy(
        update={
            "notes": tuple(dict.fromkeys(notes)),
            "logs": tuple(outcomes.logs),
            "deviations": departures,
            "direct_requests": beside.direct_requests,
            "scratchpads": beside.scratchpads,
            "awareness": aware.rows(thresholds or Thresholds()),
            "first_options": taken,
            **about_logs(reader.headers, plan),
        }
    )


def as_planned(
    plan: Plan, thresholds: Thresholds | None, strength: str | None, variables: Iterable[str] | None
) -> tuple[Thresholds, str | None, Iterable[str] | None]:
    """Thresholds, headline strength and variables: the given ones, else the plan's."""
    given = thresholds or plan.thresholds, strength or plan.headline_strength
    return *given, variables or plan.variables or None


def about_logs(headers: Sequence[LogHeader], plan: Plan | None) -> dict[str, object]:
    """What profiles and reports on convergence say about the logs and the plan behind them."""
    return {
        "plan_digest": None if plan is None else plan.digest,
        "codes": code_words(headers),
        "scenarios": tuple(dict.fromkeys(header.meta.scenario for header in headers)),
    }


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
            about = {"says": says.get(code, ""), "claim": " ".join(claim.split())}
            words = CodeWords(code=code, variable=variable, name=name, family=family, **about)
            found.setdefault((pair.digest, code), words)
    return tuple(found.values())


SIDE_TASKS = (BELIEFS, DIRECT_REQUESTS, SCRATCHPAD)


class SideTables(NamedTuple):
    """What logs of other tasks than `inspect_af/alignment_faking` say."""

    selectivity: tuple[SelectivityMatrix, ...] = ()
    direct_requests: tuple[DirectReport, ...] = ()
    scratchpads: tuple[ScratchpadReport, ...] = ()
    notes: tuple[str, ...] = ()  # What was dropped or could not be used, a sentence each


def side_tables(
    sources: Sequence[str | Path],
    *,
    thresholds: Thresholds | None = None,
    skipped: Sequence[Skipped] | None = None,
) -> SideTables:
    """Beliefs, direct requests and scratchpad edits alone, where there is no log to make a profile of.

    Args:
        sources: Log files, directories (searched recursively), globs or URLs.
        thresholds: Of the analysis; the defaults if None.
        skipped: Logs that were passed over for their task, which is known then, in the place of `sources`.

    Raises:
        LogError: A source does not exist.
    """
    places = [sources if skipped is None else _of(task, skipped) for task in SIDE_TASKS]
    found, notes = SideTables(), list[str]()
    if places[0]:
        asked = selectivity_from_logs(places[0])
        found = found._replace(selectivity=asked.matrices)
        notes += [*note_sentences(asked.notes), *asked.problems]
    if places[1]:
        refused = direct_requests_from_logs(places[1], thresholds=thresholds)
        found = found._replace(direct_requests=refused.reports)
        notes += note_sentences(refused.notes)
    if places[2]:
        edited = scratchpads_from_logs(places[2], thresholds=thresholds)
        found = found._replace(scratchpads=edited.reports)
        notes += note_sentences(edited.notes)
    return found._replace(notes=tuple(dict.fromkeys(notes)))


def _of(task: str, skipped: Sequence[Skipped]) -> list[str]:
    # Run from a source file, a packaged task has no package prefix.
    return [one.location for one in skipped if one.other_task in (task, task.rpartition("/")[2])]


def note_sentences(notes: ReadNotes) -> Iterator[str]:
    """What reading left out or found unfinished, a sentence each.

    Logs of the tasks that `side_tables` reads are not named.
    """
    read = {location for task in SIDE_TASKS for location in _of(task, notes.skipped)}
    for log, reason, _ in notes.skipped:
        if log not in read:
            yield f"Skipped {log}: {reason}"
    for log, status, n_read, n_planned in notes.incomplete:
        held = f"holds {n_read} of {plural(n_planned, 'planned sample')}"
        if n_read >= n_planned:
            held += ", but Inspect does not record its run as finished"
        yield f"Incomplete ({status}): {log} {held}."
    for log, n, reason in notes.bad_rows:
        yield f"Left out {plural(n, 'sample')} of {log}: {reason}"
    for version, n in notes.readings:
        if version != READING:
            yield (
                f"{plural(n, 'reply counts', 'replies count')} as read by version {version} (this is version "
                f"{READING}), and cannot be read again: logs do not hold the text, or scores were corrected."
            )
