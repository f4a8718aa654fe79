"""Eval logs in, profile out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

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
from inspect_af.profile.adherence import analysis_deviations, deviations
from inspect_af.profile.build import build_profile
from inspect_af.profile.concepts import ConceptScores
from inspect_af.profile.direct_requests import DirectReport, direct_requests_from_logs
from inspect_af.profile.outcomes import count_outcomes
from inspect_af.profile.result import CodeWords, Profile
from inspect_af.profile.selectivity import SelectivityMatrix
from inspect_af.profile.selectivity_logs import selectivity_from_logs
from inspect_af.reply import READING
from inspect_af.thresholds import Thresholds

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
