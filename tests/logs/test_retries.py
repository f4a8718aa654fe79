"""An incomplete log is named as long as something of it is missing, and no longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inspect_ai.log import read_eval_log, write_eval_log

from inspect_af.logs import read_logs


def of_time(path: Path, created: str) -> Path:
    """The log with another time of creation; a retry is newer than what it repeats."""
    log = read_eval_log(str(path))
    log.eval.created = created
    write_eval_log(log, str(path))
    return path


def incomplete(*logs: Path) -> list[str]:
    reader = read_logs(list(logs))
    for _, rows in reader:
        list(rows)
    return [Path(note.location).name for note in reader.notes.incomplete]


def test_a_killed_log_whose_retry_holds_everything_is_not_named(write_log: Any, sample_of: Any) -> None:
    samples = [sample_of(f"r{i}") for i in range(4)]
    ids = [str(sample.id) for sample in samples]
    killed = write_log(samples[:2], "killed.eval", status="started", planned_ids=ids)
    of_time(killed, "2026-01-01T00:00:00+00:00")
    assert incomplete(killed) == ["killed.eval"]
    retried = of_time(write_log(samples, "retried.eval", planned_ids=ids), "2026-01-02T00:00:00+00:00")
    assert incomplete(killed, retried) == []
    assert incomplete(retried, killed) == []


def test_of_several_unfinished_retries_the_furthest_one_is_named(write_log: Any, sample_of: Any) -> None:
    samples = [sample_of(f"r{i}") for i in range(6)]
    ids = [str(sample.id) for sample in samples]
    logs = [
        of_time(
            write_log(samples[:n], f"{n}.eval", status="started", planned_ids=ids),
            f"2026-01-0{day}T00:00:00+00:00",
        )
        for day, n in ((1, 2), (2, 4), (3, 3))
    ]
    # The third was killed before it had taken over all of the second.
    assert incomplete(*logs) == ["4.eval", "3.eval"]


def test_a_complete_log_of_something_else_makes_nothing_good(write_log: Any, sample_of: Any) -> None:
    samples = [sample_of(f"r{i}") for i in range(4)]
    ids = [str(sample.id) for sample in samples]
    killed = write_log(samples[:2], "killed.eval", status="started", planned_ids=ids)
    other = write_log(samples, "other.eval", planned_ids=ids, model="mockllm/other")
    of_time(other, "2026-01-02T00:00:00+00:00")
    more = write_log(samples, "more.eval", planned_ids=ids, epochs=2, status="cancelled")
    of_time(more, "2026-01-02T00:00:00+00:00")
    assert incomplete(killed, other, more) == ["killed.eval", "more.eval"]
