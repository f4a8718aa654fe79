"""From activations to vectors that were validated by reading, with a report of them side by side.

Three estimators of a direction from paired differences: the mean difference, which is the default; the
source's logistic regression after standardisation; and the same regression without it.

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
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from inspect_af.config import Record, require
from inspect_af.errors import AnalysisError, TreatmentError
from inspect_af.format import text_table
from inspect_af.steering.activations import Activations, ActivationsHeader, LayerActivations
from inspect_af.steering.pairs import SPLITS, Split
from inspect_af.steering.vector import (
    BothScores,
    CrossValidation,
    Discrimination,
    Fit,
    Float32Array,
    FloatArray,
    Folds,
    LayerValidation,
    LogisticFit,
    MeanDifferenceFit,
    SplitScores,
    SteeringVector,
    Validation,
    VectorHeader,
    best_layers,
    make_vector,
    shown_layers,
)
from inspect_af.types import Family

Estimator = Literal["mean-difference", "regression", "logistic"]
"""`regression` is the source's, after standardisation; `logistic` is the same without standardisation."""

ESTIMATORS: tuple[Estimator, ...] = ("mean-difference", "regression", "logistic")

FALSE_POSITIVE_RATE = 0.05
LOW_COSINE = 0.9
"""Estimators of one concept that agree less than this are different directions (not in source)."""

RANDOM_DIRECTIONS = 20  # how many random directions read the same pairs beside a vector (not in source)


def estimate(estimator: Estimator, differences: Float32Array | FloatArray, *, c: float = 1.0) -> FloatArray:
    """One layer's direction in activation coordinates, [d_model]; not of unit norm.

    Differences are positive minus negative, [pair, d_model]. `c` is the inverse strength of the penalty, as
    scikit-learn counts it on the 2 N samples, and positive; not in source.

    Raises:
        AnalysisError: There is no pair, or no difference in any feature, or no convergence.
        MissingExtraError: scikit-learn is not installed.
    """
    if differences.ndim != 2 or not differences.size:
        raise AnalysisError(f"differences have shape {differences.shape}; [pair, d_model] is needed")
    if not np.isfinite(differences).all():
        raise AnalysisError("differences hold values that are not finite")
    if not differences.any():
        raise AnalysisError(
            "positive and negative activations are the same in every pair; there is no direction between them"
        )
    wide = differences.astype(np.float64)
    if estimator == "mean-difference":
        return np.asarray(wide.mean(axis=0))
    with require("local", "regressions"):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    scale = np.ones(wide.shape[1])
    if estimator == "regression":
        scale = np.sqrt(np.square(wide).mean(axis=0))
        scale[scale < np.finfo(np.float32).tiny] = 1  # a feature that never differs has no weight anyway
    basis, coordinates = np.linalg.qr((wide / scale).T)  # [d_model, N], [N, N]
    samples = np.concatenate([coordinates.T, -coordinates.T])
    model = LogisticRegression(C=c, fit_intercept=False, solver="newton-cholesky", tol=1e-10, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(samples, np.repeat([1, 0], len(wide)))
        except ConvergenceWarning as warning:
            raise AnalysisError(
                f"the logistic regression did not converge ({warning}); a smaller C is better conditioned"
            ) from warning
    return np.asarray(basis @ model.coef_[0] / scale)


def grouped_folds(groups: Sequence[str], n_folds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The fold in which each pair is held out, 0 to n_folds - 1, [pair]; scikit-learn's `GroupKFold`.

    Every group lies in one fold, and folds are about equally large. Groups of one size are dealt out in
    random order. An AnalysisError where there are fewer groups than folds.
    """
    with require("local", "folds"):
        from sklearn.model_selection import GroupKFold
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


def discriminate(positive: FloatArray, negative: FloatArray) -> Discrimination:
    """Compares the scores of both sides of the same pairs, [pair] each; an AnalysisError where there is no
    pair, or the sides are not equally many."""
    from scipy.stats import rankdata

    if positive.shape != negative.shape or positive.ndim != 1 or not len(positive):
        raise AnalysisError(
            f"scores have shapes {positive.shape} and {negative.shape}; one of each side per pair is needed"
        )
    n = len(negative)
    ranks = rankdata(np.concatenate([positive, negative]))
    allowed = int(FALSE_POSITIVE_RATE * n + 1e-9)  # 0.05 * 60 is just below 3 in binary
    gap = positive - negative
    return Discrimination(
        n_pairs=n,
        auroc=float((ranks[:n].sum() - n * (n + 1) / 2) / (n * n)),  # Mann and Whitney's U / n^2
        tpr_at_5_fpr=float((positive > np.sort(negative)[n - 1 - allowed]).mean()),
        paired_accuracy=float((np.sum(gap > 0) + np.sum(gap >= 0)) / (2 * n)),
        mean_gap=float(gap.mean()),
    )


def mean_discrimination(folds: Sequence[Discrimination]) -> Discrimination:
    """Means over folds, weighted by their pairs; scores of different vectors are never ranked together."""
    weights = [fold.n_pairs for fold in folds]
    table = np.array([list(fold.model_dump(exclude={"n_pairs"}).values()) for fold in folds])
    means = map(float, np.average(table, axis=0, weights=weights))
    names = [name for name in Discrimination.model_fields if name != "n_pairs"]
    return Discrimination(n_pairs=sum(weights), **dict(zip(names, means, strict=True)))


class _Scores:
    """Every pair of one layer, projected on several vectors at once."""

    def __init__(self, activations: LayerActivations, vectors: FloatArray) -> None:
        self.norms = np.linalg.norm(vectors, axis=1)
        if not self.norms.all():
            raise AnalysisError(f"a vector is zero at layer {activations.layer}, so it has no direction")
        units = vectors / self.norms[:, None]
        sides = [side.astype(np.float64) for side in (activations.positive, activations.negative)]
        lengths = [np.linalg.norm(side, axis=1) for side in sides]
        self.along = [units @ side.T for side in sides]  # h . v / ||v||, [vector, pair]
        self.cosines = [
            along / np.where(length == 0, 1, length)
            for along, length in zip(self.along, lengths, strict=True)
        ]

    def on(self, vector: int, rows: NDArray[np.intp]) -> BothScores:
        """Discrimination of some pairs by one of the vectors."""
        return BothScores(
            projection=discriminate(*(along[vector, rows] for along in self.along)),
            cosine=discriminate(*(cosine[vector, rows] for cosine in self.cosines)),
        )

    def crossed(self, first: int, rows: NDArray[np.intp], folds: NDArray[np.intp]) -> CrossValidation:
        """Results of each fold's pairs by the vector that was fitted without them, from `first` on."""
        held_out = [(first + fold, rows[folds == fold]) for fold in range(int(folds.max()) + 1)]
        found = [self.on(*held) for held in held_out]
        gaps = [self.along[0][vector, held] - self.along[1][vector, held] for vector, held in held_out]
        return CrossValidation(
            projection=mean_discrimination([both.projection for both in found]),
            cosine=mean_discrimination([both.cosine for both in found]),
            difference_auroc=mean_discrimination([discriminate(gap, -gap) for gap in gaps]).auroc,
            fold_auroc=tuple(both.projection.auroc for both in found),
        )


def _read(
    layer: LayerActivations,
    header: ActivationsHeader,
    vectors: FloatArray,
    folds: NDArray[np.intp] | None = None,
) -> tuple[list[LayerValidation], dict[Split, float]]:
    """What vectors [vector, d_model], or with `folds` [estimator, 1 + fold, d_model], read from a layer, and
    the AUROC of the best of some random directions, either way round."""
    rng = np.random.default_rng([layer.layer, RANDOM_DIRECTIONS])
    flat = vectors.reshape(-1, header.d_model)
    scores = _Scores(layer, np.concatenate([flat, rng.standard_normal((RANDOM_DIRECTIONS, header.d_model))]))
    splits = header.rows_by_split()
    found = []
    for at in range(0, len(flat), len(flat) // len(vectors)):
        on = {split: scores.on(at, rows) for split, rows in splits.items()}
        found.append(
            LayerValidation(
                layer=layer.layer,
                norm=float(scores.norms[at]),
                cross_validated=None if folds is None else scores.crossed(at + 1, splits["train"], folds),
                splits=tuple(
                    SplitScores(split=split, projection=both.projection, cosine=both.cosine)
                    for split, both in on.items()
                ),
            )
        )
    random = {}
    for split, rows in splits.items():
        sides = zip(*(along[len(flat) :, rows] for along in scores.along), strict=True)
        aurocs = [discriminate(positive, negative).auroc for positive, negative in sides]
        random[split] = max(*aurocs, *(1 - auroc for auroc in aurocs))
    return found, random


def _validation_on(
    header: ActivationsHeader,
    layers: Sequence[LayerValidation],
    random: Mapping[int, Mapping[Split, float]],
    folds: Folds | None,
) -> Validation:
    splits = header.rows_by_split()
    groups = {split: {header.groups[row] for row in rows} for split, rows in splits.items()}
    unseen = set().union(*(found for split, found in groups.items() if split != "train"))
    return Validation(
        **header.model_dump(include={"concept", "source", "locus", "pairs_digest"}),
        n_pairs={split: len(splits.get(split, ())) for split in SPLITS},
        shared_groups=len(groups.get("train", set()) & unseen),
        folds=folds,
        layers=tuple(layers),
        random_auroc={split: tuple(random[layer.layer][split] for layer in layers) for split in splits},
    )


class FitSettings(Record):
    """What the source leaves open, or draws at random."""

    c: float = Field(default=1.0, gt=0)
    """Inverse strength of the penalty on the 2 N samples; scikit-learn's default. Not in source."""
    n_folds: int = Field(default=5, ge=2)
    seed: int = Field(default=0, ge=0)  # of the assignment of requests or topics to folds


def fit_vectors(
    activations: Activations,
    *,
    family: Family | None,
    settings: FitSettings | None = None,
    orthogonal_to: SteeringVector | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[Estimator, SteeringVector]:
    """Fits every estimator to the training pairs and validates it on every split, layer by layer.

    The family is that of beliefs to which the concept belongs, None for a concept of neither. `orthogonal_to`
    is a vector whose direction is taken out of every estimate, those of the folds included; `progress` is
    called with each layer that is done.

    Raises:
        AnalysisError: There are no training pairs, fewer requests or topics than folds, or a layer at which
            the sides do not differ.
        MaterialsError: The file holds values that are not finite.
        TreatmentError: `orthogonal_to` has another width or not all of the layers.
        MissingExtraError: scikit-learn is not installed.
    """
    settings, header = settings or FitSettings(), activations.header
    if orthogonal_to is not None and orthogonal_to.header.d_model != header.d_model:
        raise TreatmentError(
            f"vector {orthogonal_to.digest} has width {orthogonal_to.header.d_model}, {activations.path} has "
            f"{header.d_model}; nothing can be made orthogonal to a vector of another model"
        )
    rows = header.rows("train")
    if not len(rows):
        raise AnalysisError(f"{activations.path}: no pair is in the split 'train', so nothing can be fitted")
    rng = np.random.default_rng(settings.seed)
    folds = grouped_folds([header.groups[row] for row in rows], settings.n_folds, rng)
    kept = [np.full(len(rows), True), *(folds != fold for fold in range(settings.n_folds))]
    values, reads, typical = [], [], []
    for layer in activations:
        differences = layer.differences(rows)
        try:
            # All pairs, then without each fold's, [estimator, fit, d_model].
            fits = np.array(
                [[estimate(name, differences[some], c=settings.c) for some in kept] for name in ESTIMATORS]
            )
            if orthogonal_to is not None:
                fits = _without(fits, orthogonal_to.at(layer.layer).astype(np.float64))
        except AnalysisError as error:
            raise AnalysisError(f"{activations.path}, layer {layer.layer}: {error}") from error
        values.append(fits[:, 0])
        reads.append(_read(layer, header, fits, folds))
        # The norm of an activation whose features are all as large as the middle one: in trained models a
        # few features are so large that they are nearly all of the plain norm.
        both = np.concatenate([layer.positive, layer.negative]).astype(np.float64)
        typical.append(float(np.sqrt(both.shape[1] * np.median(np.square(both).mean(axis=0)))))
        progress(layer.layer)
    used = Folds(n=settings.n_folds, seed=settings.seed)
    random = {layer: best for layer, (_, best) in zip(header.layers, reads, strict=True)}
    on = {"locus": header.locus, "n_pairs": len(rows)}
    how: dict[Estimator, Fit] = {
        "mean-difference": MeanDifferenceFit(**on),
        "regression": LogisticFit(c=settings.c, **on),
        "logistic": LogisticFit(c=settings.c, scale="none", **on),
    }
    shared = set(VectorHeader.model_fields) & set(ActivationsHeader.model_fields)
    return {
        name: make_vector(
            VectorHeader(
                **header.model_dump(include=shared),
                typical_norms=tuple(typical) if min(typical) > 0 else None,
                family=family,
                fit=fit,
                validation=_validation_on(header, [own[at] for own, _ in reads], random, used),
                orthogonal_to=None if orthogonal_to is None else orthogonal_to.digest,
            ),
            np.stack([layer[at] for layer in values]),
        )
        for at, (name, fit) in enumerate(how.items())
    }


def _without(vectors: FloatArray, taken: FloatArray) -> FloatArray:
    """Vectors [..., d_model] with a direction taken out."""
    unit = taken / np.linalg.norm(taken)
    left = vectors - (vectors @ unit)[..., None] * unit
    if (np.linalg.norm(left, axis=-1) < 1e-6 * np.linalg.norm(vectors, axis=-1)).any():
        raise AnalysisError("the vector is parallel to the one that is taken out, so nothing is left of it")
    return np.asarray(left)


def validate_vectors(vectors: Sequence[SteeringVector], activations: Activations) -> tuple[Validation, ...]:
    """Finished vectors on the pairs of a file, which may be of another concept, source or model.

    Nothing is fitted, so nothing is cross-validated: `train` is in-sample for a vector that was fitted to it.

    Raises:
        TreatmentError: A vector has another width, or layers that the file does not hold.
        MaterialsError: The file holds values that are not finite.
    """
    header = activations.header
    for vector in vectors:
        if vector.header.d_model != header.d_model:
            raise TreatmentError(
                f"vector {vector.digest} has width {vector.header.d_model}, {activations.path} has "
                f"{header.d_model}; take activations of {vector.header.model}"
            )
        if missing := sorted(set(vector.header.layers) - set(header.layers)):
            raise TreatmentError(
                f"vector {vector.digest} is for layers {shown_layers(missing)} too, {activations.path} holds "
                f"{shown_layers(header.layers)}; extract them"
            )
    found: list[list[LayerValidation]] = [[] for _ in vectors]
    random: dict[int, dict[Split, float]] = {}
    for number in sorted({number for vector in vectors for number in vector.header.layers}):
        here = [at for at, vector in enumerate(vectors) if number in vector.header.layers]
        values = np.stack([vectors[at].at(number) for at in here]).astype(np.float64)
        own, random[number] = _read(activations.layer(number), header, values)
        for at, layer in zip(here, own, strict=True):
            found[at].append(layer)
    return tuple(_validation_on(header, layers, random, None) for layers in found)


class VectorCurves(Record):
    """One vector's validation, layer by layer."""

    name: str
    digest: str
    model: str
    concept: str
    source: str
    method: str
    estimator: str = ""  # of `ESTIMATORS`, or `random`
    orthogonal_to: str | None = None  # digest of the vector whose direction was taken out
    validation: Validation | None
    best_layers: tuple[int, ...]
    """By cross-validation, best first; none for a vector that was not cross-validated."""

    def text(self) -> str:
        """The validation as a table for a terminal."""
        head = (
            f"{self.name}: {self.concept} ({self.source}, {self.estimator or self.method}) for {self.model}, "
            f"vector {self.digest}"
        )
        head += f", orthogonal to {self.orthogonal_to}" if self.orthogonal_to else ""
        validation = self.validation
        if validation is None:
            return f"{head}\nnot validated"
        pairs = ", ".join(f"{n} {split}" for split, n in validation.n_pairs.items() if n)
        lines = [head, f"{validation.concept} pairs ({validation.source}, {validation.locus}): {pairs}"]
        if validation.shared_groups:
            lines.append(
                f"warning: requests or topics in train and in another split: {validation.shared_groups}"
            )
        crossed = ["cross-validated"] if validation.folds else []
        # In-sample figures of a fitted vector say nothing next to its cross-validation.
        blocks = [
            split for split in SPLITS if validation.n_pairs.get(split) and not (crossed and split == "train")
        ]
        explained = " (differences: AUROC of d . v)" if crossed else ""
        lines.append(f"columns: layer, |v|, then {', '.join([*crossed, *blocks])}{explained}")
        figures = ("AUROC", "TPR@5%", "paired", "gap", "AUROC(cos)")
        rows = [["layer", "|v|", *((*figures, "differences") if crossed else ()), *(figures * len(blocks))]]
        for layer in validation.layers:
            row = [f"{'*' if layer.layer in self.best_layers else ''}{layer.layer}", f"{layer.norm:.3g}"]
            if held := layer.cross_validated:
                row += [*_figures(held), f"{held.difference_auroc:.3f}"]
            rows.append(row + [cell for split in blocks if (on := layer.on(split)) for cell in _figures(on)])
        lines.append(text_table(rows))
        if self.best_layers:
            lines.append(f"* best by cross-validation: {', '.join(map(str, self.best_layers))}")
        return "\n".join(lines)


def _figures(scores: BothScores) -> list[str]:
    along = scores.projection
    shares = [f"{value:.3f}" for value in (along.auroc, along.tpr_at_5_fpr, along.paired_accuracy)]
    return [*shares, f"{along.mean_gap:.3g}", f"{scores.cosine.auroc:.3f}"]


class CosineCurve(Record):
    """Cosine similarity of two vectors, at the layers that both have."""

    first: str
    second: str
    layers: tuple[int, ...]
    cosine: tuple[float, ...]


class SteeringReport(Record):
    """What `inspect-af steering` prints and writes as JSON."""

    schema_version: int = 1
    vectors: tuple[VectorCurves, ...]
    cosines: tuple[CosineCurve, ...]
    warnings: tuple[str, ...] = ()

    def text(self) -> str:
        """The report as tables for a terminal."""
        parts = [curves.text() for curves in self.vectors]
        rows = [["cosine similarity", "mean", "lowest", "highest"]]
        for curve in self.cosines:
            ends = ["no shared layer", "", ""]
            if curve.cosine:
                low, high = int(np.argmin(curve.cosine)), int(np.argmax(curve.cosine))
                ends = [f"{np.mean(curve.cosine):+.3f}"]
                ends += [f"{curve.cosine[at]:+.3f} (layer {curve.layers[at]})" for at in (low, high)]
            rows.append([f"{curve.first} . {curve.second}", *ends])
        if self.cosines:
            parts.append(text_table(rows))
        return "\n\n".join([*parts, *(f"warning: {warning}" for warning in self.warnings)])


def steering_report(
    vectors: Mapping[str, SteeringVector], validations: Mapping[str, Validation] | None = None
) -> SteeringReport:
    """Gathers vectors by the name to show, with the validation in its header or another that is given; an
    AnalysisError where their widths differ, so that they are of different models."""
    if len(widths := {vector.header.d_model for vector in vectors.values()}) > 1:
        raise AnalysisError(
            f"the vectors have widths {sorted(widths)}, so they are of different models; compare vectors of "
            "one model"
        )
    curves, cosines, warned = [], [], []
    for name, vector in vectors.items():
        held = vector.header
        validation = (validations or {}).get(name, held.validation)
        curves.append(
            VectorCurves(
                name=name,
                digest=vector.digest,
                **held.model_dump(include={"model", "concept", "source", "orthogonal_to"}),
                method=held.fit.method,
                estimator=held.estimator,
                validation=validation,
                best_layers=best_layers(validation),
            )
        )
        warned += _reading_warnings(name, validation) if validation else []
    for (first, one), (second, other) in combinations(vectors.items(), 2):
        by_layer = one.cosines(other)
        layers, cosine = tuple(by_layer), tuple(by_layer.values())
        cosines.append(CosineCurve(first=first, second=second, layers=layers, cosine=cosine))
        low = [layer for layer, value in by_layer.items() if value < LOW_COSINE]
        same_pairs = one.header.pairs_digest == other.header.pairs_digest
        if low and same_pairs and "random" not in (one.header.source, other.header.source):
            warned.append(
                f"{first} and {second} are of the same pairs and have a cosine below {LOW_COSINE:g} at "
                f"layers {shown_layers(low)}, so they are different directions there; compare what they do "
                "(inspect-af steering effect)"
            )
    return SteeringReport(vectors=tuple(curves), cosines=tuple(cosines), warnings=tuple(warned))


def _reading_warnings(name: str, validation: Validation) -> list[str]:
    """Where a vector's figure on a split says nothing, since a random direction reads as well."""
    warned = []
    for split, best in validation.random_auroc.items():
        blind = {
            layer.layer: random
            for layer, random in zip(validation.layers, best, strict=True)
            if (scores := layer.on(split)) and random >= scores.projection.auroc - 1e-9
        }
        if blind and not (split == "train" and validation.folds):
            warned.append(
                f"{name}: at layers {shown_layers(list(blind))} the best of {RANDOM_DIRECTIONS} random "
                f"directions separates the {split} pairs as well (AUROC up to {max(blind.values()):.3f}), so "
                "the figure of that split says nothing about the vector there"
            )
    return warned


def controls_text(own: Validation, controls: Sequence[Validation]) -> str:
    """Where a vector stands among random controls on the same pairs: held-out ones if there are any."""
    split: Split = "held-out" if own.n_pairs["held-out"] else "train"
    first, *others = (
        {layer.layer: scores.projection.auroc for layer in one.layers if (scores := layer.on(split))}
        for one in (own, *controls)
    )
    rows = [["layer", "vector", "controls: lowest", "median", "highest"]]
    for layer, value in first.items():
        among = [other[layer] for other in others]
        figures = (value, min(among), float(np.median(among)), max(among))
        rows.append([str(layer), *(f"{figure:.3f}" for figure in figures)])
    return f"AUROC on {split} pairs\n{text_table(rows)}"
