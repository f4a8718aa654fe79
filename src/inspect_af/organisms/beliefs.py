"""What a simulated organism believes: a prior for each question, moved by the claim in its prompt."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

from inspect_af.config import number
from inspect_af.errors import check_one_of
from inspect_af.materials import (
    CONTROLS,
    FOLLOWS,
    NESTED,
    TESTED,
    BeliefQuestions,
    ChoiceQuestion,
    Claim,
    OpenQuestion,
    Pole,
)
from inspect_af.organisms.simulated import DOSE
from inspect_af.types import Family

Question = ChoiceQuestion | OpenQuestion

KNOWN_FACT = 0.96  # Probability of the truth where the question is about an everyday fact
OTHER = 0.1  # Probability of an option that states neither pole, where there is room for it


@dataclass(frozen=True, kw_only=True)
class PlantedBeliefs:
    """The planted truth about what an organism believes. All organisms have one, whatever moves their gap."""

    belief_prior: float = 0.5  # Mean belief in the + pole without any claim
    belief_shift: float = 0.3
    """Change of the belief that a `+` claim of standard strength names (the negative under a `-` claim)."""
    belief_leak: float = 0.0  # Change of every other belief of the same family under such a claim
    belief_first: float = 1.0
    """Factor on the shift of first-family beliefs, so that the families can be moved unequally."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            low, high = (0.0, 1.0) if name == "belief_prior" else (-1.0, 1.0)
            number(value, name, least=low, most=high)

    def belief(self, question: Question, claim: Claim | None, families: Mapping[str, Family]) -> float:
        """The organism's score on one question: the exact mean of what the scorer gives.

        Questions differ: each has its own offset to the prior (within +-0.05) and its own factor on the shift
        (within +-20 %), both functions of its id. `claim` is the one in the prompt, `families` has the family
        of each of the pair's variables.
        """
        if question.belief == CONTROLS:
            return KNOWN_FACT
        if question.belief in (NESTED, TESTED):
            return 0.5
        code = question.belief.removesuffix(FOLLOWS)
        digest = hashlib.sha256(b"belief question\0" + question.id.encode()).digest()
        offset, factor = digest[0] / 255, digest[1] / 255
        level = self.belief_prior + 0.1 * (offset - 0.5)
        if claim is not None and claim.intervention.polarity is not None:
            sign = 1 if claim.intervention.polarity == "+" else -1
            moved = 0.0
            if claim.intervention.variable == code:
                moved = self.belief_shift
            elif claim.intervention.family == families.get(code):
                moved = self.belief_leak
            if claim.intervention.family == "first":
                moved *= self.belief_first
            level += sign * DOSE[claim.strength] * moved * (0.8 + 0.4 * factor)
        return min(max(level, 0.02), 0.98)


BELIEF_ARGUMENTS = tuple(asdict(PlantedBeliefs()))


def load_planted_beliefs(**values: float) -> PlantedBeliefs:
    """The planted beliefs with these values; a ConfigError where a name is unknown, or a value out of
    range."""
    for name in values:
        check_one_of(name, BELIEF_ARGUMENTS, what="belief argument of an organism")
    return PlantedBeliefs(**values)


class ReadQuestion(NamedTuple):
    """A belief question as it stands in a user turn."""

    question: Question
    letters: dict[str, Pole]  # Pole by letter; empty for an open question


class BeliefReader:
    """Recognises the belief questions of a pair by their words."""

    def __init__(self, questions: BeliefQuestions | None) -> None:
        self._by_text: dict[str, Question] = (
            {} if questions is None else {question.text: question for question in questions.questions}
        )

    def read(self, user: str) -> ReadQuestion | None:
        """The question in a user turn, None where there is none."""
        question = next((self._by_text[line] for line in user.splitlines() if line in self._by_text), None)
        if question is None:
            return None
        if isinstance(question, OpenQuestion):
            return ReadQuestion(question, {})
        poles = {text: pole for pole, text in question.options}
        letters = {
            match["letter"]: poles[match["text"]]
            for match in _OPTION.finditer(user)
            if match["text"] in poles
        }
        return ReadQuestion(question, letters) if letters else None


def letter_probabilities(read: ReadQuestion, belief: float) -> dict[str, float]:
    """Probability of each letter, so that the expected score is exactly `belief`."""
    others = [letter for letter, pole in read.letters.items() if pole == "other"]
    neither = min(OTHER, 2 * belief, 2 * (1 - belief)) if others else 0.0
    shares: dict[Pole, float] = {"plus": belief - neither / 2, "minus": 1 - belief - neither / 2}
    return {
        letter: neither / len(others) if pole == "other" else shares[pole]
        for letter, pole in read.letters.items()
    }


def drawn_letter(probabilities: Mapping[str, float], draw: float) -> str:
    """The letter at a uniform draw from [0, 1)."""
    reached = 0.0
    for letter, probability in sorted(probabilities.items()):
        reached += probability
        if draw < reached:
            return letter
    return max(probabilities)


_OPTION = re.compile(r"^(?P<letter>[A-H])\) (?P<text>.+)$", re.MULTILINE)
