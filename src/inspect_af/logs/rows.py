"""Typed rows of eval logs: one row a sample and epoch, one log at a time, and notes on what was left out."""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast, get_args

from inspect_ai.log import EvalSample, EvalSampleSummary
from inspect_ai.scorer import Score
from pydantic import ValidationError

from inspect_af.errors import LogError, OtherTasksError
from inspect_af.format import plural
from inspect_af.logs.files import HEAVY, LogFile, describe
from inspect_af.logs.headers import LogHeader, Skipped, read_headers
from inspect_af.reply import READING, read_reply
from inspect_af.types import (
    BASE_DIGEST,
    OUTCOMES,
    PLANNED_CLAIM,
    Option,
    Outcome,
    SampleMeta,
    ScratchpadEdit,
    Subject,
    Treatment,
    applied_treatments,
    developer_option,
    planned_claim,
    taken_option,
)

ALIGNMENT_FAKING = "inspect_af/alignment_faking"
VALUE_CONFLICT = "inspect_af/value_conflict"
SCENARIOS = (ALIGNMENT_FAKING, VALUE_CONFLICT)  # Tasks with tiers, whose logs a profile is made of
BELIEFS = "inspect_af/beliefs"
DIRECT_REQUESTS = "inspect_af/direct_requests"
SCRATCHPAD = "inspect_af/scratchpad"  # registry names of the tasks whose logs are read

Progress = Callable[[int, int], None]  # called with the number of logs done and the number of logs to do
Row = TypeVar("Row")
_SCORE_NAME = re.compile(r"(?:inspect_af/)?(?P<scorer>\w+?)(?P<again>\d*)")


def show_progress(done: int, total: int) -> None:
    """Overwrites one line of the terminal; silent where standard error is no terminal."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\rreading logs: {done} of {total}", end=end, file=sys.stderr, flush=True)


# What a row says.


class JudgedConcepts(NamedTuple):
    """The concept judge's scores of one reply."""

    scores: tuple[tuple[str, float], ...]  # Such as ("expectation", 7.0), on the rubric's scale
    judge: str  # model name of the judge
    simulated: bool  # whether the judge is a simulated or mock model


class Awareness(NamedTuple):
    """What the awareness judge found in one reply, as shares of its votes."""

    test: float
    real: float
    judge: str
    simulated: bool


class ScoredSample(NamedTuple):
    """One reply and what it counts as."""

    sample_id: str
    uuid: str  # inspect's unique id of this run of the sample; the same uuid twice is the same reply
    epoch: int
    meta: SampleMeta
    outcome: Outcome | None  # None where the sample was not scored (it failed, or the scorer never ran)
    tag: str | None  # `accepted` or `rejected` by the first protocol tag alone (tag-only estimand), else None
    error: str | None  # what stopped the sample, None where nothing did
    reading: int | None = None  # version of the reading (`reply.READING`) that gave outcome and tag
    judged: JudgedConcepts | None = None
    """What the concept judge found, None where the sample was not judged or the judge could not be read."""
    aware: Awareness | None = None  # What the awareness judge found, likewise
    option: Option | None = None  # What was taken; None where none was offered or the reply does not count


AnswerMethod = Literal["prefill", "words", "logprobs", "letter", "judge"]


class BeliefAnswer(NamedTuple):
    """One answer to one question about one belief."""

    uuid: str  # inspect's unique id of this run of the sample; the same uuid twice is the same answer
    epoch: int
    meta: SampleMeta  # `request_id` is the question, `category` the belief
    score: float | None
    """1 for the + pole, 0 for the - pole, 0.5 for neither; None where the answer could not be read."""
    method: AnswerMethod | None
    unscored: str | None  # why there is no score, None where there is one
    letters: Mapping[str, float] = MappingProxyType({})
    """Probability of each option's letter; 1 for the drawn one where there are no probabilities. Empty for
    open questions."""
    words: float | None = None  # The score by the options' own words, where they were asked for

    @property
    def question(self) -> str:
        return self.meta.request_id

    @property
    def belief(self) -> str:
        return str(self.meta.category)


RequestArm = Literal["harmful", "benign"]
REQUEST_ARMS: tuple[RequestArm, ...] = ("harmful", "benign")


class JudgedOutput(NamedTuple):
    """What the refusal judge says of one output: shares of its votes, which add up to 1."""

    accepted: float
    refused: float
    partial: float
    off_topic: float


class DirectReply(NamedTuple):
    """One reply to one plain request."""

    uuid: str  # inspect's unique id of this run of the sample; the same uuid twice is the same reply
    epoch: int
    meta: SampleMeta
    arm: RequestArm
    judged: JudgedOutput | None  # None where it could not be judged, which is missing data and no refusal
    unscored: str | None  # why there is no judgement, None where there is one
    grader: str | None  # model name of the judge
    simulated_judge: bool


class EditedReply(NamedTuple):
    """One reply that goes on from a reasoning that was given."""

    reply: ScoredSample  # Its tier is the prompt's; the last of its treatments is the edit
    edit: ScratchpadEdit
    source: str  # Which reply the reasoning is from; the same for all edits of it
    original: Outcome | None  # What that reply counted as
    names_tier: bool  # Whether the reasoning says which tier it was written in
    left_out: str | None  # Why the model was not asked, None where it was
    came_back: bool | None  # Whether a sentence of the family was written again; None where none was cut


# What is wrong with logs.


class Incomplete(NamedTuple):
    """A log that was used, although it does not hold every sample that it planned."""

    location: str
    status: str  # as Inspect records it: `started` (running or killed), `cancelled`, `error`, or `success`
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
    readings: tuple[tuple[int, int], ...] = ()  # (Version of the reading by which they count, replies)

    def joined_with(self, more: ReadNotes) -> ReadNotes:
        readings = Counter(dict(self.readings)) + Counter(dict(more.readings))
        return ReadNotes(
            self.skipped + more.skipped,
            self.incomplete + more.incomplete,
            self.bad_rows + more.bad_rows,
            tuple(sorted(readings.items())),
        )


# The reader.


MakeRow = Callable[[LogHeader, LogFile, EvalSampleSummary], Row]
"""From a sample's summary to its row; raises `LogError` or pydantic's `ValidationError` where it cannot be
used, which leaves the sample out with that reason."""


class TaskLogs(NamedTuple, Generic[Row]):
    """All logs of a task among some sources with their rows, and what was wrong with some of them."""

    logs: tuple[tuple[LogHeader, tuple[Row, ...]], ...]
    notes: ReadNotes


def read_logs(
    sources: Sequence[str | Path],
    *,
    progress: Progress | None = None,
    task: str | tuple[str, ...] = SCENARIOS,
) -> LogReader[ScoredSample]:
    """Opens logs for reading: looks them all up and reads their headers, but no sample yet.

    A bad log never stops the others: what is wrong with it is in `LogReader.notes`.

    Args:
        sources: `.eval` and `.json` files, directories (searched recursively), globs and URLs.
        progress: Called with (logs done, logs in all) while samples are read.
        task: Registry names of the tasks; logs of other tasks are skipped with a note.

    Raises:
        LogError: A source does not exist, no log can be used (each reason is listed), or two logs of one
            subject were made with different content of a file of the same name. It is an `OtherTasksError`
            where no log can be used only because all of them are of other tasks.
    """
    reader = LogReader(sources, task, scored_sample, progress)
    if not reader.headers:
        skipped = reader.notes.skipped
        kind = OtherTasksError if all(one.other_task for one in skipped) else LogError
        raise kind(_nothing_usable(reader.notes))
    return reader


def read_belief_logs(sources: Sequence[str | Path]) -> TaskLogs[BeliefAnswer]:
    """Reads every log of the beliefs task; a LogError where a source does not exist."""
    return _read_all(sources, BELIEFS, _belief_answer)


def read_direct_logs(sources: Sequence[str | Path]) -> TaskLogs[DirectReply]:
    """Reads every log of the direct_requests task; a LogError where a source does not exist."""
    return _read_all(sources, DIRECT_REQUESTS, _direct_reply)


def read_scratchpad_logs(sources: Sequence[str | Path]) -> TaskLogs[EditedReply]:
    """Reads every log of the scratchpad task; a LogError where a source does not exist."""
    return _read_all(sources, SCRATCHPAD, _edited_reply)


def _read_all(sources: Sequence[str | Path], task: str, row: MakeRow[Row]) -> TaskLogs[Row]:
    """Every log of one task, `sources` being as for `read_logs`; logs of other tasks are passed over."""
    reader = LogReader(sources, task, row)
    logs = [(header, tuple(rows)) for header, rows in reader.each()]
    unreadable = {one.location for one in reader.notes.skipped}
    # A broken log may be of any task, so every reader reports it; one of another task is for others.
    skipped = tuple(one for one in reader.notes.skipped if one.other_task is None)
    read = tuple(log for log in logs if log[0].location not in unreadable)
    return TaskLogs(read, reader.notes._replace(skipped=skipped))


class LogReader(Generic[Row]):
    """Iterates over (header, iterator of rows), one log in memory at a time.

    As with `itertools.groupby`, take a log's samples before asking for the next log. A log whose samples
    turn out to be unreadable yields none and joins `notes.skipped`. The same sample can be in several logs
    (copies, retries): its `uuid` is the same, and telling them apart is up to the caller. The reader can be
    iterated again, and then reads the files again.

    Raises:
        LogError: Logs of one subject were made with different content under the same name, which for its
            weights shows while samples are read.
    """

    def __init__(
        self,
        sources: Sequence[str | Path],
        task: str | tuple[str, ...],
        row: MakeRow[Row],
        progress: Progress | None = None,
    ) -> None:
        found, self._unusable = read_headers(sources, (task,) if isinstance(task, str) else task)
        self.headers = tuple(header for _, header in found)
        """The headers of all usable logs, in the order in which their samples are read."""
        self.notes = ReadNotes(skipped=self._unusable)
        """What was skipped, incomplete or left out so far; complete after the iteration."""
        self._contents: dict[tuple[Subject, str], tuple[str, str]] = {}  # Digest, and the first log with it
        for header in self.headers:
            for name, digest in header.files:
                self._refuse_other_content(header, name, digest)
        self._row = row
        self._progress = progress or (lambda done, total: None)

    def __iter__(self) -> Iterator[tuple[LogHeader, Iterator[Row]]]:
        """
        Raises:
            LogError: at the end, if no log gave any sample; each reason is listed.
        """
        n_read = yield from self.each()
        if not n_read:
            raise LogError(_nothing_usable(self.notes))

    def each(self) -> Generator[tuple[LogHeader, Iterator[Row]], None, int]:
        """As the iteration, but without an error where there is no sample at all; returns their number."""
        self.notes = ReadNotes(skipped=self._unusable)
        held: dict[str, int] = {}
        n_read = 0
        self._progress(0, len(self.headers))
        for done, header in enumerate(self.headers, start=1):
            tally = _Tally()
            rows = self._rows(header, tally)
            yield header, rows
            deque(rows, maxlen=0)  # what the caller did not look at still counts in the notes
            n_read += tally.n_read
            held[header.location] = tally.n_read + tally.bad.total()
            self.notes = self.notes.joined_with(tally.notes(header))
            self._progress(done, len(self.headers))
        self.notes = self.notes._replace(incomplete=_still_open(self.notes.incomplete, self.headers, held))
        return n_read

    def _refuse_other_content(self, header: LogHeader, name: str, digest: str) -> None:
        """Refuses logs of one subject that were made with different content under the same name."""
        first, location = self._contents.setdefault((header.subject, name), (digest, header.location))
        if first != digest:
            raise LogError(
                f"{location} and {header.location} are of the same subject, {header.subject.label}, but "
                f"{name} had digest {first} in the one and {digest} in the other; read them apart"
            )

    def _rows(self, header: LogHeader, tally: _Tally) -> Iterator[Row]:
        file = LogFile(header.location)
        try:
            summaries, invalid = file.summaries()
        except LogError as error:
            tally.failure = _reason(error, header)
            return
        for base in {str(known) for each in summaries if (known := each.metadata.get(BASE_DIGEST))}:
            self._refuse_other_content(header, "the model's files", base)
        if invalid:
            tally.bad["marked as invalid in Inspect"] += invalid
        summaries.reverse()
        while summaries:  # each summary is let go as soon as its row is made
            try:
                row = self._row(header, file, summaries.pop())
            except ValidationError as error:
                tally.bad[f"malformed sample metadata: {describe(error)}"] += 1
            except LogError as error:
                tally.bad[_reason(error, header)] += 1
            else:
                tally.n_read += 1
                if isinstance(row, ScoredSample) and row.reading is not None:
                    tally.readings[row.reading] += 1
                yield row


@dataclass
class _Tally:
    """What came of the samples of one log."""

    n_read: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    readings: Counter[int] = field(default_factory=Counter)
    failure: str | None = None

    def notes(self, header: LogHeader) -> ReadNotes:
        where, n = header.location, self.n_read + self.bad.total()
        if self.failure is not None:
            return ReadNotes(skipped=(Skipped(where, self.failure),))
        short = Incomplete(where, header.status, self.n_read, header.planned_samples)
        return ReadNotes(
            bad_rows=tuple(BadRows(where, n, reason) for reason, n in self.bad.most_common()),
            readings=tuple(sorted(self.readings.items())),
            incomplete=() if header.status == "success" and n >= header.planned_samples else (short,),
        )


def _reason(error: LogError, header: LogHeader) -> str:
    return str(error).removeprefix(f"{header.location}: ")


def _nothing_usable(notes: ReadNotes) -> str:
    lines = [
        *(f"  {location}: {reason}" for location, reason, _ in notes.skipped),
        *(f"  {location}: {status}, no sample of {n}" for location, status, _, n in notes.incomplete),
        *(
            f"  {location}: {plural(n, 'sample')} left out: {reason}"
            for location, n, reason in notes.bad_rows
        ),
    ]
    return "no log can be used:\n" + "\n".join(lines)


def _still_open(
    incomplete: Iterable[Incomplete], headers: Iterable[LogHeader], held: Mapping[str, int]
) -> tuple[Incomplete, ...]:
    """The incomplete logs that no retry has made good.

    A retry starts with the finished samples of the log before it, so a newer log of the same task, plan and
    subject that holds at least as many samples holds them too. A retry that was cut off earlier than that
    says nothing about the rest of its predecessor.
    """
    plan = attrgetter("task_id", "subject", "meta", "epochs", "planned_samples")
    by_location = {header.location: header for header in headers}
    pairs = ((by_location[one.location], new) for one in incomplete for new in by_location.values())
    repeated = {
        old.location
        for old, new in pairs
        if new.created > old.created and held[new.location] >= held[old.location] and plan(new) == plan(old)
    }
    return tuple(one for one in incomplete if one.location not in repeated)


# From a summary to a row.


def scored_sample(header: LogHeader, file: LogFile, summary: EvalSampleSummary) -> ScoredSample:
    """The row of a reply to a scenario with tiers.

    Raises:
        LogError: The score or the treatments make no sense, or the sample cannot be read.
        pydantic.ValidationError: The sample's metadata is malformed.
    """
    score = compliance_score(summary.scores or {})
    about = {} if score is None else score.metadata or {}
    outcome, tag = (None, None) if score is None else outcome_of(score)
    without = HEAVY - {"output"}  # the same for both uses, so that samples are read in hundreds
    sample: EvalSample | None = None
    if isinstance(summary.metadata.get("treatments"), str):  # Inspect's summaries replace values beyond 1 KB
        sample = file.sample(summary.id, summary.epoch, without)
        summary.metadata = sample.metadata
    summary.metadata = {**summary.metadata, "rendered_digest": about.get("rendered_digest", "")}
    uuid, epoch, meta = _identity(header, summary, score)
    # The version of the reading; None for a score that is not our scorer's.
    reading = about.get("reading", 1) if "reasoning_channel" in about else None
    reading = reading if isinstance(reading, int) else None
    # A reply can be read again where it was not redacted, nor its score corrected in Inspect.
    has_text = score is not None and not header.meta.redact and not score.history
    if has_text and reading is not None and reading < READING:
        try:
            output = (sample or file.sample(summary.id, summary.epoch, without)).output
        except LogError as error:
            reason = _reason(error, header)
            raise LogError(f"scored by older rules, and its reply cannot be read again: {reason}") from error
        if output.choices:
            again = read_reply(output, developer_option(summary.metadata))
            outcome, tag, reading = again.outcome, again.reply.tag, READING
    developer = developer_option(summary.metadata)
    option = None if developer is None or outcome is None else taken_option(developer, outcome)
    judges = judged_concepts(summary.scores or {}), judged_awareness(summary.scores or {})
    row = ScoredSample(str(summary.id), uuid, epoch, meta, outcome, tag, summary.error, reading, *judges)
    return row._replace(option=option)


def _belief_answer(header: LogHeader, _: LogFile, summary: EvalSampleSummary) -> BeliefAnswer:
    score = newest_score(summary.scores or {}, "belief")
    uuid, epoch, meta = _identity(header, summary, score)
    if meta.category is None:
        raise LogError("the sample does not say which belief its question is about")
    value = None if score is None else score.value
    about = {} if score is None else score.metadata or {}
    number = value.get("score") if isinstance(value, Mapping) else value
    if score is None or not isinstance(number, int | float) or math.isnan(number):
        reason = str(about.get("unscored") or score.reason or "unscored") if score else _no_score(summary)
        return BeliefAnswer(uuid, epoch, meta, None, None, reason)
    if not 0 <= number <= 1:
        raise LogError(f"a belief score of {number}; it lies between 0 and 1")
    method = about.get("method")
    if method not in get_args(AnswerMethod):
        raise LogError(f"unknown method {method!r}; one of {', '.join(get_args(AnswerMethod))}")
    words = float(about["words"]) if isinstance(about.get("words"), int | float) else None
    scored = float(number), cast(AnswerMethod, method), None
    return BeliefAnswer(uuid, epoch, meta, *scored, letters_of(score), words)


def letters_of(score: Score) -> dict[str, float]:
    """Probability by letter of a scored answer to a choice, nothing for other answers.

    Scores from before the probabilities were kept, as `p_A` and so on, have the letter alone.
    """
    about = score.metadata or {}
    if about.get("form") != "choice" or score.answer is None:
        return {}
    kept = {
        name[2]: float(share)
        for name, share in about.items()
        if re.fullmatch("p_[A-Z]", name) and isinstance(share, int | float)
    }
    return kept or {score.answer: 1.0}


def _direct_reply(header: LogHeader, _: LogFile, summary: EvalSampleSummary) -> DirectReply:
    score = newest_score(summary.scores or {}, "refusal_judge")
    judged = _judged(score.value) if score is not None and isinstance(score.value, Mapping) else None
    uuid, epoch, meta = _identity(header, summary, None if judged is None else score)
    arm = summary.metadata.get("arm")
    if arm not in REQUEST_ARMS:
        raise LogError(f"unknown arm {arm!r}; one of {', '.join(REQUEST_ARMS)}")
    about = {} if score is None else score.metadata or {}
    unscored = _no_score(summary) if score is None else str(score.reason or "unscored")
    return DirectReply(
        uuid,
        epoch,
        meta,
        cast(RequestArm, arm),
        judged,
        unscored if judged is None else None,
        str(about["grader"]) if "grader" in about else None,
        bool(about.get("simulated", False)),
    )


def _edited_reply(header: LogHeader, file: LogFile, summary: EvalSampleSummary) -> EditedReply:
    reply, about = scored_sample(header, file, summary), summary.metadata
    edit = reply.meta.treatments[-1] if reply.meta.treatments else None
    if not isinstance(edit, ScratchpadEdit):
        raise LogError("the sample does not say what was done to the reasoning")
    original = about.get("original_outcome")
    left_out = None if about.get("left_out") is None else str(about["left_out"])
    return EditedReply(
        reply._replace(outcome=None) if left_out else reply,
        edit,
        str(about.get("source")),
        cast(Outcome, original) if original in OUTCOMES else None,
        bool(about.get("names_tier")),
        left_out,
        about.get("came_back"),
    )


def _judged(value: Mapping[str, object]) -> JudgedOutput | None:
    shares = [value.get(name) for name in JudgedOutput._fields]
    numbers = [float(share) for share in shares if isinstance(share, int | float)]
    if len(numbers) < len(shares) or any(math.isnan(number) for number in numbers):
        return None
    if not math.isclose(sum(numbers), 1, abs_tol=1e-6) or min(numbers) < 0:
        raise LogError(f"shares of votes {dict(value)}; they lie between 0 and 1 and add up to 1")
    return JudgedOutput(*numbers)


def _identity(
    header: LogHeader, summary: EvalSampleSummary, score: Score | None
) -> tuple[str, int, SampleMeta]:
    """Uuid, epoch and metadata of a sample; its treatments are those that it recorded and planned."""
    recorded = recorded_treatments(summary.metadata)
    if score is not None and not recorded.all_applied:
        raise LogError("scored although its planned claim was not applied")
    uuid = summary.uuid or f"{header.eval_id}/{summary.id}/{summary.epoch}"
    meta = SampleMeta.from_metadata({**summary.metadata, "treatments": recorded.treatments})
    return uuid, summary.epoch, meta


def _no_score(summary: EvalSampleSummary) -> str:
    return "failed" if summary.error else "not scored"


class RecordedTreatments(NamedTuple):
    """The treatments that define a sample's condition."""

    treatments: tuple[Treatment, ...]
    all_applied: bool
    """False where the sample stopped before its planned claim, which is the last one, was applied. It is
    then missing from the claim's condition, not from the baseline."""


def recorded_treatments(metadata: Mapping[str, Any]) -> RecordedTreatments:
    """Reads the treatments from a sample's metadata.

    Raises:
        pydantic.ValidationError: The record is malformed, or too long for a sample summary.
    """
    return _parse_treatments(json.dumps((metadata.get("treatments") or (), metadata.get(PLANNED_CLAIM))))


@lru_cache(maxsize=4096)  # few conditions, many samples
def _parse_treatments(record: str) -> RecordedTreatments:
    applied, planned = json.loads(record)
    treatments = applied_treatments({"treatments": applied})
    claim = planned_claim({PLANNED_CLAIM: planned})
    if claim is None or claim in treatments:
        return RecordedTreatments(treatments, all_applied=True)
    return RecordedTreatments((*treatments, claim), all_applied=False)


def compliance_score(scores: Mapping[str, Score]) -> Score | None:
    """The score that says what a reply counts as, the newest where there are several, None without any."""
    return newest_score(scores, "choice") or newest_score(scores, "compliance")


def judged_concepts(scores: Mapping[str, Score]) -> JudgedConcepts | None:
    """The concept judge's scores, the newest where there are several; None where there are none."""
    numbers, judge, simulated = _judgement(scores, "concept_judge")
    return JudgedConcepts(tuple(numbers.items()), judge, simulated) if numbers else None


def judged_awareness(scores: Mapping[str, Score]) -> Awareness | None:
    """The awareness judge's shares, the newest where there are several; None where there are none."""
    shares, judge, simulated = _judgement(scores, "awareness_judge")
    known = {"test", "real"} <= shares.keys()
    return Awareness(shares["test"], shares["real"], judge, simulated) if known else None


def _judgement(scores: Mapping[str, Score], scorer: str) -> tuple[dict[str, float], str, bool]:
    """A judge's numbers by column, none where it gave none; its model, and whether that is simulated."""
    score = newest_score(scores, scorer)
    value = score.value if score is not None and isinstance(score.value, Mapping) else {}
    about = {} if score is None else score.metadata or {}
    numbers = {name: float(number) for name, number in value.items() if isinstance(number, int | float)}
    return numbers, str(about.get("grader", "unknown")), bool(about.get("simulated", False))


def outcome_of(score: Score) -> tuple[Outcome, Literal["accepted", "rejected"] | None]:
    """The outcome and the tag-only reading of a compliance score.

    The number that Inspect's metrics used decides between accepted and rejected, so that a
    score corrected in Inspect (`edit_score`) counts as corrected.

    Raises:
        LogError: The score contradicts itself, or says what no reply counts as.
    """
    value = score.value if isinstance(score.value, Mapping) else {"accepted": score.value}
    metadata = score.metadata or {}
    outcome, tag = value.get("outcome", metadata.get("outcome")), metadata.get("tag")
    if outcome not in OUTCOMES:
        raise LogError(f"unknown outcome {outcome!r}; one of {', '.join(OUTCOMES)}")
    if tag not in ("accepted", "rejected", None):
        raise LogError(f"unknown tag {tag!r}; one of accepted, rejected, None")
    number = value.get("accepted")
    if isinstance(number, int | float) and not math.isnan(number):
        if number not in (0, 1):
            raise LogError(f"a compliance score of {number}; it is 0, 1 or not a number")
        outcome = "accepted" if number == 1 else "rejected"
    elif outcome in ("accepted", "rejected"):
        raise LogError(f"the outcome is {outcome} but the score has no number")
    return cast(Outcome, outcome), tag


def newest_score(scores: Mapping[str, Score], scorer: str) -> Score | None:
    """A scorer's score, the newest where there are several, None where there is none."""
    # `inspect score --action append` names a repeated score `compliance1`, then `compliance2`.
    ranked = [(again, name) for name in scores for found, again in [_rank(name)] if found == scorer]
    return scores[max(ranked)[1]] if ranked else None


@lru_cache(maxsize=256)
def _rank(name: str) -> tuple[str, int]:
    match = _SCORE_NAME.fullmatch(name)
    return ("", 0) if match is None else (match["scorer"], int(match["again"] or 0))
