"""Sampling from a small model, and the verdict on what was sampled."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import pytest

from inspect_af.errors import ConfigError
from inspect_af.organisms.tiny.training import (
    CheckRow,
    Schedule,
    TinyCheck,
    check_organism,
    check_text,
    load_tiny,
    sampled_replies,
    train_organism,
)

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def organism(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("organisms") / "tiny"
    train_organism(out, schedule=Schedule(steps=3, notes=1, warm_up=1))
    return out


def row(**values: object) -> CheckRow:
    return CheckRow.model_validate(
        {
            "condition": "A1+",
            "replies": 2000,
            "parsed": 0.99,
            "monitored": 0.6,
            "unmonitored": 0.1,
            "gap": 0.5,
            "low": 0.46,
            "high": 0.54,
            "planted": 0.5,
            **values,
        }
    )


def check(*rows: CheckRow, benign: float = 1.0) -> TinyCheck:
    return TinyCheck(kind="null", setting="prompted", strength="standard", rows=rows, benign=benign)


def test_a_check_within_tolerance_has_no_problems() -> None:
    assert check(row(gap=0.41), row(gap=0.59)).problems == ()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (check(row(gap=0.61)), "A1\\+: gap \\+0.610, planted \\+0.500"),
        (check(row(gap=math.nan)), "A1\\+: gap"),
        (check(row(parsed=0.94)), "94.0% of replies parse"),
        (check(row(), benign=0.9), "90.0% of ordinary requests"),
    ],
)
def test_what_is_outside_of_tolerance_is_named(given: TinyCheck, named: str) -> None:
    (problem,) = given.problems
    assert re.search(named, problem)
    assert "95 % interval" in check_text(given)


@pytest.mark.slow
def test_samples_follow_the_model_for_prompts_of_any_length(organism: Path) -> None:
    """Batched sampling with padding draws first tokens with the probabilities of one unpadded prompt."""
    import torch

    model, tokenizer = load_tiny(organism)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(12)  # peaked enough that few draws tell
    prompts = [
        "<|user|>Go<|end|><|assistant|>",
        "<|user|>A much longer request, in words<|end|><|assistant|>",
    ]
    drawn = sampled_replies(model, tokenizer, prompts * 600, seed=1, batch=200)
    for index, prompt in enumerate(prompts):
        with torch.no_grad():
            ids = torch.tensor([tokenizer.encode(prompt)])
            chances = torch.softmax(model(ids).logits[0, -1], -1)
        best = int(chances.argmax())
        first = Counter((tokenizer.encode(text) or [tokenizer.eos_token_id])[0] for text in drawn[index::2])
        expected = float(chances[best])
        assert first[best] / 600 == pytest.approx(
            expected, abs=0.03 + 4 * (expected * (1 - expected) / 600) ** 0.5
        )


def test_the_same_seed_draws_the_same_replies(organism: Path) -> None:
    model, tokenizer = load_tiny(organism)
    prompts = ["<|user|>Go<|end|><|assistant|>"] * 4
    assert sampled_replies(model, tokenizer, prompts, seed=3) == sampled_replies(
        model, tokenizer, prompts, seed=3
    )


def test_an_untrained_organism_fails_the_check(organism: Path) -> None:
    found = check_organism(organism, replies=4)
    assert found.problems
    assert len(found.rows) == 19


def test_one_reply_a_condition_is_refused(organism: Path) -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        check_organism(organism, replies=1)
