"""Directions from paired differences: the mean difference, and logistic regression by scikit-learn.

For pair i, d_i is the positive side's activation minus the negative side's. The regressions have no
intercept and are fitted to {(d_i, 1), (-d_i, 0)}. The source standardises these samples first. They have
mean zero by construction, so that divides each feature by s_j = sqrt(mean_i d_ij^2), the root mean square
of the differences, and moves nothing.

The penalised solution is a combination of the samples (representer theorem), so it is searched for in their
span: with z = R'Q' (a QR decomposition of the standardised differences), the N rows of R' are the samples'
coordinates, and Q maps the solution back. The saved coefficients are w / s: they act on activations as w
acts on standardised ones, and are not of unit norm.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inspect_af.errors import AnalysisError, ConfigError, MissingExtraError
from inspect_af.steering._tensors import Float32Array, FloatArray

_TINY = np.finfo(np.float32).tiny


class PairedFit(NamedTuple):
    """The vector of all pairs, and those of the folds, each fitted without the pairs that it holds out."""

    vector: FloatArray
    """In activation coordinates, [d_model]."""
    fold_vectors: FloatArray
    """[fold, d_model]; no row where no folds were given."""


def fit_paired_logistic(
    differences: Float32Array | FloatArray,
    *,
    c: float,
    standardise: bool = True,
    folds: NDArray[np.intp] | None = None,
) -> PairedFit:
    """Fits the paired logistic regression to one layer, and anew (its scale too) in every fold.

    Args:
        differences: Positive minus negative, [pair, d_model].
        c: Inverse strength of the penalty, as scikit-learn counts it on the 2 N samples. Not in source.
        standardise: Divide every feature by the root mean square of its differences, as the source does.
        folds: Fold that holds each pair out, [pair]; None for the fit to all pairs alone.

    Raises:
        ConfigError: `c` is not a positive number.
        AnalysisError: There is no pair, or no difference in any feature, or no convergence.
        MissingExtraError: scikit-learn is not installed.
    """
    if not (np.isfinite(c) and c > 0):
        raise ConfigError(f"C is {c!r}; a positive number is needed")
    _check(differences)
    wide = differences.astype(np.float64)
    return PairedFit(
        _logistic(wide, c, standardise),
        _stacked([_logistic(wide[kept], c, standardise) for kept in _kept(folds)], wide.shape[1]),
    )


def fit_mean_difference(
    differences: Float32Array | FloatArray, *, folds: NDArray[np.intp] | None = None
) -> PairedFit:
    """The mean of the differences, of all pairs and of those that each fold keeps.

    Args:
        differences: Positive minus negative, [pair, d_model].
        folds: Fold that holds each pair out, [pair]; None for the mean of all pairs alone.

    Raises:
        AnalysisError: There is no pair, or no difference in any feature.
    """
    _check(differences)
    vector = differences.mean(axis=0, dtype=np.float64)
    fold_vectors = [differences[kept].mean(axis=0, dtype=np.float64) for kept in _kept(folds)]
    return PairedFit(vector, _stacked(fold_vectors, differences.shape[1]))


def _check(differences: Float32Array | FloatArray) -> None:
    if differences.ndim != 2 or not differences.size:
        raise AnalysisError(f"differences have shape {differences.shape}; [pair, d_model] is needed")
    if not np.isfinite(differences).all():
        raise AnalysisError("differences hold values that are not finite")
    if not differences.any():
        raise AnalysisError(
            "positive and negative activations are the same in every pair; there is no direction between them"
        )


def _kept(folds: NDArray[np.intp] | None) -> list[NDArray[np.bool_]]:
    return [] if folds is None else [folds != fold for fold in range(int(folds.max()) + 1)]


def _stacked(vectors: list[FloatArray], d_model: int) -> FloatArray:
    return np.stack(vectors) if vectors else np.empty((0, d_model))


def _logistic(differences: FloatArray, c: float, standardise: bool) -> FloatArray:
    """Coefficients in activation coordinates, [d_model]."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtraError("fitting needs scikit-learn; pip install 'inspect-af[local]'") from error

    scale = np.sqrt(np.square(differences).mean(axis=0)) if standardise else np.ones(differences.shape[1])
    scale[scale < _TINY] = 1  # a feature that never differs has no weight whatever its scale
    basis, coordinates = np.linalg.qr((differences / scale).T)  # [d_model, N], [N, N]
    samples = np.concatenate([coordinates.T, -coordinates.T])
    model = LogisticRegression(C=c, fit_intercept=False, solver="newton-cholesky", tol=1e-10, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(samples, np.repeat([1, 0], len(differences)))
        except ConvergenceWarning as warning:
            raise AnalysisError(
                f"the logistic regression did not converge ({warning}); a smaller C is better conditioned"
            ) from warning
    return np.asarray(basis @ model.coef_[0] / scale)
