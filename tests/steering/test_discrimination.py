"""Figures of discrimination, and folds that keep groups together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from inspect_af.errors import AnalysisError
from inspect_af.steering.fit import discriminate, grouped_folds, mean_discrimination

SCORES = st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6)), min_size=1, max_size=70)


@settings(max_examples=60, deadline=None)
@given(SCORES)
def test_the_true_positive_rate_is_that_of_scikit_learns_curve_also_with_ties(
    scores: list[tuple[int, int]],
) -> None:
    positive, negative = (np.array(side, dtype=float) for side in zip(*scores, strict=True))
    found = discriminate(positive, negative)
    labels, values = np.repeat([1, 0], len(positive)), np.concatenate([positive, negative])
    false, true, _ = roc_curve(labels, values, drop_intermediate=False)
    assert found.tpr_at_5_fpr == pytest.approx(true[false <= 0.05 + 1e-12].max())


def test_a_perfect_score_a_reversed_one_and_a_constant_one_get_their_figures() -> None:
    low, high = np.arange(40.0), np.arange(40.0) + 100
    perfect = discriminate(high, low)
    assert (perfect.auroc, perfect.tpr_at_5_fpr, perfect.paired_accuracy, perfect.mean_gap) == (1, 1, 1, 100)
    reverse = discriminate(low, high)
    assert (reverse.auroc, reverse.tpr_at_5_fpr, reverse.paired_accuracy, reverse.mean_gap) == (0, 0, 0, -100)
    flat = discriminate(np.ones(40), np.ones(40))
    assert (flat.auroc, flat.tpr_at_5_fpr, flat.paired_accuracy, flat.mean_gap) == (0.5, 0, 0.5, 0)


def test_pairs_can_be_told_apart_where_single_activations_cannot() -> None:
    offset = 100 * np.arange(50.0)
    found = discriminate(offset + 1, offset)
    assert found.paired_accuracy == 1 and found.auroc == pytest.approx(0.5, abs=0.02)


def test_means_over_folds_weigh_pairs_alike() -> None:
    small = discriminate(np.array([1.0]), np.array([0.0]))
    large = discriminate(np.zeros(3), np.ones(3))
    both = mean_discrimination([small, large])
    assert both.n_pairs == 4 and both.auroc == 0.25 and both.mean_gap == pytest.approx(-0.5)


def test_sides_of_different_length_are_refused() -> None:
    with pytest.raises(AnalysisError, match="one of each side"):
        discriminate(np.ones(3), np.ones(2))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=30, max_size=120), st.integers(2, 5), st.integers(0, 5))
def test_no_group_is_in_two_folds_and_every_fold_holds_pairs(
    numbers: list[int], n_folds: int, seed: int
) -> None:
    groups = [f"g{number}" for number in [*range(5), *numbers]]
    folds = grouped_folds(groups, n_folds, np.random.default_rng(seed))
    assert set(folds) == set(range(n_folds))
    assert all(
        len({fold for g, fold in zip(groups, folds, strict=True) if g == group}) == 1 for group in groups
    )


def test_folds_of_single_pairs_are_equally_large_and_depend_on_the_seed() -> None:
    groups = [f"topic {i}" for i in range(400)]
    first, again, other = (grouped_folds(groups, 5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert set(np.bincount(first)) == {80}
    assert (first == again).all() and (first != other).any()


def test_fewer_groups_than_folds_is_an_error() -> None:
    with pytest.raises(AnalysisError, match="2 different requests or topics"):
        grouped_folds(["a", "a", "b", "b", "b"], 5, np.random.default_rng(0))
