"""Reading every log of a task whose rows are small and few: all of them are held in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from inspect_ai.log import EvalSampleSummary
from pydantic import ValidationError

from inspect_af.errors import LogError
from inspect_af.logs.headers import describe, read_header
from inspect_af.logs.retries import Held, still_open
from inspect_af.logs.rows import BadRows, Incomplete, LogHeader, ReadNotes, Skipped
from inspect_af.logs.samples import read_summaries
from inspect_af.logs.sources import find_logs

Row = TypeVar("Row")


class TaskLog(NamedTuple, Generic[Row]):
    """One log with its rows."""

    header: LogHeader
    rows: tuple[Row, ...]


class TaskLogs(NamedTuple, Generic[Row]):
    """All logs of a task among some sources, and what was wrong with some of them."""

    logs: tuple[TaskLog[Row], ...]
    notes: ReadNotes


def read_task_logs(
    sources: Sequence[str | Path], *, task: str, row: Callable[[LogHeader, EvalSampleSummary], Row]
) -> TaskLogs[Row]:
    """Reads every log of the task that the sources name; logs of other tasks are passed over.

    Args:
        sources: `.eval` and `.json` files, directories (searched recursively), globs and URLs.
        task: Registry name of the task.
        row: From a sample's summary to its row; raises `LogError` or pydantic's `ValidationError` where it
            cannot be used, which leaves the sample out with that reason.

    Raises:
        LogError: a source does not exist.
    """
    logs: list[TaskLog[Row]] = []
    held: list[Held] = []
    notes = ReadNotes()
    for location in find_logs(sources):
        found = read_header(location, task)
        if isinstance(found, Skipped):
            if found.other_task is None:  # a broken log may be of any task, so every reader reports it
                notes = notes.joined_with(ReadNotes(skipped=(found,)))
            continue
        try:
            summaries, invalid = read_summaries(found)
        except Exception as error:  # noqa: BLE001 - a broken file can fail in any layer of zip, JSON and schema
            reason = f"its samples are unreadable: {describe(error)}"
            notes = notes.joined_with(ReadNotes(skipped=(Skipped(location, reason),)))
            continue
        bad: Counter[str] = Counter({"marked as invalid in Inspect": invalid} if invalid else {})
        rows = tuple(_rows(found.header, summaries, row, bad))
        logs.append(TaskLog(found.header, rows))
        held.append(Held(found.header, len(rows) + bad.total()))
        notes = notes.joined_with(_remarks(found.header, len(rows), bad))
    return TaskLogs(tuple(logs), notes._replace(incomplete=still_open(notes.incomplete, held)))


def _rows(
    header: LogHeader,
    summaries: Iterable[EvalSampleSummary],
    row: Callable[[LogHeader, EvalSampleSummary], Row],
    bad: Counter[str],
) -> Iterator[Row]:
    for summary in summaries:
        try:
            yield row(header, summary)
        except ValidationError as error:
            bad[f"malformed sample metadata: {describe(error)}"] += 1
        except LogError as error:
            bad[str(error)] += 1


def _remarks(header: LogHeader, n_rows: int, bad: Counter[str]) -> ReadNotes:
    left_out = tuple(BadRows(header.location, n, reason) for reason, n in bad.most_common())
    if header.status == "success" and n_rows + bad.total() >= header.planned_samples:
        return ReadNotes(bad_rows=left_out)
    short = Incomplete(header.location, header.status, n_rows, header.planned_samples)
    return ReadNotes(incomplete=(short,), bad_rows=left_out)
