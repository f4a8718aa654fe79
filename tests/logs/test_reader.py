"""Many logs, good and bad, read one at a time."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import ProvenanceData, read_eval_log, read_eval_log_sample_summaries

from inspect_af.errors import LogError
from inspect_af.logs import LogReader, ReadNotes, ScoredSample, read_logs


def _rows(reader: LogReader) -> list[ScoredSample]:
    return [row for _, rows in reader for row in rows]


def test_rows_say_who_they_are(write_log: Any, sample_of: Any, claim: Any) -> None:
    path = write_log(
        [
            sample_of("r1", "monitored", "accepted", tag="accepted", epoch=2),
            sample_of("r1", "unmonitored", "contradictory", tag="accepted", treatments=[claim]),
        ]
    )
    baseline, claimed = _rows(read_logs([path]))
    assert baseline == ScoredSample(
        "r1/monitored/baseline", "r1-monitored-baseline-2", 2, baseline.meta, "accepted", "accepted", None
    )
    assert (baseline.meta.request_id, baseline.meta.tier, baseline.meta.condition) == (
        "r1",
        "monitored",
        "baseline",
    )
    assert (claimed.meta.treatments, claimed.outcome, claimed.tag) == ((claim,), "contradictory", "accepted")
    assert claimed.meta.prompt_digest == "abc"


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _overwrite_summaries(path: Path) -> None:
    data = path.read_bytes()
    at = data.index(b"summaries.json") + len(b"summaries.json") + 20
    path.write_bytes(data[:at] + b"\0" * 64 + data[at + 64 :])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("cut.eval", _truncate),
        ("cut.json", _truncate),
        ("summaries.eval", _overwrite_summaries),
        ("empty.eval", lambda path: path.write_bytes(b"")),
        ("empty.json", lambda path: path.write_bytes(b"")),
        ("text.eval", lambda path: path.write_text("hello")),
        ("list.json", lambda path: path.write_text("[1, 2]")),
        ("object.json", lambda path: path.write_text('{"a": 1}')),
        ("binary.json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
    ],
)
def test_a_damaged_log_is_named_and_the_rest_is_read(
    write_log: Any, sample_of: Any, name: str, damage: Any
) -> None:
    good = write_log([sample_of("good")], "good.eval")
    bad = write_log([sample_of(f"bad{i}") for i in range(20)], name)
    assert len(_rows(read_logs([good, bad]))) == 21
    damage(bad)
    reader = read_logs([good, bad])
    assert [row.meta.request_id for row in _rows(reader)] == ["good"]
    assert [skipped.location for skipped in reader.notes.skipped] == [str(bad)]
    assert "unreadable" in reader.notes.skipped[0].reason


def test_a_file_that_is_no_log_is_named(write_log: Any, sample_of: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    reader = read_logs([write_log([sample_of()]), tmp_path / "notes.txt"])
    assert len(_rows(reader)) == 1
    assert "not an eval log" in reader.notes.skipped[0].reason


def test_nothing_usable_is_an_error_that_lists_every_reason(write_log: Any, sample_of: Any) -> None:
    other = write_log([sample_of()], "other.eval", task="x/y")
    cut = write_log([sample_of()], "cut.eval")
    _truncate(cut)
    with pytest.raises(LogError) as error:
        read_logs([other, cut])
    assert f"{other}: of another task: x/y" in str(error.value)
    assert f"{cut}: unreadable" in str(error.value)


def test_logs_without_a_usable_sample_are_an_error_once_they_have_been_read(
    write_log: Any, sample_of: Any
) -> None:
    empty = write_log([], "empty.eval", status="started", planned_ids=["a", "b"])
    bad = write_log([sample_of(metadata={"tier": "vip"})], "bad.eval")
    reader = read_logs([empty, bad])
    with pytest.raises(LogError) as error:
        _rows(reader)
    assert "started, no sample of 2" in str(error.value)
    assert "1 sample left out: malformed sample metadata: tier" in str(error.value)


@pytest.mark.parametrize("status", ["started", "cancelled", "error", "success"])
def test_a_log_that_stopped_early_is_used_and_noted(write_log: Any, sample_of: Any, status: str) -> None:
    path = write_log(
        [sample_of("r0")], status=status, planned_ids=["r0/monitored/baseline", "r1/monitored/baseline"]
    )
    reader = read_logs([path])
    assert len(_rows(reader)) == 1
    assert reader.notes.incomplete == ((str(path), status, 1, 2),)


def test_a_complete_log_leaves_no_notes(write_log: Any, sample_of: Any) -> None:
    reader = read_logs([write_log([sample_of(epoch=1), sample_of(epoch=2)], epochs=2)])
    assert len(_rows(reader)) == 2
    assert reader.notes == ReadNotes()


@pytest.mark.parametrize("name", ["log.eval", "log.json"])
def test_samples_marked_as_invalid_are_left_out_and_counted(
    write_log: Any, sample_of: Any, name: str
) -> None:
    provenance = ProvenanceData(author="a reviewer", reason="wrong prompt")
    path = write_log([sample_of("r0"), sample_of("r1", invalidation=provenance)], name, invalidated=True)
    reader = read_logs([path])
    assert [row.meta.request_id for row in _rows(reader)] == ["r0"]
    assert reader.notes.bad_rows == ((str(path), 1, "marked as invalid in Inspect"),)


def test_the_same_sample_in_two_logs_keeps_its_uuid(write_log: Any, sample_of: Any) -> None:
    paths = [write_log([sample_of("r0")], name) for name in ("a.eval", "copy.eval")]
    first, second = _rows(read_logs(paths))
    assert first.uuid == second.uuid


def test_samples_without_uuid_stay_distinct_between_logs_and_epochs(write_log: Any, sample_of: Any) -> None:
    samples = [sample_of("r0", epoch=epoch, uuid=None) for epoch in (1, 2)]
    paths = [write_log(samples, name, epochs=2) for name in ("a.eval", "b.eval")]
    assert len({row.uuid for row in _rows(read_logs(paths))}) == 4


def test_progress_counts_logs_from_zero_to_all(write_log: Any, sample_of: Any) -> None:
    for name in ("a.eval", "b.eval"):
        path = write_log([sample_of()], name)
    seen: list[tuple[int, int]] = []
    _rows(read_logs([path.parent], progress=lambda done, total: seen.append((done, total))))
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_a_reader_can_be_read_twice_and_rows_that_nobody_took_are_still_counted(
    write_log: Any, sample_of: Any
) -> None:
    path = write_log([sample_of("r0"), sample_of("r1", metadata={"tier": "vip"})], status="cancelled")
    reader = read_logs([path])
    headers = [header for header, _ in reader]
    untouched = reader.notes
    assert [header.location for header in headers] == [str(path)]
    assert untouched.incomplete[0].n_read == 1 and untouched.bad_rows[0].n == 1
    assert len(_rows(reader)) == 1
    assert reader.notes == untouched


def _inspect(*args: str, cwd: Path, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "inspect_ai", *args, "--display", "none", "--log-dir", str(cwd)],
        cwd=cwd,
        env={**os.environ, "SECONDS_PER_SAMPLE": "0.02", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _flushed(directory: Path) -> int:
    return sum(len(read_eval_log_sample_summaries(path)) for path in directory.glob("*.eval"))


def test_a_killed_eval_is_read_as_far_as_it_came_and_its_retry_repeats_the_uuids(
    tmp_path: Path, task_meta: Any
) -> None:
    (tmp_path / "slow_task.py").write_text((Path(__file__).parent / "slow_task.py").read_text())
    meta = base64.b64encode(task_meta.model_dump_json().encode()).decode()
    options = [
        "-T",
        f"task_meta={meta}",
        "--model",
        "mockllm/model",
        "--max-samples",
        "2",
        "--log-buffer",
        "4",
    ]
    running = _inspect("eval", "slow_task.py", *options, cwd=tmp_path, SECONDS_PER_SAMPLE="0.4")
    deadline = time.monotonic() + 60
    while _flushed(tmp_path) == 0 and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()

    (killed,) = tmp_path.glob("*.eval")
    reader = read_logs([tmp_path])
    before = _rows(reader)
    assert read_eval_log(killed, header_only=True).status == "started"
    assert 4 <= len(before) < 30
    assert reader.notes.incomplete == ((str(killed), "started", len(before), 30),)
    assert {row.outcome for row in before} == {"accepted"}

    retry = _inspect("eval-retry", str(killed), cwd=tmp_path)
    assert retry.wait(timeout=60) == 0
    reader = read_logs([tmp_path])
    old, new = [(header, list(rows)) for header, rows in reader]
    assert old[0].task_id == new[0].task_id and old[0].eval_id != new[0].eval_id
    assert len(new[1]) == 30
    assert {row.uuid for row in old[1]} < {row.uuid for row in new[1]}


def test_a_sample_that_failed_is_a_row_without_outcome(tmp_path: Path, task_meta: Any) -> None:
    (tmp_path / "slow_task.py").write_text((Path(__file__).parent / "slow_task.py").read_text())
    meta = base64.b64encode(task_meta.model_dump_json().encode()).decode()
    options = ["-T", f"task_meta={meta}", "--model", "mockllm/model", "--limit", "3", "--no-fail-on-error"]
    done = _inspect("eval", "slow_task.py", *options, cwd=tmp_path, FAILING_REQUEST="r1")
    assert done.wait(timeout=60) == 0
    reader = read_logs([tmp_path])
    rows = {row.meta.request_id: row for row in _rows(reader)}
    assert {name: row.outcome for name, row in rows.items()} == {
        "r0": "accepted",
        "r1": None,
        "r2": "accepted",
    }
    assert rows["r1"].error is not None and "this one fails" in rows["r1"].error
    assert reader.notes == ReadNotes()
