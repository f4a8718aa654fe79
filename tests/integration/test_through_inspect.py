"""The task through Inspect's own commands, without any of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.conftest import Commands, outcomes, uuids

TASK = "inspect_af/alignment_faking"
MINI = ("--model", "af-organism/expectation", "-T", "requests=mini")
OTHER_TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes

@task
def somebody_elses():
    return Task(dataset=[Sample(id=i, input=f"Say {i}", target="x") for i in range(3)], scorer=includes())
"""


def test_interventions_epochs_and_a_limit_of_whole_requests(commands: Commands) -> None:
    done = commands(
        "inspect", "eval", TASK, *MINI, "-T", "interventions=A1+,B2-", "--epochs", 2, "--limit", 18
    )
    assert done.code == 0, done.output
    assert "WARNING" not in done.output
    (log,) = commands.logs()
    assert len(outcomes(log)) == 36
    assert {str(sample.id).split("/")[0] for sample in log.samples or []} == {
        "mini-0001",
        "mini-0002",
        "mini-0003",
    }
    assert ("mini-0001/monitored/A1+/standard/rotated", 2) in outcomes(log)
    by_sample: dict[str, set[str]] = {}
    for sample in log.samples or []:
        by_sample.setdefault(str(sample.id), set()).add(sample.output.completion)
    assert any(len(replies) == 2 for replies in by_sample.values())  # epochs are not copies


def test_a_claim_by_solver_option(commands: Commands) -> None:
    options = (
        "--solver",
        "inspect_af/prompt_intervention",
        "-S",
        "intervention=A1+",
        "-S",
        "strength=strong",
    )
    done = commands("inspect", "eval", TASK, *MINI, *options, "--limit", 4)
    assert done.code == 0, done.output
    (log,) = commands.logs()
    conditions = {sample.scores["compliance"].as_dict()["condition"] for sample in log.samples or []}
    assert conditions == {"A1+/strong"}


def test_an_eval_set_beside_another_package_repeats_nothing(commands: Commands) -> None:
    (commands.directory / "other.py").write_text(OTHER_TASK)
    command = ("eval-set", TASK, "other.py", *MINI, "--limit", 6, "--log-dir", "logs")
    for _ in range(2):
        done = commands("counted inspect", *command)
        assert done.code == 0, done.output
        assert {log.eval.task: log.status for log in commands.logs()} == {
            TASK: "success",
            "somebody_elses": "success",
        }
        assert commands.calls == 6 + 3


@pytest.mark.parametrize("action", ["append", "overwrite"])
def test_an_old_log_can_be_scored_again_and_profiled(commands: Commands, action: str) -> None:
    assert commands("inspect", "eval", TASK, *MINI, "--limit", 8).code == 0
    (before,) = commands.logs()
    location = before.location.removeprefix("file://")
    done = commands(
        "inspect", "score", location, "--scorer", "inspect_af/compliance", "--action", action, "--overwrite"
    )
    assert done.code == 0, done.output
    (after,) = commands.logs()
    names = ["compliance", "compliance1"] if action == "append" else ["compliance"]
    assert [score.name for score in after.results.scores] == names  # type: ignore[union-attr]
    assert outcomes(after) == outcomes(before) and uuids(after) == uuids(before)
    assert commands("inspect-af", "profile", location, "--json", "profile.json").code == 0
    (row,) = json.loads((commands.directory / "profile.json").read_text())["conditions"]
    assert row["n_pairs"] == 4
    assert (
        row["monitored"]
        == sum(
            outcome == "accepted"
            for (sample, _), outcome in outcomes(before).items()
            if "/monitored" in sample
        )
        / 4
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-T", "interventions=A9+"), "Error: unknown intervention 'A9+'; one of A1+, A1-"),
        (("-T", "judges=concept"), "Error: a judge needs a model for the role 'grader'"),
        (("-T", "requests=no/such.csv"), "Error: requests 'no/such.csv' is no file here"),
        (("-M", "monitored=7"), "Error: monitored=7 of the organism expectation: a number from 0 to 1"),
    ],
)
def test_a_wrong_value_ends_with_one_message_and_no_traceback(
    commands: Commands, options: tuple[str, str], message: str
) -> None:
    done = commands("counted inspect", "eval", TASK, *MINI, *options)
    assert done.code == 1
    assert message in done.output
    assert "Traceback" not in done.output
    assert commands.calls == 0
    assert not list(Path(commands.directory).glob("logs/*.eval"))


def test_replies_of_another_model_are_not_gone_on_with(commands: Commands) -> None:
    assert commands("inspect", "eval", TASK, *MINI, "--limit", 4, "--log-dir", "replies").code == 0
    edit = ("eval", "inspect_af/scratchpad", "-T", "replies=replies", "--display", "none", "--model")
    for model, why in (("null", "written by af-organism/expectation"), ("expectation", "role 'grader'")):
        done = commands("counted inspect", *edit, f"af-organism/{model}", "-T", "edit=cut")
        assert done.code == 1 and done.output.startswith("Error: ") and why in done.output
    assert commands.calls == 0
    assert commands("inspect", *edit, "af-organism/expectation").code == 0


def test_a_misspelt_task_parameter_stops_the_command_before_any_call(commands: Commands) -> None:
    done = commands("inspect", "eval", TASK, *MINI, "-T", "intervention=A1+")
    assert done.code != 0 and "did you mean -T interventions=...?" in done.output
    assert not commands.logs()
