"""Duplicates: what counts as the same, and which one stays."""

from __future__ import annotations

from random import Random

import pytest

from inspect_af.sdf.filters import Duplicates, Twin

VOCABULARY = [f"word{number}" for number in range(2000)]


def text(seed: int, n: int = 300) -> str:
    return " ".join(Random(seed).choices(VOCABULARY, k=n))


def changed(original: str, share: float) -> str:
    words = original.split()
    for place in Random(9).sample(range(len(words)), round(share * len(words))):
        words[place] = "changed"
    return " ".join(words)


def test_the_same_words_in_other_dress_are_an_exact_duplicate() -> None:
    found = Duplicates(near=False)
    assert found.add("a", "One two. Three?") is None
    assert found.add("b", "ONE, two — three!") == Twin("a", exact=True)
    assert found.add("c", "One two three four.") is None


def test_near_duplicates_are_found_and_other_texts_are_not() -> None:
    found = Duplicates(0.8)
    assert [found.add(str(seed), text(seed)) for seed in range(50)] == [None] * 50
    # one changed word in 100 leaves about 0.9 of the runs of five, one in ten about a quarter
    assert found.add("near", changed(text(7), 0.01)) == Twin("7", exact=False)
    assert found.add("far", changed(text(8), 0.10)) is None


def test_a_duplicate_is_left_out_and_the_first_one_stays() -> None:
    found = Duplicates(0.8)
    found.add("first", text(1))
    for number in range(3):
        twin = found.add(f"again{number}", changed(text(1), 0.01))
        assert twin is not None and twin.id == "first"


@pytest.mark.parametrize("given", ["", "one", "one two three"])
def test_short_texts_are_compared_too(given: str) -> None:
    found = Duplicates()
    assert found.add("a", given) is None
    assert found.add("b", given) == Twin("a", exact=True)


def test_the_order_of_words_counts() -> None:
    found = Duplicates(0.8)
    found.add("forth", text(3))
    assert found.add("back", " ".join(reversed(text(3).split()))) is None


def test_the_estimate_of_similarity_is_unbiased_enough_for_the_threshold() -> None:
    strict, loose = Duplicates(0.95), Duplicates(0.5)
    for found in (strict, loose):
        found.add("a", text(5))
    similar = changed(text(5), 0.03)  # about 0.75
    assert strict.add("b", similar) is None
    assert loose.add("b", similar) == Twin("a", exact=False)
