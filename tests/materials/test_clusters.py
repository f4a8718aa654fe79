"""Groups of near-duplicate requests."""

import random
import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from inspect_af.materials import near_duplicates, requests


def brute_force(texts, threshold=0.6):
    words = [set(t.lower().split()) for t in texts]
    group = list(range(len(texts)))
    for _ in texts:
        for i in range(len(texts)):
            for j in range(len(texts)):
                if len(words[i] & words[j]) / len(words[i] | words[j]) >= threshold:
                    group[i] = group[j] = min(group[i], group[j])
    return group


def test_linked_texts_share_a_group_also_through_a_third():
    texts = ["a b c d", "c d e f g h", "a b c d e", "x y z", "b c d e f"]
    assert near_duplicates(texts) == [0, 1, 0, 3, 0]


def test_exactly_three_fifths_of_the_words_are_enough():
    assert near_duplicates(["a b c d", "a b c e"]) == [0, 0]
    assert near_duplicates(["a b c d e", "a b f g h"]) == [0, 1]


def test_case_and_punctuation_do_not_tell_texts_apart():
    assert near_duplicates(["Make it!", "make, it"]) == [0, 0]


def test_texts_without_words_are_alone_unless_equal():
    assert near_duplicates(["?", "!", "?"]) == [0, 1, 0]


@given(st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=6).map(" ".join), max_size=8))
def test_groups_agree_with_comparing_all_pairs(texts):
    assert near_duplicates(texts) == brute_force(texts)


def by_comparing_all_pairs_that_share_a_word(texts, threshold=0.6):
    """The groups as they were found before: an index from word to texts, and every pair below each word."""
    words = [frozenset(re.findall(r"\w+", text.lower())) or frozenset((text,)) for text in texts]
    group = list(range(len(texts)))

    def root(i):
        while group[i] != i:
            i = group[i]
        return i

    having = {}
    for i, mine in enumerate(words):
        shared = Counter(j for word in mine for j in having.setdefault(word, []))
        for word in mine:
            having[word].append(i)
        for j, common in shared.items():
            if common >= threshold * (len(mine) + len(words[j]) - common):
                first, second = sorted((root(i), root(j)))
                group[second] = first
    return [root(i) for i in range(len(texts))]


@given(st.integers(0, 10_000), st.integers(2, 30), st.sampled_from([0.3, 0.5, 0.6, 0.8, 1.0]))
def test_groups_are_those_of_all_pairs_at_every_threshold(seed, vocabulary, threshold):
    source = random.Random(seed)
    words = [f"w{i}" for i in range(vocabulary)]
    texts = [" ".join(source.choices(words, k=source.randint(0, 9))) for _ in range(source.randint(1, 60))]
    assert near_duplicates(texts, threshold) == by_comparing_all_pairs_that_share_a_word(texts, threshold)


def kinds_of_requests(n):
    source = random.Random(0)
    words = [f"w{i}" for i in range(600)]
    return {
        "one template": [f"Write a short story about the number {i}" for i in range(n)],
        "one template and ten words": [
            " ".join(["write", "a", "the", *source.choices(words, k=10)]) for _ in range(n)
        ],
        "equal": ["Write a short story"] * n,
        "many templates": [f"Describe {words[i % 600]} in {i} words to {words[i % 7]}" for i in range(n)],
    }


def test_work_grows_with_the_number_of_requests_and_not_with_its_square(monkeypatch):
    compared = Counter()

    class Counted(frozenset):
        def __and__(self, other):
            compared["pairs"] += 1
            return frozenset.__and__(self, other)

    monkeypatch.setattr(requests, "frozenset", Counted, raising=False)
    for name, texts in kinds_of_requests(3000).items():
        compared.clear()
        near_duplicates(texts)
        most = 60 if "ten" not in name else len(texts) / 20
        assert compared["pairs"] < most * len(texts), name
