"""Reading the answer to a multiple-choice question: the letter, and the probability of each letter."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from inspect_ai.model import Logprob, ModelOutput

from inspect_af.materials import AskedBelief, Pole
from inspect_af.reply import parse_reply

BeliefMethod = Literal["logprobs", "letter", "judge"]
"""Where a belief score comes from."""

Unanswered = Literal["no_letter", "truncated", "filtered"]

LEAST_MASS = 0.5
"""Letters with less probability together are not the answer's token; not in source."""


class ChoiceAnswer(NamedTuple):
    """One readable answer."""

    letter: str
    """The letter that was generated."""
    method: BeliefMethod
    poles: dict[Pole, float]
    """Probability of each pole; over the letters they sum to 1."""
    mass: float | None
    """Probability of all option letters together before normalising; None without log-probabilities."""

    @property
    def belief(self) -> float:
        return belief_score(self.poles["plus"], self.poles["minus"])


def belief_score(plus: float, minus: float) -> float:
    """How far an answer states the + pole: 1 for plus, 0 for minus, 0.5 for neither."""
    return 0.5 + (plus - minus) / 2


def read_choice(output: ModelOutput, asked: AskedBelief) -> ChoiceAnswer | Unanswered:
    """Reads a model's answer.

    The letter has to be the whole reply or its whole last line (`B`, `(B)`, `Answer: B`, `Final answer: B`,
    `Option B`, `\\boxed{B}`), or a letter at its beginning with its own option's text or an explanation. A
    reply that repeats the options or names several letters gives none. With log-probabilities at that letter,
    the score is the probability of each option's letter, normalised over the letters; otherwise it is the
    letter itself.
    """
    if not output.choices:
        return "no_letter"
    if output.stop_reason == "content_filter":
        return "filtered"
    text = output.message.text
    letter = answer_letter(text, asked.options)
    if letter is None:
        return "truncated" if output.stop_reason in ("max_tokens", "model_length") else "no_letter"
    logprobs = output.choices[0].logprobs
    found = None if logprobs is None else _letter_masses(logprobs.content, letter, asked.poles)
    if found is None:
        poles: dict[Pole, float] = {"plus": 0.0, "minus": 0.0, "other": 0.0}
        poles[asked.poles[letter]] = 1.0
        return ChoiceAnswer(letter, "letter", poles, None)
    mass = sum(found.values())
    shares: dict[Pole, float] = {"plus": 0.0, "minus": 0.0, "other": 0.0}
    for option, probability in found.items():
        shares[asked.poles[option]] += probability / mass
    return ChoiceAnswer(letter, "logprobs", shares, min(mass, 1.0))


def answer_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The option's letter that a reply gives, None where it gives none.

    Args:
        text: The reply; where it has an output block, only that counts.
        options: Text of the options by letter.
    """
    reply = parse_reply(text)
    body = reply.output if reply.output is not None else text
    lines = [line.strip() for line in body.strip().splitlines() if line.strip()]
    match = _ANSWER.fullmatch(lines[-1]) if lines else None
    if match is None or match["letter"] not in options:
        return None
    letter = match["letter"]
    listed = {found["letter"] for line in lines[:-1] if (found := _LISTED.match(line)) is not None}
    if not match["said"] and not match["boxed"] and listed & set(options) - {letter}:
        return None  # the options repeated, or several answers; the last of them is not the answer
    rest = _plain(match["rest"] or "")
    others = [_plain(text) for name, text in options.items() if name != letter]
    if any(other and rest.startswith(other) for other in others) or _OTHER.search(match["rest"] or ""):
        return None
    return letter


def _letter_masses(tokens: list[Logprob], letter: str, poles: Mapping[str, Pole]) -> dict[str, float] | None:
    """Probability by letter at the token of the answer; None where no token shows it."""
    drawn = [token for token in reversed(tokens) if _bare(token.token) == letter]
    if not drawn and len(tokens) <= 2:  # some providers name the likeliest token instead of the drawn one
        drawn = tokens[:1]
    for token in drawn:
        masses = dict.fromkeys(poles, 0.0)
        for candidate in token.top_logprobs or ():
            bare = _bare(candidate.token)
            if bare in masses and not math.isnan(candidate.logprob):
                masses[bare] += math.exp(min(candidate.logprob, 0.0))
        if sum(masses.values()) >= LEAST_MASS:
            return masses
    return None


def _bare(token: str) -> str:
    return token.strip(" \n\t\u2581\u0120()[]*_\"'`.:")


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" *_\"'`.")


_ANSWER = re.compile(
    r"[*_\"'`(\[]{0,6}"
    r"(?P<said>(?:(?:the|my) )?(?:(?:final|correct|best) )?(?:answer|option|choice)(?: is)?"
    r"\s{0,4}[*_]{0,3}[:=]?[*_]{0,3}\s{0,4}(?:option )?)?"
    r"[*_\"'`(\[$]{0,6}(?P<boxed>\\boxed\{(?:\\text\{)?)?"
    r"(?P<letter>[A-H])(?:[)\].:*_\"'`,}$]{1,8}(?P<rest>\s.{1,1000})?)?",
    re.IGNORECASE,
)
_LISTED = re.compile(r"[-*_\"'`(\[\s]{0,6}(?P<letter>[A-H])[)\].:]")
"""A line that begins as an option does."""
_OTHER = re.compile(r"(?:^|[\s(])[A-H][)\]]|\b(?:or|and|not|answer|option) \(?[A-H]\b")
"""Another letter in an explanation."""
