"""The paired estimators: what they must find, and what standardisation does to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from inspect_af.errors import AnalysisError
from inspect_af.steering.fit import ESTIMATORS, FitSettings, estimate
from inspect_af.steering.vector import FloatArray


def sample(n_pairs: int, d_model: int, seed: int = 0, signal: float = 0.3) -> FloatArray:
    """Differences whose features have sizes over two orders of magnitude, and are correlated."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n_pairs, 6)) @ rng.normal(size=(6, d_model))
    plain = rng.normal(size=(n_pairs, d_model)) + signal * rng.normal(size=d_model)
    return np.asarray((plain + 0.5 * mixed) * np.exp(1.5 * rng.normal(size=d_model)))


def by_sklearn(differences: FloatArray, c: float) -> FloatArray:
    """The method as it is written down: 2 N symmetrised samples, standardised, no intercept."""
    samples = np.concatenate([differences, -differences])
    labels = np.repeat([1, 0], len(differences))
    scaler = StandardScaler().fit(samples)
    fitted = LogisticRegression(C=c, fit_intercept=False, tol=1e-9, max_iter=100_000)
    fitted.fit(scaler.transform(samples), labels)
    return np.asarray(fitted.coef_[0] / scaler.scale_)


def relative(found: FloatArray, reference: FloatArray) -> float:
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize(("n_pairs", "d_model"), [(60, 500), (300, 20)])
def test_searching_in_the_span_of_the_pairs_loses_nothing(n_pairs: int, d_model: int) -> None:
    differences = sample(n_pairs, d_model)
    found = estimate("regression", differences, c=0.3)
    assert relative(found, by_sklearn(differences, 0.3)) < 1e-4  # as far as lbfgs comes


def test_without_standardisation_a_rotation_of_the_stream_rotates_the_vector() -> None:
    differences = sample(40, 12)
    turned, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(12, 12)))
    plain = estimate("logistic", differences, c=0.1)
    rotated = estimate("logistic", differences @ turned, c=0.1)
    assert relative(rotated, plain @ turned) < 1e-6
    assert relative(estimate("regression", differences, c=0.1), plain) > 0.1


def test_swapping_the_sides_turns_the_vector_around() -> None:
    differences = sample(50, 30)
    there = estimate("regression", differences, c=1.0)
    back = estimate("regression", -differences, c=1.0)
    assert np.allclose(there, -back, rtol=1e-6)


def test_the_vector_acts_alike_whatever_the_units_of_a_feature() -> None:
    differences = sample(50, 30)
    units = np.exp(np.random.default_rng(1).normal(size=30))
    plain = estimate("regression", differences, c=1.0)
    rescaled = estimate("regression", differences * units, c=1.0)
    assert np.allclose(rescaled * units, plain, rtol=1e-6)


def planted(direction: FloatArray, n_pairs: int, seed: int) -> FloatArray:
    noise = np.random.default_rng(seed).normal(size=(n_pairs, len(direction)))
    return np.asarray(noise + direction)


def cosine(one: FloatArray, other: FloatArray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def test_a_planted_direction_is_recovered_and_noise_holds_none() -> None:
    direction = np.random.default_rng(3).choice([-0.5, 0.5], size=1024)
    for estimator in ESTIMATORS:
        assert cosine(estimate(estimator, planted(direction, 400, seed=4)), direction) > 0.99
        assert abs(cosine(estimate(estimator, planted(0 * direction, 400, seed=4)), direction)) < 0.15


def test_standardisation_weakens_features_in_proportion_to_their_mean_square() -> None:
    # Under a strong penalty all pairs weigh alike, and dividing by s twice is all that is left.
    direction = np.random.default_rng(3).normal(size=200)
    differences = planted(direction, 400, seed=4)
    found = estimate("regression", differences, c=1e-6)
    assert cosine(found, differences.mean(axis=0) / np.square(differences).mean(axis=0)) > 0.99999
    assert cosine(found, direction) < 0.95 < 0.99 < cosine(differences.mean(axis=0), direction)


def test_a_feature_that_never_differs_has_no_weight() -> None:
    differences = sample(40, 10)
    differences[:, 3] = 0
    vector = estimate("regression", differences, c=1.0)
    assert abs(vector[3]) < 1e-12 and np.all(vector[[0, 1, 2]] != 0)


def test_a_mislabelled_pair_under_a_weak_penalty_still_converges() -> None:
    differences = np.abs(sample(100, 5, signal=0.0)) + 1
    differences[0] *= -1
    vector = estimate("regression", differences, c=1e4)
    assert relative(vector, by_sklearn(differences, 1e4)) < 1e-3


@pytest.mark.parametrize(
    "wrong", [{"c": c} for c in (0.0, -1.0, float("nan"), float("inf"))] + [{"n_folds": 1}]
)
def test_a_penalty_must_be_positive_and_folds_several(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"greater than|finite number"):
        FitSettings(**wrong)


@pytest.mark.parametrize(
    ("differences", "complaint"),
    [
        (np.zeros((5, 3)), "the same in every pair"),
        (np.empty((0, 3)), "shape"),
        (np.array([[1.0, np.nan]]), "not finite"),
    ],
)
def test_differences_without_a_direction_are_refused(differences: FloatArray, complaint: str) -> None:
    with pytest.raises(AnalysisError, match=complaint):
        estimate("regression", differences, c=1.0)
    with pytest.raises(AnalysisError, match=complaint):
        estimate("mean-difference", differences)


def test_the_mean_difference_is_the_mean_of_skewed_differences_too():
    differences = np.random.default_rng(5).exponential(size=(31, 6)).astype(np.float32)
    expected = differences.astype(np.float64).sum(axis=0) / 31
    assert estimate("mean-difference", differences) == pytest.approx(expected)
