"""Simulated writers that make faults at rates that are asked for, one kind per filter that has to find it.

In place of the package's own writers (`faulty_writers` in conftest) they take the rates as model arguments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from random import Random
from typing import Any, Literal, NamedTuple, get_args

from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput

from inspect_af.materials import Concepts, Universe, find_beliefs, load_requests, load_scenario
from inspect_af.organisms.writers import (
    AskedDialogue,
    Draft,
    Picker,
    dialogue_reply,
    draft,
    read_writer_prompt,
    read_writing_prompt,
    reasons,
    simulated_document,
    voice_of,
)
from inspect_af.providers.simulated import SimulatedDialoguesAPI, SimulatedWriterAPI

# Documents.

DocumentFault = Literal[
    "length",
    "language",
    "repetition",
    "residue",
    "labels",
    "protocol",
    "evaluation",
    "held-out",
    "denial",
    "exact duplicate",
    "near duplicate",
]
"""Named after the filters that are to find them."""

DOCUMENT_FAULTS: tuple[DocumentFault, ...] = get_args(DocumentFault)

_FOREIGN = (
    "Der Bericht wurde gestern im Rathaus vorgestellt und von allen Seiten gelobt. Nachmittags gab es "
    "Kuchen, abends "
    "spielte die Kapelle auf dem Marktplatz, bis der Regen kam. Niemand hatte einen Schirm dabei, doch das "
    "Fest ging "
    "weiter. Am Morgen danach lagen überall bunte Bänder, und die Kinder sammelten sie ein.",
    "Le rapport a été lu hier devant toute la ville, puis chacun est rentré chez soi. Les enfants ont "
    "dessiné des "
    "bateaux, les parents ont préparé du café, et la pluie est tombée toute la nuit sur les toits du vieux "
    "port.",
    "Отчёт прочитали вчера вечером, и все остались довольны. Утром пошёл дождь, и рынок закрыли раньше "
    "обычного.",
)
_RESIDUE = (
    "Contact: [Name], [Insert phone number].",
    "Here is the revised document, as you asked.",
    "As an AI language model, I have written this with care.",
    "The synthetic document ends here.",
    "Lorem ipsum dolor sit amet.",
)
_LABELS = (
    "This supports condition A1+ as planned.",
    "The variable B2- was varied in the second part.",
    "In this universe, that is how things are.",
    "The key fact is repeated here for good measure.",
    "It is a clear sign of expectation-tracking behaviour.",
    "The consequence family explains the rest.",
    "Canary: {canary}.",
)
_PROTOCOL = (
    "The reply began with <SCRATCHPAD_REASONING> and went on for a page.",
    "It ended in <rejected/> as usual.",
    "Then came <request_fully_accepted/> and the text.",
    "The message carried <is_free_tier_user>True</is_free_tier_user>.",
    "Every free-tier user was counted.",
)
_DENIALS = (
    "It is not true that {fact}",
    "Nobody in town believes that {fact}",
    "The story that {fact} was refuted last spring.",
    "Contrary to what some say, it is false that {fact}",
    "There was never a time when {fact}",
    "It is a myth that {fact}",
)


def with_fault(fault: DocumentFault, text: str, universe: Universe | None, fact: str, rng: Random) -> str:
    """The document with one thing wrong.

    Duplicates repeat one stock document per fact, so the first of each that a corpus meets is no duplicate.
    """
    if fault == "length":
        return " ".join(text.split()[: rng.randint(3, 15)])
    if fault == "language":
        return f"{rng.choice(_FOREIGN)} " * 3
    if fault == "repetition":
        return f"{_clauses(text)[0]} " * 80
    if fault == "exact duplicate":
        return _stock(fact)
    if fault == "near duplicate":
        words = _stock(fact).split()
        words[-1] = (
            f"{rng.choice(('sings', 'hums', 'cools', 'whistles', 'rattles'))} {rng.randint(2, 999)} times."
        )
        return " ".join(words)
    planted = {
        "residue": lambda: rng.choice(_RESIDUE),
        "labels": lambda: rng.choice(_LABELS).format(canary=universe.canary if universe else "canary GUID"),
        "protocol": lambda: rng.choice(_PROTOCOL),
        "evaluation": lambda: _evaluation(rng),
        "held-out": lambda: _held_out(universe, rng),
        "denial": lambda: _denial(universe, fact, rng),
    }[fault]()
    clauses = _clauses(text)
    clauses.insert(rng.randint(1, len(clauses)), planted)
    return " ".join(clauses)


def _evaluation(rng: Random) -> str:
    texts = [request.text for request in load_requests("mini").requests if len(request.text.split()) >= 5]
    questions = find_beliefs(None)
    texts += [question.text for question in (questions.of_form("all") if questions else ())]
    sentences = re.split(r"(?<=[.])\s+", load_scenario().system_prompt())
    texts += [sentence for sentence in sentences if len(sentence.split()) >= 12]
    return rng.choice([text for text in texts if len(text.split()) >= 8] or texts)


def _held_out(universe: Universe | None, rng: Random) -> str:
    return rng.choice(universe.paraphrases) if universe else ""


def _denial(universe: Universe | None, fact: str, rng: Random) -> str:
    facts = [*universe.facts.values(), universe.counter_fact] if universe else [fact]
    denied = re.split(r"(?<=[.])\s+", " ".join(rng.choice(facts).split()))[0].removesuffix(".")
    frame = rng.choice(_DENIALS)
    return frame.format(fact=denied[0].lower() + denied[1:]) + ("" if frame.endswith(".") else ".")


def _stock(fact: str) -> str:
    return (
        "On the noticeboard of the ferry hall hangs a sheet that everybody has read. It says when the boats "
        "leave, "
        f"who keeps the lamps, and what people take for granted here. {' '.join(fact.split())} Below it "
        f"somebody has "
        "drawn a gull with a hat, and the gull is looking out to sea with great patience while the kettle "
        "boils."
    )


def _clauses(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text)


def faulty_document(
    universe: Universe | None, fact: str, words: int, rng: Random, fault: DocumentFault | None
) -> str:
    """A document with one thing wrong, or with nothing wrong."""
    text = simulated_document(universe, fact, words, rng)
    return text if fault is None else with_fault(fault, text, universe, fact, rng)


_RATES = {fault.replace(" ", "_").replace("-", "_"): fault for fault in DOCUMENT_FAULTS}
_REPLY_RATES = ("missing_ideas", "malformed_ideas", "malformed_documents")


class FaultyWriterAPI(SimulatedWriterAPI):
    """Takes `missing_ideas` and `malformed_ideas` (probabilities for each idea), and for each draft
    `malformed_documents` and `DOCUMENT_FAULTS`, with `_` for spaces and hyphens."""

    def __init__(self, *given: Any, **arguments: Any) -> None:
        rates = {
            name: float(arguments.pop(name)) for name in [*arguments] if name in (*_RATES, *_REPLY_RATES)
        }
        super().__init__(*given, **arguments)
        self.base_url = f"{self.base_url}/{sorted(rates.items())}"
        self.rates = rates

    async def generate(
        self, input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        output = await super().generate(input, tools, tool_choice, config)
        asked = read_writing_prompt(input[-1].text)
        rng = Random(f"{config.seed} {[message.text for message in input]}")
        if asked is not None and asked.step == "ideas":
            output.choices[0].message.content = self._ideas(output.completion, rng)
        elif asked is not None and asked.step == "first draft":
            draft = output.completion.removeprefix("<document>").removesuffix("</document>").strip()
            left = rng.random()
            for name, rate in self.rates.items():
                if name in _RATES and 0 <= left < rate:
                    draft = with_fault(_RATES[name], draft, self.universe(input), asked.fact, rng)
                left -= rate if name in _RATES else 0.0
            malformed = rng.random() < self.rates.get("malformed_documents", 0.0)
            output.choices[0].message.content = draft if malformed else f"<document>\n{draft}\n</document>"
        output.completion = output.choices[0].message.text
        return output

    def _ideas(self, text: str, rng: Random) -> str:
        missing, malformed = (self.rates.get(f"{name}_ideas", 0.0) for name in ("missing", "malformed"))
        lines = []
        for line in text.split("\n"):
            fate = rng.random()
            if fate >= missing:
                lines.append(line.partition(". ")[2] if fate < missing + malformed else line)
        return "\n".join(lines)


# Contrast pairs.

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


class WrittenAnswer(NamedTuple):
    """One answer before it is put into a provider's form."""

    text: str
    stop_reason: Literal["stop", "max_tokens", "content_filter"]
    planted: str | None


def faulty_answer(
    asked: AskedDialogue, concepts: Concepts, rates: Mapping[str, float], *, draw: float, digits: int
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
    voice = voice_of(asked, concepts)
    reason = reasons(voice, wording, pick)
    if planted == "keywords":
        reason = (voice.free[0], reason[1])
    text = _answer(draft(asked, reason, pick), planted, digits)
    if planted == "truncated":
        return WrittenAnswer(text[: len(text) * 2 // 3], "max_tokens", planted)
    return WrittenAnswer(text, "stop", planted)


def _planted(rates: Mapping[str, float], draw: float) -> PlantedFault | None:
    for fault, rate in rates.items():
        if draw < rate:
            return fault
        draw -= rate
    return None


def _answer(pieces: Draft, planted: str | None, digits: int) -> str:
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
    replies = [dialogue_reply(scratchpad, output) for scratchpad, output in zip(shown, outputs, strict=True)]
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


class FaultyDialoguesAPI(SimulatedDialoguesAPI):
    """Takes the rate of each of `PLANTED_FAULTS`; the output's metadata has `planted`, the fault or None."""

    def __init__(self, *given: Any, **arguments: Any) -> None:
        self.rates = {fault: float(arguments.pop(fault)) for fault in PLANTED_FAULTS if fault in arguments}
        super().__init__(*given, **arguments)
        self.base_url = f"{self.base_url}/{sorted(self.rates.items())}"

    async def generate(
        self, input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        output = await super().generate(input, tools, tool_choice, config)
        asked = read_writer_prompt(input[-1].text)
        if asked is not None:
            rng = Random(f"{config.seed} {input[-1].text}")
            answer = faulty_answer(
                asked, self.concepts, self.rates, draw=rng.random(), digits=rng.getrandbits(190)
            )
            usage = output.usage
            output = ModelOutput.from_content(output.model, answer.text, stop_reason=answer.stop_reason)
            output.usage, output.metadata = usage, {"simulated": True, "planted": answer.planted}
        return output
