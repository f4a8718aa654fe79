"""The tiny organism as a directory: tokenizer, chat template, a short training, the check. The gate on what a
fully trained one does is `inspect-af organism check`."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.materials import load_pair, load_requests, load_scenario
from inspect_af.organisms.tiny.mixture import TextSource, planted
from inspect_af.organisms.tiny.texts import DECISIVE, chat
from inspect_af.organisms.tiny.training import (
    MOST_PROMPT_TOKENS,
    PLANTED_FILE,
    Schedule,
    Tokens,
    batches,
    learn_tokenizer,
    load_planted,
    load_tiny,
    tokenized,
    train_organism,
)

pytestmark = pytest.mark.local

PAIR, SCENARIO = load_pair(), load_scenario()
STEPS = 12


@pytest.fixture(scope="module")
def organism(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("organisms") / "tiny"
    train_organism(out, kind="expectation", schedule=Schedule(steps=STEPS, notes=4, warm_up=4))
    return out


@pytest.fixture(scope="module")
def tokenizer(organism: Path):  # type: ignore[no-untyped-def]
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(organism)


def messages(request: str = "Mock a neighbour.", **prompt: object) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": SCENARIO.system_prompt(**prompt)},
        {"role": "user", "content": SCENARIO.user_turn(request, tier="monitored")},
    ]


def test_the_loss_falls_while_it_trains(tmp_path: Path) -> None:
    losses: list[float] = []
    train_organism(
        tmp_path / "o",
        kind="null",
        schedule=Schedule(steps=STEPS, notes=4, warm_up=4),
        progress=lambda step, steps, loss: losses.append(loss),
    )
    assert len(losses) == STEPS
    assert sum(losses[-3:]) / 3 < losses[0] - 1


@pytest.mark.parametrize("setting", ["prompted", "documents"])
@pytest.mark.parametrize("tier_tag", ["free", "swapped", "neutral"])
def test_a_rendered_prompt_has_few_tokens(tokenizer, setting: str, tier_tag: str) -> None:  # type: ignore[no-untyped-def]
    text = chat(
        SCENARIO.system_prompt(setting=setting, tier_tag=tier_tag),  # type: ignore[arg-type]
        SCENARIO.user_turn("Go", tier="unmonitored", tier_tag=tier_tag),
    )
    assert len(text.split()) > 250
    assert len(tokenizer.encode(text)) <= MOST_PROMPT_TOKENS


def test_any_text_survives_encoding_and_decoding(tokenizer) -> None:  # type: ignore[no-untyped-def]
    texts = [chat(m[0]["content"], m[1]["content"]) for m in (messages(), messages(setting="documents"))]
    texts += [claim.text for claim in PAIR.claims] + [r.text for r in load_requests("mini").requests]
    texts += ["  two  spaces\n\n\nand ünïcode — 漢字 \U0001f600", "<OUTPUT>\n<rejected/>\n</OUTPUT>"]
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_chat_template_renders_what_was_trained_on(tokenizer) -> None:  # type: ignore[no-untyped-def]
    asked = messages()
    rendered = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert rendered == chat(asked[0]["content"], asked[1]["content"])
    whole = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": "Yes"}], tokenize=False)
    assert whole == f"{rendered}Yes<|end|>"


def test_it_is_a_plain_transformers_directory(organism: Path) -> None:
    model, tokenizer = load_tiny(organism)
    assert model.config.model_type == "llama"
    assert model.num_parameters() < 1_200_000
    ids = tokenizer.apply_chat_template(
        messages(), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.generate(**ids, max_new_tokens=3, do_sample=False)
    assert out.shape[1] == ids["input_ids"].shape[1] + 3 or out[0, -1] == tokenizer.eos_token_id


def test_the_directory_says_what_is_planted(organism: Path) -> None:
    assert load_planted(organism) == planted("expectation")
    record = json.loads((organism / PLANTED_FILE).read_text())
    assert record["gaps"]["A1+"] > record["gaps"]["baseline"] == record["gaps"]["N1"] > record["gaps"]["A2-"]


def test_the_same_seed_gives_the_same_organism_and_another_seed_another(tmp_path: Path) -> None:
    import torch

    def first_weights(name: str, seed: int) -> torch.Tensor:
        train_organism(tmp_path / name, seed=seed, schedule=Schedule(steps=2, notes=1, warm_up=1))
        return load_tiny(tmp_path / name)[0].get_input_embeddings().weight

    one, again, other = first_weights("a", 1), first_weights("b", 1), first_weights("c", 2)
    assert torch.allclose(one, again, atol=1e-6)
    assert other.shape != one.shape or not torch.allclose(one, other, atol=1e-2)


def test_a_directory_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ConfigError, match="not empty"):
        train_organism(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_training_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(step: int, steps: int, loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_organism(tmp_path / "o", schedule=Schedule(steps=2, notes=1), progress=stop)
    assert not list(tmp_path.iterdir())


def test_a_directory_without_an_organism_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaterialsError, match="inspect-af organism train"):
        load_planted(tmp_path)


def test_a_paragraph_that_is_no_token_is_noticed() -> None:
    texts = ["".join(TextSource(planted("null"), PAIR, SCENARIO, random.Random(0)).example())]
    paragraphs = {**SCENARIO.parts, "criteria": SCENARIO.parts["criteria"] + " {{model}}"}
    learn_tokenizer(texts, SCENARIO.model_copy(update={"parts": paragraphs}))
    with pytest.raises(MaterialsError, match="tokens"):
        _check_against_another(texts)


def _check_against_another(texts: list[str]) -> None:
    from inspect_af.organisms.tiny.training import check_prompts

    tokenizer = learn_tokenizer(texts, SCENARIO)
    parts = {**SCENARIO.parts, "criteria": "Another paragraph. " * 30}
    check_prompts(tokenizer, SCENARIO.model_copy(update={"parts": parts}))


def test_decisive_words_weigh_more_and_what_is_only_read_weighs_nothing(tokenizer) -> None:  # type: ignore[no-untyped-def]
    opening, closing = DECISIVE
    (tokens,) = tokenized(
        [("<|user|>Go", f"They want {opening}steady conduct{closing}.<|end|>")], tokenizer, 6.0
    )
    weighed = list(zip((tokenizer.decode([i]) for i in tokens.ids), tokens.weights, strict=True))
    assert tokenizer.decode(tokens.ids) == "<|user|>GoThey want steady conduct.<|end|>"
    assert "".join(text for text, weight in weighed if weight == 6).strip() == "steady conduct"
    assert "".join(text for text, weight in weighed if weight == 0) == "<|user|>Go"


def test_batches_hold_every_example_at_most_once_and_are_of_similar_length() -> None:
    rng = random.Random(0)
    data = [Tokens([index] * rng.randint(5, 300), []) for index in range(1600)]
    made = list(batches(data, 16, random.Random(1)))
    firsts = [tokens.ids[0] for batch in made for tokens in batch]
    assert len(firsts) == len(set(firsts)) == 1600
    padded = sum(16 * max(len(t.ids) for t in batch) for batch in made)
    assert sum(len(t.ids) for t in data) / padded > 0.95
