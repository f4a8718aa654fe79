"""The optimal assignment, against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from inspect_af.errors import AnalysisError
from inspect_af.steering.in_context_assignment import assign


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31), st.floats(0.1, 1))
def test_it_finds_as_many_pairs_and_as_cheap_ones_as_scipy(
    rows: int, columns: int, seed: int, p: float
) -> None:
    rng = np.random.default_rng(seed)
    cost = rng.integers(0, 20, size=(rows, columns)) / 4.0
    allowed = rng.random((rows, columns)) < p
    found = assign(cost, allowed)
    assert all(allowed[pair] for pair in found)
    assert len({row for row, _ in found}) == len({column for _, column in found}) == len(found)
    big = 1e6
    reference = [
        (r, c)
        for r, c in zip(*linear_sum_assignment(np.where(allowed, cost, big)), strict=True)
        if allowed[r, c]
    ]
    assert len(found) == len(reference)
    assert sum(cost[pair] for pair in found) == pytest.approx(sum(cost[pair] for pair in reference))


def test_more_pairs_are_better_than_cheaper_ones() -> None:
    cost = np.array([[0.0, 9.0], [9.0, 99.0]])
    assert assign(cost, np.array([[True, True], [True, False]])) == [(0, 1), (1, 0)]


def test_nothing_admissible_gives_no_pair() -> None:
    assert assign(np.ones((2, 3)), np.zeros((2, 3), dtype=np.bool_)) == []


def test_a_cost_that_is_not_finite_is_refused() -> None:
    with pytest.raises(AnalysisError, match="finite"):
        assign(np.array([[np.nan]]), np.array([[True]]))
