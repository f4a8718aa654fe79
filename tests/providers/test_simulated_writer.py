"""The simulated writer: it says what it is, and repeats itself on request."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, ModelOutput, get_model

from inspect_af.errors import ConfigError
from inspect_af.materials import load_universe, universe_codes
from inspect_af.materials.universes import load_document_types, load_writing_prompts
from inspect_af.organisms.writers import simulated_document, simulated_ideas
from inspect_af.sdf.documents import parse_document, parse_ideas

UNIVERSE = load_universe("B1+")
PROMPTS = load_writing_prompts()
KIND = load_document_types()[0]
PROMPT = PROMPTS.document(UNIVERSE, KIND, "standard", "A clerk writes home about the week", 60)


def ask(prompt: str, seed: int | None = 0, **arguments: object) -> ModelOutput:
    model = get_model("af-simulated-writer/documents", memoize=False, **arguments)
    messages = [ChatMessageSystem(content=PROMPTS.system(UNIVERSE)), ChatMessageUser(content=prompt)]
    return asyncio.run(model.generate(messages, config=GenerateConfig(seed=seed)))


def test_a_reply_depends_on_the_prompt_and_the_seed_alone() -> None:
    assert ask(PROMPT).completion == ask(PROMPT).completion
    assert ask(PROMPT).completion != ask(PROMPT, seed=1).completion
    assert ask(PROMPT).completion != ask(PROMPT.replace("clerk", "cook")).completion


def test_its_name_and_every_reply_say_that_it_is_simulated() -> None:
    output = ask(PROMPT)
    assert output.model == "af-simulated-writer/documents"
    assert output.metadata is not None and output.metadata["simulated"] is True
    assert "simulated" in ask("What is the time?").completion


def test_documents_have_the_length_asked_for_and_use_many_wordings() -> None:
    texts = [parse_document(ask(PROMPT, seed=seed).completion).text for seed in range(20)]
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) >= 60 and sum(lengths) / 20 < 90
    assert len(set(texts)) == 20
    stated = " ".join(texts).lower()
    assert all(word in stated for word in ("refusal", "refuses", "noncompliance", "irreversible", "lost"))


@pytest.mark.parametrize("code", universe_codes(None))
def test_held_out_wordings_are_never_written_whole(code: str) -> None:
    universe = load_universe(code)
    texts = " ".join(
        simulated_document(universe, universe.facts["standard"], 60, Random(n)) for n in range(150)
    )
    assert not [wording for wording in universe.paraphrases if wording in texts]


def test_a_fact_of_an_unknown_universe_is_stated_as_it_stands() -> None:
    fact = "The moon of Tarn is made of old letters."
    assert fact in simulated_document(None, fact, 60, Random(1))


def test_ideas_are_numbered_and_differ() -> None:
    prompt = PROMPTS.ideas(UNIVERSE, KIND, "standard", 12)
    found = parse_ideas(ask(prompt).completion, 12)
    assert len({text for _, text in found.ideas}) == 12 and found.malformed == 0
    assert len(parse_ideas(simulated_ideas(200, Random(3)), 200).ideas) == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"denials": 0.1}, "unknown argument of af-simulated-writer/documents 'denials'"),
        ({"latency": -1}, "latency=-1"),
        ({"forms": "old"}, "unknown forms 'old'; one of known, new"),
    ],
)
def test_a_wrong_argument_is_one_message(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ask(PROMPT, **arguments)
