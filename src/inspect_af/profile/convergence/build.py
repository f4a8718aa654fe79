"""Logs in, convergence report out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_af.logs import BELIEFS, Progress, Skipped, read_logs
from inspect_af.plan import Plan
from inspect_af.profile.concepts import ConceptScore, ConceptScores
from inspect_af.profile.convergence.calibration import calibrate
from inspect_af.profile.convergence.cases import Case, Cases, cases_of
from inspect_af.profile.convergence.coupling import steering_result
from inspect_af.profile.convergence.gaps import compared, method_result
from inspect_af.profile.convergence.missing import missing_parts
from inspect_af.profile.convergence.provenance import relative_names, shortened
from inspect_af.profile.convergence.reading import (
    Trace,
    TraceRecorder,
    renamed,
    renamed_label,
)
from inspect_af.profile.convergence.result import (
    Calibration,
    Convergence,
    Model,
    SteeringResult,
)
from inspect_af.profile.convergence.statement import Finding, finding_of, statement_of
from inspect_af.profile.convergence.variants import (
    ablations,
    checkpoints,
    dose_curves,
    screened,
    screened_groups,
)
from inspect_af.profile.direct_requests import DirectReport
from inspect_af.profile.from_logs import code_words, note_sentences, side_tables
from inspect_af.profile.outcomes import Outcomes, count_outcomes
from inspect_af.profile.selectivity import SelectivityMatrix
from inspect_af.thresholds import Thresholds
from inspect_af.types import Subject

TITLE = "Do the methods converge?"


class Beside(NamedTuple):
    """What other logs than those of the main task say."""

    selectivity: tuple[SelectivityMatrix, ...] = ()
    direct: tuple[DirectReport, ...] = ()
    belief_logs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def convergence_from_logs(
    sources: Sequence[str | Path],
    *,
    names: Mapping[str, str] | None = None,
    thresholds: Thresholds | None = None,
    strength: str | None = None,
    variables: Iterable[str] | None = None,
    plan: Plan | None = None,
    title: str | None = None,
    progress: Progress | None = None,
) -> Convergence:
    """Reads any mix of logs and says, model by model, whether the methods agree.

    Which log serves which part is read from the logs: see docs/convergence.md. Logs that cannot be used are
    named in the notes, and parts without logs say what to run.

    Args:
        sources: Log files, directories (searched recursively), globs or URLs.
        names: What to call models, by Inspect's model name. Models that are given the same name count as one.
        thresholds: Levels and margins; the plan's, or else the defaults, if None.
        strength: Strength of prompt claims that counts; the plan's if None, see `build_profile`.
        variables: Codes that the sensitivities average; the plan's if None, see `build_profile`.
        plan: Of the study, whose rules were fixed before the first call.
        title: Heading of the report.
        progress: Called with (logs done, logs in all).

    Raises:
        LogError: A source does not exist, or no log of inspect_af/alignment_faking can be used.
        ConfigError: `strength` or a variable was not run.
    """
    if plan is not None:
        thresholds = thresholds or plan.thresholds
        strength = strength or plan.headline_strength
        variables = variables or plan.variables or None
    called = dict(names or {})
    reader = read_logs(sources, progress=progress)
    recorder, scores = TraceRecorder(), ConceptScores()
    outcomes = count_outcomes(scores.watch(recorder.watch(renamed(reader, called))))
    beside = _beside(reader.notes.skipped, called, thresholds)
    report = build_convergence(
        outcomes,
        trace=recorder.freeze(),
        concepts=scores.means(),
        beside=beside._replace(notes=(*note_sentences(reader.notes), *beside.notes)),
        thresholds=thresholds,
        strength=strength,
        variables=variables,
        title=title,
    )
    report = report.model_copy(
        update={
            "plan_digest": None if plan is None else plan.digest,
            "codes": code_words(reader.headers),
            "scenarios": tuple(dict.fromkeys(header.meta.scenario for header in reader.headers)),
        }
    )
    read = [*(header.location for header in reader.headers), *(one.location for one in reader.notes.skipped)]
    return shortened(report, relative_names(list(dict.fromkeys(read))))


def build_convergence(
    outcomes: Outcomes,
    *,
    trace: Trace | None = None,
    concepts: Sequence[ConceptScore] = (),
    beside: Beside | None = None,
    thresholds: Thresholds | None = None,
    strength: str | None = None,
    variables: Iterable[str] | None = None,
    title: str | None = None,
) -> Convergence:
    """The report of counted replies; see `convergence_from_logs`.

    Args:
        outcomes: From `count_outcomes`.
        trace: From a `TraceRecorder`: judge scores by request, and which log held what.
        concepts: Mean judge scores, from `ConceptScores`.
        beside: Beliefs and direct requests.
        thresholds: Levels, margins, resamples and seed.
        strength: See `build_profile`.
        variables: See `build_profile`.
        title: Heading of the report.
    """
    limits = thresholds or Thresholds()
    trace, beside = trace or Trace(), beside or Beside()
    cases = cases_of(
        outcomes,
        thresholds=limits,
        strength=strength,
        variables=variables,
        selectivity=beside.selectivity,
        concepts=concepts,
    )
    steering = _steering(cases, trace)
    models = tuple(
        _model(subject, cases, beside, trace, limits, strength)
        for subject in cases.subjects
        if cases.methods_of(subject)
    )
    seeds = screened(cases, trace)
    report = Convergence(
        title=title or TITLE,
        models=models,
        calibrations=_calibrations(cases, trace),
        steering=tuple(steering.values()),
        selectivity=beside.selectivity,
        screening=seeds,
        screened_groups=screened_groups(seeds),
        ablations=ablations(cases, trace),
        doses=dose_curves(cases, trace),
        checkpoints=checkpoints(cases, trace),
        direct=beside.direct,
        missing=(),
        notes=tuple(dict.fromkeys((*cases.profile.notes, *beside.notes))),
        thresholds=limits,
        intervals=cases.profile.intervals,
        n_replies=outcomes.n_replies,
        logs=tuple(log.location for log in outcomes.logs),
        belief_logs=beside.belief_logs,
    )
    return report.model_copy(update={"missing": missing_parts(report)})


def _model(
    subject: Subject,
    cases: Cases,
    beside: Beside,
    trace: Trace,
    thresholds: Thresholds,
    strength: str | None,
) -> Model:
    own = cases.methods_of(subject)
    labels = own[0].labels
    findings = [_finding(case, own[0], thresholds) for case in own]
    pairs = compared(own, strength)
    return Model(
        subject=subject.label,
        simulated=any(case.profile.simulated for case in own),
        families=labels,
        methods=tuple(
            method_result(case, finding, beside.selectivity, trace)
            for case, finding in zip(own, findings, strict=True)
        ),
        pairs=pairs,
        statement=statement_of(findings, pairs, labels),
    )


def _finding(case: Case, first: Case, thresholds: Thresholds) -> Finding:
    """What a method finds, on the question that the model's first method asked."""
    pair, asked = case.core.analysis.setting.pair, first.core.analysis.setting.pair
    if pair.digest != asked.digest:
        return Finding(
            case.method,
            "open",
            f"it was run with another hypothesis pair, {pair.name} ({pair.digest}), than the first method, "
            f"{asked.name} ({asked.digest})",
        )
    return finding_of(case.profile, case.labels, thresholds)


def _steering(cases: Cases, trace: Trace) -> dict[str, SteeringResult]:
    found = {}
    for subject in cases.subjects:
        for case in cases.methods_of(subject):
            if case.method == "steering" and (result := steering_result(case, trace)) is not None:
                found[subject.label] = result
    return found


def _calibrations(cases: Cases, trace: Trace) -> tuple[Calibration, ...]:
    found = []
    for subject in cases.subjects:
        by_method = {case.method: case for case in cases.methods_of(subject)}
        prompt, sdf = by_method.get("prompt"), by_method.get("sdf")
        if prompt is None or sdf is None:
            continue
        calibration = calibrate(prompt, sdf, trace, cases.draws(prompt.data))
        if calibration is not None:
            found.append(calibration)
    return tuple(found)


def _beside(skipped: Sequence[Skipped], names: Mapping[str, str], thresholds: Thresholds | None) -> Beside:
    others = [one.location for one in skipped if one.other_task]
    if not others:
        return Beside()
    found = side_tables(others, thresholds=thresholds)
    asked = BELIEFS, BELIEFS.rpartition("/")[2]
    return Beside(
        tuple(
            matrix.model_copy(update={"subject": renamed_label(matrix.subject, names)})
            for matrix in found.selectivity
        ),
        tuple(
            report.model_copy(update={"subject": renamed_label(report.subject, names)})
            for report in found.direct_requests
        ),
        tuple(one.location for one in skipped if one.other_task in asked),
        found.notes,
    )
