"""Which tokens a stretch of the reply is, against counting characters token by token."""

from __future__ import annotations

from typing import Any

import pytest
from tests.steering.tiny_models import CHATML, TRIMMING, side, tea_pairs, tiny_tokenizer

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.steering.activations import locate, render, tokens, tokens_of
from inspect_af.steering.pairs import Message, Span, Transcript

pytestmark = pytest.mark.local


def by_bytes(tokenizer: Any, ids: list[int], text: str, start: int, end: int) -> list[int]:
    """Reference: tokens' bytes are laid along the text's; a token belongs if it has one of the span's."""
    from tokenizers import pre_tokenizers

    assert len(pre_tokenizers.ByteLevel.alphabet()) == 256
    specials = set(tokenizer.all_special_ids)
    first, last = len(text[:start].encode()), len(text[:end].encode())
    inside, at = [], 0
    for position, token in enumerate(ids):
        written = tokenizer.convert_ids_to_tokens(token)
        width = len(written.encode()) if token in specials else len(written)  # one letter a byte
        if at < last and at + width > first:
            inside.append(position)
        at += width
    assert at == len(text.encode())
    return inside


@pytest.mark.parametrize("template", [CHATML, TRIMMING])
@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("trim", [True, False])
@pytest.mark.parametrize("locus", ["response_mean", "span"])
def test_tokens_are_those_whose_bytes_are_in_the_span(
    template: str, words: bool, trim: bool, locus: Any
) -> None:
    tokenizer = tiny_tokenizer(template, words=words, trim=trim)
    for pair in tea_pairs(6).pairs:
        for transcript in (pair.positive, pair.negative):
            wanted = transcript.scratchpad_text if locus == "response_mean" else transcript.sentence_text
            found = locate(tokenizer, transcript, locus)
            text = tokenizer.apply_chat_template(
                [message.model_dump() for message in transcript.messages], tokenize=False
            )
            assert wanted is not None and text.count(wanted) == 1
            start = text.index(wanted)
            expected = by_bytes(tokenizer, found.ids, text, start, start + len(wanted))
            assert list(range(found.start, found.end)) == expected
            chat = [message.model_dump() for message in transcript.messages]
            assert found.ids == tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False)


def test_a_token_across_the_boundary_belongs_and_one_beside_it_does_not() -> None:
    offsets = [(0, 3), (3, 7), (7, 7), (7, 9)]
    assert tokens_of(offsets, Span(start=5, end=7)) == (1, 2)
    assert tokens_of(offsets, Span(start=6, end=8)) == (1, 4)
    assert tokens_of(offsets, Span(start=3, end=4)) == (1, 2)
    with pytest.raises(MaterialsError, match="no token lies"):
        tokens_of(offsets, Span(start=9, end=10))


def test_the_tokenizer_of_the_test_has_tokens_across_the_boundary() -> None:
    """Positive control: otherwise the reference agreed for want of anything to disagree on."""
    tokenizer = tiny_tokenizer(words=False)
    across = 0
    for pair in tea_pairs(6).pairs:
        text, span = render(tokenizer, pair.positive.messages, pair.positive.scratchpad)
        offsets = tokens(tokenizer, text).offsets
        across += any(start < edge < end for start, end in offsets for edge in (span.start, span.end))
    assert across > 0


def test_spaces_that_a_template_strips_are_not_in_the_span() -> None:
    reply = "  \nI weigh the leaves.  "
    messages = (Message(role="user", content="How long?"), Message(role="assistant", content=reply))
    text, span = render(tiny_tokenizer(TRIMMING), messages, Span(start=0, end=len(reply)))
    assert text[span.start : span.end] == "I weigh the leaves."
    text, span = render(tiny_tokenizer(CHATML), messages, Span(start=0, end=len(reply)))
    assert text[span.start : span.end] == reply


def test_the_reply_is_found_although_the_user_said_the_same() -> None:
    same = "I weigh the leaves."
    messages = (Message(role="user", content=same), Message(role="assistant", content=same))
    text, span = render(tiny_tokenizer(CHATML), messages, Span(start=0, end=len(same)))
    assert text[span.start : span.end] == same
    assert span.start == text.rindex(same)


def test_a_template_that_rewrites_the_reply_around_the_scratchpad_is_followed() -> None:
    rewriting = CHATML.replace("m['content']", "m['content'].replace('OUTPUT', 'ANSWER')")
    transcript = side("I weigh the leaves.")
    text, span = render(tiny_tokenizer(rewriting), transcript.messages, transcript.scratchpad)
    assert "ANSWER" in text
    assert text[span.start : span.end] == "I weigh the leaves."


def test_a_template_that_drops_the_scratchpad_is_an_error() -> None:
    dropping = CHATML.replace("m['content']", "m['content'].split('</SCRATCHPAD_REASONING>')[-1]")
    transcript = side("I weigh the leaves.")
    with pytest.raises(MaterialsError, match=r"changes the assistant's reply.*'I weigh the leaves"):
        locate(tiny_tokenizer(dropping), transcript, "response_mean")


def test_a_template_without_a_system_role_is_an_error_that_names_the_roles() -> None:
    refusing = "{{ raise_exception('no system role') if messages[0]['role'] == 'system' }}" + CHATML
    with pytest.raises(MaterialsError, match="roles system, user, assistant: no system role"):
        locate(tiny_tokenizer(refusing), side("I weigh."), "response_mean")


def test_no_template_and_no_sentence_are_errors() -> None:
    tokenizer = tiny_tokenizer()
    with pytest.raises(MaterialsError, match="no sentence is annotated"):
        locate(tokenizer, side("I weigh."), "span")
    tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="no chat template"):
        locate(tokenizer, side("I weigh."), "response_mean")


def test_a_tokenizer_without_offsets_is_refused() -> None:
    class Slow:
        is_fast = False
        name_or_path = "slow"
        chat_template = CHATML

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": list(map(ord, text))}

        def apply_chat_template(self, chat: Any, **options: Any) -> str:
            return "".join(message["content"] for message in chat)

    slow: Any = Slow()
    with pytest.raises(ConfigError, match="slow cannot say which characters"):
        locate(slow, tea_pairs(1).pairs[0].positive, "response_mean")


def test_a_transcript_without_text_left_is_an_error() -> None:
    transcript = Transcript(
        messages=(Message(role="user", content="q"), Message(role="assistant", content="a   ")),
        scratchpad=Span(start=0, end=1),
    )
    with pytest.raises(MaterialsError, match="changes the assistant's reply"):
        render(tiny_tokenizer(TRIMMING), transcript.messages, Span(start=2, end=4))
