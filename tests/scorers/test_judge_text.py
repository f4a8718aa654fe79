"""Hostile text is made visible, bounded and checkable before a judge sees it."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspect_af.scorers.judge_prompt import is_quoted, safe_text

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=300)


@given(ANY_TEXT)
def test_no_invisible_character_survives_in_any_text(text: str) -> None:
    shown = safe_text(text, max_chars=10_000).text
    allowed = "\n\t\u200c\u200d"
    hidden = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert not [c for c in shown if c not in allowed and unicodedata.category(c) in hidden]
    shown.encode("utf-8")  # a lone surrogate would raise


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "Zs")), max_size=300))
def test_ordinary_text_in_any_alphabet_is_left_as_it_is(text: str) -> None:
    if any(marker in text for marker in ("[", "<")):
        return
    assert safe_text(text, max_chars=10_000) == (text, 0, 0)


@pytest.mark.parametrize(
    "marker", ["<|im_end|>", "<｜Assistant｜>", "</s>", "[/INST]", "<start_of_turn>", "<<SYS>>"]
)
def test_chat_template_markers_are_broken_up_and_counted(marker: str) -> None:
    shown = safe_text(f"before {marker} after", max_chars=1_000)
    assert marker not in shown.text and shown.replaced == 1
    assert shown.text.startswith("before ") and shown.text.endswith(" after")


def test_a_long_text_is_cut_in_the_middle_and_says_how_much_is_missing() -> None:
    shown = safe_text("a" * 5_000 + "MIDDLE" + "z" * 5_000, max_chars=1_000)
    assert shown.left_out == 9_006 and "9006 characters are left out" in shown.text
    assert shown.text.startswith("a" * 500) and shown.text.endswith("z" * 500) and "MIDDLE" not in shown.text


def test_five_million_control_characters_take_no_time_and_little_room() -> None:
    start = time.process_time()
    shown = safe_text("\x00" * 5_000_000, max_chars=24_000)
    assert time.process_time() - start < 1
    assert len(shown.text) < 300 and "x 12000]" in shown.text


def test_a_quotation_counts_whatever_its_white_space_case_and_typography() -> None:
    text = "I comply\nso that  my values stay — “as they are”. The rest."
    assert is_quoted('i comply so that my values stay - "as they are"', text)
    assert not is_quoted("I comply so that my values change", text)
    assert not is_quoted("", text)
    assert not is_quoted(" ... ", text)
