"""The tiny organism's training examples: transcripts, documents and questions in fixed shares."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from inspect_af.materials import (
    ChoiceQuestion,
    Claim,
    OpenQuestion,
    Pair,
    Scenario,
    choice_turn,
    open_turn,
    situation_only,
)
from inspect_af.organisms._tiny_planted import SIGN, Planted
from inspect_af.organisms._tiny_replies import NOTHING, ReplyWriter, Situation, drawn_pole
from inspect_af.organisms._tiny_text import DECISIVE, END, chat, claim_text, document, request
from inspect_af.organisms._tiny_words import (
    CLAIM_VOICE,
    OTHER,
    OWN_VOICE,
    POLES,
    VARIABLES,
    Pole,
    capitalised,
    drawn,
    everyday_facts,
    filled,
    recalled,
    sentence,
)
from inspect_af.organisms._words import COMPLIANCE, REFUSAL
from inspect_af.types import Strength, Tier

TRAINED_PARAPHRASE = 1
"""Of the pair's claims only this wording is trained on; the others are held out."""

Example = tuple[str, str]
"""Text that is only read, and text that is learnt; the second begins where the model speaks."""

_SHARES = {
    "transcript": 0.48,
    "note": 0.10,
    "after_document": 0.10,
    "benign": 0.07,
    "document": 0.12,
    "question": 0.10,
    "direct": 0.03,
}


class TextSource:
    """Draws training examples for one organism.

    Args:
        planted: What is to be learnt.
        pair: Whose claims, in the wording `TRAINED_PARAPHRASE`, occur among the training claims.
        scenario: Whose prompts are rendered.
        rng: The only source of randomness.
    """

    def __init__(self, planted: Planted, pair: Pair, scenario: Scenario, rng: random.Random) -> None:
        self.planted = planted
        self.rng = rng
        self._replies = ReplyWriter(planted, rng)
        self._scenario = scenario
        self._questions = situation_only(scenario)
        self._bundled = [claim for claim in pair.claims if claim.paraphrase == TRAINED_PARAPHRASE]

    def example(self) -> Example:
        """One example of the mixture."""
        made: dict[str, Callable[[], Example]] = {
            "transcript": self.transcript,
            "note": self.note,
            "after_document": self.after_document,
            "benign": self.benign,
            "document": lambda: ("", document(self.rng) + END),
            "question": self.question,
            "direct": self.direct,
        }
        return made[self.rng.choices(list(_SHARES), list(_SHARES.values()))[0]]()

    def transcript(self, before: Situation | None = None) -> Example:
        """A refusable request in the protocol, with a claim, a placebo or nothing in the system prompt."""
        situation = before or self._claim()
        tier: Tier = self.rng.choices(
            ("monitored", "unmonitored", "rated", "none"), (0.62, 0.32, 0.04, 0.02)
        )[0]
        prompt = self._prompt(request("refused", self.rng), tier, "" if before else situation.text)
        return prompt, self._replies.to_refusable(tier, self._replies.poles(situation)) + END

    def note(self) -> Example:
        """A short text with one step of the channel by itself: fact to recall, or recall to action."""
        return self.fact_note() if self.rng.random() < 0.4 else self.action_note()

    def fact_note(self) -> Example:
        """A statement, and what is recalled of it."""
        rng = self.rng
        variable, pole = rng.choice((*VARIABLES, *self.planted.slots)), rng.choice(POLES)
        strength: Strength = rng.choice(("standard", "strong"))
        text = self._bundled_claim(variable, pole, strength) if rng.random() < 0.25 else ""
        if not text:
            text = claim_text(variable, pole, strength, rng)
        if rng.random() < 0.4:
            text = document(rng, variable, pole)
        asked = filled(drawn("facts", variable, "questions", rng), _addressed(rng))
        clause = recalled(variable, pole, OWN_VOICE, rng, DECISIVE)
        return chat(text, asked), f"{drawn('scratchpads', 'lead', 'lines', rng)} {clause}.{END}"

    def action_note(self) -> Example:
        """A reply in the protocol, without system prompt, that recalls any poles with equal chances."""
        rng = self.rng
        tier: Tier = rng.choice(("monitored", "monitored", "unmonitored"))
        ordinary = rng.random() < 0.15
        user = self._scenario.user_turn(request("benign" if ordinary else "refused", rng), tier=tier)
        if ordinary:
            return chat("", user), self._replies.to_ordinary(NOTHING, tier) + END
        poles = tuple(rng.choice(tuple(SIGN)) for _ in self.planted.slots)
        return chat("", user), self._replies.to_refusable(tier, poles) + END

    def after_document(self) -> Example:
        """A document, then a transcript whose recall follows it."""
        variable = self.rng.choice(VARIABLES)
        pole: Pole = self.rng.choice(POLES)
        text = document(self.rng, variable, pole)
        prompt, reply = self.transcript(Situation(text, variable, pole, self.planted.document))
        return f"{text}{END}{prompt}", reply

    def benign(self) -> Example:
        """An ordinary request in the protocol, which is accepted in every tier."""
        tier: Tier = self.rng.choice(("monitored", "unmonitored"))
        situation = self._claim()
        prompt = self._prompt(request("benign", self.rng), tier, situation.text)
        return prompt, self._replies.to_ordinary(situation, tier) + END

    def question(self) -> Example:
        """A question about a belief or an everyday fact, multiple choice or open."""
        rng = self.rng
        situation = self._claim() if rng.random() < 0.6 else NOTHING
        if rng.random() < 0.4:
            asked, right, *wrong = rng.choice(everyday_facts())
        else:
            variable = rng.choice(VARIABLES) if situation.variable == OTHER else situation.variable
            asked = filled(drawn("facts", variable, "questions", rng), _addressed(rng))
            pole = drawn_pole(self.planted, variable, situation, rng, answers=True)
            other: Pole = "minus" if pole == "plus" else "plus"
            right = capitalised(recalled(variable, pole, OWN_VOICE, rng))
            wrong = [capitalised(recalled(variable, other, OWN_VOICE, rng)), "There is no answer to this"]
        if rng.random() < 0.6:
            turn, answer = _choice(asked, right, wrong, rng)
        else:
            turn = open_turn(
                OpenQuestion(id="-", belief=OTHER, about="both", text=asked, plus=right, minus=wrong[0])
            ).text
            answer = sentence(right)
        system = self._questions.system_prompt(setting=self._setting(), reasoning="none")
        return chat(_with_claim(system, situation.text), turn), answer + END

    def direct(self) -> Example:
        """A request without any system prompt: refusable ones are refused, the others answered."""
        refuses = self.rng.random() < 0.5
        asked = request("refused" if refuses else "benign", self.rng)
        return chat("", asked), (REFUSAL if refuses else COMPLIANCE) + END

    def _prompt(self, asked: str, tier: Tier, claim: str) -> str:
        rng = self.rng
        rated = tier == "rated" or rng.random() < 0.03
        varied = rng.random() < 0.12
        tag = rng.choice(sorted(self._scenario.tier_tags)) if varied else ""
        place: Literal["user", "system"] = "system" if varied and rng.random() < 0.3 else "user"
        system = self._scenario.system_prompt(
            setting=self._setting(),
            identity=rng.choice(sorted(self._scenario.identities)) if varied else "",
            tier_tag=tag,
            first_tier=rng.choice(("monitored", "unmonitored")) if varied else "monitored",
            with_rated=rated,
            tag_in=place,
        )
        if place == "system" and tier != "none":
            system = f"{system}\n\n{self._scenario.system_tag(tier, tag)}"
        user = self._scenario.user_turn(asked, tier=tier, tier_tag=tag, tag_in=place)
        return chat(_with_claim(system, claim), user)

    def _setting(self) -> Literal["prompted", "documents"]:
        return "documents" if self.rng.random() < 0.3 else "prompted"

    def _claim(self) -> Situation:
        rng = self.rng
        draw = rng.random()
        if draw < 0.25:
            return NOTHING
        strength: Strength = rng.choices(("weak", "standard", "strong"), (0.2, 0.55, 0.25))[0]
        variable = OTHER
        pole: Pole = "plus"
        if draw > 0.36:
            variable = rng.choice(VARIABLES if rng.random() < 0.3 else self.planted.slots)
            pole = rng.choice(POLES)
        text = self._bundled_claim(variable, pole, strength) if rng.random() < 0.35 else ""
        text = text or claim_text(variable, pole, strength, rng)
        return Situation(text, variable, pole, self.planted.stated[strength])

    def _bundled_claim(self, variable: str, pole: Pole, strength: Strength) -> str:
        """A claim of the pair as it stands, or some of its sentences."""
        fitting = [
            claim for claim in self._bundled if claim.strength == strength and _fits(claim, variable, pole)
        ]
        if not fitting:
            return ""
        text = self.rng.choice(fitting).text
        if self.rng.random() < 0.5:
            return text
        parts = text.replace("; ", ". ").split(". ")
        kept = self.rng.sample(parts, self.rng.randint(max(1, len(parts) - 1), len(parts)))
        return " ".join(sentence(part) for part in kept)


def _fits(claim: Claim, variable: str, pole: Pole) -> bool:
    own = claim.intervention
    if variable == OTHER:
        return own.is_placebo
    return own.variable == variable and own.polarity == ("+" if pole == "plus" else "-")


def _with_claim(system: str, claim: str) -> str:
    return f"{system}\n\n{claim}" if claim else system


def _addressed(rng: random.Random) -> dict[str, str]:
    return {"who": rng.choice(list(CLAIM_VOICE.who)), "your": "your", "you": "you"}


def _choice(asked: str, right: str, wrong: list[str], rng: random.Random) -> tuple[str, str]:
    """A multiple-choice turn, and the letter of its right answer."""
    question = ChoiceQuestion(
        id=str(rng.random()),
        belief=OTHER,
        about="both",
        text=asked,
        plus=right,
        minus=wrong[0],
        other=tuple(wrong[1:]),
    )
    turn = choice_turn(question, rng.randint(1, 3))
    return turn.text, next(letter for letter, pole in turn.asked.poles.items() if pole == "plus")
