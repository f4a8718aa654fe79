"""Steps run in order, failures stop only what needs them, and what is there is not done again.

The commands stand in for `inspect-af` at the process boundary: a small program that does as it is told.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inspect_af.errors import ConfigError
from inspect_af.study import (
    Marks,
    Step,
    StudyState,
    chosen_steps,
    current_states,
    in_order,
    learnt_pace,
    run_steps,
)
from inspect_af.study.text import progress_line, steps_table

PROGRAM = """
import pathlib, sys, time
name, *rest = sys.argv[1:]
with open("ran", "a") as ran:
    ran.write(name + "\\n")
for word in rest:
    if word == "fail":
        sys.exit(3)
    if word.startswith("sleep="):
        time.sleep(float(word[6:]))
    if word.startswith("make="):
        pathlib.Path(word[5:]).write_text(name)
"""


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)
    return sys.executable, "program.py"


def step(id: str, *words: str, needs: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> Step:
    outputs = tuple(word[5:] for word in words if word.startswith("make="))
    return Step(
        id=id,
        kind="vector",
        command=("inspect-af", id, *words),
        needs=needs,
        after=after,
        outputs=outputs,
    )


def run(steps: list[Step], launcher: tuple[str, str], **options: object) -> StudyState:
    chosen = {each.id for each in chosen_steps(steps, options.pop("only", ()), options.pop("skip", ()))}  # type: ignore[call-overload]
    quiet = options.pop("show", lambda state, event: None)
    return run_steps(in_order(steps), chosen, Path("out"), launcher, show=quiet, **options)  # type: ignore[arg-type]


def ran() -> list[str]:
    file = Path("ran")
    return file.read_text().split() if file.exists() else []


def test_steps_run_after_what_they_need_and_never_twice(launcher: tuple[str, str]) -> None:
    steps = [step("c", "make=c", needs=("b",)), step("a", "make=a"), step("b", "make=b", needs=("a",))]
    assert set(run(steps, launcher).states.values()) == {"done"}
    assert ran() == ["a", "b", "c"]
    run(steps, launcher)
    assert ran() == ["a", "b", "c"]
    Path("b").unlink()
    Path("c").unlink()
    run(steps, launcher)
    assert ran() == ["a", "b", "c", "b", "c"]


def test_a_failure_stops_only_what_needs_it_and_is_tried_again_next_time(launcher: tuple[str, str]) -> None:
    steps = [
        step("bad", "fail"),
        step("on-bad", needs=("bad",)),
        step("good", "make=good"),
        step("report", "make=report", after=("on-bad", "good")),
    ]
    events: list[str] = []
    ended = run(steps, launcher, show=lambda state, event: events.append(event))
    assert dict(ended.states) == {"bad": "failed", "on-bad": "waiting", "good": "done", "report": "done"}
    (failed,) = [event for event in events if event.startswith("failed")]
    assert "exit status 3" in failed and "out/steps/bad.log" in failed
    assert "bad fail" in Path("out/steps/bad.log").read_text()
    run(steps, launcher)
    assert ran() == ["bad", "good", "report", "bad"]


def test_a_report_without_anything_to_report_is_not_written(launcher: tuple[str, str]) -> None:
    ended = run([step("bad", "fail"), step("report", after=("bad",))], launcher)
    assert ended.states["report"] == "waiting"


def test_a_command_that_ends_well_without_its_output_has_failed(launcher: tuple[str, str]) -> None:
    liar = step("liar").model_copy(update={"outputs": ("never",)})
    assert run([liar], launcher).states["liar"] == "failed"


def test_what_another_machine_made_counts_and_so_does_what_it_was_made_from(
    launcher: tuple[str, str],
) -> None:
    steps = [step("weights", "make=w"), step("result", "make=r", needs=("weights",))]
    Path("r").write_text("dropped in")
    assert set(run(steps, launcher).states.values()) == {"done"}
    assert ran() == []


def test_a_mark_of_another_command_counts_for_nothing(launcher: tuple[str, str]) -> None:
    assert run([step("a", "one")], launcher).states["a"] == "done"
    run([step("a", "one")], launcher)
    assert ran() == ["a"]
    run([step("a", "two")], launcher)
    assert ran() == ["a", "a"]


def test_only_and_skip_leave_steps_out_and_what_needs_them_waits(launcher: tuple[str, str]) -> None:
    steps = [step("gpu/a", "make=a"), step("cpu/b", "make=b", needs=("gpu/a",)), step("cpu/c", "make=c")]
    ended = run(steps, launcher, skip=["gpu"])
    assert dict(ended.states) == {"gpu/a": "left out", "cpu/b": "waiting", "cpu/c": "done"}
    Path("a").write_text("from the other machine")
    assert set(run(steps, launcher, only=["cpu/*"]).states.values()) == {"done"}
    assert ran() == ["cpu/c", "cpu/b"]
    with pytest.raises(ConfigError, match="no step fits 'tpu'"):
        chosen_steps(steps, ["tpu"], [])


def test_independent_steps_run_side_by_side_where_asked(launcher: tuple[str, str]) -> None:
    steps = [step("a", "sleep=1.5"), step("b", "sleep=1.5")]
    most = 0

    def show(state: StudyState, event: str) -> None:
        nonlocal most
        most = max(most, len(state.ids("running")))

    run(steps, launcher, jobs=2, show=show)
    assert most == 2


def test_an_interrupt_ends_the_running_step_and_the_next_study_runs_it_again(
    launcher: tuple[str, str],
) -> None:
    def interrupt(state: StudyState, event: str) -> None:
        if event == "started slow":
            raise KeyboardInterrupt

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        before = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            run([step("slow", "sleep=30")], launcher, show=interrupt)
        assert time.monotonic() - before < 15
    finally:
        signal.signal(signal.SIGINT, handler)
    assert current_states([step("slow", "sleep=30")], Marks(Path("out"))) == {"slow": "missing"}


def test_seconds_of_an_interrupted_run_count_with_those_of_the_run_that_ends(
    launcher: tuple[str, str],
) -> None:
    slow = step("slow", "sleep=1.2", "make=slow")

    def interrupt(state: StudyState, event: str) -> None:
        if "slow" in state.running_since and time.monotonic() - state.running_since["slow"] > 1:
            raise KeyboardInterrupt

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run([slow], launcher, show=interrupt)
    finally:
        signal.signal(signal.SIGINT, handler)
    run([slow], launcher)
    mark = Marks(Path("out")).read(slow)
    assert mark is not None and mark.state == "done"
    assert mark.seconds > 2.2


def test_a_step_that_a_killed_study_left_running_is_not_run_beside_itself(
    launcher: tuple[str, str], tmp_path: Path
) -> None:
    code = (
        "from tests.study.test_runner import step, run\n"
        f"run([step('slow', 'sleep=8', 'make=slow')], {launcher!r})\n"
    )
    root = str(Path(__file__).parents[2])
    study = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root})
    deadline = time.monotonic() + 60
    while ran() != ["slow"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    study.send_signal(signal.SIGKILL)
    study.wait()
    with pytest.raises(ConfigError, match="a step that a killed one left running"):
        run([step("slow", "sleep=8", "make=slow")], launcher)
    while not Path("slow").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.5)
    assert run([step("slow", "sleep=8", "make=slow")], launcher).states["slow"] == "done"
    assert ran() == ["slow"]


def test_the_time_left_is_learnt_from_steps_of_the_same_kind(launcher: tuple[str, str]) -> None:
    steps = [step("a", "sleep=0.6"), step("b", "sleep=0.6")]
    ended = run(steps, launcher, only=["a"])
    pace = learnt_pace(steps, Marks(Path("out")))
    assert pace.seconds(steps[1]) == pytest.approx(pace.seconds(steps[0]))
    assert 0.5 < (pace.seconds(steps[1]) or 0) < 10
    assert "1 of 2 steps done" in progress_line(ended, pace)
    states = current_states(steps, Marks(Path("out")))
    assert [line.split()[:2] for line in steps_table(steps, states, pace).splitlines()[1:]] == [
        ["done", "a"],
        ["missing", "b"],
    ]


def test_steps_that_wait_for_one_another_are_refused() -> None:
    with pytest.raises(ValueError, match="never comes: a, b"):
        in_order([step("a", needs=("b",)), step("b", needs=("a",))])
    with pytest.raises(ValueError, match="same id"):
        in_order([step("a"), step("a")])
