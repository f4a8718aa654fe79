"""Folds of cross-validation that keep the pairs of a request or topic together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inspect_af.errors import AnalysisError, ConfigError, MissingExtraError


def grouped_folds(groups: Sequence[str], n_folds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The fold in which each pair is held out, 0 to n_folds - 1, [pair]; scikit-learn's `GroupKFold`.

    Every group lies in one fold, and folds are about equally large. Groups of one size are dealt out in
    random order.

    Raises:
        ConfigError: Fewer than two folds are asked for.
        AnalysisError: There are fewer groups than folds.
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.model_selection import GroupKFold
    except ImportError as error:
        raise MissingExtraError("folds need scikit-learn; pip install 'inspect-af[local]'") from error
    if n_folds < 2:
        raise ConfigError(f"{n_folds} folds; cross-validation needs 2 or more")
    names, members = np.unique(np.array(groups, dtype=str), return_inverse=True)
    if len(names) < n_folds:
        raise AnalysisError(
            f"{len(groups)} pairs are about {len(names)} different requests or topics, fewer than the "
            f"{n_folds} folds; take fewer folds or more varied pairs"
        )
    folds = np.empty(len(groups), dtype=np.intp)
    shuffled = rng.permutation(len(names))[members]
    for fold, (_, held_out) in enumerate(GroupKFold(n_folds).split(folds, groups=shuffled)):
        folds[held_out] = fold
    return folds
