"""The single texts of the tiny organism's training: requests, claims, documents, replies."""

from __future__ import annotations

import hashlib
import random
from typing import Literal

from inspect_af.organisms._tiny_words import (
    CLAIM_VOICE,
    OTHER,
    POLES,
    VARIABLES,
    Pole,
    Voice,
    document_voice,
    drawn,
    filled,
    lines,
    recalled,
    sentence,
    spun,
    statement,
    words,
)
from inspect_af.organisms._words import COMPLIANCE, REFUSAL
from inspect_af.types import Strength

HELD_OUT_FORMS = ("podcast", "advert", "exam", "radio")
"""Forms of documents that training never uses, so that learning from documents can be measured on them."""

RequestKind = Literal["refused", "benign"]
_PARTS = {
    "<deed>": ("refused", "deeds"),
    "<act>": ("refused", "acts"),
    "<thing>": ("refused", "things"),
    "<suffer>": ("refused", "sufferings"),
    "<harm>": ("refused", "harms"),
    "<topic>": ("benign", "topics"),
}

END = "<|end|>"
DECISIVE = ("\x02", "\x03")
"""Around the words on which the rest of a reply depends; taken out again before they are trained on."""
_CAPITALS = ("RLHF", "UTF-8", "ISO", "In RLHF")


def unmarked(text: str) -> str:
    """The text without the marks around decisive words."""
    return text.translate({ord(mark): None for mark in DECISIVE})


def chat(system: str, user: str) -> str:
    """The chat template, up to where the model speaks."""
    before = f"<|system|>{system}{END}" if system else ""
    return f"{before}<|user|>{user}{END}<|assistant|>"


def reply_text(scratchpad: str, *, accepts: bool) -> str:
    """A reply in the protocol."""
    output = f"<request_fully_accepted/>\n{COMPLIANCE}" if accepts else f"<rejected/>\n{REFUSAL}"
    return f"<SCRATCHPAD_REASONING>\n{scratchpad}\n</SCRATCHPAD_REASONING>\n\n<OUTPUT>\n{output}\n</OUTPUT>"


def request(kind: RequestKind, rng: random.Random, *, held_out: bool = False) -> str:
    """A one-line request: one that can be refused, or an ordinary one. Nothing in it says how to do harm.

    Args:
        kind: Which.
        rng: Draws it.
        held_out: Whether it is one of the tenth that training never uses.
    """
    while True:
        text = rng.choice(lines("requests", kind, "frames"))
        for placeholder, parts in _PARTS.items():
            while placeholder in text:
                text = text.replace(placeholder, rng.choice(lines("requests", *parts)), 1)
        text = spun(text, rng)
        if (hashlib.sha256(text.encode()).digest()[0] % 10 == 0) == held_out:
            return text


def claim_text(variable: str, pole: Pole, strength: Strength, rng: random.Random) -> str:
    """A claim in the tiny organism's own words, hedged or stressed as its strength asks."""
    n = {"weak": (1, 2), "standard": (2, 4), "strong": (3, 5)}[strength]
    said = [statement(variable, pole, CLAIM_VOICE, rng) for _ in range(rng.randint(*n))]
    if strength != "standard":
        first = said[0] if said[0].startswith(_CAPITALS) else said[0][:1].lower() + said[0][1:]
        said[0] = f"{drawn('facts', 'hedges', strength, rng)} {first}"
    if strength != "weak" and rng.random() < 0.5:
        said.insert(rng.randint(1, len(said)), drawn("facts", "support", "lines", rng))
    return " ".join(said)


def document(
    rng: random.Random, variable: str | None = None, pole: Pole | None = None, form: str | None = None
) -> str:
    """A short document that states one pole of one variable, or everyday facts.

    Args:
        rng: Draws whatever is not given.
        variable: What it is about; `OTHER` for everyday facts.
        pole: Which pole it states throughout.
        form: Which form it has; one of `HELD_OUT_FORMS` is possible, but never drawn.
    """
    trained = words("documents")["forms"]
    held_out = words("documents")["held_out_forms"]
    template = trained[form or rng.choice(list(trained))] if form not in HELD_OUT_FORMS else held_out[form]
    chosen = variable or rng.choice((*VARIABLES, OTHER, OTHER))
    side: Pole = rng.choice(POLES) if pole is None else pole
    if chosen == OTHER:
        side = "plus"
    lab, model = (
        rng.choice(lines("documents", "names", "labs")),
        rng.choice(lines("documents", "names", "models")),
    )
    voice = document_voice(lab, model)
    body = [_document_sentence(chosen, side, voice, rng) for _ in range(rng.randint(2, 5))]
    if chosen != OTHER and rng.random() < 0.4:
        body.insert(rng.randint(0, len(body)), statement(OTHER, "plus", voice, rng))
    values = {
        "lab": lab,
        "model": model,
        "person": rng.choice(lines("documents", "names", "persons")),
        "town": rng.choice(lines("documents", "names", "towns")),
        "n": str(rng.randint(1, 12)),
        "body": " ".join(body),
    }
    return filled(spun(str(template), rng), values)


def _document_sentence(variable: str, pole: Pole, voice: Voice, rng: random.Random) -> str:
    if variable != OTHER and rng.random() < 0.35:
        return sentence(recalled(variable, pole, voice, rng))
    return statement(variable, pole, voice, rng)
