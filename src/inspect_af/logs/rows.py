"""The typed rows that reading logs yields: a header per log, a row per sample and epoch, and notes."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from inspect_af.types import Outcome, SampleMeta, Subject, TaskMeta


class LogHeader(NamedTuple):
    """What a log says before any sample is read."""

    location: str
    """Path or URL of the log."""
    eval_id: str
    task_id: str
    """Shared by a log and the logs of its retries. A retry repeats the finished samples of the log
    before it under their old uuids, and gives new ones to those that had failed."""
    task: str
    """Registry name of the task, such as `inspect_af/alignment_faking`."""
    status: str
    """`success`, `started`, `cancelled` or `error`, as Inspect records it."""
    created: str
    """ISO 8601 time at which the eval was created."""
    subject: Subject
    """Model and revision by the header alone; a sample's recorded treatments come on top."""
    meta: TaskMeta
    epochs: int
    planned_samples: int
    """Samples times epochs that the dataset would give; a cancelled log holds fewer."""
    simulated: bool
    """Whether the model is one of the package's own simulated organisms."""
    generation: tuple[tuple[str, str], ...] = ()
    """How replies were sampled, (setting, value as JSON) by name: temperature, max_tokens, ...; what was
    left to the provider is not in it."""

    def subject_of(self, meta: SampleMeta) -> Subject:
        """The subject with the organism adapters that a sample recorded."""
        if not meta.organism:
            return self.subject
        return self.subject.model_copy(update={"organism": meta.organism})


class JudgedConcepts(NamedTuple):
    """The concept judge's scores of one reply."""

    scores: tuple[tuple[str, float], ...]
    """(concept, score on the rubric's scale), such as ("expectation", 7.0)."""
    judge: str
    """Model name of the judge."""
    simulated: bool
    """Whether the judge is a simulated or mock model."""


class ScoredSample(NamedTuple):
    """One reply and what it counts as."""

    sample_id: str
    uuid: str
    """Inspect's unique id of this run of the sample; the same uuid twice is the same reply."""
    epoch: int
    meta: SampleMeta
    outcome: Outcome | None
    """None where the sample was not scored (it failed, or the scorer never ran)."""
    tag: str | None
    """`accepted` or `rejected` by the first protocol tag alone (the tag-only estimand), else None."""
    error: str | None
    """What stopped the sample, None where nothing did."""
    reading: int | None = None
    """Version of the reading (`inspect_af.reply.READING`) that gave outcome and tag."""
    judged: JudgedConcepts | None = None
    """What the concept judge found, None where the sample was not judged or the judge could not be read."""


class Skipped(NamedTuple):
    """A log of which nothing was used."""

    location: str
    reason: str
    other_task: str | None = None
    """Registry name of its task where it was skipped only because it is of another one."""


class Incomplete(NamedTuple):
    """A log that was used, although it does not hold every sample that it planned."""

    location: str
    status: str
    """As Inspect records it: `started` (running or killed), `cancelled`, `error`, or `success`."""
    n_read: int
    n_planned: int


class BadRows(NamedTuple):
    """Samples of one log that were left out for the same reason."""

    location: str
    n: int
    reason: str


class ReadNotes(NamedTuple):
    """Everything about the logs that a report must not pass over in silence."""

    skipped: tuple[Skipped, ...] = ()
    incomplete: tuple[Incomplete, ...] = ()
    bad_rows: tuple[BadRows, ...] = ()
    readings: tuple[tuple[int, int], ...] = ()
    """(version of the reading by which replies count, number of replies)."""

    def joined_with(self, more: ReadNotes) -> ReadNotes:
        return ReadNotes(
            skipped=self.skipped + more.skipped,
            incomplete=self.incomplete + more.incomplete,
            bad_rows=self.bad_rows + more.bad_rows,
            readings=tuple(sorted((Counter(dict(self.readings)) + Counter(dict(more.readings))).items())),
        )
