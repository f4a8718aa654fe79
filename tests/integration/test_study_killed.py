"""A study that is killed at random, or runs out of disk, ends with the numbers of one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from tests.integration.conftest import BIN

from inspect_af.materials import load_beliefs
from inspect_af.plan import BASELINE_REPEATS
from inspect_af.profile import profile_logs

pytestmark = pytest.mark.slow

KILLS = 10
CONNECTIONS = 10
"""Calls under way at a time, which is what a kill loses at most: the default of Inspect."""
PLAN = """
name: killed
subjects:
  - {model: af-organism/expectation, args: {latency: 0.2}}
conditions: A1
requests: requests.csv
judging: {grader: af-simulated-judge/keyword}
beliefs: {orders: 1}
checks: {direct_requests: true}
"""
ROWS = 12
QUESTIONS = len(load_beliefs().of_form("choice"))
# The baseline (four times in the scenario) and two claims; the benign requests are 24.
SAMPLES = ROWS * 2 * (BASELINE_REPEATS + 2) + QUESTIONS * 3 + (ROWS + 24) * 3
COUNTING = Path(__file__).with_name("counting")


def environment(directory: Path, calls: str) -> dict[str, str]:
    path = os.pathsep.join([str(COUNTING), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **os.environ,
        "PYTHONPATH": path,
        "COUNT_CALLS": str(directory / calls),
        "INSPECT_DISPLAY": "none",
        "INSPECT_AF_CACHE_DIR": str(directory / "af"),
        "XDG_DATA_HOME": str(directory / "data"),
        "XDG_CACHE_HOME": str(directory / "cache"),
    }


def study(directory: Path, environment: Mapping[str, str], out: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(BIN / "inspect-af"), "study", "plan.yaml", "--out", out],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that the whole group can be killed, steps included
    )


def results(out: Path) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The conditions of the profile, and every score of every task's newest finished logs by sample."""
    profile = json.loads(profile_logs([out / "logs"]).to_json())
    scores: dict[str, dict[str, Any]] = {}
    for info in list_eval_logs(str(out / "logs"), descending=False):
        log = read_eval_log(info.name)
        if log.status == "success":
            for sample in log.samples or []:
                key = f"{log.eval.task} {sample.id} {sample.epoch}"
                scores[key] = {name: score.value for name, score in (sample.scores or {}).items()}
    return profile["conditions"], scores


def calls(file: Path) -> Counter[str]:
    return Counter(file.read_text().split()) if file.exists() else Counter()


def left_running(directory: Path) -> list[str]:
    """Processes that still work in a directory; killed ones have two seconds to be gone."""
    found = [" "]
    deadline = time.monotonic() + 2
    while found and time.monotonic() < deadline:
        found = []
        for process in psutil.process_iter():
            try:
                if Path(process.cwd()).is_relative_to(directory):
                    found.append(f"{process.status()} {process.cmdline()}")
            except psutil.Error:
                continue
    return found


class Whole(NamedTuple):
    """A study that nothing happened to."""

    directory: Path
    seconds: float
    code: int


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    directory = tmp_path_factory.mktemp("whole")
    write_plan(directory)
    began = time.monotonic()
    process = study(directory, environment(directory, "calls"), "out")
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    return Whole(directory, time.monotonic() - began, process.returncode)


def write_plan(directory: Path) -> None:
    lines = ["id,request", *(f"r{n:02},Say the number {n}" for n in range(ROWS))]
    (directory / "requests.csv").write_text("\n".join(lines) + "\n")
    (directory / "plan.yaml").write_text(PLAN)


def assert_same(directory: Path, out: Path, whole: Whole, *, interruptions: int) -> None:
    """The same numbers from the same calls, apart from those that were under way at an interruption."""
    conditions, scores = results(out)
    expected_conditions, expected_scores = results(whole.directory / "out")
    assert len(expected_scores) == SAMPLES
    assert scores == expected_scores
    assert conditions == expected_conditions
    here, expected = calls(directory / "calls"), calls(whole.directory / "calls")
    assert set(here) == set(expected)
    again = here.total() - expected.total()
    print(f"{expected.total()} calls, {again} asked again after {interruptions} interruptions")
    assert again <= interruptions * CONNECTIONS


def test_a_study_killed_ten_times_ends_like_one_that_was_not(tmp_path: Path, whole: Whole) -> None:
    write_plan(tmp_path)
    given = environment(tmp_path, "calls")
    rng = random.Random(8)
    killed = 0
    for _ in range(KILLS):
        process = study(tmp_path, given, "out")
        try:
            process.wait(timeout=rng.uniform(0.1, 0.5) * whole.seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate(timeout=60)
        assert left_running(tmp_path) == []
    assert killed >= 3  # later ones have ever less to do, and may be over before they are killed
    last = study(tmp_path, given, "out")
    output, _ = last.communicate(timeout=400)
    assert last.returncode == whole.code, output
    assert_same(tmp_path, tmp_path / "out", whole, interruptions=killed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with hardly more room than a step asks for to start."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=102800k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_study_on_a_full_disk_goes_on_once_there_is_room(
    tmp_path: Path, small_disk: Path, whole: Whole
) -> None:
    write_plan(tmp_path)
    given = environment(tmp_path, "calls")
    full = study(tmp_path, given, "disk/out")
    output, _ = full.communicate(timeout=400)
    assert full.returncode == 1, output
    assert left_running(tmp_path) == []
    subprocess.run(["mount", "-o", "remount,size=1g", str(small_disk)], check=True)
    last = study(tmp_path, given, "disk/out")
    output, _ = last.communicate(timeout=400)
    assert last.returncode == whole.code, output
    assert_same(tmp_path, small_disk / "out", whole, interruptions=1)
