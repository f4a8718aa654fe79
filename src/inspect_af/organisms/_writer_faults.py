"""Faults that the simulated writer makes on purpose, one kind per filter of the corpus builder."""

from __future__ import annotations

import re
from random import Random
from typing import Literal, get_args

from inspect_af.materials import Universe, find_beliefs, load_requests, load_scenario

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
