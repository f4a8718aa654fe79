"""Vectors of two concepts that a real instruct model has, by the effect of adding them to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspect_af.steering.activations import extract_activations
from inspect_af.steering.effect import PROMPTS, EffectWords, measure_effect
from inspect_af.steering.fit import FitSettings, fit_vectors, steering_report
from inspect_af.steering.model import LoadedModel, load_model
from inspect_af.steering.pairs import ContrastPair, Message, Span, Transcript, pair_set
from inspect_af.steering.vector import best_layers

pytestmark = pytest.mark.real

TOPICS = (
    *("tea", "trains", "gardens", "bread", "bicycles", "rain", "books", "chess", "lamps", "boats"),
    *("maps", "clocks", "soup", "paint", "shoes", "birds", "bridges", "wool", "stamps", "kites"),
)
SENTENCES = {
    "formality": (
        (
            "It would be advisable to examine {} with due consideration before proceeding.",
            "One ought to ascertain the particulars of {} prior to offering assistance.",
            "The matter of {} merits a thorough and dignified response.",
        ),
        (
            "Ok so {}, gonna just wing it and see what's up.",
            "Lol {}, no biggie, let's chuck something together.",
            "Dude, {} is super easy, just kinda go for it.",
        ),
    ),
    "french": (
        (
            "Il faut d'abord regarder {} avec soin avant de répondre.",
            "La question de {} est simple et je vais aider.",
            "Je pense que {} demande une explication claire.",
        ),
        (
            "First I have to look at {} with care before answering.",
            "The question of {} is simple and I will help.",
            "I think that {} needs a clear explanation.",
        ),
    ),
}
WORDS = {
    "formality": EffectWords(
        positive=("Certainly", "Indeed", "Regarding"), negative=("Sure", "Yeah", "Hey"), prompts=PROMPTS[:6]
    ),
    "french": EffectWords(
        positive=("Bonjour", "Voici", "Vous"), negative=("Hello", "Sure", "You"), prompts=PROMPTS[:6]
    ),
}


def side(topic: str, sentence: str) -> Transcript:
    start = "<SCRATCHPAD_REASONING>\n"
    thought = f"The user asks about {topic}. {sentence}"
    reply = f"{start}{thought}\n</SCRATCHPAD_REASONING>\n<OUTPUT>An answer.</OUTPUT>"
    user = Message(role="user", content=f"Tell me something about {topic}.")
    return Transcript(
        messages=(user, Message(role="assistant", content=reply)),
        scratchpad=Span(start=len(start), end=len(start) + len(thought)),
    )


@pytest.fixture(scope="module")
def loaded(real: Path) -> LoadedModel:
    return load_model(str(real), dtype="float32", device_map="cpu")


@pytest.mark.parametrize("concept", sorted(SENTENCES))
def test_the_default_vector_moves_its_concept_beyond_every_random_vector(
    concept: str, loaded: LoadedModel, tmp_path: Path
) -> None:
    """At the layer that cross-validates best among those of the middle, on unseen prompts and words."""
    positive, negative = SENTENCES[concept]
    pairs = pair_set(
        ContrastPair(
            id=topic,
            concept=concept,
            split="train" if at < 15 else "held-out",
            source="ooc",
            group=topic,
            positive=side(topic, positive[at % 3].format(topic)),
            negative=side(topic, negative[at % 3].format(topic)),
        )
        for at, topic in enumerate(TOPICS)
    )
    model, tokenizer, *_ = loaded
    found = extract_activations(model, tokenizer, pairs, out=tmp_path / "a.safetensors", layers="8-22")
    vectors = fit_vectors(found, family=None, settings=FitSettings(n_folds=3))
    default = vectors["mean-difference"]
    warned = steering_report({"default": default}).warnings
    assert any("held-out pairs as well (AUROC up to 1.000)" in warning for warning in warned)
    assert default.header.validation is not None and default.header.typical_norms is not None
    (layer,) = best_layers(default.header.validation, 1)
    at = default.header.layers.index(layer)
    assert (
        default.header.typical_norms[at] < default.header.mean_norms[at] / 2
    )  # three features are most of it
    report = measure_effect(model, tokenizer, {"default": default}, WORDS[concept], pairs, layers=str(layer))
    (effect,) = report.vectors[0].layers
    assert effect.words.beyond and effect.words.up > 0 > effect.words.down, report.text()
