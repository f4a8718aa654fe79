"""Real processes: the commands `inspect` and `inspect-af`, as a user runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log

BIN = Path(sys.executable).parent
COUNTED = Path(__file__).with_name("counted.py")


class Finished(NamedTuple):
    """A process that ended."""

    code: int
    output: str
    """Standard output and standard error, together."""


def _heeds_interrupts() -> None:
    """Shells start background jobs deaf to interrupts, and so would be what a test starts from there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Commands:
    """Runs commands in a directory of their own, with data and caches of their own."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.environment = dict(environment)

    @property
    def calls(self) -> int:
        """Replies that the model has given, over all processes that were started with `counted`."""
        file = self.directory / "calls"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def __call__(self, program: str, *arguments: object) -> Finished:
        process = self.start(program, *arguments)
        output, _ = process.communicate(timeout=120)
        return Finished(process.returncode, output)

    def start(self, program: str, *arguments: object) -> subprocess.Popen[str]:
        """Starts `inspect`, `inspect-af`, or either with its model's replies counted: `counted inspect`."""
        name = program.removeprefix("counted ")
        command = [str(BIN / name)] if name == program else [sys.executable, str(COUNTED), name]
        return subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_heeds_interrupts,
        )

    def interrupt(self, process: subprocess.Popen[str], number: int, *, after: int) -> int:
        """Sends the signal once the model has given `after` replies; returns the exit status."""
        deadline = time.monotonic() + 180  # a machine that does other work takes long to start Python
        while self.calls < after:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, f"{self.calls} replies in three minutes"
            time.sleep(0.02)
        process.send_signal(number)
        process.communicate(timeout=60)
        return process.returncode

    def logs(self, directory: str = "logs") -> list[EvalLog]:
        """All logs in a directory with their samples, oldest first."""
        return [
            read_eval_log(info.name)
            for info in list_eval_logs(str(self.directory / directory), descending=False)
        ]


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    environment = {
        **os.environ,
        "COLUMNS": "400",
        "COUNT_CALLS": str(tmp_path / "calls"),
        "INSPECT_DISPLAY": "none",
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    return Commands(tmp_path, environment)


def outcomes(log: EvalLog) -> dict[tuple[str, int], str]:
    """What each sample and epoch of a log counts as."""
    return {
        (str(sample.id), sample.epoch): (sample.scores or {})["compliance"].as_dict()["outcome"]
        for sample in log.samples or []
        if sample.scores
    }


def uuids(log: EvalLog) -> set[str | None]:
    """The identities of the samples that finished."""
    return {sample.uuid for sample in log.samples or [] if sample.scores}
