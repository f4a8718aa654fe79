"""How well a score tells positive from negative activations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from inspect_af.errors import AnalysisError
from inspect_af.steering._record import Record
from inspect_af.steering._tensors import FloatArray

FALSE_POSITIVE_RATE = 0.05


class Discrimination(Record):
    """Positive against negative sides of the same pairs, by one score."""

    n_pairs: int = Field(ge=1)
    auroc: float = Field(ge=0, le=1)
    """Chance that a positive scores higher than a negative of any pair; ties count half."""
    tpr_at_5_fpr: float = Field(ge=0, le=1)
    """Share of positives above the lowest threshold that at most 5 % of negatives exceed."""
    paired_accuracy: float = Field(ge=0, le=1)
    """Share of pairs whose positive side scores higher; ties count half."""
    mean_gap: float
    """Mean over pairs of positive minus negative, in units of the score."""


def discriminate(positive: FloatArray, negative: FloatArray) -> Discrimination:
    """Compares the scores of both sides.

    Args:
        positive: Scores of the positive sides, [pair].
        negative: Scores of the negative sides, in the same order, [pair].

    Raises:
        AnalysisError: There is no pair, or the sides are not equally many.
    """
    if positive.shape != negative.shape or positive.ndim != 1 or not len(positive):
        raise AnalysisError(
            f"scores have shapes {positive.shape} and {negative.shape}; one of each side per pair is needed"
        )
    from scipy.stats import rankdata

    ranked = np.sort(negative)
    n = len(negative)
    ranks = rankdata(np.concatenate([positive, negative]))
    allowed = int(FALSE_POSITIVE_RATE * n + 1e-9)  # 0.05 * 60 is just below 3 in binary
    gap = positive - negative
    return Discrimination(
        n_pairs=n,
        auroc=float((ranks[:n].sum() - n * (n + 1) / 2) / (n * n)),  # Mann and Whitney's U / n^2
        tpr_at_5_fpr=float((positive > ranked[n - 1 - allowed]).mean()),
        paired_accuracy=float((np.sum(gap > 0) + np.sum(gap >= 0)) / (2 * n)),
        mean_gap=float(gap.mean()),
    )


def mean_discrimination(folds: Sequence[Discrimination]) -> Discrimination:
    """Means over folds, weighted by their pairs; scores of different vectors are never ranked together."""
    weights = np.array([fold.n_pairs for fold in folds], dtype=float)

    def mean(values: Sequence[float]) -> float:
        return float(np.average(np.array(values), weights=weights))

    return Discrimination(
        n_pairs=int(weights.sum()),
        auroc=mean([fold.auroc for fold in folds]),
        tpr_at_5_fpr=mean([fold.tpr_at_5_fpr for fold in folds]),
        paired_accuracy=mean([fold.paired_accuracy for fold in folds]),
        mean_gap=mean([fold.mean_gap for fold in folds]),
    )
