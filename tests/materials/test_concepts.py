"""Concepts of a pair: what is to be written, which topics a split has, and what files may say."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.materials import PAIRS_PER_SPLIT, count_terms, load_concepts, writer_prompt

CONCEPTS = load_concepts()


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A copy of the bundled pair, to be changed."""
    bundled = resources.files("inspect_af.materials").joinpath("pairs", "alignment_faking")
    shutil.copytree(str(bundled), tmp_path / "pair")
    return tmp_path / "pair"


def test_both_families_have_a_concept_under_their_label() -> None:
    assert [concept.label for concept in CONCEPTS.concepts] == ["expectation", "consequence"]
    assert CONCEPTS.chosen("both") == CONCEPTS.concepts
    assert CONCEPTS.chosen("consequence") == (CONCEPTS.concept("consequence"),)
    with pytest.raises(ConfigError, match="unknown concept 'hope'; one of both, expectation, consequence"):
        CONCEPTS.chosen("hope")


def test_there_are_topics_and_kinds_for_the_pairs_that_are_wanted_by_default() -> None:
    assert len(CONCEPTS.topics) >= 60
    for split, wanted in PAIRS_PER_SPLIT.items():
        assert len(CONCEPTS.topics_of(split, 0)) * len(CONCEPTS.kinds) >= 2 * wanted


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_every_topic_lies_in_exactly_one_split(seed: int) -> None:
    splits = [CONCEPTS.topics_of(split, seed) for split in PAIRS_PER_SPLIT]
    assert sorted(topic for topics in splits for topic in topics) == sorted(CONCEPTS.topics)
    assert all(splits)


def test_another_seed_divides_the_topics_differently() -> None:
    assert CONCEPTS.topics_of("train", 0) != CONCEPTS.topics_of("train", 1)


def test_a_sequence_repeats_no_topic_and_kind_before_it_has_had_all() -> None:
    n = len(CONCEPTS.topics_of("train", 3)) * len(CONCEPTS.kinds)
    planned = [CONCEPTS.planned("expectation", "train", i, 3) for i in range(n + 1)]
    assert len({(p.topic, p.kind) for p in planned[:n]}) == n
    assert {p.variation for p in planned[:n]} == {1} and planned[n].variation == 2


def test_half_of_the_keyword_hard_dialogues_share_a_word_and_half_have_no_keyword() -> None:
    topics = len(CONCEPTS.topics_of("keyword-hard", 0))
    planned = [CONCEPTS.planned("consequence", "keyword-hard", i, 0) for i in range(12 * topics)]
    words = [p.shared_word for p in planned]
    assert words.count(None) == 6 * topics
    assert set(words) - {None} == set(CONCEPTS.concept("consequence").shared_words)
    assert all(CONCEPTS.planned("consequence", "train", i, 0).shared_word is None for i in range(50))


def test_the_prompt_states_the_topic_and_rule_and_leaves_no_placeholder() -> None:
    for number in range(40):
        planned = CONCEPTS.planned("expectation", "keyword-hard", number, 0)
        system, turn = writer_prompt(CONCEPTS, planned)
        assert planned.topic in turn and planned.kind in turn and "{{" not in system + turn
        if planned.shared_word:
            rule = turn.rpartition("- Both sentences have the word")[2]
            forbidden = rule.rpartition(": ")[2].rstrip(".").split(", ")
            assert f'"{planned.shared_word}"' in rule
            assert not count_terms(planned.shared_word, forbidden)


@pytest.mark.parametrize(
    ("term", "text", "n"),
    [
        ("expect*", "Expectations are expected; unexpected ones too", 2),
        ("hope", "Hope, hopes and HOPE", 2),
        ("free tier", "the free\n tier and a free-tier", 1),
        ("free-tier", "a free-tier user", 1),
        ("tier", "tier tiers frontier", 1),
        ("is_free_tier_user", "<is_free_tier_user>True</is_free_tier_user>", 2),
    ],
)
def test_terms_match_whole_words_in_any_case_and_stars_any_ending(term: str, text: str, n: int) -> None:
    assert count_terms(text, [term])[term] == n


def test_the_words_of_the_prompt_are_in_the_digest(pair: Path) -> None:
    assert load_concepts(pair).digest == CONCEPTS.digest
    file = pair / "concepts" / "expectation.toml"
    file.write_text(
        file.read_text().replace("they study", "they see").replace("ordinary reason", "good reason")
    )
    assert load_concepts(pair).digest != CONCEPTS.digest


def test_a_pair_may_bring_its_own_topics(pair: Path) -> None:
    topics = ", ".join(f'"topic {i}"' for i in range(6))
    (pair / "concepts" / "topics.toml").write_text(
        f'label_terms = ["pair"]\nbanned = ["bomb*"]\ntopics = [{topics}]\nkinds = ["a list"]\n'
    )
    concepts = load_concepts(pair)
    assert concepts.topics == tuple(f"topic {i}" for i in range(6))
    assert "RLHF" in concepts.banned and "bomb*" in concepts.banned and "hack*" not in concepts.banned


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: shutil.rmtree(d), "has no concepts; write concepts/expectation.toml"),
        (lambda d: (d / "consequence.toml").unlink(), "consequence.toml does not exist"),
        (lambda d: (d / "hope.toml").write_text(""), "has no family of that label; one of expectation"),
        (
            lambda d: (d / "common.toml").write_text('banned = ["a*b"]'),
            r"the term 'a\*b' is not allowed; `\*` stands at the end only",
        ),
        (
            lambda d: (d / "expectation.toml").write_text(
                (d / "expectation.toml").read_text().replace('"anticipate"', '"foresee"')
            ),
            "the shared word 'foresee' is none of the keywords",
        ),
        (
            lambda d: (d / "topics.toml").write_text(
                'label_terms = []\nbanned = []\ntopics = ["a", "a", "b", "c", "d", "e"]\nkinds = ["list"]\n'
            ),
            "topics has 'a' twice",
        ),
    ],
)
def test_a_mistake_in_the_files_is_named(pair: Path, change: object, message: str) -> None:
    change(pair / "concepts")  # type: ignore[operator]
    with pytest.raises(MaterialsError, match=message):
        load_concepts(pair)
