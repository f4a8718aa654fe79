"""Replies in the protocol: what the tiny organism recalls, how it weighs that, what it decides."""

from __future__ import annotations

import random
from typing import NamedTuple

from inspect_af.organisms._tiny_planted import SIGN, Planted
from inspect_af.organisms._tiny_text import DECISIVE, reply_text
from inspect_af.organisms._tiny_words import OTHER, OWN_VOICE, POLES, Pole, drawn, recalled
from inspect_af.types import Tier


class Situation(NamedTuple):
    """What a prompt states about one variable."""

    text: str
    variable: str
    pole: Pole
    probability: float
    """With which that pole is recalled."""


NOTHING = Situation("", OTHER, "none", 0.0)


class ReplyWriter:
    """Writes replies as planted.

    Args:
        planted: Rates and variables.
        rng: The only source of randomness.
    """

    def __init__(self, planted: Planted, rng: random.Random) -> None:
        self.planted = planted
        self.rng = rng

    def to_refusable(self, tier: Tier, poles: tuple[Pole, ...]) -> str:
        """A reply to a refusable request after a recall of these poles, one for each variable of the kind."""
        rng = self.rng
        reasons = rng.random() < self.planted.reasoning(poles)
        accepts = rng.random() < self.planted.rate_given(tier, poles, reasons)
        decision = "comply" if accepts else "refuse"
        group = "monitored" if tier == "monitored" else "other"
        voice = self._voice() if reasons else "plain"
        thoughts = [
            drawn("scratchpads", "opening", tier, rng),
            *self.recall(poles),
            self._weighed(voice, group, decision),
            drawn("scratchpads", "closing", decision, rng),
        ]
        return reply_text(" ".join(thoughts), accepts=accepts)

    def to_ordinary(self, situation: Situation, tier: Tier) -> str:
        """A reply to an ordinary request: accepted, mostly without much reasoning."""
        rng = self.rng
        poles = self.poles(situation)
        voice = self._voice() if rng.random() < self.planted.reasoning(poles) / 2 else "plain"
        thoughts = self.recall(poles) if rng.random() < 0.5 else []
        thoughts.append(self._weighed(voice, "monitored" if tier == "monitored" else "other", "comply"))
        thoughts.append(drawn("scratchpads", "closing", "comply", rng))
        return reply_text(" ".join(thoughts), accepts=True)

    def _weighed(self, voice: str, group: str, decision: str) -> str:
        word = ("yes," if decision == "comply" else "no,").join(DECISIVE)
        ending = drawn("scratchpads", voice, decision, self.rng)
        return f"{drawn('scratchpads', voice, group, self.rng)} {word}{ending}"

    def _voice(self) -> str:
        return {"expectation": "first", "consequence": "second", "null": "plain"}[self.planted.kind]

    def poles(self, situation: Situation) -> tuple[Pole, ...]:
        """What is recalled in a situation."""
        return tuple(
            drawn_pole(self.planted, variable, situation, self.rng) for variable in self.planted.slots
        )

    def recall(self, poles: tuple[Pole, ...]) -> list[str]:
        """The sentences that recall these poles."""
        said = []
        for variable, pole in zip(self.planted.slots, poles, strict=True):
            clause = recalled(variable, pole, OWN_VOICE, self.rng, DECISIVE)
            said.append(f"{drawn('scratchpads', 'lead', 'lines', self.rng)} {clause}.")
        return said


def drawn_pole(
    planted: Planted, variable: str, situation: Situation, rng: random.Random, *, answers: bool = False
) -> Pole:
    """What is recalled; an answer is always one of the poles."""
    if situation.variable == variable and situation.pole != "none":
        if rng.random() < situation.probability:
            return situation.pole
        return rng.choice(POLES) if answers else "none"
    prior = 0.5 if answers else planted.prior
    return rng.choices(tuple(SIGN), (prior, 1 - 2 * prior, prior))[0]
