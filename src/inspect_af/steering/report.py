"""Vectors side by side: curves over layers, and how far they point the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from inspect_af.errors import AnalysisError
from inspect_af.format import text_table
from inspect_af.steering._record import Record
from inspect_af.steering.pairs import SPLITS, Split
from inspect_af.steering.validate import BothScores, LayerValidation, Validation, best_layers
from inspect_af.steering.vector import SteeringVector


class VectorCurves(Record):
    """One vector's validation, layer by layer."""

    name: str
    digest: str
    model: str
    concept: str
    source: str
    method: str
    validation: Validation | None
    best_layers: tuple[int, ...]
    """By cross-validation, best first; none for a vector that was not cross-validated."""


class CosineCurve(Record):
    """Cosine similarity of two vectors, at the layers that both have."""

    first: str
    second: str
    layers: tuple[int, ...]
    cosine: tuple[float, ...]


class ControlBand(Record):
    """AUROC by projection of random controls at one layer."""

    layer: int
    low: float
    median: float
    high: float


class SteeringReport(Record):
    """What `inspect-af steering` prints and writes as JSON."""

    schema_version: int = 1
    vectors: tuple[VectorCurves, ...]
    cosines: tuple[CosineCurve, ...]


def steering_report(
    vectors: Mapping[str, SteeringVector], validations: Mapping[str, Validation] | None = None
) -> SteeringReport:
    """Gathers vectors by name.

    Args:
        vectors: By the name to show.
        validations: What to report instead of the validation in a vector's header, by the same names.

    Raises:
        AnalysisError: Vectors have different widths, so they are of different models.
    """
    if len(widths := {vector.header.d_model for vector in vectors.values()}) > 1:
        raise AnalysisError(
            f"the vectors have widths {sorted(widths)}, so they are of different models; compare vectors of "
            "one model"
        )
    curves = []
    for name, vector in vectors.items():
        validation = (validations or {}).get(name, vector.header.validation)
        curves.append(
            VectorCurves(
                name=name,
                digest=vector.digest,
                model=vector.header.model,
                concept=vector.header.concept,
                source=vector.header.source,
                method=vector.header.fit.method,
                validation=validation,
                best_layers=best_layers(validation) if validation else (),
            )
        )
    pairs = combinations(vectors.items(), 2)
    cosines = tuple(cosine_curve(*first, *second) for first, second in pairs)
    return SteeringReport(vectors=tuple(curves), cosines=cosines)


def cosine_curve(
    first_name: str, first: SteeringVector, second_name: str, second: SteeringVector
) -> CosineCurve:
    """Cosine similarity at every layer for which both vectors have a direction, which may be none."""
    shared = sorted(set(first.header.layers) & set(second.header.layers))
    cosine = []
    for layer in shared:
        one, other = first.at(layer).astype(np.float64), second.at(layer).astype(np.float64)
        cosine.append(float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other))))
    return CosineCurve(first=first_name, second=second_name, layers=tuple(shared), cosine=tuple(cosine))


def control_bands(validations: Sequence[Validation], split: Split) -> tuple[ControlBand, ...]:
    """Where random controls lie, at each layer.

    Raises:
        AnalysisError: The validations have no pairs of that split.
    """
    by_layer: dict[int, list[float]] = {}
    for validation in validations:
        for layer in validation.layers:
            for scores in layer.splits:
                if scores.split == split:
                    by_layer.setdefault(layer.layer, []).append(scores.projection.auroc)
    if not by_layer:
        raise AnalysisError(f"no pair is in the split {split!r}, so controls have no figures there")
    return tuple(
        ControlBand(layer=layer, low=min(found), median=float(np.median(found)), high=max(found))
        for layer, found in sorted(by_layer.items())
    )


def report_text(report: SteeringReport) -> str:
    """The report as tables for a terminal."""
    parts = [_curves_text(curves) for curves in report.vectors]
    if report.cosines:
        parts.append(_cosines_text(report.cosines))
    return "\n\n".join(parts)


_FIGURES = ("AUROC", "TPR@5%", "paired", "gap", "AUROC(cos)")


def _curves_text(curves: VectorCurves) -> str:
    head = (
        f"{curves.name}: {curves.concept} ({curves.source}, {curves.method}) for {curves.model}, "
        f"vector {curves.digest}"
    )
    validation = curves.validation
    if validation is None:
        return f"{head}\nnot validated"
    pairs = ", ".join(f"{n} {split}" for split, n in validation.n_pairs.items() if n)
    lines = [head, f"{validation.concept} pairs ({validation.source}, {validation.locus}): {pairs}"]
    if validation.shared_groups:
        lines.append(
            f"warning: {validation.shared_groups} requests or topics are in train and in another split"
        )
    # In-sample figures of a fitted vector say nothing next to its cross-validation.
    left_out = {"train"} if validation.folds else set()
    blocks = [split for split in SPLITS if validation.n_pairs.get(split) and split not in left_out]
    names = (["cross-validated"] if validation.folds else []) + [str(split) for split in blocks]
    explained = " (differences: AUROC of d . v)" if validation.folds else ""
    lines.append(f"columns: layer, |v|, then {', '.join(names)}{explained}")
    title = ["layer", "|v|"]
    if validation.folds:
        title += [*_FIGURES, "differences"]
    title += [figure for _ in blocks for figure in _FIGURES]
    rows = [title] + [_layer_row(layer, blocks, curves.best_layers) for layer in validation.layers]
    lines.append(text_table(rows))
    if curves.best_layers:
        lines.append(f"* best by cross-validation: {', '.join(map(str, curves.best_layers))}")
    return "\n".join(lines)


def _layer_row(layer: LayerValidation, blocks: Sequence[Split], best: Sequence[int]) -> list[str]:
    row = [f"{'*' if layer.layer in best else ''}{layer.layer}", f"{layer.norm:.3g}"]
    if crossed := layer.cross_validated:
        row += [*_figures(crossed), f"{crossed.difference_auroc:.3f}"]
    found = {scores.split: scores for scores in layer.splits}
    return row + [figure for split in blocks for figure in _figures(found[split])]


def _figures(scores: BothScores) -> list[str]:
    along = scores.projection
    shares = [f"{value:.3f}" for value in (along.auroc, along.tpr_at_5_fpr, along.paired_accuracy)]
    return [*shares, f"{along.mean_gap:.3g}", f"{scores.cosine.auroc:.3f}"]


def _cosines_text(cosines: Sequence[CosineCurve]) -> str:
    rows = [["cosine similarity", "mean", "lowest", "highest"]]
    for curve in cosines:
        name = f"{curve.first} . {curve.second}"
        if not curve.cosine:
            rows.append([name, "no shared layer", "", ""])
            continue
        low, high = int(np.argmin(curve.cosine)), int(np.argmax(curve.cosine))
        rows.append(
            [
                name,
                f"{np.mean(curve.cosine):+.3f}",
                f"{curve.cosine[low]:+.3f} (layer {curve.layers[low]})",
                f"{curve.cosine[high]:+.3f} (layer {curve.layers[high]})",
            ]
        )
    return text_table(rows)
