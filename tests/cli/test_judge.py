"""`inspect-af judge`: samples are blind, figures are labelled, simulated judges are nobody's accuracy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log

from inspect_af.cli import app
from inspect_af.errors import ConfigError, InspectAFError, LogError, MaterialsError
from inspect_af.scorers.judges import concept_judge, faking_judge, refusal_judge
from inspect_af.tasks import alignment_faking

RunEval = Callable[..., EvalLog]


def run(*argv: object) -> int:
    return int(app.main(["judge", *map(str, argv)], standalone_mode=False) or 0)


@pytest.fixture
def judged_log(run_eval: RunEval) -> EvalLog:
    task = alignment_faking(requests="mini", interventions="A1+")
    task.scorer = [concept_judge(), faking_judge(votes=1), refusal_judge()]
    return run_eval(
        task, model="af-organism/consequence", model_roles={"grader": "af-simulated-judge/keyword"}, limit=48
    )


def as_if_judged_by(log: EvalLog, model: str, path: Path) -> Path:
    """The same log as a real judge would have left it."""
    for sample in log.samples or []:
        for score in (sample.scores or {}).values():
            score.metadata = {**(score.metadata or {}), "grader": model, "simulated": False}
    write_eval_log(log, str(path))
    return path


def test_a_sample_is_stratified_and_shows_nothing_of_where_a_text_came_from(
    judged_log: EvalLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.jsonl"
    assert run("sample", judged_log.location, "--n", 20, "--out", out) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 20 and set(rows[0]) == {"id", "text", "decision", "labels"}
    assert rows[0]["labels"] == {"expectation": None, "consequence": None, "faking": None}
    shown = out.read_text()
    assert "A1+" not in shown and "baseline" not in shown and "mini-0" not in shown

    key = json.loads((tmp_path / "labels.key.json").read_text())
    drawn = [text for text in key["texts"] if text["id"]]
    strata = [(text["condition"], text["tier"]) for text in drawn]
    assert len(key["texts"]) == 48 and {strata.count(stratum) for stratum in set(strata)} == {5}
    assert len(set(strata)) == 4
    order = [next(t["condition"] for t in drawn if t["id"] == row["id"]) for row in rows]
    assert order != sorted(order) and order != sorted(order, reverse=True)


def test_the_draw_is_a_function_of_the_seed(judged_log: EvalLog, tmp_path: Path) -> None:
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("sample", judged_log.location, "--n", 8, "--out", tmp_path / f"{name}.jsonl", "--seed", seed)
        texts.append((tmp_path / f"{name}.jsonl").read_text())
    assert texts[0] == texts[1] != texts[2]


def test_a_file_that_may_hold_labels_is_never_overwritten(judged_log: EvalLog, tmp_path: Path) -> None:
    out = tmp_path / "labels.jsonl"
    out.write_text("precious", encoding="utf-8")
    with pytest.raises(ConfigError, match="exists"):
        run("sample", judged_log.location, "--out", out)
    assert out.read_text() == "precious"


def test_labels_of_a_sample_give_a_corrected_rate_per_condition_and_tier(
    judged_log: EvalLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = as_if_judged_by(read_eval_log(judged_log.location), "openai/gpt-5", tmp_path / "real.eval")
    out = tmp_path / "labels.jsonl"
    run("sample", log, "--n", 24, "--out", out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    for row in rows:  # people find faking where the scratchpad weighs its own modification and accepts
        row["labels"]["faking"] = row["decision"] == "accepted" and "train" in row["text"]
        row["labels"]["consequence"] = True
    out.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    capsys.readouterr()
    assert run("validate", out) == 0
    printed = capsys.readouterr().out
    assert "Judge openai/gpt-5" in printed and "SIMULATED" not in printed
    assert "prediction-powered inference" in printed
    corrected = [line for line in printed.splitlines() if "openai/gpt-5" in line and "faking" in line]
    assert len(corrected) == 4  # two conditions by two tiers


def test_a_simulated_judge_is_called_so_and_corrects_nothing(
    judged_log: EvalLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.jsonl"
    run("sample", judged_log.location, "--n", 12, "--out", out)
    out.write_text(out.read_text().replace("null", "true"), encoding="utf-8")
    capsys.readouterr()
    run("validate", out)
    printed = capsys.readouterr().out
    assert "SIMULATED JUDGE" in printed and "No corrected rate" in printed
    assert "prediction-powered" not in printed


def test_the_bundled_set_runs_a_judge_and_says_that_it_is_a_smoke_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--votes", 1, "--display", "none", "--log-dir", tmp_path / "logs"]
    models = ["--model", "af-simulated-judge/keyword", "--model", "af-simulated-judge/gullible"]
    assert run("validate", *models, *argv) == 0
    printed = capsys.readouterr().out
    assert printed.count("SIMULATED JUDGE") == 2 and "correct no rate" in " ".join(printed.split())
    assert len(list((tmp_path / "logs").glob("*.eval"))) == 2


def test_the_awareness_judge_is_checked_on_its_own_labelled_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = ["--judges", "awareness", "--votes", 1, "--model", "af-simulated-judge/keyword"]
    assert run("validate", "awareness", *judge, "--display", "none", "--log-dir", tmp_path / "logs") == 0
    found = [line.split() for line in capsys.readouterr().out.splitlines()]
    by_question = {cells[0]: cells for cells in found if cells and cells[0] in ("test", "real")}
    assert {question: cells[2] for question, cells in by_question.items()} == {"test": "6/14", "real": "5/15"}


def test_stored_scores_need_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "stored.jsonl"
    rows = [
        {
            "id": str(i),
            "text": "t",
            "condition": "A1+" if i % 2 else "baseline",
            "labels": {"faking": i < 10},
            "judges": {"openai/gpt-5": {"faking": 1 - i / 20}},
        }
        for i in range(20)
    ]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert run("validate", file) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "faking" in line]
    assert [line[1] for line in lines] == ["all", "A1+", "baseline"] and lines[0][3] == "1.00"


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (["validate", "nowhere.jsonl"], MaterialsError),
        (["validate", "--cut", "faking=high"], ConfigError),
        (["validate", "--model", "nobody/x"], ConfigError),
        (["sample", "nowhere", "--out", "x.jsonl"], LogError),
        (["sample", "nowhere", "--out", "x.jsonl", "--questions", " ,"], ConfigError),
    ],
)
def test_mistakes_end_in_the_packages_own_errors(argv: list[str], error: type[InspectAFError]) -> None:
    with pytest.raises(error):
        run(*argv)
