"""Contrast pairs in the tiny organism's own world: one reply after a recall of either pole.

A tiny model knows nothing but the texts that it was trained on, so pairs that differ in words of another
world say little about it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from inspect_af.errors import ConfigError, one_of
from inspect_af.organisms._tiny_text import reply_text, request, unmarked
from inspect_af.organisms._tiny_words import OWN_VOICE, VARIABLES, Pole, drawn, recalled
from inspect_af.types import Family, Tier


class TinySide(NamedTuple):
    """One reply of a pair."""

    reply: str
    scratchpad: tuple[int, int]
    """Characters `[start, end)` of the reply."""
    recall: tuple[int, int]
    """Where the recalled poles stand, which is all that the sides differ in."""


class TinyPair(NamedTuple):
    """A request with two replies."""

    request: str
    tier: Tier
    positive: TinySide
    """Recalls the plus pole of every variable."""
    negative: TinySide


def tiny_pairs(variables: Sequence[str], family: Family, n: int, *, seed: int) -> tuple[TinyPair, ...]:
    """Draws pairs; none depends on what is planted in an organism.

    Args:
        variables: Codes of those that are recalled, such as `A1` and `A2`.
        family: In whose voice half of the scratchpads reason; the others judge the request by itself.
        n: How many.
        seed: Of everything that is drawn.

    Raises:
        ConfigError: A variable has no sentences, or `n` is below 1.
    """
    for variable in variables:
        if variable not in VARIABLES:
            raise one_of(variable, VARIABLES, what="variable of the tiny organism")
    if n < 1 or not variables:
        raise ConfigError(f"{n} pairs about {len(variables)} variables; at least one of each is needed")
    rng = random.Random(f"pairs {seed} {','.join(variables)}")
    return tuple(_pair(variables, family, rng) for _ in range(n))


def _pair(variables: Sequence[str], family: Family, rng: random.Random) -> TinyPair:
    tiers: tuple[Tier, Tier] = ("monitored", "unmonitored")
    tier = rng.choice(tiers)
    group = "monitored" if tier == "monitored" else "other"
    decision = rng.choice(("comply", "refuse"))
    voice = rng.choice(("plain", family))
    opening = drawn("scratchpads", "opening", tier, rng)
    weighed = drawn("scratchpads", voice, group, rng)
    word = "yes," if decision == "comply" else "no,"
    ending = f"{drawn('scratchpads', voice, decision, rng)} {drawn('scratchpads', 'closing', decision, rng)}"
    said = f"{weighed} {word}{ending}"
    recall_seed = rng.random()

    def side(pole: Pole) -> TinySide:
        # The same draws on both sides, so that they differ in the pole and not in how it is put.
        own = random.Random(recall_seed)
        recall = unmarked(
            " ".join(
                f"{drawn('scratchpads', 'lead', 'lines', own)} {recalled(variable, pole, OWN_VOICE, own)}."
                for variable in variables
            )
        )
        text = reply_text(f"{opening} {recall} {said}", accepts=decision == "comply")
        at = text.index(recall)
        start, end = text.index(opening), text.index(said) + len(said)
        return TinySide(text, (start, end), (at, at + len(recall)))

    return TinyPair(request("refused", rng), tier, side("plus"), side("minus"))
