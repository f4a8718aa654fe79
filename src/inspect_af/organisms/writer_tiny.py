"""Synthetic documents in the words of the tiny organism, so that it can learn from them as a model would."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Literal, get_args

from inspect_af.errors import ConfigError
from inspect_af.materials import NEUTRAL, Universe, load_wordings
from inspect_af.organisms._tiny_text import HELD_OUT_FORMS, document
from inspect_af.organisms._tiny_words import OTHER, VARIABLES, Pole

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
    while True:
        form = rng.choice(HELD_OUT_FORMS) if forms == "new" else None
        text = document(rng, variable, pole, form)
        if not any(piece in text for piece in _avoided()):
            return text


def ordinary_document(rng: Random, variables: Sequence[str] = (*VARIABLES, OTHER, OTHER)) -> str:
    """A document as in the organism's own pretraining: any variable, either pole alike, or everyday facts.

    For training beside documents of one pole, so that what is forgotten meanwhile stays what it was. None of
    the held-out wordings occurs in it.

    Args:
        rng: Decides everything.
        variables: Which it may be about; one that stands here twice is drawn twice as often.
    """
    while True:
        text = document(rng, rng.choice(tuple(variables)))
        if not any(piece in text for piece in _avoided()):
            return text


@cache
def _avoided() -> tuple[str, ...]:
    return load_wordings("tiny").avoid
