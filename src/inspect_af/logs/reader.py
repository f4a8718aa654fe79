"""Reading many logs: all headers first, then the samples of one log at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from inspect_af.errors import LogError, OtherTasksError
from inspect_af.logs.headers import UsableLog, describe, read_header
from inspect_af.logs.retries import Held, still_open
from inspect_af.logs.rows import BadRows, Incomplete, LogHeader, ReadNotes, ScoredSample, Skipped
from inspect_af.logs.samples import RowReader, read_summaries
from inspect_af.logs.sources import find_logs

ALIGNMENT_FAKING = "inspect_af/alignment_faking"
"""Registry name of the task whose logs are read by default."""

Progress = Callable[[int, int], None]
"""Called with the number of logs done and the number of logs to do."""


def read_logs(
    sources: Sequence[str | Path], *, progress: Progress | None = None, task: str = ALIGNMENT_FAKING
) -> LogReader:
    """Opens logs for reading: looks them all up and reads their headers, but no sample yet.

    A bad log never stops the others: what is wrong with it is in `LogReader.notes`.

    Args:
        sources: `.eval` and `.json` files, directories (searched recursively), globs and URLs.
        progress: Called with (logs done, logs in all) while samples are read.
        task: Registry name of the task; logs of other tasks are skipped with a note.

    Raises:
        LogError: a source does not exist, or no log can be used; each reason is listed. It is an
            `OtherTasksError` where that is only because all of them are of other tasks.
    """
    usable: list[UsableLog] = []
    skipped: list[Skipped] = []
    for location in find_logs(sources):
        found = read_header(location, task)
        if isinstance(found, Skipped):
            skipped.append(found)
        else:
            usable.append(found)
    if not usable:
        kind = OtherTasksError if all(one.other_task for one in skipped) else LogError
        raise kind(_nothing_usable(ReadNotes(skipped=tuple(skipped))))
    return LogReader(tuple(usable), tuple(skipped), progress)


class LogReader:
    """Iterates over (header, iterator of samples), one log in memory at a time.

    As with `itertools.groupby`, take a log's samples before asking for the next log. A log whose samples
    turn out to be unreadable yields none and joins `notes.skipped`. The same sample can be in several logs
    (copies, retries): its `uuid` is the same, and telling them apart is up to the caller. The reader can be
    iterated again, and then reads the files again.
    """

    def __init__(
        self, logs: tuple[UsableLog, ...], skipped: tuple[Skipped, ...], progress: Progress | None
    ) -> None:
        self._logs = logs
        self._unusable = skipped
        self._progress = progress
        self._notes = ReadNotes(skipped=skipped)

    @property
    def headers(self) -> tuple[LogHeader, ...]:
        """The headers of all usable logs, in the order in which their samples are read."""
        return tuple(log.header for log in self._logs)

    @property
    def notes(self) -> ReadNotes:
        """What was skipped, incomplete or left out so far; complete after the iteration."""
        return self._notes

    def __iter__(self) -> Iterator[tuple[LogHeader, Iterator[ScoredSample]]]:
        """
        Raises:
            LogError: at the end, if no log gave any sample; each reason is listed.
        """
        self._notes = ReadNotes(skipped=self._unusable)
        total = 0
        held: list[Held] = []
        self._report(0)
        for done, log in enumerate(self._logs, start=1):
            rows = _Rows(log)
            yield log.header, rows
            for _ in rows:  # what the caller did not look at still counts in the notes
                pass
            total += rows.n_read
            held.append(rows.held())
            self._notes = self._notes.joined_with(rows.notes())
            self._report(done)
        self._notes = self._notes._replace(incomplete=still_open(self._notes.incomplete, held))
        if total == 0:
            raise LogError(_nothing_usable(self._notes))

    def _report(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, len(self._logs))


class _Rows(Iterator[ScoredSample]):
    """The rows of one log, which is read when the first row is asked for."""

    def __init__(self, log: UsableLog) -> None:
        self.n_read = 0
        self._log = log
        self._failure: str | None = None
        self._bad: Counter[str] = Counter()
        self._readings: Counter[int] = Counter()
        self._rows = self._read()

    def __next__(self) -> ScoredSample:
        return next(self._rows)

    def notes(self) -> ReadNotes:
        location, status, planned = (
            self._log.header.location,
            self._log.header.status,
            self._log.header.planned_samples,
        )
        if self._failure is not None:
            return ReadNotes(skipped=(Skipped(location, self._failure),))
        bad = tuple(BadRows(location, n, reason) for reason, n in self._bad.most_common())
        readings = tuple(sorted(self._readings.items()))
        if status == "success" and self.n_read + self._bad.total() >= planned:
            return ReadNotes(bad_rows=bad, readings=readings)
        incomplete = (Incomplete(location, status, self.n_read, planned),)
        return ReadNotes(incomplete=incomplete, bad_rows=bad, readings=readings)

    def held(self) -> Held:
        return Held(self._log.header, self.n_read + self._bad.total())

    def _read(self) -> Iterator[ScoredSample]:
        try:
            summaries, invalid = read_summaries(self._log)
        except Exception as error:  # noqa: BLE001 - a broken file can fail in any layer of zip, JSON and schema
            self._failure = f"its samples are unreadable: {describe(error)}"
            return
        if invalid:
            self._bad["marked as invalid in Inspect"] += invalid
        reader = RowReader(self._log.header)
        summaries.reverse()
        while summaries:  # each summary is let go as soon as its row is made
            row = reader.row(summaries.pop())
            if isinstance(row, str):
                self._bad[row] += 1
            else:
                self.n_read += 1
                if row.reading is not None:
                    self._readings[row.reading] += 1
                yield row


def _nothing_usable(notes: ReadNotes) -> str:
    lines = [
        *(f"  {location}: {reason}" for location, reason, _ in notes.skipped),
        *(f"  {location}: {status}, no sample of {n}" for location, status, _, n in notes.incomplete),
        *(f"  {location}: {n} samples left out: {reason}" for location, n, reason in notes.bad_rows),
    ]
    return "no log can be used:\n" + "\n".join(lines)
