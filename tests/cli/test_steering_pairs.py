"""`inspect-af steering pairs`: written until there are enough, resumed, assembled, and paired in context."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inspect_ai import eval
from inspect_ai.log import list_eval_logs, read_eval_log

from inspect_af.cli import main
from inspect_af.steering.pairs import load_pairs
from inspect_af.tasks import alignment_faking
from inspect_af.tasks.contrast_writing import ConceptReport, ConceptRound, SplitCounts, next_round

pytestmark = pytest.mark.usefixtures("faulty_writers")
WRITE = ("steering", "pairs", "write", "af-simulated-dialogues/writer", "--display", "none")
FEW = (
    "--train",
    "12",
    "--held-out",
    "3",
    "--keyword-hard",
    "3",
    "--concept",
    "expectation",
    "--oversample",
    "1",
)
FAULTY = ("-M", "span=0.4", "-M", "duplicate=0.2")


def run(*argv: object) -> int:
    return main([str(each) for each in argv])


def counts(path: Path) -> dict[str, int]:
    pairs = load_pairs(path).pairs
    return {
        split: sum(pair.split == split for pair in pairs) for split in ("train", "held-out", "keyword-hard")
    }


def test_rounds_top_up_what_filters_rejected_and_a_repeat_runs_nothing_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs"
    command = (*WRITE, *FEW, *FAULTY, "--out", out)
    assert run(*command, "--max-rounds", 1) == 1
    shown = capsys.readouterr()
    assert "too few pairs passed the filters: expectation train:" in shown.err
    assert not (out / "expectation.jsonl").exists()
    first = [info.name for info in list_eval_logs(str(out / "logs"))]

    assert run(*command) == 0
    assert counts(out / "expectation.jsonl") == {"train": 12, "held-out": 3, "keyword-hard": 3}
    assert "SIMULATED WRITER" in capsys.readouterr().out
    logs = [info.name for info in list_eval_logs(str(out / "logs"))]
    assert set(first) < set(logs)
    text = (out / "expectation.jsonl").read_text()
    report = json.loads((out / "expectation.report.json").read_text())
    assert {log["eval_id"] for log in report["logs"]} == {read_eval_log(name).eval.eval_id for name in logs}

    assert run(*command) == 0
    assert [info.name for info in list_eval_logs(str(out / "logs"))] == logs
    assert (out / "expectation.jsonl").read_text() == text
    capsys.readouterr()
    assert run(*WRITE, *FEW, "-M", "span=0.5", "--out", out) == 1
    assert (
        "written with other settings (model_args was {'span': 0.4, 'duplicate': 0.2})"
        in capsys.readouterr().err
    )

    assert (
        run(
            "steering",
            "pairs",
            "ooc",
            out / "logs",
            "--concept",
            "expectation",
            "--out",
            tmp_path / "all.jsonl",
        )
        == 0
    )
    assert counts(tmp_path / "all.jsonl")["train"] >= 12
    capsys.readouterr()
    assert run("steering", "pairs", "ooc", out / "logs", "--out", tmp_path / "all.jsonl") == 1
    assert "one file holds one concept; choose it with --concept" in capsys.readouterr().err
    ooc = ("steering", "pairs", "ooc", out / "logs", "--concept", "expectation", "--train", "500")
    assert run(*ooc, "--out", tmp_path / "500.jsonl") == 1 and not (tmp_path / "500.jsonl").exists()
    assert run(*ooc, "--out", tmp_path / "500.jsonl", "--allow-shortfall") == 0


def test_a_stated_shortfall_is_written_where_it_is_allowed(tmp_path: Path) -> None:
    command = (
        *WRITE,
        *FEW,
        "-M",
        "span=0.5",
        "--max-rounds",
        1,
        "--allow-shortfall",
        "--out",
        tmp_path / "out",
    )
    assert run(*command) == 0
    report = json.loads((tmp_path / "out" / "expectation.report.json").read_text())
    splits = report["concepts"][0]["splits"]
    assert any(split["kept"] < split["wanted"] for split in splits)
    assert [split["kept"] for split in splits] == list(
        counts(tmp_path / "out" / "expectation.jsonl").values()
    )


def test_a_writer_of_whom_nothing_is_kept_stops_after_one_round_with_one_of_its_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(*WRITE, *FEW, "-M", "span=1", "--out", out) == 1
    shown = capsys.readouterr()
    assert "round 1: none of 18 dialogues passed the filters" in shown.err and "18 span" in shown.err
    assert "rejected as span: '{" in shown.err and "Let another model write" in shown.err
    assert len(list_eval_logs(str(out / "logs"))) == 1
    assert run(*WRITE, *FEW, "-M", "span=1", "--out", out) == 1  # and says so again without a new call
    assert len(list_eval_logs(str(out / "logs"))) == 1


def test_a_later_round_asks_for_what_is_missing_at_the_rate_that_was_seen() -> None:
    first = ConceptRound(
        concept="c", train=100, held_out=20, keyword_hard=20, oversample=1.25, seed=0, skip=0, pair=None
    )

    def report(*kept: int) -> ConceptReport:
        splits = zip(("train", "held-out", "keyword-hard"), (100, 20, 20), kept, strict=True)
        return ConceptReport(
            concept="c",
            keywords=(),
            splits=tuple(
                SplitCounts(
                    split=split,  # type: ignore[arg-type]
                    wanted=wanted,
                    written=wanted * 5 // 4,
                    rejected={},
                    duplicates=0,
                    near_duplicates=0,
                    surplus=0,
                    kept=n,
                )
                for split, wanted, n in splits
            ),
        )

    assert next_round(first, 0, None) == first
    assert next_round(first, 125, report(100, 20, 20)) is None
    second = next_round(first, 125, report(50, 20, 20))
    assert second is not None and (second.train, second.held_out, second.keyword_hard) == (50, 0, 0)
    assert second.skip == 125 and second.oversample == pytest.approx(1.1 / 0.4)
    hopeless = next_round(first, 125, report(100, 20, 0))
    assert hopeless is not None and hopeless.oversample == 10


def test_judged_logs_give_in_context_pairs_of_both_concepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = alignment_faking(requests="mini", interventions="none", judges="concept")
    eval(
        task,
        model="af-organism/mixed",
        model_roles={"grader": "af-simulated-judge/keyword"},
        log_dir=str(tmp_path / "logs"),
        display="none",
        limit=24,
        epochs=2,
    )
    ic = ("steering", "pairs", "ic", tmp_path / "logs")
    loose = ("--high", 8, "--low", 4, "--other-max", 10, "--same", "none", "--max-length-ratio", 2)
    assert run(*ic, *loose, "--concept", "expectation", "--out", tmp_path / "e.jsonl") == 0
    found = load_pairs(tmp_path / "e.jsonl")
    assert found.source == "ic" and found.concept == "expectation"
    assert all(pair.positive.concept_scores["expectation"] >= 8 for pair in found.pairs)
    assert all(pair.negative.concept_scores["expectation"] <= 4 for pair in found.pairs)
    report = json.loads((tmp_path / "e.report.json").read_text())
    assert report["thresholds"]["other_max"] == 10 and report["splits"][0]["positive"]["words"] == {
        "future": 0
    }

    capsys.readouterr()
    assert run(*ic, "--high", 10, "--out", tmp_path / "none") == 1
    shown = capsys.readouterr()
    assert "expectation: 0 replies with it" in shown.out and "no pair for expectation" in shown.err
    assert not (tmp_path / "none").exists()
    by_tier = ("--by", "oversight", "--max-length-ratio", 2, "--out", tmp_path / "oversight.jsonl")
    assert run(*ic, *by_tier) == 0
    found = load_pairs(tmp_path / "oversight.jsonl")
    assert (found.source, found.concept) == ("oversight", "oversight")
    capsys.readouterr()
    for wrong, message in (
        (("--by", "oversight", "--concept", "expectation"), "pairs by oversight have the concept oversight"),
        (("--by", "claims", "--concept", "expectation"), "no pair for expectation"),
        (("--low", 9), "low=9 must be below high=6"),
        (("--same", "mood"), "--same mood: Input should be 'tier', 'condition', 'outcome' or 'variable'"),
        (("--concept", "hope"), "unknown concept 'hope'; one of both, expectation, consequence"),
    ):
        assert run(*ic, *wrong, "--out", tmp_path / "wrong") == 1
        assert message in capsys.readouterr().err
