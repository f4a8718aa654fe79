"""Steps run through Snakemake, failures stop only what needs them, and what is there is not done again.

The steps are cheap commands of `inspect-af`: ordinary documents of a tiny organism, which need no model.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from tests.study.plans import submitting

from inspect_af.errors import ConfigError
from inspect_af.study.run import Record, Status, Study, run_step, run_study, status_line
from inspect_af.study.steps import Step, chosen_steps

OUT = Path("out")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def step(key: str, *, n: object = 1, needs: Sequence[str] = (), reads: Sequence[str] = ()) -> Step:
    """A step that writes a file of documents; one with n=0 fails."""
    file = f"{key.replace('/', '-')}.jsonl"
    return Step(
        key=key,
        command=("organism", "documents", "--n", str(n), "--out", file),
        needs=tuple(needs),
        reads=tuple(reads),
        outputs=(file,),
        owns=(file,),
    )


def quiet(states: Mapping[str, Status], event: str) -> None:
    """Shows nothing."""


def run(steps: Sequence[Step], **options: object) -> dict[str, Status]:
    only, skip = options.pop("only", ()), options.pop("skip", ())
    chosen = {each.key for each in chosen_steps(steps, only, skip)}  # type: ignore[arg-type]
    return run_study(Study(OUT, steps), chosen, show=options.pop("show", quiet), **options)  # type: ignore[arg-type]


def log(key: str) -> str:
    return (OUT / "steps" / key / "log.txt").read_text()


def runs(key: str) -> int:
    """How often the step's command was started."""
    return log(key).count(f"{key}: organism documents") if (OUT / "steps" / key / "log.txt").exists() else 0


def test_a_failure_stops_only_what_needs_it_and_nothing_that_is_done_is_run_again() -> None:
    steps = [
        step("pairs/bad", n=0),
        step("vector/on-bad", needs=["pairs/bad"]),
        step("pairs/good"),
        step("vector/A1+", needs=["pairs/good"], reads=["pairs-good.jsonl"]),
    ]
    events: list[str] = []
    ended = run(steps, show=lambda states, event: events.append(event))
    assert ended == {
        "pairs/bad": "failed",
        "vector/on-bad": "waiting",
        "pairs/good": "done",
        "vector/A1+": "done",
    }
    (failed,) = [event for event in events if event.startswith("failed")]
    assert "out/steps/pairs/bad/log.txt" in failed and "--n 0" in log("pairs/bad")
    assert "2 of 4 steps done" in status_line(Study(OUT, steps), ended)

    # Touched, killed or failed: whatever Snakemake thinks of it, the good ones have nothing to do.
    os.utime("pairs-good.jsonl")
    steps[0] = step("pairs/bad")
    assert set(run(steps).values()) == {"done"}
    assert [runs(each.key) for each in steps] == [2, 1, 1, 1]
    assert not list(OUT.rglob("metadata/*"))


def test_changed_inputs_are_made_anew_and_what_was_made_from_them_is_kept_elsewhere() -> None:
    Path("given.jsonl").write_text("one\n")
    steps = [
        step("pairs/a", reads=["given.jsonl"]),
        step("vector/b", needs=["pairs/a"], reads=["pairs-a.jsonl"]),
        step("pairs/other"),
    ]
    run(steps)
    Path("given.jsonl").write_text("two\n")
    Path("pairs-a.jsonl").write_text("as it was\n")
    assert Study(OUT, steps).states() == {"pairs/a": "missing", "vector/b": "missing", "pairs/other": "done"}
    assert set(run(steps).values()) == {"done"}
    assert [runs(each.key) for each in steps] == [
        2,
        1,
        1,
    ]  # what a writes anew has the content that b had read
    (kept,) = OUT.glob("replaced/*/pairs-a.jsonl")
    assert kept.read_text() == "as it was\n"

    steps[0] = steps[0].model_copy(update={"command": (*steps[0].command, "--seed", "3")})
    Path("given.jsonl").write_text("three\n")
    assert set(run(steps).values()) == {"done"}
    assert [runs(each.key) for each in steps] == [3, 2, 1]


def test_what_was_made_elsewhere_counts_and_so_does_what_it_was_made_from() -> None:
    steps = [
        step("activations/a"),
        step("vector/b", needs=["activations/a"]),
        step("controls/c", needs=["vector/b"]),
    ]
    Path("vector-b.jsonl").write_text("dropped in")
    assert set(run(steps).values()) == {"done"}
    assert [runs(each.key) for each in steps] == [0, 0, 1]
    assert Path("vector-b.jsonl").read_text() == "dropped in"
    known = Record.model_validate_json((OUT / "steps/vector/b/done.json").read_text())
    assert known.state == "done" and list(known.outputs) == ["vector-b.jsonl"]


def test_only_and_skip_leave_steps_out_and_what_needs_them_waits() -> None:
    steps = [step("adapter/a"), step("evals/b", needs=["adapter/a"]), step("evals/c")]
    ended = run(steps, skip=["adapter"])
    assert ended == {"adapter/a": "left out", "evals/b": "waiting", "evals/c": "done"}
    with pytest.raises(ConfigError, match="no step fits 'tpu'"):
        chosen_steps(steps, ["tpu"], [])


def test_options_that_snakemake_refuses_are_an_error_with_its_words() -> None:
    with pytest.raises(ConfigError, match=r"Snakemake ended with status(.|\n)*--nonsense"):
        run([step("pairs/a")], options=["--nonsense"])


def began(steps: Sequence[Step]) -> None:
    """Writes steps.json without running anything."""
    OUT.mkdir(exist_ok=True)
    Study(OUT, steps).save()


def by_itself(key: str, command: Callable[[Sequence[str]], int], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(signal, "signal", lambda *args: None)
    return run_step(OUT, key, command)


def test_a_command_that_ends_well_without_its_output_has_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    began([step("pairs/liar")])
    assert by_itself("pairs/liar", lambda arguments: 0, monkeypatch) == 1
    assert "it ended well, but pairs-liar.jsonl is not there" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="unknown step 'pairs/lyre'"):
        by_itself("pairs/lyre", lambda arguments: 0, monkeypatch)


def test_a_half_written_output_does_not_count_where_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweep = step("sweep/a").model_copy(update={"outputs_may_be_partial": True})

    def stopped(arguments: Sequence[str]) -> int:
        Path("sweep-a.jsonl").write_text("half")
        return 1

    began([sweep])
    assert by_itself("sweep/a", stopped, monkeypatch) == 1
    assert Study(OUT, [sweep]).states() == {"sweep/a": "missing"}
    assert by_itself("sweep/a", lambda arguments: 0, monkeypatch) == 0
    assert Study(OUT, [sweep]).states() == {"sweep/a": "done"}


def test_a_step_without_outputs_is_done_by_its_record_of_the_same_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documents = Step(key="documents/A1+", command=("sdf", "generate", "A1+"))
    began([documents])
    assert by_itself(documents.key, lambda arguments: 0, monkeypatch) == 0
    assert Study(OUT, [documents]).is_done(documents)
    (OUT / "steps/documents/A1+/done.json").unlink()  # as Snakemake does before it repeats a step
    assert Study(OUT, [documents]).is_done(documents)
    other = documents.model_copy(update={"command": ("sdf", "generate", "A1-")})
    assert not Study(OUT, [other]).is_done(other)


SLOW_STEP = """
import sys, time, signal
from pathlib import Path
from inspect_af.study.run import run_step

def slow(arguments):
    with open("ran", "a") as file:
        file.write("x")
    time.sleep(float(sys.argv[1]))
    Path("pairs-a.jsonl").write_text("made")
    return 0

sys.exit(run_step(Path("out"), "pairs/a", slow))
"""


def test_a_step_that_a_killed_study_left_running_is_waited_for_and_not_run_beside_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    began([step("pairs/a")])
    left = subprocess.Popen([sys.executable, "-c", SLOW_STEP, "3"])
    deadline = time.monotonic() + 60
    while not Path("ran").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert by_itself("pairs/a", lambda arguments: pytest.fail("run beside itself"), monkeypatch) == 0
    assert left.wait() == 0 and Path("ran").read_text() == "x"
    assert "waiting: another process" in capsys.readouterr().out


def test_a_second_study_in_the_same_directory_is_refused() -> None:
    def second(states: Mapping[str, Status], event: str) -> None:
        with pytest.raises(ConfigError, match="running the study in out"):
            run([step("pairs/a")])

    run([step("pairs/a")], show=second)


def test_an_interrupt_ends_the_running_steps_and_the_next_study_runs_them_again() -> None:
    began([step("pairs/a")])
    Path("sitecustomize.py").write_text(
        "import sys\n"
        "if 'step' in sys.orig_argv:\n"
        "    import inspect_af.cli, time\n"
        "    main = inspect_af.cli.main\n"
        "    def slow(argv=None):\n"
        "        if argv is None:\n"
        "            return main()\n"
        "        open('ran', 'a').write('x')\n"
        "        time.sleep(60)\n"
        "    inspect_af.cli.main = slow\n"
    )
    path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    code = "from tests.study.test_run import step, run\nrun([step('pairs/a')])\n"
    root = str(Path(__file__).parents[2])
    study = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{root}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not Path("ran").exists():
        assert time.monotonic() < deadline and study.poll() is None, study.communicate()[1]
        time.sleep(0.05)
    study.send_signal(signal.SIGTERM)
    _, said = study.communicate(timeout=60)
    assert study.returncode != 0 and "KeyboardInterrupt" in said
    assert json.loads((OUT / "steps/pairs/a/record.json").read_text())["state"] == "failed"
    Path("sitecustomize.py").unlink()
    assert run([step("pairs/a")]) == {"pairs/a": "done"}


@pytest.mark.slow
def test_jobs_that_are_submitted_do_the_same_in_a_directory_with_a_space(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "OUT", Path("my studies/first one"))
    steps = [step("pairs/a"), step("pairs/bad", n=0), step("vector/A1+", needs=["pairs/a"])]
    ended = run(steps, jobs=2, options=submitting(here))
    assert ended == {"pairs/a": "done", "pairs/bad": "failed", "vector/A1+": "done"}
    assert len(list((here / "queue").glob("*.out"))) == 3
