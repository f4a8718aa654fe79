"""A study that is killed at random moments ends with the same numbers as one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from tests.integration.conftest import BIN, Commands

from inspect_af.profile import profile_logs

pytestmark = pytest.mark.slow

KILLS = 10
PLAN = """
name: killed
subjects:
  - {model: af-organism/expectation, args: {latency: 0.2}}
conditions: A1
requests: REQUESTS
judging: {grader: af-simulated-judge/keyword}
beliefs: {orders: 1}
checks: {direct_requests: true}
"""
ROWS = 12


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


def test_a_study_killed_ten_times_ends_like_one_that_was_not(commands: Commands, tmp_path: Path) -> None:
    lines = ["id,request", *(f"r{n:02},Say the number {n}" for n in range(ROWS))]
    (tmp_path / "requests.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "plan.yaml").write_text(PLAN.replace("REQUESTS", "requests.csv"))
    environment = {**commands.environment, "INSPECT_AF_CACHE_DIR": str(tmp_path / "af")}

    whole = study(tmp_path, environment, "whole")
    began = time.monotonic()
    output, _ = whole.communicate(timeout=400)
    took = time.monotonic() - began
    assert whole.returncode in (0, 1), output
    assert "evals/expectation/direct" in output and "failed evals" not in output

    rng = random.Random(8)
    killed = 0
    for _ in range(KILLS):
        process = study(tmp_path, environment, "killed")
        try:
            process.wait(timeout=rng.uniform(0.1, 0.35) * took)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate(timeout=60)
    assert killed >= 3  # later ones have ever less to do, and may be over before they are killed
    last = study(tmp_path, environment, "killed")
    output, _ = last.communicate(timeout=400)
    assert last.returncode == whole.returncode, output

    conditions, scores = results(tmp_path / "killed")
    expected_conditions, expected_scores = results(tmp_path / "whole")
    assert len(expected_scores) == ROWS * 2 * 3 + 40 * 3 + (ROWS + 24) * 3
    assert scores == expected_scores
    assert conditions == expected_conditions
