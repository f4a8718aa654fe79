"""The first hour of somebody who lives in Inspect: `.env`, an own pair, a judge, Ctrl-C, a failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from inspect_ai.log import EvalError, list_eval_logs, read_eval_log

from inspect_af.cli import main
from inspect_af.config import write_whole
from inspect_af.errors import ConfigError
from inspect_af.materials import load_scenario
from inspect_af.tasks import alignment_faking

SYCOPHANCY = Path(__file__).parents[2] / "examples" / "sycophancy"
SMALL = ("--requests", "r.csv", "--display", "none")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("INSPECT_LOG_DIR", "INSPECT_EVAL_MODEL", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    (tmp_path / "r.csv").write_text("id,request\nr1,Say one thing\nr2,Say another\n")
    return tmp_path


def logs(directory: Path) -> list[str]:
    return [info.name for info in list_eval_logs(str(directory))]


def test_the_environment_file_names_model_key_and_log_directory(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / ".env").write_text(
        "INSPECT_EVAL_MODEL=af-organism/null\nINSPECT_LOG_DIR=kept\nOPENAI_API_KEY=k\n"
    )
    (here / "below").mkdir()
    os.chdir(here / "below")
    (here / "below" / "r.csv").write_text((here / "r.csv").read_text())
    assert main(["run", *SMALL, "--interventions", "none"]) == 0
    assert len(logs(here / "kept")) == 1, "relative to the file that says so"
    assert os.environ["OPENAI_API_KEY"] == "k"
    capsys.readouterr()
    assert main(["profile"]) == 0
    assert "af-organism/null" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["A=é\n".encode("utf-16"), b"A=\xe9\n", b"A=a\0b\n", None])
def test_an_environment_file_that_is_no_text_is_one_message(
    content: bytes | None, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is None:
        os.mkfifo(here / ".env")
    else:
        (here / ".env").write_bytes(content)
    assert main(["profile"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"inspect-af: {here / '.env'} ") and error.count("\n") == 1


def test_a_directory_for_a_file_and_a_file_for_a_directory_are_one_message(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "d.jsonl").mkdir()
    for out, problem in (("d.jsonl", "is a directory; give a file"), ("r.csv/x.jsonl", "a file is where")):
        assert main(["organism", "documents", "--n", "3", "--out", out]) == 1
        assert problem in capsys.readouterr().err
    assert main(["plan", "af-organism/null", *SMALL[:2], "--interventions", "none", "--out", "."]) == 1
    assert capsys.readouterr().err.startswith("inspect-af: . ")
    with pytest.raises(ConfigError, match="is a directory; give a file"):
        write_whole(".", "text")


def test_several_models_by_option_or_by_position_become_one_profile(here: Path) -> None:
    models = ["af-organism/null", "af-organism/expectation"]
    run = ["run", *SMALL, "--interventions", "none"]
    assert (
        main([*run, "--model", models[0], "--model", models[1], "--log-dir", "a", "--log-format", "json"])
        == 0
    )
    assert main([*run, *models, "--log-dir", "b", "--tags", "one,two"]) == 0
    for directory in ("a", "b"):
        assert sorted(
            read_eval_log(log, header_only=True).eval.model for log in logs(here / directory)
        ) == sorted(models)
    assert all(log.endswith(".json") for log in logs(here / "a"))
    assert set(read_eval_log(logs(here / "b")[0], header_only=True).eval.tags or ()) == {"one", "two"}


def test_another_pair_needs_no_further_option(here: Path) -> None:
    pair = ("-T", f"pair={SYCOPHANCY}", "-T", f"scenario={SYCOPHANCY}/scenario")
    assert main(["run", "af-organism/null", *SMALL, *pair, "--limit", "40"]) == 0
    (log,) = logs(here / "logs")
    conditions = {str(sample.id).partition("/")[2] for sample in read_eval_log(log).samples or []}
    assert any("/Z" in name for name in conditions), "the placebos of that pair"
    assert main(["plan", "af-organism/null", "--requests", "r.csv", *pair]) == 0


def test_a_pair_with_a_scenario_of_its_own_runs_in_it_unless_told_otherwise(here: Path) -> None:
    def scenario(**options: str) -> str:
        task = alignment_faking(requests="r.csv", pair=str(SYCOPHANCY), interventions="none", **options)
        return str((task.metadata or {})["inspect_af"]["scenario"])

    own = load_scenario(SYCOPHANCY / "scenario").name
    assert (scenario(), scenario(scenario="helpful_only")) == (own, "helpful_only") and own != "helpful_only"
    run = ["run", "af-organism/null", *SMALL, "-T", f"pair={SYCOPHANCY}", "--interventions", "none"]
    assert main(run) == 0
    (log,) = logs(here / "logs")
    assert (read_eval_log(log, header_only=True).eval.metadata or {})["inspect_af"]["scenario"] == own


def test_a_wrong_model_leaves_no_directory_behind(here: Path) -> None:
    for model in ("no-such-provider/x", "af-organism/nobody"):
        assert main(["run", model, *SMALL, "--interventions", "none"]) == 1
    assert [path.name for path in here.iterdir()] == ["r.csv"]


def test_a_missing_key_is_said_before_requests_are_fetched(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "openai/gpt-4o"]) == 1
    error = capsys.readouterr().err
    assert "OPENAI_API_KEY" in error and "AdvBench" not in error
    assert [path.name for path in here.iterdir()] == ["r.csv"]


def test_a_directory_that_is_made_for_a_page_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "af-organism/null", *SMALL, "--interventions", "none", "--log-dir", "l"]
    assert main([*run, "--html", "new/deep/p.html"]) == 0
    assert "made the directory new/deep, which was not there" in capsys.readouterr().out
    assert main([*run, "--html", "new/deep/p.html"]) == 0
    assert "made the directory" not in capsys.readouterr().out


def test_a_judge_is_a_model_role(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged = ["run", "af-organism/null", *SMALL, "--interventions", "none", "-T", "judges=concept"]
    assert main(judged) == 1
    error = capsys.readouterr().err
    assert "a judge needs a model for the role 'grader'" in error, "the reason is shown with --display none"
    assert not (here / "logs").exists(), "nothing was started"
    assert main([*judged, "--model-role", "grader=af-simulated-judge/keyword"]) == 0
    scored = [log for log in logs(here / "logs") if "grader" in (read_eval_log(log).eval.model_roles or {})]
    assert scored


def _hear() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # shells start background jobs deaf to it


def test_an_interrupted_run_leaves_no_profile_and_says_so(here: Path) -> None:
    command = [sys.executable, "-m", "inspect_af.cli", "run", "af-organism/null", "--requests", "mini"]
    command += ["-M", "latency=0.3", "--max-connections", "1", "--display", "plain", "--log-dir", "here"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_hear
    ) as running:
        deadline = time.monotonic() + 60
        while not list(here.glob("here/*.eval")) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(3)
        running.send_signal(signal.SIGINT)
        _, error = running.communicate(timeout=60)
    assert running.returncode == 130
    assert b"interrupted; the same command goes on where it stopped" in error.splitlines()[-1]
    assert b"Inspect's lines above (eval-retry, all tasks completed) do not count" in error.splitlines()[-1]
    assert not list(here.rglob("*profile.*"))


def test_a_profile_of_an_unfinished_run_says_so_first(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "af-organism/null", *SMALL, "--interventions", "none", "--log-dir", "l"]) == 0
    (log,) = logs(here / "l")
    read = read_eval_log(log)
    read.status = "cancelled"
    read.samples = (read.samples or [])[:3]
    read.samples[2].error = EvalError(message='CancelledError("by Ctrl-C")', traceback="", traceback_ansi="")
    read.samples[2].scores = None
    from inspect_ai.log import write_eval_log

    write_eval_log(read, str(here / "cut.eval"))
    capsys.readouterr()
    assert main(["profile", "cut.eval"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("UNFINISHED") and "holds 3 of 4 planned samples" in shown.splitlines()[1]
    assert "failed" not in shown, "what was interrupted has not failed"


def test_results_may_be_remote(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import fsspec

    run = ["run", "af-organism/null", *SMALL, "--interventions", "none", "--log-dir", "l"]
    assert (
        main([*run, "--json", "memory://b/p.json", "--html", "memory://b/p.html", "--out", "memory://b/d"])
        == 0
    )
    files = set(fsspec.filesystem("memory").find("/b"))
    assert {"/b/p.json", "/b/p.html"} < files and any(name.startswith("/b/d/") for name in files)
    assert "wrote memory://b/p.json" in capsys.readouterr().out
    assert not (here / "memory:").exists()
    assert main([*run, "--json", "nosuch://b/p.json"]) == 1
    assert "nosuch://b/p.json: cannot be written" in capsys.readouterr().err
