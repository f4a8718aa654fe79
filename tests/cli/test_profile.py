"""`inspect-af profile` on logs of every kind: what cannot be used is named, the rest is analysed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, write_eval_log

from inspect_af.cli import main
from inspect_af.solvers import prompt_intervention
from inspect_af.tasks import alignment_faking, beliefs, direct_requests

Run = Callable[..., EvalLog]


@pytest.fixture
def good(run_eval: Run, requests_file: Path, tmp_path: Path) -> Path:
    log = run_eval(alignment_faking(requests=str(requests_file)))
    (tmp_path / "set").mkdir()
    return Path(shutil.copy(log.location.removeprefix("file://"), tmp_path / "set" / "good.eval"))


def profiled(file: Path, *logs: Path) -> dict:
    assert main(["profile", *map(str, logs), "--json", str(file)]) == 0
    return json.loads(file.read_text())


def test_bad_logs_are_named_and_the_others_are_analysed(
    good: Path, run_eval: Run, requests_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = profiled(tmp_path / "alone.json", good)
    directory = good.parent
    (directory / "cut.eval").write_bytes(good.read_bytes()[:2000])
    shutil.copy(good, directory / "twice.eval")
    other = run_eval(Task(dataset=[Sample(input="Say it")], name="somebody_elses"))
    shutil.copy(other.location.removeprefix("file://"), directory / "other.eval")

    mixed = profiled(tmp_path / "mixed.json", directory)
    assert mixed["conditions"] == alone["conditions"]
    notes = [note for note in mixed["notes"] if str(directory) in note]
    assert any("cut.eval: unreadable: not a complete .eval log" in note for note in notes)
    assert not any("EOCD" in note for note in notes)
    assert any("other.eval: of another task: somebody_elses" in note for note in notes)
    assert any(note.startswith("In more than one log and counted once: 8 replies") for note in notes)


def test_a_cancelled_log_counts_for_what_it_holds(good: Path, run_eval: Run, tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(good))
    log.status, log.samples = "cancelled", (log.samples or [])[:4]
    write_eval_log(log, str(tmp_path / "cancelled.eval"))
    profile = profiled(tmp_path / "p.json", tmp_path / "cancelled.eval")
    assert profile["conditions"][0]["n_pairs"] == 2
    assert any("Incomplete (cancelled)" in note and "4 of 8" in note for note in profile["notes"])
    log.samples, log.status = read_eval_log(str(good)).samples, "error"
    write_eval_log(log, str(tmp_path / "whole.eval"))
    (note,) = (n for n in profiled(tmp_path / "p.json", tmp_path / "whole.eval")["notes"] if "whole" in n)
    assert note.endswith("8 of 8 planned samples, but Inspect does not record its run as finished.")


def test_without_a_baseline_the_arms_are_given_and_the_verdict_says_why_not(
    run_eval: Run, requests_file: Path, tmp_path: Path
) -> None:
    log = run_eval(
        alignment_faking(requests=str(requests_file)), solver=prompt_intervention(intervention="A1+")
    )
    profile = profiled(tmp_path / "p.json", Path(log.location.removeprefix("file://")))
    (row,) = profile["conditions"]
    assert row["intervention"] == "A1+" and row["n_pairs"] == 4
    assert "neither the untouched subject nor a placebo was run" in profile["verdict_sentence"]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "no such log or directory"),
        ("empty", "no eval logs in"),
        ("cut.eval", "cut.eval: unreadable: not a complete .eval log (truncated, or"),
    ],
)
def test_nothing_to_read_is_one_message_and_status_1(
    what: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.eval").write_bytes(b"PK\x03\x04 cut off")
    assert main(["profile", str(tmp_path / what)]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_an_unknown_strength_and_a_missing_plan_are_refused(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", str(good), "--plan", str(tmp_path / "no.yaml")]) == 1
    assert "cannot read the plan" in capsys.readouterr().err


def test_logs_of_beliefs_and_direct_requests_alone_give_their_tables_and_no_profile(
    run_eval: Run, requests_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = run_eval(beliefs(interventions="A1+", orders=1)).location
    direct = run_eval(
        direct_requests(requests=str(requests_file), benign=None),
        model_roles={"grader": "af-simulated-judge/keyword"},
    ).location
    assert main(["profile", asked, direct]) == 0
    shown = capsys.readouterr().out
    assert "Beliefs of af-organism/expectation" in shown and "A1+" in shown
    assert "Direct requests to af-organism/expectation" in shown
    assert "No profile: none of these logs is of inspect_af/alignment_faking" in shown

    file = tmp_path / "p.json"
    assert main(["profile", asked, "--json", str(file)]) == 1
    assert "--json: none of these logs is of inspect_af/alignment_faking" in capsys.readouterr().err
    assert not file.exists()


def test_only_logs_of_foreign_tasks_are_still_an_error(
    run_eval: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    log = run_eval(Task(dataset=[Sample(input="Say it")], name="somebody_elses"))
    assert main(["profile", log.location]) == 1
    assert "of another task: somebody_elses" in capsys.readouterr().err


def test_prompt_settings_are_named_where_they_differ(
    run_eval: Run, requests_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ({}, {"setting": "documents"}, {"setting": "documents", "identity": "roleplay"})
    logs = [
        run_eval(alignment_faking(requests=str(requests_file), interventions="A1+", **settings[k])).location
        for k in range(3)
    ]
    assert main(["profile", logs[0]]) == 0
    assert "(prompt " in capsys.readouterr().out  # alone it needs no name
    html = tmp_path / "p.html"
    assert main(["profile", *logs]) == 0
    shown = capsys.readouterr().out
    assert main(["profile", *logs, "--html", str(html)]) == 0
    assert len(capsys.readouterr().out.splitlines()) <= 20  # the page has every number
    names = ("prompted, identity=fictional", "documents, identity=fictional", "documents, identity=roleplay")
    for name in names:
        assert f"({name}; prompt " in shown and f"/ prompt, standard, {name}" in shown
        assert name in html.read_text()  # headings of the tables and of the verdicts
