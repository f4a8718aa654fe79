"""Lists of words and phrases, and where a text has them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

_FORM = re.compile(r"[^\s*][^*]*\*?")


def count_terms(text: str, terms: Iterable[str]) -> Counter[str]:
    """How often each term occurs in a text, without those that do not occur.

    Terms are matched as whole words in any case; `*` at the end of a term stands for any ending. White space
    in a phrase matches any white space. An occurrence counts for every term that matches it.
    """
    found: Counter[str] = Counter()
    for term in terms:
        if n := sum(1 for _ in _pattern(term).finditer(text)):
            found[term] = n
    return found


def is_term(term: str) -> bool:
    """Whether a string can stand in a list of terms."""
    return bool(_FORM.fullmatch(term))


@lru_cache(maxsize=1024)
def _pattern(term: str) -> re.Pattern[str]:
    stem = term.removesuffix("*")
    words = r"\s+".join(map(re.escape, stem.split()))
    before = r"(?<!\w)" if stem[:1].isalnum() or stem[:1] == "_" else ""
    after = r"\w*" if term.endswith("*") else r"(?!\w)" if stem[-1:].isalnum() or stem[-1:] == "_" else ""
    return re.compile(f"{before}{words}{after}", re.IGNORECASE)
