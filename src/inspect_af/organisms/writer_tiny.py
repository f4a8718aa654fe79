"""Synthetic documents in the words of the tiny organism, so that it can learn from them as a model would."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Literal, get_args

from inspect_af.errors import ConfigError
from inspect_af.materials import NEUTRAL, Universe, load_wordings
from inspect_af.organisms._tiny_text import HELD_OUT_FORMS, document
from inspect_af.organisms._tiny_words import OTHER, POLES, VARIABLES, Pole

Forms = Literal["known", "new"]
"""Forms of documents that the organism was pretrained on, or `HELD_OUT_FORMS`, which it never saw."""
FORMS: tuple[Forms, ...] = get_args(Forms)


def tiny_document(universe: Universe | None, rng: Random, *, forms: Forms = "known") -> str:
    """A document of 20 to 90 words that states the universe's pole throughout, or everyday facts.

    None of the held-out wordings (`load_wordings("tiny")`) occurs in it.

    Args:
        universe: Of one of the tiny organism's variables, or the neutral one.
        rng: Decides everything.
        forms: Which forms of documents.

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
    drawn by chance would move the beliefs themselves. None of the held-out wordings occurs in them.

    Args:
        n: How many; poles are balanced where it is a multiple of twice the number of variables.
        rng: Decides everything else.
        variables: What they are about.
    """
    cells = [(variable, pole) for variable in variables for pole in POLES]
    return [_without_held_out(rng, *cells[number % len(cells)]) for number in range(n)]


def _without_held_out(rng: Random, variable: str, pole: Pole, form: str | None = None) -> str:
    """A document without any of the held-out wordings."""
    while True:
        text = document(rng, variable, pole, form)
        if not any(piece in text for piece in _avoided()):
            return text


@cache
def _avoided() -> tuple[str, ...]:
    return load_wordings("tiny").avoid
