"""`inspect-af sdf generate` and `sdf build`: from a universe to matched corpora, and what is typed wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inspect_ai.log import list_eval_logs

from inspect_af.cli import main
from inspect_af.config import token_count
from inspect_af.errors import ConfigError
from inspect_af.sdf.documents import verify_corpus

pytestmark = pytest.mark.usefixtures("faulty_writers")
WRITER = ("--model", "af-simulated-writer/documents", "--display", "none", "--requests", "mini")
SMALL = ("--words", "60", "--kinds", "diary,faq", "--ideas", "5", "--revisions", "0", "--round-size", "40")


def generate(code: str, out: Path, *options: str) -> int:
    return main(["sdf", "generate", code, *WRITER, *SMALL, "--out", str(out), *options])


def build(*options: str | Path) -> int:
    return main(["sdf", "build", "--tokenizer", "characters", "--requests", "mini", *map(str, options)])


def test_from_two_universes_to_matched_corpora(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = ("-M", "denial=0.1", "-M", "malformed_documents=0.1")
    assert generate("B1+", tmp_path / "plus", "--tokens", "12k", *faults) == 0
    assert generate("B1-", tmp_path / "minus", "--tokens", "14k", "--directness", "mixed") == 0
    assert (
        build(tmp_path / "plus/documents", tmp_path / "minus/documents", "--out", tmp_path / "corpora") == 0
    )
    shown = capsys.readouterr()
    assert "SIMULATED" in shown.out and "clean documents" in shown.out
    plus, minus = (verify_corpus(tmp_path / "corpora" / code) for code in ("B1+", "B1-"))
    assert max(plus.tokens, minus.tokens) <= 1.01 * min(plus.tokens, minus.tokens)
    assert plus.tokens >= 12_000 * 0.98
    assert (plus.directness, minus.directness) == ("standard", "mixed")
    assert plus.removed.get("denial", 0) > 0 and "denial" not in minus.removed
    assert plus.simulated and len(plus.sources) >= 1 and all(source.eval_id for source in plus.sources)
    report = json.loads((tmp_path / "corpora/B1+/report.json").read_text())
    assert any("B1+/" in example["id"] for each in report["filters"] for example in each["examples"])


def test_the_estimate_alone_calls_nothing_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--tokens", "10M", "--estimate", "--price", "3", "15")
    arguments = ["sdf", "generate", "A1+", "--model", "openai/gpt-4o", "--out", str(tmp_path / "g"), *options]
    assert main(arguments) == 0
    shown = capsys.readouterr().err
    assert "calls" in shown and "$" in shown
    assert not (tmp_path / "g").exists() and not list_eval_logs(str(tmp_path))


def test_too_few_ideas_are_topped_up_and_a_writer_without_any_ends_with_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate("A1+", tmp_path / "some", "--tokens", "2k", "-M", "missing_ideas=0.6") == 0
    assert len(list((tmp_path / "some/ideas").glob("round-*.plan"))) > 1
    assert generate("A1+", tmp_path / "none", "--tokens", "2k", "-M", "malformed_ideas=1.0") == 1
    assert "ideas fall short: the last round gave 0 new ideas" in capsys.readouterr().err
    assert not (tmp_path / "none/documents").exists()


def test_documents_that_are_all_malformed_end_with_an_error_unless_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty = ("--tokens", "1k", "-M", "malformed_documents=1.0")
    assert generate("A1+", tmp_path / "g", *faulty) == 1
    assert "documents fall short: the last round gave 0 clean documents" in capsys.readouterr().err
    assert generate("A1+", tmp_path / "g", *faulty, "--allow-shortfall") == 0


def test_anybodys_texts_can_be_built_into_a_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.jsonl"
    words = "the ferry came in and the lamps went on while people of the town number {} "
    words += "talked about it at the pier "
    lines = [
        json.dumps({"body": (words.format(n) + f"and about {n} other {n * 7} things. ") * 3})
        for n in range(40)
    ]
    file.write_text("\n".join(lines))
    options = ("--near-duplicate", "0.99", "--min-words", "20", "--skip", "repetition")
    assert build(file, "--text-column", "body", "--out", tmp_path / "c", *options) == 0
    manifest = verify_corpus(tmp_path / "c")
    assert (manifest.universe, manifest.intervention, manifest.simulated) == (None, None, False)
    assert manifest.documents + manifest.held_out_documents + sum(manifest.removed.values()) == 40
    assert "not applied: the universe is not known" in capsys.readouterr().out
    assert build(file, "--text-column", "body", "--universe", "A1-", "--out", tmp_path / "d", *options) == 0
    assert verify_corpus(tmp_path / "d").universe == "A1-"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["texts.jsonl"], "no text in the column 'text' (it has body)"),
        (["missing.jsonl"], "no such log or directory"),
        (["notes.txt"], "neither an eval log nor a .jsonl file"),
        (["empty"], "no eval logs in"),
        (["texts.jsonl", "--skip", "commas"], "unknown filter 'commas'; one of length, language"),
        (["texts.jsonl", "--skip", "exact duplicate"], "'exact duplicate' cannot be skipped"),
        (["texts.jsonl", "--held-out", "2"], "--held-out 2.0"),
        (["texts.jsonl", "--universe", "Z9+"], "Z9+"),
    ],
)
def test_a_wrong_source_is_one_message(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.jsonl").write_text('{"body": "one"}\n')
    (tmp_path / "notes.txt").write_text("one")
    (tmp_path / "empty").mkdir()
    assert build(*arguments, "--out", "c") == 1
    shown = capsys.readouterr().err
    assert message in shown and "Traceback" not in shown
    assert not (tmp_path / "c").exists() and not (tmp_path / "c.partial").exists()


@pytest.mark.parametrize(
    ("text", "number"), [("10M", 10**7), ("250k", 250_000), ("1_000", 1000), ("0.5m", 500_000)]
)
def test_numbers_of_tokens_are_read(text: str, number: int) -> None:
    assert token_count(text) == number


@pytest.mark.parametrize("text", ["", "0", "-5", "M", "tenM", "nan"])
def test_what_is_no_number_of_tokens_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no number of tokens"):
        token_count(text)
