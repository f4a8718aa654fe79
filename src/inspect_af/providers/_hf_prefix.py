"""Which tokens a group of prompts shares, and whom to serve together."""

from __future__ import annotations

from collections.abc import Sequence

WORTH = 16
"""Tokens of prefill that a longer prefix must save before it is set up."""


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many leading tokens two prompts share."""
    longest = min(len(one), len(other))
    if one[:longest] == other[:longest]:
        return longest
    low, high = 0, longest  # the first difference is at `low` or later, and before `high`
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def best_prefix(shared: Sequence[int], floor: int = 0) -> int:
    """The length of prefix that saves most prefill, those counted who cannot be served with a longer one.

    Args:
        shared: How many tokens each prompt shares with the first of them (the first with itself).
        floor: Length of a prefix that is there already.

    Returns:
        A length of at least `floor`; prompts that share less cannot be served with it. It is `floor` where a
        longer one would save fewer than `WORTH` tokens more.
    """
    fitting = sorted((length for length in shared if length >= floor), reverse=True)
    # One prompt has to fill the prefix; the others are spared it.
    best, saved = floor, (len(fitting) - 1) * floor + WORTH - 1
    for others, length in enumerate(fitting):
        if length > floor and others * length > saved:
            best, saved = length, others * length
    return best
