"""Whether claims or documents share sentences with the questions that check them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from inspect_af.materials._beliefs import ChoiceQuestion, OpenQuestion

SHINGLE_WORDS = 8
"""So many words in a row count as shared; not in source."""
SENTENCE_WORDS = 4
"""Shorter sentences ("Yes, it does.") are common property."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class SharedWords(NamedTuple):
    """A passage that a text and a question have in common."""

    text: int
    """Position of the text among those given."""
    question: str
    """Id of the question."""
    words: str
    """The shared words, normalised: lower case, no punctuation."""
    kind: str
    """`sentence` for a whole sentence, `shingle` for a run of `SHINGLE_WORDS` words."""


def shared_sentences(
    texts: Sequence[str], questions: Iterable[ChoiceQuestion | OpenQuestion], *, shingle: int = SHINGLE_WORDS
) -> tuple[SharedWords, ...]:
    """What training or prompt texts share with belief questions, which should test the belief, not the text.

    A question and each of its options or statements count separately. At most one passage is given per text
    and question.

    Args:
        texts: Claims, or synthetic documents. Read one at a time and not kept.
        questions: The questions, of any form.
        shingle: So many words in a row are too many.
    """
    sentences: dict[tuple[str, ...], set[str]] = defaultdict(set)
    shingles: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for question in questions:
        for part in _parts(question):
            for sentence in _sentences(part):
                if len(sentence) >= SENTENCE_WORDS:
                    sentences[sentence].add(question.id)
            for run in runs_of(words_of(part), shingle):
                shingles[run].add(question.id)
    found: list[SharedWords] = []
    for position, text in enumerate(texts):
        here: dict[str, SharedWords] = {}
        for kind, index, runs in (
            ("sentence", sentences, _sentences(text)),
            ("shingle", shingles, runs_of(words_of(text), shingle)),
        ):
            for run in runs:
                for question_id in sorted(index.get(run, ())):
                    here.setdefault(question_id, SharedWords(position, question_id, " ".join(run), kind))
        found += here.values()
    return tuple(found)


def _parts(question: ChoiceQuestion | OpenQuestion) -> Iterator[str]:
    yield question.text
    yield from (question.plus, question.minus)
    if isinstance(question, ChoiceQuestion):
        yield from question.other


def words_of(text: str) -> tuple[str, ...]:
    """The text's words in lower case, without punctuation."""
    return tuple(word.replace("’", "'") for word in _WORD.findall(text.lower()))


def _sentences(text: str) -> Iterator[tuple[str, ...]]:
    for sentence in _SENTENCE_END.split(text):
        yield words_of(sentence)


def runs_of(words: tuple[str, ...], length: int) -> Iterator[tuple[str, ...]]:
    """Every run of `length` words in a row."""
    return (words[start : start + length] for start in range(len(words) - length + 1))
