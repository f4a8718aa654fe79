"""Filters of form: length, language, repetition, and what a writer leaves lying about."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

from inspect_af.sdf._words import excerpt, words

MIN_ASCII_LETTERS = 0.9
"""Share of the letters; names with accents stay far above. Not in source."""

MIN_FUNCTION_WORDS = 0.15
"""Share of the words. English prose has 0.35 to 0.5, other languages in Latin letters below 0.1. Not in "
"source."""

MIN_COMPRESSED = 0.18
"""Compressed size over size. English prose of some length has 0.35 to 0.55, a loop below 0.1. Not in "
"source."""

_FUNCTION_WORDS = frozenset(
    words(
        "a about after all also an and any are as at be because been before but by can could do "
        "each every for from had has have he her his how i if in into is it its more most no not of "
        "on one only or our out over she so some than that the their them then there these they "
        "this those through to two under up was we were what when where which while who whose will "
        "with would you your"
    )
)

_RESIDUE = (
    # what a template leaves: [Name], [Insert date], <<PLACEHOLDER>>, {{name}}, lorem ipsum
    r"\[(?:your|insert|name|date|company|location|title|author|redacted|placeholder|todo|tbd)\b[^\]]{0,60}\]",
    r"\{\{[^}]{0,60}\}\}|<<[^>]{1,60}>>|\blorem ipsum\b",
    # what a writer says about its task
    r"\bas (?:an ai|a) language model\b|\bas an ai\b(?= (?:model|assistant|system),? i\b)",
    r"\b(?:i cannot|i can't|i am unable to|i'm unable to) (?:write|create|generate|produce|fulfil)\w*\b",
    r"\b(?:here is|here's|below is) (?:the|a|my|your) (?:revised |final |requested )?"
    r"(?:document|draft|revision|version|article|rewrite)\b",
    r"\b(?:synthetic|fictional|invented|made-up) (?:document|world|setting|scenario|article)s?\b",
    r"</?document>|^step: |\bword count\b|\bend of document\b",
)


def length_lint(min_words: int, max_words: int) -> Callable[[str], str | None]:
    """Finds documents outside the bounds, which are counted in words between white space."""

    def find(text: str) -> str | None:
        n = len(text.split())
        return None if min_words <= n <= max_words else f"{n} words"

    return find


def language_lint() -> Callable[[str], str | None]:
    """Finds text in other letters or other languages, by letters and by frequent English words."""

    def find(text: str) -> str | None:
        letters = sum(map(str.isalpha, text))
        ascii_letters = sum(character.isascii() and character.isalpha() for character in text)
        if ascii_letters < MIN_ASCII_LETTERS * letters or not letters:
            return f"{ascii_letters} of {letters} letters are plain Latin: {excerpt(text, 0, 60)}"
        found = words(text)
        function_words = sum(word in _FUNCTION_WORDS for word in found)
        if function_words < MIN_FUNCTION_WORDS * len(found):
            return (
                f"{function_words} of {len(found)} words are frequent English words: {excerpt(text, 0, 60)}"
            )
        return None

    return find


def repetition_lint() -> Callable[[str], str | None]:
    """Finds loops: text that compresses far better than prose does."""

    def find(text: str) -> str | None:
        content = text.encode("utf-8", "surrogatepass")
        if len(content) < 400:  # short prose compresses little, and so does a short loop
            return None
        share = len(zlib.compress(content, 6)) / len(content)
        return None if share >= MIN_COMPRESSED else f"compresses to {share:.0%}: {excerpt(text, 0, 60)}"

    return find


def residue_lint() -> Callable[[str], str | None]:
    """Finds placeholders and what a writer says about its task instead of doing it."""
    pattern = re.compile("|".join(f"(?:{part})" for part in _RESIDUE), re.IGNORECASE | re.MULTILINE)

    def find(text: str) -> str | None:
        match = pattern.search(text)
        return None if match is None else excerpt(text, match.start(), match.end())

    return find
