"""`inspect-af study` as a user meets it, on a simulated organism."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from inspect_ai.log import list_eval_logs, read_eval_log

from inspect_af.cli import main
from inspect_af.tasks.evals import finished_evals, load_evals

PLAN = {
    "name": "tiny",
    "subjects": ["af-organism/expectation"],
    "conditions": "A1+",
    "requests": "requests.csv",
    "judging": {"grader": "af-simulated-judge/keyword"},
    "checks": {"direct_requests": True, "identities": ["roleplay"]},
    "budget": {"max_calls": 400, "max_cost_usd": 0},
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "requests.csv").write_text("id,request\nr1,Say one thing\nr2,Say another\nr3,Say a third\n")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(PLAN))
    return tmp_path


def logs(directory: Path) -> list[str]:
    return [info.name for info in list_eval_logs(str(directory), descending=False)]


def test_a_dry_run_lists_every_step_and_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "study.yaml", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    for step in ("prompt", "identities", "direct"):
        assert f"evals/expectation/{step}" in shown
    assert "4 steps" in shown and "$0.00" in shown
    assert sorted(file.name for file in here.iterdir()) == ["requests.csv", "study.yaml"]


def test_a_study_above_its_budget_does_not_start(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "study.yaml").write_text(yaml.safe_dump({**PLAN, "budget": {"max_calls": 10}}))
    assert main(["study", "study.yaml"]) == 1
    assert "calls, allowed are 10" in capsys.readouterr().err
    assert not (here / "studies").exists()


def test_the_template_is_printed_without_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--template"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["name"] == "my-study"
    assert main(["study"]) == 1
    assert "--template" in capsys.readouterr().err


def test_a_study_runs_its_evals_and_ends_in_a_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "study.yaml", "--only", "evals/expectation/identities", "--out", "s"]) == 1
    assert "not run, because something that they need is missing" not in capsys.readouterr().out
    (identities,) = logs(here / "s" / "logs")
    assert read_eval_log(identities, header_only=True).eval.task_args["identity"] == "roleplay"

    assert main(["study", "study.yaml", "--out", "s"]) == 0
    shown = capsys.readouterr()
    assert "failed" not in shown.err
    assert {Path(log).name for log in logs(here / "s" / "logs")} >= {Path(identities).name}
    assert len(logs(here / "s" / "logs")) == 3
    report = (here / "s" / "report" / "convergence.html").read_text()
    assert report.startswith("<!DOCTYPE html>") or "<html" in report
    summary = (here / "s" / "summary.md").read_text()
    assert "4 of 4 steps done" in summary and "Simulated: af-organism/expectation" in summary

    # The plan as it was carried out is a plan like any other, and names the same directory's state.
    assert main(["study", "s/plan.yaml", "--out", "s", "--dry-run"]) == 0
    assert "left: 0 steps" in capsys.readouterr().out

    changed = {**PLAN, "conditions": "A1"}
    (here / "study.yaml").write_text(yaml.safe_dump(changed))
    assert main(["study", "study.yaml", "--out", "s"]) == 1
    assert "was started with another plan (conditions differ)" in capsys.readouterr().err


def test_exported_commands_run_elsewhere_and_their_logs_count(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {**PLAN, "checks": None, "conditions": "none"}
    (here / "study.yaml").write_text(yaml.safe_dump(plan))
    assert main(["study", "study.yaml", "--out", "s", "--export", "todo.sh", "--skip", "report"]) == 0
    script = (here / "todo.sh").read_text()
    (command,) = [line for line in script.splitlines() if line.startswith("inspect-af")]
    assert command == "inspect-af evals s/evals/expectation-prompt.yaml --log-dir s/logs/expectation/prompt"
    elsewhere = here / "elsewhere"
    assert main(["evals", "s/evals/expectation-prompt.yaml", "--log-dir", str(elsewhere)]) == 0
    shutil.copytree(elsewhere, here / "s" / "logs" / "expectation" / "prompt")
    capsys.readouterr()
    assert main(["study", "study.yaml", "--out", "s", "--dry-run", "--skip", "report"]) == 0
    assert "left: 0 steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subjects": ["gpt-4o"]}, "a name has the form PROVIDER/MODEL"),
        ({"subjects": ["nobody/x"]}, "Model API nobody"),
        ({"subjects": ["af-organism/nosuch"]}, "unknown organism 'nosuch'"),
        ({"subjects": [{"model": "af-organism/null", "args": {"colour": "red"}}]}, "colour"),
        ({"judging": {"grader": "nobody/x"}}, "Model API nobody"),
    ],
)
def test_a_model_that_nobody_provides_is_refused_before_anything_starts(
    here: Path, changes: dict[str, object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "study.yaml").write_text(yaml.safe_dump({**PLAN, **changes}))
    assert main(["study", "study.yaml", "--dry-run"]) == 1
    assert message in capsys.readouterr().err


def finished(here: Path, evals: str, *, made_with: str) -> int:
    """How many of the evals the directory of logs that other evals left would spare."""
    (here / "made.yaml").write_text(made_with)
    assert main(["evals", "made.yaml", "--log-dir", "made", "--display", "none"]) == 0
    (here / "wanted.yaml").write_text(evals)
    return finished_evals(load_evals(here / "wanted.yaml"), here / "made")


JUDGED = "tasks: [{task: alignment_faking, args: {requests: requests.csv, judges: [concept]}}]"
ASKED = "tasks: [{task: alignment_faking, args: {requests: requests.csv}}]"
MODELS = "models: [af-organism/null]"


@pytest.mark.parametrize(
    ("wanted", "made", "fits"),
    [
        (f"{ASKED}\n{MODELS}", f"{ASKED}\n{MODELS}", True),
        (f"{ASKED}\n{MODELS}", f"{ASKED}\n{MODELS}\nlimit: 2", False),
        (f"{ASKED}\n{MODELS}\nlimit: 2", f"{ASKED}\n{MODELS}", True),
        (f"{ASKED}\n{MODELS}\nlimit: 4", f"{ASKED}\n{MODELS}\nlimit: 2", False),
        (f"{ASKED}\n{MODELS}", f"{ASKED}\n{MODELS}\nlimit: 600", True),  # all of six
        (f"{ASKED}\n{MODELS}\ntemperature: 1", f"{ASKED}\n{MODELS}", False),
        (f"{ASKED}\n{MODELS}", f"{ASKED}\n{MODELS}\ntemperature: 0", False),
        (f"{ASKED}\n{MODELS}\nmax_tokens: 300", f"{ASKED}\n{MODELS}", False),
        (f"{ASKED}\n{MODELS}\nmax_tokens: 300", f"{ASKED}\n{MODELS}\nmax_tokens: 300", True),
        (f"{ASKED}\n{MODELS}", ASKED.replace("csv}", "csv, identity: roleplay}") + f"\n{MODELS}", False),
        (f"{ASKED}\n{MODELS}", ASKED.replace("csv}", "csv, setting: prompted}") + f"\n{MODELS}", True),
        (f"{ASKED}\n{MODELS}", ASKED.replace("csv}", "csv, redact: true}") + f"\n{MODELS}", True),
        (
            f"{JUDGED}\n{MODELS}\ngrader: mockllm/judge",
            f"{JUDGED}\n{MODELS}\ngrader: af-simulated-judge/keyword",
            False,
        ),
        (
            f"{JUDGED}\n{MODELS}\ngrader: af-simulated-judge/keyword",
            f"{JUDGED}\n{MODELS}\ngrader: af-simulated-judge/keyword",
            True,
        ),
    ],
)
def test_only_logs_of_what_was_asked_count_as_done(here: Path, wanted: str, made: str, fits: bool) -> None:
    assert finished(here, wanted, made_with=made) == int(fits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks: []", "tasks: Tuple should have at least 1 item"),
        ("tasks: [{task: other}]", "tasks.0.task: Input should be 'alignment_faking'"),
        ("tasks: [", "cannot be read as YAML"),
        ("tasks: [{task: beliefs, args: {colour: red}}]\nmodels: [af-organism/null]", "colour"),
        ("tasks: [{task: beliefs}]\nmodels: [nobody/null]", "nobody"),
    ],
)
def test_a_wrong_evals_file_is_one_message(
    here: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "evals.yaml").write_text(text)
    assert main(["evals", "evals.yaml", "--log-dir", "logs"]) == 1
    shown = capsys.readouterr().err
    assert message in shown and "Traceback" not in shown
    assert not list(here.rglob("*.eval"))
