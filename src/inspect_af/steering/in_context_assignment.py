"""Optimal one-to-one assignment: as many admissible pairs as possible, and of those the cheapest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inspect_af.errors import AnalysisError


def assign(cost: NDArray[np.float64], allowed: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pairs every row with at most one column and every column with at most one row.

    The number of pairs is the largest that the admissible cells permit; among all such matchings the sum of
    costs is the smallest. Shortest augmenting paths with potentials (Jonker and Volgenant 1987), in
    O(rows^2 columns) for rows <= columns.

    Args:
        cost: Not negative and finite, [row, column].
        allowed: Which cells may be used, [row, column].

    Returns:
        (row, column), ascending by row.

    Raises:
        AnalysisError: The shapes differ, or an admissible cost is negative or not finite.
    """
    if cost.shape != allowed.shape or cost.ndim != 2:
        raise AnalysisError(
            f"cost has shape {cost.shape} and allowed {allowed.shape}; both are [row, column]"
        )
    if not allowed.any():
        return []
    if not np.isfinite(cost[allowed]).all() or cost[allowed].min() < 0:
        raise AnalysisError("costs of an assignment must be finite and not negative")
    if cost.shape[0] > cost.shape[1]:
        return sorted((row, column) for column, row in assign(cost.T, allowed.T))
    # A cell that is not admissible costs more than all admissible ones together, so it is never worth it.
    forbidden = (cost[allowed].max() + 1.0) * (cost.shape[0] + 1)
    column_of = _cheapest(np.where(allowed, cost, forbidden))
    return [(row, int(column)) for row, column in enumerate(column_of) if allowed[row, column]]


def _cheapest(cost: NDArray[np.float64]) -> NDArray[np.intp]:
    """The column of each row in the cheapest complete assignment; rows <= columns."""
    n_rows, n_columns = cost.shape
    # Index 0 is a dummy row and column, from which each augmenting path starts.
    row_potential = np.zeros(n_rows + 1)
    column_potential = np.zeros(n_columns + 1)
    row_of = np.zeros(n_columns + 1, dtype=np.intp)
    before = np.zeros(n_columns + 1, dtype=np.intp)
    for row in range(1, n_rows + 1):
        row_of[0] = row
        column = 0
        distance = np.full(n_columns + 1, np.inf)
        done = np.zeros(n_columns + 1, dtype=np.bool_)
        while True:
            done[column] = True
            here = row_of[column]
            reduced = np.full(n_columns + 1, np.inf)
            reduced[1:] = cost[here - 1] - row_potential[here] - column_potential[1:]
            closer = ~done & (reduced < distance)
            distance[closer] = reduced[closer]
            before[closer] = column
            column = int(np.where(done, np.inf, distance).argmin())
            step = distance[column]
            row_potential[row_of[done]] += step
            column_potential[done] -= step
            distance[~done] -= step
            if row_of[column] == 0:
                break
        while column:
            row_of[column] = row_of[before[column]]
            column = int(before[column])
    column_of = np.empty(n_rows, dtype=np.intp)
    for column in range(1, n_columns + 1):
        if row_of[column]:
            column_of[row_of[column] - 1] = column - 1
    return column_of
