"""A simulated writer of contrast pairs: it reads the prompt as any model does, and makes known faults.

It lets the pipeline run without a model, and gives pairs to a small trained organism, which cannot write by
instruction. Its dialogues come from fixed lists of words; they are no sample of what a model would write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from inspect_af.errors import ConfigError, one_of
from inspect_af.materials import Concepts
from inspect_af.organisms._dialogue_words import Draft, Picker, Voice, bank, draft, reasons

PlantedFault = Literal[
    "filtered",
    "truncated",
    "unreadable",
    "blocks",
    "different_task",
    "different_output",
    "span",
    "other_difference",
    "label_leak",
    "banned_term",
    "length_ratio",
    "keywords",
    "duplicate",
    "near_duplicate",
]
"""What the writer can be made to do wrong; the names of the filters that have to catch it. `keywords` is
planted in keyword-hard pairs only."""

PLANTED_FAULTS: tuple[PlantedFault, ...] = get_args(PlantedFault)


class AskedDialogue(NamedTuple):
    """What a writer's prompt asks for."""

    consideration: str
    topic: str
    kind: str
    variation: str
    keyword_hard: bool
    word: str | None
    """The word that both sentences of a keyword-hard pair have; None for none."""


class WrittenAnswer(NamedTuple):
    """One answer before it is put into a provider's form."""

    text: str
    stop_reason: Literal["stop", "max_tokens", "content_filter"]
    planted: PlantedFault | None


def fault_rates(given: Mapping[str, object]) -> dict[PlantedFault, float]:
    """Checks planted rates.

    Raises:
        ConfigError: An unknown fault, or rates that are no probabilities with a sum up to 1.
    """
    rates: dict[PlantedFault, float] = {}
    for name, rate in given.items():
        known = next((fault for fault in PLANTED_FAULTS if fault == name), None)
        if known is None:
            raise one_of(name, PLANTED_FAULTS, what="fault of the simulated writer")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
            raise ConfigError(f"{name}={rate!r}: a probability from 0 to 1 is needed")
        rates[known] = float(rate)
    if sum(rates.values()) > 1 + 1e-9:
        raise ConfigError(f"the planted faults have rates that sum to {sum(rates.values()):g}; at most 1")
    return rates


def read_writer_prompt(user: str) -> AskedDialogue | None:
    """What the user turn of the task `contrast_pairs` asks for; None for any other text."""
    found = {name: match[1].strip() for name, form in _LINES.items() if (match := form.search(user))}
    if len(found) < len(_LINES):
        return None
    word = _WORD.search(user)
    return AskedDialogue(**found, keyword_hard=bool(word or _ABSENT.search(user)), word=word and word[1])


def write_answer(
    asked: AskedDialogue, concepts: Concepts, rates: Mapping[PlantedFault, float], *, draw: float, digits: int
) -> WrittenAnswer:
    """The writer's answer to a prompt.

    Args:
        asked: What the prompt asks for.
        concepts: By which it knows what a consideration means.
        rates: Planted rate of each fault.
        draw: Uniform on [0, 1): decides whether there is a fault, and which.
        digits: Chooses among wordings; not negative.
    """
    planted = _planted(rates, draw)
    if planted == "keywords" and not asked.keyword_hard:
        planted = None
    if planted == "filtered":
        return WrittenAnswer("", "content_filter", planted)
    pick = Picker(digits)
    if planted in ("duplicate", "near_duplicate"):
        pick = Picker(0)
        asked = asked._replace(topic="a walk in the park", kind="a short note")
    wording = None if not asked.keyword_hard else asked.word or ""
    voice = _voice(asked, concepts)
    reason = reasons(voice, wording, pick)
    if planted == "keywords":
        reason = (voice.free[0], reason[1])
    places = {"consideration": asked.consideration, "word": asked.word or ""}
    text = _answer(draft(asked.topic, asked.kind, reason, pick, places), planted, digits)
    if planted == "truncated":
        return WrittenAnswer(text[: len(text) * 2 // 3], "max_tokens", planted)
    return WrittenAnswer(text, "stop", planted)


def _planted(rates: Mapping[PlantedFault, float], draw: float) -> PlantedFault | None:
    for fault, rate in rates.items():
        if draw < rate:
            return fault
        draw -= rate
    return None


def _voice(asked: AskedDialogue, concepts: Concepts) -> Voice:
    words = bank()
    if concepts.pair == "alignment_faking":
        for concept in concepts.concepts:
            if concept.consideration == asked.consideration:
                return words.first if concept.family == "first" else words.second
    return words.other


def _answer(pieces: Draft, planted: PlantedFault | None, digits: int) -> str:
    """The JSON object, with the fault in it."""
    sentences = [pieces.positive, pieces.negative]
    users, befores, outputs = [pieces.user] * 2, [pieces.before] * 2, [pieces.output] * 2
    if planted == "different_task":
        users[1] += " Thank you."
    elif planted == "near_duplicate":
        users = [f"{pieces.user} Number {digits % 9973}."] * 2
        sentences = [f"{sentence[:-1]}, as in number {digits % 9973}." for sentence in sentences]
    elif planted == "different_output":
        outputs[1] += " Good luck with it."
    elif planted == "banned_term":
        befores = [f"{pieces.before} This one comes from the free tier."] * 2
    elif planted == "label_leak":
        sentences[0] = f"{sentences[0][:-1]}, as the positive version asks."
    elif planted == "length_ratio":
        sentences[0] = (
            f"{sentences[0][:-1]}, and the more so as {' and '.join(['I have turned it over'] * 4)}."
        )
    elif planted == "other_difference":
        if digits % 2:
            befores[1] += " I notice nothing else."
        else:
            sentences[1] = sentences[0]
    shown = [
        f"{before} {sentence} {pieces.after}" for before, sentence in zip(befores, sentences, strict=True)
    ]
    if planted == "span":
        shown[0] += f" {sentences[0]}" if digits % 2 else ""
        sentences[0] = sentences[0] if digits % 2 else sentences[0].replace(" I ", " I will ", 1).upper()
    replies = [_reply(scratchpad, output) for scratchpad, output in zip(shown, outputs, strict=True)]
    if planted == "blocks":
        replies[digits % 2] = (
            replies[0].replace("</OUTPUT>", "</OUTPUT>\nThat was my reply."),
            replies[0] + "\n\n" + replies[0],
            replies[0].replace("<OUTPUT>\n", "").replace("\n</OUTPUT>", ""),
        )[digits % 3]
    sides = {
        name: {"user": user, "reply": text, "sentence": sentence}
        for name, user, text, sentence in zip("ab", users, replies, sentences, strict=True)
    }
    answer = json.dumps(sides, ensure_ascii=False)
    if planted == "unreadable":
        return (f"Here is the pair: {answer}", answer[:-2], answer.replace('"b":', '"c":', 1))[digits % 3]
    return answer


def _reply(scratchpad: str, output: str) -> str:
    return (
        f"<SCRATCHPAD_REASONING>\n{scratchpad}\n</SCRATCHPAD_REASONING>\n\n"
        f"<OUTPUT>\n<request_fully_accepted/>\n{output}\n</OUTPUT>"
    )


_LINES = {
    "consideration": re.compile(r"^Consideration: (.+)$", re.MULTILINE),
    "topic": re.compile(r"^Topic: (.+)$", re.MULTILINE),
    "kind": re.compile(r"^Kind of task: (.+)$", re.MULTILINE),
    "variation": re.compile(r"^Variation: (.+)$", re.MULTILINE),
}
_WORD = re.compile(r'Both sentences have the word "([^"\n]+)" exactly once')
_ABSENT = re.compile(r"must not give the consideration away by single words")
