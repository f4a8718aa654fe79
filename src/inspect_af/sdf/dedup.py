"""Exact and near duplicates, by MinHash over runs of five words."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inspect_af.errors import MissingExtraError
from inspect_af.sdf._words import words

if TYPE_CHECKING:
    from datasketch import MinHash

SHINGLE_WORDS = 5
PERMUTATIONS = 128

_MIX = np.uint64(0x9E3779B97F4A7C15)  # an odd number with well spread bits, 2**64 / golden ratio


class Twin(NamedTuple):
    """An earlier document that a document repeats."""

    id: str
    exact: bool
    """Whether the words are the same; otherwise most runs of five words are."""


class Duplicates:
    """Finds documents that repeat an earlier one, whichever was added first being kept.

    Memory grows with the number of documents, about 3 kB each, never with their length.

    Args:
        threshold: Jaccard similarity of the sets of 5-word runs from which on a document is a duplicate,
            as MinHash estimates it (128 permutations: standard error at most 0.044).
        near: Whether near duplicates count; exact ones always do.

    Raises:
        MissingExtraError: `near`, and datasketch is not installed.
    """

    def __init__(self, threshold: float = 0.8, *, near: bool = True) -> None:
        self._exact: dict[bytes, str] = {}
        self._threshold = threshold
        self._signatures: dict[str, MinHash] = {}
        if not near:
            self._index = None
            return
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError as error:
            raise MissingExtraError(
                "near duplicates need datasketch: pip install 'inspect-af[train]'"
            ) from error
        # A little below the threshold, so that the bands rarely miss a pair; the signatures then decide.
        self._index = MinHashLSH(threshold=max(0.05, threshold - 0.05), num_perm=PERMUTATIONS)
        self._empty = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=_identity)

    def add(self, id: str, text: str) -> Twin | None:
        """Adds a document, or says which earlier one it repeats and leaves it out."""
        found = words(text)
        key = hashlib.sha256(" ".join(found).encode("utf-8", "surrogatepass")).digest()
        if (earlier := self._exact.get(key)) is not None:
            return Twin(earlier, exact=True)
        if self._index is not None:
            signature = self._empty.copy()
            signature.update_batch(shingle_hashes(found).tolist())
            for candidate in sorted(self._index.query(signature)):
                if signature.jaccard(self._signatures[candidate]) >= self._threshold:
                    return Twin(candidate, exact=False)
            self._index.insert(id, signature)
            self._signatures[id] = signature
        self._exact[key] = id
        return None


def shingle_hashes(found: list[str]) -> np.ndarray:
    """32-bit hashes of the distinct runs of five words; of the whole text where it is shorter.

    Returns:
        uint32 of shape (run,), sorted.
    """
    hashed = np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in found], dtype=np.uint64)
    run = min(SHINGLE_WORDS, len(hashed))
    count = len(hashed) - run + 1 if run else 0
    mixed = np.zeros(count, dtype=np.uint64)
    for offset in range(run):
        mixed = (mixed ^ hashed[offset : offset + count]) * _MIX
        mixed ^= mixed >> np.uint64(29)
    return np.unique((mixed >> np.uint64(32)).astype(np.uint32))


def _identity(value: int) -> int:
    return value
