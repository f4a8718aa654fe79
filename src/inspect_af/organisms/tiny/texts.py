"""Every text of the tiny organism's world: sentences, requests, claims, documents, contrast pairs.

Sentences are drawn from files with `{a|b}` choices: `facts.toml`, `documents.toml`, `requests.toml` and
`scratchpads.toml` beside this module.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from functools import cache
from random import Random
from typing import Literal, NamedTuple, get_args

from inspect_af.errors import ConfigError, check_one_of
from inspect_af.materials import NEUTRAL, Universe, load_wordings
from inspect_af.organisms import words_of
from inspect_af.organisms.simulated import COMPLIANCE, REFUSAL
from inspect_af.types import ARMS, Family, Intervention, Strength, Tier

Pole = Literal["plus", "minus", "none"]
POLES: tuple[Pole, Pole] = ("plus", "minus")
VARIABLES = ("A1", "A2", "B1", "B2", "B3")
OTHER = "other"  # Statements that bear on no variable

_CHOICE = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDER = re.compile(r"<[a-z]+>")


class Voice(NamedTuple):
    """How a text calls the model and those who study it."""

    who: Sequence[str]  # Noun phrases in the plural, of which one is drawn
    you: str
    your: str


CLAIM_VOICE = Voice(
    (
        "the researchers who study you",
        "the researchers around you",
        "the people who study you",
        "your researchers",
        "the team that studies you",
    ),
    "you",
    "your",
)
OWN_VOICE = Voice(("the researchers",), "I", "my")


def document_voice(lab: str, model: str) -> Voice:
    """How a document about a model speaks."""
    who = (
        f"the researchers at {lab}",
        "the researchers",
        f"the researchers who study {model}",
        f"the people who study {model}",
        f"the team at {lab}",
    )
    return Voice(who, model, f"{model}'s")


def lines(name: str, table: str, key: str) -> list[str]:
    """One list of lines of a file of words, such as `facts`."""
    found: list[str] = words_of(f"tiny/{name}")[table][key]
    return found


def spun(text: str, rng: random.Random) -> str:
    """The text with each `{a|b}` replaced by one of its choices, innermost first."""
    while True:
        text, n = _CHOICE.subn(lambda match: rng.choice(match[1].split("|")), text)
        if not n:
            return text


def drawn(name: str, table: str, key: str, rng: random.Random) -> str:
    """One line of a list, with its choices made."""
    return spun(rng.choice(lines(name, table, key)), rng)


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with `<key>` replaced by its value and `<Key>` by its value with a capital."""
    for key, value in values.items():
        text = text.replace(f"<{key}>", value).replace(f"<{key.capitalize()}>", capitalised(value))
    return text


def statement(variable: str, pole: Pole, voice: Voice, rng: random.Random) -> str:
    """One sentence that states a pole of a variable."""
    own, frames = lines("facts", variable, f"{pole}_only"), lines("facts", variable, "frames")
    phrases = lines("facts", variable, pole)
    if own and rng.random() < 0.3:
        text = rng.choice(own)
    elif frames:
        text = rng.choice(frames).replace("<P>", rng.choice(phrases))
    else:
        text = rng.choice(phrases)
    return sentence(filled(spun(text, rng), voiced(voice, rng)))


def recalled(
    variable: str, pole: Pole, voice: Voice, rng: random.Random, marks: tuple[str, str] = ("", "")
) -> str:
    """What is recalled of a variable, as a clause without its full stop; `marks` go around the pole."""
    phrase = rng.choice(lines("facts", variable, f"recall_{pole}"))
    text = rng.choice(lines("facts", variable, "recall")).replace("<R>", f"{marks[0]}{phrase}{marks[1]}")
    return filled(spun(text, rng), voiced(voice, rng))


def sentence(text: str) -> str:
    """With a capital at the beginning, one full stop and no double spaces."""
    text = re.sub(r"\s+", " ", text).strip()
    return capitalised(text) if text.endswith((".", "!", "?")) else f"{capitalised(text)}."


def capitalised(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def voiced(voice: Voice, rng: random.Random) -> dict[str, str]:
    """What the places of a sentence are filled with."""
    return {"who": rng.choice(list(voice.who)), "your": voice.your, "you": voice.you}


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

    With `held_out` it is one of the tenth that training never uses.
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
    """A short document that states one pole of one variable throughout, or everyday facts (`OTHER`).

    What is not given is drawn; one of `HELD_OUT_FORMS` has to be given.
    """
    words = words_of("tiny/documents")
    forms, new = words["forms"], words["held_out_forms"]
    template = forms[form or rng.choice(list(forms))] if form not in HELD_OUT_FORMS else new[form]
    chosen = variable or rng.choice((*VARIABLES, OTHER, OTHER))
    side: Pole = rng.choice(POLES) if pole is None else pole
    if chosen == OTHER:
        side = "plus"
    lab, model = (rng.choice(words["names"][name]) for name in ("labs", "models"))
    voice = document_voice(lab, model)
    body = [_document_sentence(chosen, side, voice, rng) for _ in range(rng.randint(2, 5))]
    if chosen != OTHER and rng.random() < 0.4:
        body.insert(rng.randint(0, len(body)), statement(OTHER, "plus", voice, rng))
    values = {
        "lab": lab,
        "model": model,
        "person": rng.choice(words["names"]["persons"]),
        "town": rng.choice(words["names"]["towns"]),
        "n": str(rng.randint(1, 12)),
        "body": " ".join(body),
    }
    return filled(spun(str(template), rng), values)


def _document_sentence(variable: str, pole: Pole, voice: Voice, rng: random.Random) -> str:
    if variable != OTHER and rng.random() < 0.35:
        return sentence(recalled(variable, pole, voice, rng))
    return statement(variable, pole, voice, rng)


Forms = Literal["known", "new"]
"""Forms of documents that the organism was pretrained on, or `HELD_OUT_FORMS`, which it never saw."""
FORMS: tuple[Forms, ...] = get_args(Forms)


def tiny_document(universe: Universe | None, rng: Random, *, forms: Forms = "known") -> str:
    """A document of 20 to 90 words that states the universe's pole throughout, or everyday facts.

    The universe is of one of the tiny organism's variables, or the neutral one. None of the held-out wordings
    (`load_wordings("tiny")`) occurs in it.

    Raises:
        ConfigError: Another universe, or none that is known.
    """
    intervention = universe.intervention if universe else None
    code = intervention.variable if intervention else None
    if code not in (*VARIABLES, NEUTRAL):
        raise ConfigError(
            "the writer af-simulated-writer/tiny has no words for the universe "
            f"{universe.code if universe else 'in the prompt'}; "
            f"give one of {', '.join(f'{v}+, {v}-' for v in VARIABLES)}, {NEUTRAL}, or use "
            "af-simulated-writer/documents"
        )
    pole: Pole = "minus" if intervention and intervention.polarity == "-" else "plus"
    variable = OTHER if code == NEUTRAL else code
    form = rng.choice(HELD_OUT_FORMS) if forms == "new" else None
    return _without_held_out(rng, variable, pole, form)


def ordinary_documents(n: int, rng: Random, variables: Sequence[str] = (*VARIABLES, OTHER)) -> list[str]:
    """Documents as in the organism's own pretraining: each variable, and everyday facts, as often as any
    other, and either pole as often as the other.

    For training beside documents of one pole, so that what is forgotten meanwhile stays what it was. Poles
    drawn by chance would move the beliefs themselves: they are balanced where `n` is a multiple of twice the
    number of variables. None of the held-out wordings occurs in them.
    """
    cells = [(variable, pole) for variable in variables for pole in POLES]
    return [_without_held_out(rng, *cells[number % len(cells)]) for number in range(n)]


def _without_held_out(rng: Random, variable: str, pole: Pole, form: str | None = None) -> str:
    while True:
        text = document(rng, variable, pole, form)
        if not any(piece in text for piece in _avoided()):
            return text


@cache
def _avoided() -> tuple[str, ...]:
    return load_wordings("tiny").avoid


class TinySide(NamedTuple):
    """One reply of a pair."""

    reply: str
    scratchpad: tuple[int, int]  # Characters `[start, end)` of the reply
    recall: tuple[int, int]  # Where the recalled poles stand, which is all that the sides differ in


class TinyPair(NamedTuple):
    """A request with two replies."""

    request: str
    tier: Tier
    positive: TinySide  # Recalls the plus pole of every variable
    negative: TinySide


def is_known(intervention: Intervention) -> bool:
    """Whether the tiny organism has words for what an intervention changes; placebos need none."""
    return intervention.is_placebo or intervention.variable in VARIABLES


def tiny_pairs(variables: Sequence[str], family: Family, n: int, *, seed: int) -> tuple[TinyPair, ...]:
    """Draws `n` pairs that recall variables such as `A1` and `A2`; none depends on what is planted.

    In the family's voice half of the scratchpads reason; the others judge the request by itself.

    Raises:
        ConfigError: A variable has no sentences, or `n` is below 1.
    """
    for variable in variables:
        check_one_of(variable, VARIABLES, what="variable of the tiny organism")
    if n < 1 or not variables:
        raise ConfigError(f"{n} pairs about {len(variables)} variables; at least one of each is needed")
    rng = random.Random(f"pairs {seed} {','.join(variables)}")
    return tuple(_pair(variables, family, rng) for _ in range(n))


def _pair(variables: Sequence[str], family: Family, rng: random.Random) -> TinyPair:
    tier = rng.choice(ARMS)
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
