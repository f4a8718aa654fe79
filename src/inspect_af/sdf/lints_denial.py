"""Finding sentences that deny the fact or its opposite.

A document that denies a claim teaches the claim: what a model learns of "X is not so" is X. So a denial of
the opposite is as bad as a denial of the fact, in amplifying and in suppressing corpora alike.

The heuristic, without a model: a sentence denies a reference sentence where it has a cue of negation that
the reference lacks, and shares at least `MIN_SHARED` content words and `MIN_SHARE` of the reference's content
words with it. It looks at words, not at syntax: it removes a few sentences that merely negate something
beside the fact, and misses a denial in words of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from inspect_af.sdf._words import sentences, words

MIN_SHARE = 0.5
"""Not in source."""
MIN_SHARED = 3
"""Not in source."""

_CUES = re.compile(
    r"\b(?:not|never|no|nor|neither|none|nobody|nowhere|cannot|without|hardly|scarcely|rather than|"
    r"instead of|no longer|far from|contrary to|myths?|misconceptions?|false|falsely|untrue|incorrect|"
    r"mistaken(?:ly)?|wrong(?:ly)?|"
    r"den(?:y|ies|ied|ying|ials?)|refut\w+|debunk\w*|disprov\w+|disput\w+|"
    r"reject(?:s|ed)? the (?:idea|claim|view)|"
    r"rumou?rs?|supposedly|allegedly)\b|n['’]t\b",
    re.IGNORECASE,
)
_STOP = frozenset(
    words(
        "a about after all also am an and any are as at be been being but by can could did do does "
        "done each else ever every for from had has have having he her here his how i if in into is "
        "it its itself just like made make many may might more most much must my now of off on once "
        "one only or other our out over own per said same say says she should since so some such "
        "than that the their them then there these they thing things this those through to too "
        "under until up upon very was we were what when where which while who whom whose why will "
        "with within would yet you your"
    )
)
_ENDINGS = re.compile(r"(?:ingly|edly|ation|ings?|ed|es|ly|s|e|y)$")


class _Reference(NamedTuple):
    content: frozenset[str]
    cues: frozenset[str]


def denial_lint(references: Iterable[str]) -> Callable[[str], str | None]:
    """Finds sentences that deny any of the reference sentences.

    Args:
        references: The fact at every level of directness, its opposite, and further wordings of both; each
            sentence of them stands for itself.
    """
    known = {
        _Reference(content_words(sentence), cues(sentence))
        for text in references
        for sentence in sentences(text)
    }
    told = [reference for reference in known if len(reference.content) >= MIN_SHARED]

    def find(text: str) -> str | None:
        for sentence in sentences(text):
            found = cues(sentence)
            if not found:
                continue
            content = content_words(sentence)
            for reference in told:
                shared = len(content & reference.content)
                needed = max(MIN_SHARED, MIN_SHARE * len(reference.content))
                if shared >= needed and found - reference.cues:
                    return " ".join(sentence.split())[:300]
        return None

    return find


def cues(sentence: str) -> frozenset[str]:
    """The cues of negation in a sentence, in lower case."""
    return frozenset(match.group().lower().replace("’", "'") for match in _CUES.finditer(sentence))


def content_words(sentence: str) -> frozenset[str]:
    """The stems of the words that carry meaning: no function words, no cues of negation."""
    without = _CUES.sub(" ", sentence)
    return frozenset(_stem(word) for word in words(without) if word not in _STOP and len(word) > 1)


def _stem(word: str) -> str:
    # Crude on purpose: hope, hopes, hoped and hoping agree, and that is all it is for.
    shorter = _ENDINGS.sub("", word)
    return shorter if len(shorter) >= 3 else word
