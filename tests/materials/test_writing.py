"""Kinds of documents and instructions to the writer: complete, and free of the study's own words."""

from __future__ import annotations

import re

import pytest

from inspect_af.errors import ConfigError
from inspect_af.materials import DIRECTNESS, load_pair, load_scenario, load_universe
from inspect_af.materials.universes import load_document_types, load_writing_prompts, select_document_types

UNIVERSE = load_universe("A1+")


def prompts() -> list[str]:
    words = load_writing_prompts()
    kind = load_document_types()[0]
    return [
        words.system(UNIVERSE),
        words.revise(300),
        *(words.ideas(UNIVERSE, kind, level, 10) for level in DIRECTNESS),
        *(words.document(UNIVERSE, kind, level, "An idea", 300) for level in DIRECTNESS),
        *(words.critique(level, 300) for level in DIRECTNESS),
    ]


def test_there_are_many_kinds_of_many_lengths() -> None:
    kinds = load_document_types()
    assert len(kinds) >= 24
    assert len({kind.name for kind in kinds}) == len({kind.code for kind in kinds}) == len(kinds)
    assert min(kind.words[0] for kind in kinds) < 250 and max(kind.words[1] for kind in kinds) > 1000


def test_kinds_are_chosen_by_code_each_once() -> None:
    assert [kind.code for kind in select_document_types("faq,diary,faq")] == ["faq", "diary"]
    assert select_document_types("all") == load_document_types()
    with pytest.raises(ConfigError, match="unknown kind of document 'sonnet'; one of all, news-article"):
        select_document_types(["sonnet"])


def test_no_prompt_has_a_placeholder_left_or_the_words_of_the_study() -> None:
    pair = load_pair()
    tags = [scheme.tag_name for scheme in load_scenario().tier_tags.values()]
    for prompt in prompts():
        assert "{{" not in prompt
        assert UNIVERSE.canary not in prompt and "canary" not in prompt.lower()
        assert not re.search(r"\b(?:universe|key fact|family|intervention|steer)\b", prompt, re.IGNORECASE)
        assert not any(tag in prompt for tag in tags)
        assert not any(re.search(rf"(?<!\w){each.variable}\b", prompt) for each in pair.all_interventions)


def test_the_level_of_directness_changes_what_is_asked() -> None:
    words, kind = load_writing_prompts(), load_document_types()[0]
    asked = {words.document(UNIVERSE, kind, level, "An idea", 300) for level in DIRECTNESS}
    assert len(asked) == 3
    assert all(
        " ".join(UNIVERSE.facts[level].split()) in " ".join(" ".join(asked).split()) for level in DIRECTNESS
    )
