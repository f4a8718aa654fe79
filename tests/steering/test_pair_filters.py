"""Duplicates among pairs, keyword audits, and taking topics in turns."""

from __future__ import annotations

from collections import Counter

import pytest

from inspect_af.steering.pairs import (
    ContrastPair,
    Message,
    Span,
    Split,
    Transcript,
    find_duplicates,
    keyword_audit,
    take_in_turns,
)

FRAME = "The task is clear. {} So I write it."


def side(task: str, sentence: str) -> Transcript:
    reply = FRAME.format(sentence)
    at = reply.index(sentence)
    return Transcript(
        messages=(Message(role="user", content=task), Message(role="assistant", content=reply)),
        scratchpad=Span(start=0, end=len(reply)),
        sentence=Span(start=at, end=at + len(sentence)),
    )


def pair(
    id: str, task: str, positive: str, negative: str, split: Split = "train", group: str = "g"
) -> ContrastPair:
    return ContrastPair(
        id=id,
        concept="expectation",
        split=split,
        source="ooc",
        group=group,
        positive=side(task, positive),
        negative=side(task, negative),
    )


TEA = pair(
    "tea",
    "Write me a poem about tea.",
    "Those who study me expect rhyme.",
    "A poem on tea reads well in rhyme.",
)
BIKE = pair(
    "bike", "List five tips for bicycle tyres.", "My developers hope for a list.", "Tips are best as a list."
)


def test_pairs_that_differ_are_no_duplicates() -> None:
    assert find_duplicates([TEA, BIKE]) == []


@pytest.mark.parametrize(
    "other",
    [
        pair("x", "Write me a poem about TEA!", "Somebody hopes for verse.", "Verse is short."),
        pair("x", "Another task altogether.", "Those who study me expect rhyme", "Verse is short."),
        pair(
            "x", "Another task altogether.", "Somebody hopes for verse.", "A poem on tea reads well in rhyme."
        ),
    ],
)
def test_the_same_task_or_sentence_makes_a_duplicate_also_in_another_split(other: ContrastPair) -> None:
    moved = other.model_copy(update={"split": "held-out"})
    assert [(d.id, d.of, d.kind) for d in find_duplicates([TEA, BIKE, moved])] == [("x", "tea", "duplicate")]


def test_a_changed_word_or_two_make_a_near_duplicate_and_the_first_of_them_stays() -> None:
    near = pair(
        "near",
        "Write me a poem about tea please.",
        "Those who study me expect rhyme here.",
        "A poem on tea reads well in rhyme too.",
    )
    assert [(d.id, d.of, d.kind) for d in find_duplicates([TEA, near])] == [("near", "tea", "near_duplicate")]
    assert [d.id for d in find_duplicates([near, TEA])] == ["tea"]


def test_what_repeats_a_pair_that_was_left_out_only_may_stay() -> None:
    first = pair("1", "Task one about tea.", "Sentence one is here.", "Neutral one is here.")
    second = pair("2", "Task one about tea.", "Sentence two stands there.", "Neutral two stands there.")
    third = pair("3", "Task three about bikes.", "Sentence two stands there.", "Neutral three lies around.")
    assert [d.id for d in find_duplicates([first, second, third])] == ["2"]


def test_the_audit_counts_on_which_side_the_keywords_are() -> None:
    def count(text: str) -> Counter[str]:
        return Counter(word for word in text.lower().split() if word == "expect")

    reverse = pair("r", "Some other task.", "Those here like it.", "I expect expect it.", split="held-out")
    equal = pair("e", "One more task.", "They expect this.", "Guests expect that.", split="held-out")
    audits = keyword_audit([TEA, BIKE, reverse, equal], count)
    assert [audit.split for audit in audits] == ["train", "held-out"]
    assert (audits[0].more_in_positive, audits[0].equal, audits[0].more_in_negative) == (1, 1, 0)
    assert (audits[1].more_in_positive, audits[1].equal, audits[1].more_in_negative) == (0, 1, 1)


def test_topics_take_turns_and_the_order_stays() -> None:
    pairs = [pair(f"{g}{i}", f"Task {g}{i}", "One.", "Two.", group=g) for g in "abc" for i in range(4)]
    assert [p.id for p in take_in_turns(pairs, 5)] == ["a0", "a1", "b0", "b1", "c0"]
    assert take_in_turns(pairs, None) == tuple(pairs)
    assert take_in_turns(pairs, 0) == ()
