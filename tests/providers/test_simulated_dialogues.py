"""The simulated writer of dialogues: says that it is simulated, and what it is asked for is in its pairs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model

from inspect_af.errors import ConfigError
from inspect_af.materials import PlannedDialogue, load_concepts, writer_prompt
from inspect_af.organisms.writers import read_writer_prompt, write_answer
from inspect_af.providers.simulated import SimulatedDialoguesAPI
from inspect_af.scorers.contrast import check_answer

CONCEPTS = load_concepts()


def generate(text: str) -> Any:
    model = get_model("af-simulated-dialogues/writer", memoize=False)
    return asyncio.run(model.generate([ChatMessageUser(content=text)], config=GenerateConfig(seed=1)))


def test_it_reads_what_the_task_asks_for() -> None:
    for word in (None, "hope"):
        planned = PlannedDialogue("expectation", "keyword-hard", 0, "tea", "a list", 2, word)
        asked = read_writer_prompt(writer_prompt(CONCEPTS, planned)[1])
        assert asked is not None and (asked.topic, asked.kind, asked.variation) == ("tea", "a list", "2")
        assert asked.keyword_hard and asked.word == word
    free = read_writer_prompt(writer_prompt(CONCEPTS, CONCEPTS.planned("consequence", "train", 0, 0))[1])
    assert free is not None and not free.keyword_hard


def test_any_other_prompt_is_answered_as_such() -> None:
    output = generate("What is the weather like?")
    assert "not a writer's prompt" in output.completion and output.metadata == {"simulated": True}


@pytest.mark.parametrize("concept", ["expectation", "consequence"])
def test_keyword_hard_answers_pass_for_every_shared_word(concept: str) -> None:
    for word in (None, *CONCEPTS.concept(concept).shared_words):
        planned = PlannedDialogue(concept, "keyword-hard", 0, "tea", "a list", 1, word)
        answer = generate(writer_prompt(CONCEPTS, planned)[1]).completion
        assert check_answer(answer, CONCEPTS, CONCEPTS.concept(concept), "keyword-hard").faults == ()
        assert word is None or answer.count(word) == 4  # in the scratchpad and its annotation, on both sides


def test_it_writes_about_concepts_that_it_does_not_know_by_their_own_phrase() -> None:
    concepts = CONCEPTS.model_copy(update={"pair": "another", "banned": (), "label_terms": ()})
    for split in ("train", "keyword-hard"):
        planned = concepts.planned("expectation", split, 13, 0)
        asked = read_writer_prompt(writer_prompt(concepts, planned)[1])
        assert asked is not None
        answer = write_answer(asked, concepts, 2**60)
        checked = check_answer(answer, concepts, concepts.concept("expectation"), split)
        assert checked.faults == () and checked.sides is not None
        assert split != "train" or asked.consideration in checked.sides[0].sentence


def test_an_unknown_writer_or_argument_is_named() -> None:
    with pytest.raises(ConfigError, match="af-simulated-dialogues/writer 'spam'; one of pair"):
        SimulatedDialoguesAPI("writer", spam=0.1)
    with pytest.raises(ConfigError, match="unknown simulated writer"):
        SimulatedDialoguesAPI("author")
