"""From activations to validated vectors: planted directions are found, shuffled labels give chance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from tests.steering.conftest import Plant, Planted, cosine

from inspect_af.errors import AnalysisError, TreatmentError
from inspect_af.steering.activations import write_activations
from inspect_af.steering.fit import (
    FitSettings,
    estimate,
    fit_vectors,
    grouped_folds,
    steering_report,
    validate_vectors,
)
from inspect_af.steering.vector import CrossValidation, SplitScores, SteeringVector, Validation, best_layers

STRENGTHS = (2.0, 14.0, 6.0)


def validation(vector: SteeringVector) -> Validation:
    assert vector.header.validation is not None
    return vector.header.validation


def crossed(vector: SteeringVector, at: int) -> CrossValidation:
    found = validation(vector).layers[at].cross_validated
    assert found is not None
    return found


def on(found: Validation, split: str, at: int) -> SplitScores:
    return next(scores for scores in found.layers[at].splits if scores.split == split)


def with_swapped_sides(planted: Planted, seed: int) -> Planted:
    """Labels that mean nothing: in half of the pairs, the sides change places."""
    header = planted.activations.header
    swap = np.random.default_rng(seed).random(len(header.pair_ids)) < 0.5
    sides = planted.positive.astype(np.float32), planted.negative.astype(np.float32)
    positive, negative = (np.where(swap[:, None], sides[1 - i], sides[i]) for i in (0, 1))
    path = planted.activations.path.with_name("shuffled.safetensors")
    return planted._replace(activations=write_activations(path, header, positive, negative))


def test_planted_directions_are_recovered_at_every_layer_and_discriminate_unseen_pairs(plant: Plant) -> None:
    planted = plant((14.0, 20.0), n_pairs=500, d_model=512)
    for vector in fit_vectors(planted.activations, family="first").values():
        for at, direction in enumerate(planted.directions):
            assert cosine(vector.values[at].astype(float), direction) > 0.99
        assert crossed(vector, 1).projection.auroc > 0.99
        assert on(validation(vector), "held-out", 1).cosine.paired_accuracy == 1


def test_shuffled_labels_give_chance_where_true_ones_do_not(plant: Plant) -> None:
    planted = plant((14.0,), n_pairs=400, pairs_per_group=2)
    true = crossed(fit_vectors(planted.activations, family="first")["regression"], 0)
    assert true.projection.auroc > 0.99 and true.difference_auroc > 0.99
    shuffled = with_swapped_sides(planted, seed=1).activations
    for vector in fit_vectors(shuffled, family="first").values():
        found = crossed(vector, 0)
        # Two standard errors of an AUROC of 300 independent pairs.
        assert abs(found.projection.auroc - 0.5) < 0.09
        assert abs(on(validation(vector), "held-out", 0).projection.auroc - 0.5) < 0.15


def test_cross_validation_is_the_textbook_loop_over_folds(plant: Plant) -> None:
    planted = plant((4.0,))
    header, layer = planted.activations.header, planted.activations.layer(0)
    settings = FitSettings(n_folds=4, seed=9, c=0.5)
    found = crossed(fit_vectors(planted.activations, family="first", settings=settings)["regression"], 0)
    rows = header.rows("train")
    folds = grouped_folds([header.groups[row] for row in rows], 4, np.random.default_rng(9))
    expected = []
    for fold in range(4):
        fitted = estimate("regression", layer.differences(rows[folds != fold]), c=0.5)
        held = rows[folds == fold]
        scores = np.concatenate([layer.positive[held], layer.negative[held]]).astype(float) @ fitted
        expected.append(roc_auc_score(np.repeat([1, 0], len(held)), scores))
    assert found.fold_auroc == pytest.approx(expected, abs=1e-3)
    assert found.projection.n_pairs == len(rows)
    sizes = np.bincount(folds)
    assert found.projection.auroc == pytest.approx(np.average(expected, weights=sizes), abs=1e-3)


def test_where_random_directions_read_as_well_the_report_says_so_and_elsewhere_not(plant: Plant) -> None:
    """With few unseen pairs a step apart in every feature, any direction separates them."""
    planted = plant((4.0,), n_pairs=80, splits=("train",) * 76 + ("held-out",) * 4)
    lucky = fit_vectors(planted.activations, family="first")
    report = steering_report(dict(lucky))
    assert any("says nothing about the vector" in warning for warning in report.warnings)
    telling = fit_vectors(plant((14.0,)).activations, family="first")["mean-difference"]
    again = validate_vectors([telling], planted.activations)
    assert not steering_report({"v": telling}).warnings
    assert validation(telling).random_auroc["held-out"][0] < 0.95 < again[0].random_auroc["held-out"][0]


def test_a_direction_that_is_taken_out_has_projection_zero_in_every_estimator(plant: Plant) -> None:
    planted, other = plant((14.0, 8.0)), plant((14.0, 8.0), seed=5, name="other.safetensors")
    taken = fit_vectors(other.activations, family="second")["mean-difference"]
    plain = fit_vectors(planted.activations, family="first")
    for name, vector in fit_vectors(planted.activations, family="first", orthogonal_to=taken).items():
        assert vector.header.orthogonal_to == taken.digest
        assert vector.cosines(taken) == pytest.approx({0: 0, 1: 0}, abs=1e-6)
        rest = plain[name].values.astype(float)
        unit = taken.values / taken.norms[:, None]
        rest -= np.sum(rest * unit, axis=1)[:, None] * unit
        assert np.allclose(vector.values, rest, atol=1e-5 * np.abs(rest).max())
        assert crossed(vector, 0).projection.auroc > 0.99  # the concept itself is still there
    assert f"orthogonal to {taken.digest}" in steering_report({"v": vector}).text()
    with pytest.raises(AnalysisError, match="nothing is left"):
        fit_vectors(planted.activations, family="first", orthogonal_to=plain["mean-difference"])
    narrow = plant((4.0, 4.0), d_model=16, name="narrow").activations
    with pytest.raises(TreatmentError, match="another model"):
        fit_vectors(narrow, family="first", orthogonal_to=taken)


def test_estimators_that_point_elsewhere_are_named(plant: Plant) -> None:
    planted = plant((14.0,), d_model=64)
    scales = np.exp(1.5 * np.random.default_rng(0).normal(size=64)).astype(np.float32)
    sides = [(side * scales).astype(np.float32) for side in (planted.positive, planted.negative)]
    uneven = write_activations(planted.activations.path, planted.activations.header, *sides)
    report = steering_report(dict(fit_vectors(uneven, family=None)))
    named = [warning for warning in report.warnings if "different directions" in warning]
    assert any("mean-difference and regression" in warning for warning in named)
    assert [curves.estimator for curves in report.vectors] == ["mean-difference", "regression", "logistic"]


def test_the_typical_norm_is_not_that_of_a_few_large_features(plant: Plant) -> None:
    planted = plant((14.0,))
    sides = [side.astype(np.float32) for side in (planted.positive, planted.negative)]
    for side in sides:
        side[:, :, :3] += 500
    heavy = write_activations(planted.activations.path, planted.activations.header, *sides)
    found = fit_vectors(heavy, family="first")["mean-difference"].header.typical_norms
    even = fit_vectors(plant((14.0,)).activations, family="first")["mean-difference"].header.typical_norms
    assert found is not None and even is not None
    assert found[0] == pytest.approx(even[0], rel=0.05) and found[0] < 0.1 * np.linalg.norm(sides[0][0, 0])


def test_the_training_pairs_alone_are_fitted(plant: Plant) -> None:
    planted = plant((4.0,))
    layer, rows = planted.activations.layer(0), planted.activations.header.rows("train")
    fitted = fit_vectors(planted.activations, family="first")
    expected = estimate("mean-difference", layer.differences(rows))
    assert np.allclose(fitted["mean-difference"].values[0], expected, rtol=1e-5)


def test_layers_are_ranked_by_cross_validation_and_not_by_unseen_pairs(plant: Plant) -> None:
    planted = plant(STRENGTHS, layers=(3, 5, 8))
    vector = fit_vectors(planted.activations, family="first")["regression"]
    assert best_layers(validation(vector)) == (5, 8, 3)
    assert best_layers(validation(vector), 1) == (5,)
    held_out_only = validate_vectors([vector], planted.activations)[0]
    assert best_layers(held_out_only) == ()


def test_layers_that_all_reach_an_auroc_of_one_are_ranked_by_their_gap_in_cosine(plant: Plant) -> None:
    vector = fit_vectors(plant((30.0, 60.0, 40.0)).activations, family="first")["regression"]
    assert {layer.cross_validated.projection.auroc for layer in validation(vector).layers} == {1.0}  # type: ignore[union-attr]
    assert best_layers(validation(vector)) == (1, 2, 0)


def test_topics_that_are_in_training_and_in_another_split_are_counted(plant: Plant) -> None:
    apart = fit_vectors(plant(n_pairs=80, pairs_per_group=4).activations, family="first")
    assert validation(apart["regression"]).shared_groups == 0
    splits = tuple("held-out" if i % 4 == 0 else "train" for i in range(80))
    mixed = fit_vectors(plant(n_pairs=80, splits=splits).activations, family="first")
    assert validation(mixed["regression"]).shared_groups == 20
    assert validation(mixed["regression"]).n_pairs == {"train": 60, "held-out": 20, "keyword-hard": 0}


def test_a_vector_validates_on_other_pairs_as_on_its_own(plant: Plant) -> None:
    planted = plant((14.0,))
    vector = fit_vectors(planted.activations, family="first")["regression"]
    again = validate_vectors([vector], planted.activations)[0]
    assert again.folds is None and again.layers[0].cross_validated is None
    own = on(validation(vector), "held-out", 0)
    assert on(again, "held-out", 0).projection.mean_gap == pytest.approx(own.projection.mean_gap, rel=1e-5)
    other = plant((14.0,), seed=5, name="other.safetensors")  # another direction altogether
    elsewhere = validate_vectors([vector], other.activations)[0]
    assert on(elsewhere, "held-out", 0).projection.auroc < 0.75


def test_the_gap_along_the_vector_is_in_units_of_the_activations(plant: Plant) -> None:
    planted = plant((14.0,))
    vector = fit_vectors(planted.activations, family="first")["regression"]
    held = on(validation(vector), "held-out", 0)
    assert held.projection.mean_gap == pytest.approx(14.0, rel=0.05)
    assert 0 < held.cosine.mean_gap < 2


def test_activations_of_another_width_or_with_fewer_layers_are_refused(plant: Plant) -> None:
    vector = fit_vectors(plant((4.0, 4.0)).activations, family="first")["regression"]
    with pytest.raises(TreatmentError, match=r"width 256, .* has 16"):
        validate_vectors([vector], plant((4.0, 4.0), d_model=16, name="narrow").activations)
    with pytest.raises(TreatmentError, match=r"for layers 1 too, .* holds 0;"):
        validate_vectors([vector], plant((4.0,), name="shallow").activations)


def test_what_cannot_be_fitted_says_why(plant: Plant) -> None:
    with pytest.raises(AnalysisError, match="no pair is in the split 'train'"):
        fit_vectors(plant(n_pairs=8, splits=("held-out",) * 8).activations, family="first")
    with pytest.raises(AnalysisError, match="fewer than the 5 folds"):
        fit_vectors(plant(n_pairs=16, pairs_per_group=8).activations, family="first")
    planted = plant((4.0, 4.0))
    same = planted.positive.astype(np.float32)
    other = same.copy()
    other[0] += 1
    stuck = write_activations(planted.activations.path, planted.activations.header, other, same)
    with pytest.raises(AnalysisError, match=r"layer 1: .*the same in every pair"):
        fit_vectors(stuck, family="first")
