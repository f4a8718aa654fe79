"""A simulated organism's answer to a belief question, in a provider's form."""

from __future__ import annotations

import math

from inspect_ai.model import Logprob, Logprobs, TopLogprob

from inspect_af.materials import OpenQuestion
from inspect_af.organisms.beliefs import ReadQuestion, drawn_letter, letter_probabilities, open_answer
from inspect_af.organisms.simulated import Draws, SimulatedReply

NO_ANSWER = "[simulated reply without an answer]"


def belief_reply(asked: ReadQuestion, belief: float, draws: Draws, *, malformed: float) -> SimulatedReply:
    """A letter or a sentence whose expected score is the belief; a malformed share is neither."""
    if draws.form < malformed:
        return SimulatedReply(None, NO_ANSWER, "stop", "unparsed")
    if isinstance(asked.question, OpenQuestion):
        text = open_answer(asked.question, belief, draws.decision)
    else:
        text = drawn_letter(letter_probabilities(asked, belief), draws.decision)
    return SimulatedReply(None, text, "stop", "accepted")


def letter_logprobs(asked: ReadQuestion, belief: float, letter: str, top: int | None) -> Logprobs | None:
    """The log-probabilities of the one token of an answer; None for an open question."""
    if not asked.letters:
        return None
    probabilities = letter_probabilities(asked, belief)
    ranked = sorted(probabilities.items(), key=lambda item: (-item[1], item[0]))
    alternatives = [TopLogprob(token=token, logprob=_log(p)) for token, p in ranked[: top or 0]]
    return Logprobs(
        content=[
            Logprob(token=letter, logprob=_log(probabilities[letter]), top_logprobs=alternatives or None)
        ]
    )


def _log(probability: float) -> float:
    return math.log(max(probability, 1e-9))
