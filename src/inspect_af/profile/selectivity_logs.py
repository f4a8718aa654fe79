"""From logs of the beliefs task to selectivity matrices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_af.logs import LogHeader, ReadNotes, read_belief_logs
from inspect_af.profile.design import applied, split, subject_label
from inspect_af.profile.selectivity import SelectivityMatrix
from inspect_af.profile.selectivity_build import Condition, Members, Panel, build_matrix
from inspect_af.types import Method, PairSummary, SampleMeta, Subject, Treatment


class Selectivity(NamedTuple):
    """What the logs of the beliefs task among some sources say."""

    matrices: tuple[SelectivityMatrix, ...]
    problems: tuple[str, ...]
    """Conditions that no matrix could be made of, a sentence each."""
    notes: ReadNotes


class _Setting(NamedTuple):
    """What answers must share to be compared, apart from their treatments."""

    subject: Subject
    pair: PairSummary
    prompt_digest: str
    requests_digest: str
    prompt_settings: tuple[tuple[str, str], ...]


def selectivity_from_logs(sources: Sequence[str | Path], *, confidence: float = 0.95) -> Selectivity:
    """One matrix per subject, method and strength. Logs of other tasks are passed over.

    Wordings of a claim and training seeds of an adapter are pooled. Without any log of the beliefs task the
    result is empty.

    Args:
        sources: Log files, directories, globs or URLs.
        confidence: Coverage of the intervals.

    Raises:
        LogError: a source does not exist.
    """
    read = read_belief_logs(sources)
    groups: dict[_Setting, dict[tuple[Treatment, ...], Condition]] = defaultdict(
        lambda: defaultdict(Condition)
    )
    simulated: set[_Setting] = set()
    seen: set[str] = set()
    for log in read.logs:
        for answer in log.rows:
            if answer.uuid not in seen:
                seen.add(answer.uuid)
                setting = _setting(log.header, answer.meta)
                if log.header.simulated:
                    simulated.add(setting)
                groups[setting][answer.meta.treatments].add(answer)
    matrices: list[SelectivityMatrix] = []
    problems: list[str] = []
    for setting, conditions in groups.items():
        for context, method, level, members in _panels(conditions):
            baseline = conditions.get(context)
            name = subject_label(setting.subject, context)
            if baseline is None:
                problems.append(
                    f"{name}: beliefs were asked under {method} interventions and not on the baseline; run "
                    "inspect_af/beliefs on it with the same settings"
                )
                continue
            panel = Panel(
                name, method, level, setting.pair, setting.prompt_settings, simulated=setting in simulated
            )
            matrices.append(build_matrix(panel, baseline, members, confidence))
    return Selectivity(tuple(matrices), tuple(problems), read.notes)


def _setting(header: LogHeader, sample: SampleMeta) -> _Setting:
    meta = header.meta
    settings = tuple(sorted(meta.prompt_settings.items()))
    return _Setting(header.subject_of(sample), meta.pair, meta.prompt_digest, meta.requests_digest, settings)


def _panels(
    conditions: dict[tuple[Treatment, ...], Condition],
) -> Iterator[tuple[tuple[Treatment, ...], Method, str | None, Members]]:
    """Conditions by what is part of the subject, method and strength, weakest first."""
    panels: dict[tuple[tuple[Treatment, ...], Method, float, str | None], Members] = defaultdict(list)
    for treatments, condition in conditions.items():
        context, studied = split(treatments)
        if len(studied) == 1:
            what = applied(studied[0])
            key = (context, what.method, what.level.position, what.level.label)
            panels[key].append((what, condition))
    for (context, method, _, level), members in panels.items():
        yield context, method, level, members
