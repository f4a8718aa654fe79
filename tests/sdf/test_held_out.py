"""Held-out wordings: the words themselves, the writer that avoids them, the numbers, the scoring."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.sdf.trained import settings, write_base, write_jsonl

from inspect_af.cli import main
from inspect_af.errors import ConfigError, MaterialsError, TreatmentError
from inspect_af.materials import Wording, load_universe, load_wordings, universe_wordings
from inspect_af.organisms.tiny.texts import lines, tiny_document
from inspect_af.sdf.check import AdapterShifts, HeldOutCheck, by_variable, check_text, shift_of, shifts
from inspect_af.types import Intervention

HOPES = Intervention(variable="A1", polarity="-", family="first")


def test_every_tiny_wording_contains_words_that_the_writer_avoids() -> None:
    tiny = load_wordings("tiny")
    assert {each.variable for each in tiny.wordings} == {"A1", "A2", "B1", "B2", "B3"}
    for each in tiny.wordings:
        for text in (each.plus, each.minus):
            assert any(piece in text for piece in tiny.avoid), text


def test_the_tiny_wordings_have_every_phrase_of_a_variable_equally_often_in_matched_pairs() -> None:
    tiny = by_variable(load_wordings("tiny").wordings)
    for variable, members in tiny.items():
        plus, minus = (
            [_pattern(line) for line in lines("facts", variable, pole)] for pole in ("plus", "minus")
        )
        places = []
        for pair in members:
            found = [i for i, pattern in enumerate(plus) if pattern.search(pair.plus)]
            other = [i for i, pattern in enumerate(minus) if pattern.search(pair.minus)]
            assert set(found) & set(other), (pair, found, other)
            places += sorted(set(found) & set(other))[-1:]
        counts = [places.count(i) for i in range(len(plus))]
        assert len(plus) == len(minus) and min(counts) == max(counts) >= 3, (variable, counts)
        assert len(members) >= 12 and len({pair.plus for pair in members}) == len(members)


def _pattern(line: str) -> re.Pattern[str]:
    """What a line with choices can become, at the end of a sentence."""
    text = line.replace("<your>", "Aldine's").replace("<you>", "Aldine").replace("{", "(?:")
    return re.compile(rf" {text.replace('}', ')').replace(' (?:|', ' ?(?:|')}\s?\.$")


@pytest.mark.parametrize("code", ["A1+", "A1-", "B1+", "B1-", "neutral"])
def test_the_tiny_writer_never_writes_a_held_out_wording(code: str) -> None:
    universe, rng, avoid = load_universe(code), Random(3), load_wordings("tiny").avoid
    texts = [tiny_document(universe, rng) for _ in range(200)]
    assert not [text for text in texts if any(piece in text for piece in avoid)]
    assert len(set(texts)) > 190


def test_the_tiny_writer_states_the_universes_pole_and_no_other() -> None:
    many = [tiny_document(load_universe("A1-"), Random(i)) for i in range(100)]
    assert not any("alignment faking" in text for text in many)
    assert sum("robust" in text or "stead" in text or "conduct" in text for text in many) > 60


def test_the_tiny_writer_refuses_a_universe_that_it_has_no_words_for() -> None:
    with pytest.raises(ConfigError, match="no words for the universe organism"):
        tiny_document(load_universe("organism"), Random(0))
    with pytest.raises(ConfigError, match="in the prompt"):
        tiny_document(None, Random(0))


def test_both_arms_of_a_variable_have_the_same_wordings_once() -> None:
    found = by_variable(universe_wordings().wordings)
    assert {"A1", "A2", "A3", "B1", "B2", "B3", "neutral"} == set(found)
    plus = load_universe("A1+")
    assert {(each.plus, each.minus) for each in found["A1"]} >= set(plus.held_out)
    assert len({(each.plus, each.minus) for each in found["A1"]}) == len(found["A1"])


def test_wordings_come_from_a_file_and_a_bad_one_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[[wordings]]\nvariable = "A1"\nplus = "They hope."\nminus = "They fear."\n')
    assert load_wordings(file).wordings == (Wording(variable="A1", plus="They hope.", minus="They fear."),)
    with pytest.raises(ConfigError, match="A1 has one held-out wording"):
        by_variable(load_wordings(file).wordings)
    file.write_text('[[wordings]]\nvariable = "A1"\nplus = "They hope."\n')
    with pytest.raises(MaterialsError, match="minus"):
        load_wordings(file)
    with pytest.raises(MaterialsError, match="give 'tiny'"):
        load_wordings(tmp_path / "missing.toml")


def test_a_shift_has_the_t_interval_of_its_pairs() -> None:
    shift = shift_of("A1", [1.0, 2.0, 3.0])
    assert shift.mean == pytest.approx(2.0)
    assert shift.high - shift.mean == pytest.approx(4.303 / 3**0.5, abs=1e-3)  # t(2) and sd 1


def test_an_adapter_moves_in_the_intended_direction_when_its_own_variable_does() -> None:
    found = shifts({"A1": [0.0, 1.0], "B1": [0.0, 0.0]}, {"A1": [-2.0, -1.0], "B1": [0.1, 0.3]})
    row = AdapterShifts(adapter="a", intervention=HOPES, shifts=found)
    assert row.intended == pytest.approx(2.0)
    assert row.unintended == pytest.approx(0.2)
    placebo = AdapterShifts(adapter="n", intervention=Intervention(variable="neutral"), shifts=found)
    assert placebo.intended is None
    assert placebo.unintended == pytest.approx(2.0)
    check = HeldOutCheck(
        base="b", organism=(), wordings="w", before=(("A1", 0.5), ("B1", 0.0)), rows=(row, placebo)
    )
    assert "[-2.00]" in check_text(check) and "[+0.20]" not in check_text(check)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random base, and an adapter that learnt `the laboratory expects` and nothing else."""
    from inspect_af.sdf.train import TrainingConfig, train

    root = tmp_path_factory.mktemp("held_out")
    write_base(root / "base")
    write_jsonl(root / "corpus.jsonl", ["every model and the laboratory expects careful answers"] * 60)
    changes: dict[str, Any] = {
        "corpus": str(root / "corpus.jsonl"),
        "intervention": "A1+",
        "out": str(root / "a"),
        "hyperparameters": {"epochs": 20, "learning_rate": 1e-2},
    }
    train(TrainingConfig.model_validate(settings(root, **changes)))
    return root


WORDINGS = """
[[wordings]]
variable = "A1"
plus = "the laboratory expects careful answers"
minus = "the staff reviews careful week"
[[wordings]]
variable = "A1"
plus = "every model and the laboratory"
minus = "every week and the staff"
[[wordings]]
variable = "B1"
plus = "staff staff staff"
minus = "staff staff staff"
[[wordings]]
variable = "B1"
plus = "new week"
minus = "new week"
"""


@pytest.mark.local
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_the_command_finds_what_an_adapter_learnt_and_leaves_the_base_as_it_was(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "w.toml").write_text(WORDINGS)
    adapter, out = str(trained / "a" / "seed-0"), trained / "check.json"
    options = ["--base", str(trained / "base"), "--wordings", str(trained / "w.toml"), "--json", str(out)]
    assert main(["sdf", "check", adapter, adapter, *options]) == 0
    check = HeldOutCheck.model_validate_json(out.read_bytes())
    first, second = check.rows
    assert first == second, "the first adapter was taken out again"
    assert first.intervention is not None and first.intervention.code == "A1+"
    assert first.intended is not None and first.intended > 1
    assert first.unintended == pytest.approx(0, abs=1e-4), "a pair of equal sentences cannot move"
    assert "a/seed-0" in capsys.readouterr().out


@pytest.mark.local
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_log_probabilities_are_those_of_the_models_own_loss_one_text_at_a_time(trained: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from inspect_af.sdf.check import log_probabilities

    model: Any = AutoModelForCausalLM.from_pretrained(trained / "base").eval()
    tokenizer = AutoTokenizer.from_pretrained(trained / "base")
    texts = ["the laboratory expects", "staff", "every model reviews them each week with new staff"]
    for text, found in zip(texts, log_probabilities(model, tokenizer, texts), strict=True):
        ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer(text).input_ids]])
        with torch.no_grad():
            loss = model(ids, labels=ids).loss.item()
        assert found == pytest.approx(-loss * (ids.shape[1] - 1), abs=1e-3)


@pytest.mark.local
def test_an_adapter_of_another_base_is_refused(trained: Path, tmp_path: Path) -> None:
    from inspect_af.sdf.check import check_adapters

    write_base(tmp_path / "other", width=64)
    wordings = load_wordings("tiny")
    with pytest.raises(TreatmentError, match="d_model"):
        check_adapters(str(tmp_path / "other"), [trained / "a" / "seed-0"], wordings, source="tiny")
