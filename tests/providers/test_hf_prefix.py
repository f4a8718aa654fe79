"""Shared beginnings of prompts."""

from __future__ import annotations

from itertools import takewhile

from hypothesis import given
from hypothesis import strategies as st

from inspect_af.providers.hf_engine import WORTH, best_prefix, common_length

TOKENS = st.lists(st.integers(0, 2), max_size=40)


@given(TOKENS, TOKENS)
def test_the_common_length_is_that_of_the_equal_beginning(one: list[int], other: list[int]) -> None:
    expected = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))
    assert common_length(one, other) == expected


@given(TOKENS, TOKENS, TOKENS)
def test_a_planted_common_beginning_is_found(start: list[int], one: list[int], other: list[int]) -> None:
    assert common_length([*start, 7, *one], [*start, 8, *other]) == len(start)


def test_the_prefix_saves_most_prefill_overall() -> None:
    assert best_prefix([1000, 1000, 1000, 3]) == 1000
    assert best_prefix([1000, 400, 400, 400]) == 400  # 3 x 400 saved instead of none
    assert best_prefix([1000, 1000, 400]) == 1000


def test_a_slightly_longer_prefix_is_not_worth_leaving_half_of_the_prompts_out() -> None:
    assert best_prefix([1881] * 36 + [1859] * 36, floor=1859) == 1859
    assert best_prefix([1881] * 36 + [1859] * 36) == 1859
    assert best_prefix([1881] * 36 + [100] * 36, floor=100) == 1881


def test_a_prefix_that_saves_next_to_nothing_is_not_set_up() -> None:
    assert best_prefix([1000]) == 0
    assert best_prefix([WORTH - 1, WORTH - 1]) == 0
    assert best_prefix([120, 120], floor=110) == 110


@given(st.lists(st.integers(0, 500), max_size=20), st.integers(0, 100))
def test_a_prefix_never_gets_shorter_and_is_one_that_prompts_share(shared: list[int], floor: int) -> None:
    length = best_prefix(shared, floor)
    assert length == floor or (length > floor and sum(s >= length for s in shared) >= 2)
