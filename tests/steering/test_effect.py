"""Validation by effect: a planted direction moves its words, random ones do not, seen words are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.steering.tiny_models import side, tiny_llama, tiny_tokenizer

from inspect_af.cli import main
from inspect_af.errors import AnalysisError, ConfigError, MaterialsError
from inspect_af.steering.effect import (
    Band,
    EffectWords,
    LayerEffect,
    VectorEffect,
    check_unseen,
    load_words,
    measure_effect,
)
from inspect_af.steering.pairs import ContrastPair, pair_set, write_pairs
from inspect_af.steering.vector import MeanDifferenceFit, VectorHeader, make_vector

pytestmark = pytest.mark.local

WORDS = EffectWords(positive=("12345",), negative=("café",), prompts=("How hot?", "Which cup?", "And then?"))


def pairs(*, hard: int = 0) -> Any:
    """Pairs whose keyword-hard sentences have neither of the words."""
    made = []
    for i in range(3 + hard):
        hoped, plain = f"They hope to pour {i}.", f"The kettle holds {i}."
        made.append(
            ContrastPair(
                id=f"p{i}",
                concept="numbers",
                split="train" if i < 3 else "keyword-hard",
                source="ooc",
                group=f"g{i}",
                positive=side(f"I weigh. {hoped} I heat.", hoped),
                negative=side(f"I weigh. {plain} I heat.", plain),
            )
        )
    return pair_set(made)


def word_vector(model: Any, tokenizer: Any, sign: float = 1.0) -> Any:
    """At the last layer along the difference of the words' rows of the language-model head."""
    rows = model.get_output_embeddings().weight.detach().double().numpy()
    first = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("12345", "café")]
    header = VectorHeader(
        model="tiny",
        d_model=32,
        layers=(1, 2),
        mean_norms=(10.0, 10.0),
        concept="numbers",
        family=None,
        source="ooc",
        fit=MeanDifferenceFit(locus="response_mean", n_pairs=3),
        pairs_digest="0" * 16,
    )
    return make_vector(header, np.stack([sign * (rows[first[0]] - rows[first[1]])] * 2))


def test_a_planted_direction_moves_its_words_beyond_random_vectors_and_turned_around_it_does_not() -> None:
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    vectors = {"there": word_vector(model, tokenizer), "back": word_vector(model, tokenizer, -1.0)}
    report = measure_effect(model, tokenizer, vectors, WORDS, pairs(hard=2), layers="2", doses=(0.2, 0.4))
    there, back = report.vectors
    assert all(one.words.beyond and one.words.p == 1 / 21 for one in there.layers)
    assert all(one.words.up > 0 > one.words.down for one in there.layers)
    assert all(one.words.swing < one.words.random[0] and one.words.p == 1 for one in back.layers)
    assert "at no layer and dose" in back.sentence
    assert [one.dose for one in there.layers] == [0.2, 0.4]
    assert there.layers[0].keyword_hard is not None and report.n_keyword_hard == 2
    assert (
        "moves its concept's words beyond 20 random vectors" in report.text() or "both" not in report.text()
    )


def test_log_odds_are_those_of_the_model_token_by_token_whatever_the_padding() -> None:
    import torch
    from scipy.special import logsumexp

    from inspect_af.steering.effect import Item, _log_odds

    model = tiny_llama()
    items = [
        Item([5, 6, 7], [[9, 10], [11], [9]], [[9, 12, 13], [14, 9]]),
        Item([5, 8, 20, 21, 22, 23], [[40]], [[41, 42, 43]]),
    ]

    def one(context: list[int], word: list[int]) -> float:
        with torch.no_grad():
            logs = model(torch.tensor([context + word])).logits[0].log_softmax(-1)
        return float(sum(logs[len(context) - 1 + k, token] for k, token in enumerate(word)))

    expected = [
        logsumexp([one(item.context, word) for word in item.positive])
        - logsumexp([one(item.context, word) for word in item.negative])
        for item in items
    ]
    assert _log_odds(model, items) == pytest.approx(expected, abs=1e-4)


def band(swing: float, n: int = 20) -> Band:
    return Band(up=swing, down=-swing, swing=swing, error=0.1, random=tuple(np.linspace(-1, 1, n)))


@pytest.mark.parametrize(
    ("words", "hard", "n", "said"),
    [
        (
            2.0,
            2.0,
            20,
            "moves words and keyword-hard sentences beyond 20 random vectors: layers 3 at dose 0.1",
        ),
        (2.0, 0.5, 20, "only keywords were seen to move"),
        (2.0, None, 20, "there are no keyword-hard pairs to tell"),
        (0.9, 2.0, 20, "moves its concept's words at no layer"),
        (2.0, 2.0, 19, "19 random vectors; 20 are needed"),
    ],
)
def test_the_sentence_says_what_was_measured(words: float, hard: float | None, n: int, said: str) -> None:
    layer = LayerEffect(
        layer=3,
        dose=0.1,
        multiplier=1,
        words=band(words, n),
        keyword_hard=None if hard is None else band(hard, n),
    )
    found = VectorEffect(name="v", digest="d", concept="c", estimator="mean-difference", layers=(layer,))
    assert said in found.sentence


def test_words_and_prompts_that_stand_in_a_pair_are_refused() -> None:
    seen = EffectWords(positive=("Kettle",), negative=("café",), prompts=("a", "b"))
    with pytest.raises(MaterialsError, match="the word 'Kettle' stands in pair 'p0'"):
        check_unseen(seen, pairs())
    asked = EffectWords(positive=("12345",), negative=("café",), prompts=("how long?", "b"))
    with pytest.raises(MaterialsError, match="the prompt 'how long\\?' stands in pair"):
        check_unseen(asked, pairs())


def test_what_cannot_be_measured_says_why(tmp_path: Path) -> None:
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    vectors = {"v": word_vector(model, tokenizer)}
    with pytest.raises(AnalysisError, match="was not cross-validated; say which --layers"):
        measure_effect(model, tokenizer, vectors, WORDS, pairs())
    with pytest.raises(ConfigError, match="positive numbers are needed"):
        measure_effect(model, tokenizer, vectors, WORDS, pairs(), doses=(-0.1,), layers="2")
    file = tmp_path / "w.toml"
    file.write_text("positive = ['a']\nnegative = ['b']\nprompt = ['x']\n")
    with pytest.raises(MaterialsError, match="prompt: Extra inputs"):
        load_words(file)
    for hostile in ("a = " + "9" * 5000, "a = " + "[" * 5000, "\x00"):
        file.write_text(hostile)
        with pytest.raises(
            MaterialsError, match=r"w\.toml (is not valid TOML|has a number|has more|has NUL)"
        ):
            load_words(file)


def test_the_command_measures_before_any_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    word_vector(model, tokenizer).save(tmp_path / "numbers.safetensors")
    write_pairs(tmp_path / "pairs.jsonl", pairs(hard=2).pairs)
    (tmp_path / "words.toml").write_text("positive = ['12345']\nnegative = ['café']\n", encoding="utf-8")
    command = [
        "steering",
        "effect",
        str(tmp_path / "numbers.safetensors"),
        "--model",
        str(tmp_path / "model"),
    ]
    command += ["--words", str(tmp_path / "words.toml"), "--pairs", str(tmp_path / "pairs.jsonl")]
    assert (
        main([*command, "--layers", "2", "--doses", "0.3", "--n", "20", "--json", str(tmp_path / "e.json")])
        == 0
    )
    shown = capsys.readouterr().out
    assert "numbers (mean-difference, vector" in shown and "beyond 20 random vectors" in shown
    assert json.loads((tmp_path / "e.json").read_text())["n_prompts"] == 12
