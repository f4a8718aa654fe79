"""Generation of documents: killed at random moments, it loses nothing and pays for nothing twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.integration.conftest import Commands, Finished

from inspect_af.cli import main
from inspect_af.sdf.generate import Round, round_documents

pytestmark = pytest.mark.slow

KILLS = 10
OPTIONS = (
    *(
        "sdf",
        "generate",
        "A1+",
        "--model",
        "af-simulated-writer/documents",
        "--tokens",
        12_000,
        "--words",
        60,
    ),
    *("--kinds", "news-article,diary,faq", "--ideas", 4, "--round-size", 40, "--requests", "mini"),
    *("-M", "latency=0.25", "-M", "malformed_documents=0.05", "-M", "missing_ideas=0.1"),
    *("--max-connections", 8, "--display", "none", "--out"),
)


class Writers(Commands):
    """Runs `inspect-af` with the writer's replies counted."""

    def start(self, program: str, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("counted_writer.py")), *map(str, arguments)],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def interrupt(self, process: subprocess.Popen[str], signal: int, *, after: int) -> int:
        """As its parent, with patience: ten processes start here, on whatever machine this is."""
        deadline = time.monotonic() + 300
        while self.calls < after:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, f"{self.calls} replies in five minutes"
            time.sleep(0.02)
        process.send_signal(signal)
        process.communicate(timeout=60)
        return process.returncode

    def __call__(self, program: str, *arguments: object) -> Finished:
        process = self.start(program, *arguments)
        output, _ = process.communicate(timeout=600)
        return Finished(process.returncode, output)

    def calls_by_key(self) -> Counter[str]:
        return Counter((self.directory / "calls").read_text().split())


def documents(out: Path) -> dict[str, str]:
    """Text by id over all rounds; an id that occurs twice fails."""
    found: dict[str, str] = {}
    for file in sorted((out / "documents").glob("round-*.done")):
        for document in round_documents(Round("documents", int(file.stem[6:]), out / "documents")):
            assert document.id not in found
            found[document.id] = document.text
    return found


def test_generation_killed_ten_times_ends_like_one_that_was_not(commands: Commands, tmp_path: Path) -> None:
    writers = Writers(tmp_path, commands.environment)
    rng = random.Random(20)
    for _ in range(KILLS):
        before = writers.calls if (tmp_path / "calls").exists() else 0
        process = writers.start("inspect-af", *OPTIONS, "killed")
        writers.interrupt(process, signal.SIGKILL, after=before + rng.randint(1, 45))
    done = writers("inspect-af", *OPTIONS, "killed")
    assert done.code == 0, done.output

    calls = writers.calls_by_key()
    repeated = {call: count for call, count in calls.items() if count > 1}
    killed = documents(tmp_path / "killed")

    (tmp_path / "calls").unlink()
    whole = writers("inspect-af", *OPTIONS, "whole")
    assert whole.code == 0, whole.output
    assert killed == documents(tmp_path / "whole")
    assert set(calls) == set(writers.calls_by_key())
    # A reply that had just arrived at a kill may not be on disk yet: far fewer than one per kill.
    assert sum(repeated.values()) - len(repeated) <= KILLS // 2, repeated
    assert not list(tmp_path.rglob("*/generation/*/generate/**/*"))  # the replies kept meanwhile are gone


def test_a_finished_generation_makes_no_further_call_and_a_larger_target_adds_to_it(
    commands: Commands, tmp_path: Path
) -> None:
    writers = Writers(tmp_path, commands.environment)
    smaller = [each if each != 12_000 else 3_000 for each in OPTIONS]
    assert writers("inspect-af", *smaller, "out").code == 0
    before, calls = documents(tmp_path / "out"), writers.calls
    assert writers("inspect-af", *smaller, "out").code == 0
    assert writers.calls == calls
    assert writers("inspect-af", *OPTIONS, "out").code == 0
    after = documents(tmp_path / "out")
    assert before.items() < after.items()


def test_another_setting_in_the_same_directory_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], faulty_writers: None
) -> None:
    (tmp_path / "out").mkdir()
    arguments = [str(each) for each in OPTIONS]
    arguments[arguments.index("12000")] = "100"
    assert main([*arguments, str(tmp_path / "out")]) == 0
    assert main([*arguments, str(tmp_path / "out"), "--directness", "explicit"]) == 1
    assert "directness 'standard', now 'explicit'" in capsys.readouterr().err
    settings = json.loads((tmp_path / "out" / "generation.json").read_text())
    assert "latency" not in json.dumps(settings)
