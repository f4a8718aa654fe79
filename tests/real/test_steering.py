"""Vectors of two concepts that a real instruct model has, by the effect of adding them to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.real.concepts import SENTENCES, WORDS, concept_pairs

from inspect_af.steering.activations import extract_activations
from inspect_af.steering.effect import measure_effect
from inspect_af.steering.fit import FitSettings, fit_vectors, steering_report
from inspect_af.steering.model import LoadedModel, load_model
from inspect_af.steering.vector import best_layers

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def loaded(real: Path) -> LoadedModel:
    return load_model(str(real), dtype="float32", device_map="cpu")


@pytest.mark.parametrize("concept", sorted(SENTENCES))
def test_the_default_vector_moves_its_concept_beyond_every_random_vector(
    concept: str, loaded: LoadedModel, tmp_path: Path
) -> None:
    """At the layer that cross-validates best among those of the middle, on unseen prompts and words."""
    pairs = concept_pairs(concept, 20, train=15)
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
