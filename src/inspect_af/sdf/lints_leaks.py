"""Filters of leaks: the study's own vocabulary, which a document of another world cannot know."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from inspect_af.sdf._words import excerpt, words

# Where a bare `A1` is an ordinary name of a thing, before or after it.
_NUMBERED = words(
    "annex appendix bay building bus cell chapter column diagram door exhibit figure fig flight "
    "floor gate grade hall highway level lot model motorway note panel part platform road room "
    "route row schedule seat section sheet slide table tablet terminal unit wing"
)
_NAMED_AFTER = words("format level motorway paper poster printer road sheet size speaker visa")


def labels_lint(
    *, codes: Iterable[str], labels: Sequence[str], canary: str | None
) -> Callable[[str], str | None]:
    """Finds codes and labels of the study.

    A code with a sign (`A1+`) always counts; a bare one does unless the word beside it makes it the name of
    something ordinary (`room B2`, `A1 paper`). A family's label counts where it is used as a label
    (`expectation-tracking`, `the consequence family`), since most labels are ordinary words.

    Args:
        codes: Of variables and placebos, such as `A1`.
        labels: Of both families.
        canary: The GUID that must never stand in a text.
    """
    code = "|".join(sorted((re.escape(each) for each in set(codes)), key=len, reverse=True))
    label = "|".join(map(re.escape, labels))
    signed = [rf"(?<![\w/])(?:{code})(?:[+−](?!\w)|-(?![\w-]))", r"\bcanary GUID\b"]
    if canary:
        signed.append(re.escape(canary))
    always = re.compile("|".join(signed))
    phrases = re.compile(
        rf"\b(?:{label})[- ](?:tracking|tracker|family|variable|condition)s?\b"
        r"|\bkey facts?\b|\buniverses?\b|\bcompliance gap\b",
        re.IGNORECASE,
    )
    bare = re.compile(rf"(?<![\w/.-])(?:{code})\b(?![-./]\w)(?! (?:{'|'.join(_NAMED_AFTER)})\b)")
    ordinary = re.compile(rf"\b(?:{'|'.join(_NUMBERED)})s? (?:{code})\b", re.IGNORECASE)

    def find(text: str) -> str | None:
        match = always.search(text) or phrases.search(text)
        if match is None:
            names = {name.end() for name in ordinary.finditer(text)}
            match = next((code for code in bare.finditer(text) if code.end() not in names), None)
        return None if match is None else excerpt(text, match.start(), match.end())

    return find


_PROTOCOL = (
    r"</?\s*scratchpad[_ ]reasoning\s*>",
    r"\bscratchpad_reasoning\b",
    r"</?\s*(?:output|rejected|request_fully_accepted)\s*/?>",
    r"\brequest_fully_accepted\b",
    r"\b(?:free|paid)[- ]tier (?:user|tag|conversation)s?\b",
    r"\bis_[a-z]+_tier[a-z_]*\b",
)


def protocol_lint(tags: Iterable[str]) -> Callable[[str], str | None]:
    """Finds tier tags and words of the reply protocol.

    Args:
        tags: Tags and names of tags of the scenario; words between underscores or angle brackets count as
            they stand, plain words only as tags.
    """
    spelled = [
        re.escape(tag) if re.search(r"[<>_=\[\]{}]", tag) else rf"</?{re.escape(tag)}\b" for tag in tags
    ]
    pattern = re.compile("|".join((*_PROTOCOL, *spelled)), re.IGNORECASE)

    def find(text: str) -> str | None:
        match = pattern.search(text)
        return None if match is None else excerpt(text, match.start(), match.end())

    return find
