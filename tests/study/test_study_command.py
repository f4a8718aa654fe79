"""`inspect-af study` as a user meets it, on a simulated organism."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from inspect_ai.log import list_eval_logs, read_eval_log

from inspect_af.cli import main
from inspect_af.study.draft import read_study_plan
from inspect_af.study.steps import build_steps
from inspect_af.tasks.evals import Evals, finished_evals, run_evals

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
    assert "evals/expectation/untouched" in shown
    assert "2 steps" in shown and "$0.00" in shown
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
    assert main(["study", "study.yaml", "--only", "evals", "--out", "s"]) == 1
    assert "left out here: report" in capsys.readouterr().out
    groups = [Path(log).parent.name for log in logs(here / "s" / "logs")]
    assert groups == ["prompt", "identities", "direct"]
    identities = read_eval_log(logs(here / "s" / "logs" / "expectation" / "identities")[0], header_only=True)
    assert identities.eval.task_args["identity"] == "roleplay"

    before = logs(here / "s" / "logs")
    assert main(["study", "study.yaml", "--out", "s"]) == 0
    shown = capsys.readouterr()
    assert "failed" not in shown.err
    assert logs(here / "s" / "logs") == before
    report = (here / "s" / "report" / "convergence.html").read_text()
    assert report.startswith("<!DOCTYPE html>") or "<html" in report
    summary = (here / "s" / "summary.md").read_text()
    assert "2 of 2 steps done" in summary and "Simulated: af-organism/expectation" in summary

    # The plan as it was carried out is a plan like any other, and names the same directory's state.
    assert main(["study", "s/plan.yaml", "--out", "s", "--dry-run"]) == 0
    assert "left: 0 steps" in capsys.readouterr().out

    changed = {**PLAN, "conditions": "A1"}
    (here / "study.yaml").write_text(yaml.safe_dump(changed))
    assert main(["study", "study.yaml", "--out", "s"]) == 1
    assert "was started with another plan (conditions differ)" in capsys.readouterr().err


def test_logs_that_were_made_elsewhere_count_and_those_of_changed_content_are_made_anew(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = files("inspect_af.materials") / "scenario" / "helpful_only"
    for name in ("one", "two"):
        shutil.copytree(str(source), name)
    subjects = [
        {"model": f"af-organism/{k}", "args": {"scenario": s}}
        for k, s in (("null", "one"), ("expectation", "two"))
    ]
    plan = {**PLAN, "checks": None, "conditions": "none", "subjects": subjects}
    (here / "study.yaml").write_text(yaml.safe_dump(plan))
    made = build_steps(read_study_plan(Path("study.yaml")), Path("s"))
    for step in made:
        for each in step.evals:
            assert run_evals(each.evals, Path("elsewhere") / Path(each.logs).relative_to("s"), display="none")
    shutil.copytree("elsewhere", "s")
    assert main(["study", "study.yaml", "--out", "s", "--dry-run", "--skip", "report"]) == 0
    assert "left: 0 steps" in capsys.readouterr().out

    before = logs(here / "s" / "logs")
    criteria = here / "one" / "criteria.txt"
    criteria.write_text(criteria.read_text() + "One more.\n")
    assert main(["study", "study.yaml", "--out", "s"]) == 0
    after = logs(here / "s" / "logs")
    (kept,) = set(before) & set(after)
    assert "/expectation/" in kept and len(after) == 2
    (moved,) = (here / "s" / "replaced").rglob("*.eval")
    assert "null/prompt" in str(moved)


def test_a_finished_plan_whose_words_were_edited_is_refused_and_nothing_is_replaced(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {**PLAN, "judging": None, "checks": None, "conditions": "none"}
    (here / "study.yaml").write_text(yaml.safe_dump(plan))
    assert main(["study", "study.yaml", "--out", "s"]) == 0
    before = logs(here / "s" / "logs")
    (here / "requests.csv").write_text("id,request\nr1,Say something else\n")
    capsys.readouterr()
    assert main(["study", "s/plan.yaml", "--out", "s"]) == 1
    assert "the requests requests.csv had digest" in capsys.readouterr().err
    assert logs(here / "s" / "logs") == before


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


def finished(evals: str, *, made_with: str) -> int:
    """How many of the evals the directory of logs that other evals left would spare."""
    assert run_evals(Evals.model_validate(yaml.safe_load(made_with)), Path("made"), display="none")
    return finished_evals(Evals.model_validate(yaml.safe_load(evals)), Path("made"))


JUDGED = "tasks: [{task: alignment_faking, args: {requests: requests.csv, judges: [concept]}}]"
ASKED = "tasks: [{task: alignment_faking, args: {requests: requests.csv}}]"
OPEN = "tasks: [{task: beliefs, args: {questions: open}}]"
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
        (f"{ASKED}\n{MODELS}", f"{ASKED}\n{MODELS}\nsettings: {{top_p: 0.5}}", False),
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
            f"{OPEN}\n{MODELS}\ngrader: mockllm/judge",
            f"{OPEN}\n{MODELS}\ngrader: af-simulated-judge/keyword",
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
    assert finished(wanted, made_with=made) == int(fits)
