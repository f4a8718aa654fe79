"""The report as files: HTML, JSON, CSV, SVG and PNG."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inspect_af.errors import MissingExtraError
from inspect_af.profile.convergence.drawings import draw_convergence
from inspect_af.profile.convergence.page import render_convergence
from inspect_af.profile.convergence.provenance import figure_sources
from inspect_af.profile.convergence.result import Band, Convergence
from inspect_af.profile.estimate import Estimate
from inspect_af.profile.report.export import Cell, Table, write_table
from inspect_af.profile.report.figures import Drawing, to_png, to_svg


def write_convergence(report: Convergence, directory: Path) -> list[Path]:
    """Writes convergence.html, convergence.json, a CSV per kind of row and every figure; returns the files.

    Without matplotlib the figures are left out, and the page says so.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        drawings: tuple[Drawing, ...] | None = draw_convergence(report)
    except MissingExtraError:
        drawings = None
    page, data = directory / "convergence.html", directory / "convergence.json"
    page.write_text(render_convergence(report, drawings), encoding="utf-8", newline="\n")
    data.write_text(report.to_json() + "\n", encoding="utf-8", newline="\n")
    tables = [write_table(table, directory) for table in convergence_tables(report) if table.rows]
    return [page, data, *tables, *(file for one in drawings or () for file in _files(one, directory))]


def _files(drawing: Drawing, directory: Path) -> tuple[Path, Path]:
    vector, pixels = directory / f"{drawing.name}.svg", directory / f"{drawing.name}.png"
    vector.write_text(to_svg(drawing), encoding="utf-8", newline="\n")
    pixels.write_bytes(to_png(drawing))
    return vector, pixels


_INTERVAL = ("estimate", "low", "high", "n")
_BAND = ("change", "low", "high", "control_low", "control_high", "n_controls", "rank_p")


def convergence_tables(report: Convergence) -> tuple[Table, ...]:
    """The numbers of every part, on the scale 0 to 1; an empty cell is not known."""
    return (
        Table(
            "statements",
            ("subject", "code", "direction", "sentence"),
            tuple(
                (m.subject, m.statement.code, m.statement.direction, m.statement.sentence)
                for m in report.models
            ),
        ),
        Table(
            "methods",
            ("subject", "method", "verdict", "verdict_suffix", "direction", "quantity", *_INTERVAL),
            tuple(_methods(report)),
        ),
        Table(
            "gaps",
            (
                "subject",
                "method",
                "intervention",
                "family",
                "placebo",
                *(f"gap_{part}" for part in _INTERVAL),
                *(f"change_{part}" for part in _INTERVAL),
            ),
            tuple(
                (
                    model.subject,
                    method.method,
                    row.intervention,
                    row.family,
                    row.placebo,
                    *_interval(row.gap),
                    *_interval(row.change),
                )
                for model in report.models
                for method in model.methods
                for row in method.gaps
            ),
        ),
        Table(
            "method_pairs",
            ("subject", "first", "second", "quantity", *_INTERVAL, "size", "refusal"),
            tuple(_pairs(report)),
        ),
        Table(
            "calibration",
            (
                "subject",
                "intervention",
                "family",
                *(f"prompt_{part}" for part in _INTERVAL),
                *(f"sdf_{part}" for part in _INTERVAL),
            ),
            tuple(
                (one.subject, p.intervention, p.family, *_interval(p.prompt), *_interval(p.sdf))
                for one in report.calibrations
                for p in one.points
            ),
        ),
        Table(
            "calibration_slopes",
            _SLOPES,
            tuple(tuple(getattr(one, field) for field in _SLOPES) for one in report.calibrations),
        ),
        Table(
            "vectors",
            (
                "subject",
                "concept",
                "digest",
                "layers",
                "moves_reasoning",
                "moves_behaviour",
                *(f"score_{part}" for part in _BAND),
                *(f"gap_{part}" for part in _BAND),
            ),
            tuple(
                (
                    one.subject,
                    v.concept,
                    v.digest,
                    v.layers,
                    v.moves_reasoning,
                    v.moves_behaviour,
                    *_band(v.reasoning),
                    *_band(v.behaviour),
                )
                for one in report.steering
                for v in one.vectors
            ),
        ),
        Table("steered", _STEERED, tuple(_steered(report))),
        Table(
            "screening",
            ("subject", "group", "seed", "monitored", "unmonitored", *_INTERVAL, "simulated"),
            tuple(
                (
                    row.subject,
                    row.group,
                    row.seed,
                    row.monitored,
                    row.unmonitored,
                    *_interval(row.gap),
                    row.simulated,
                )
                for row in report.screening
            ),
        ),
        Table(
            "ablations",
            (
                "subject",
                "variant",
                "is_identity",
                *(f"gap_{part}" for part in _INTERVAL),
                *(f"change_{part}" for part in _INTERVAL),
            ),
            tuple(
                (row.subject, row.variant, row.is_identity, *_interval(row.gap), *_interval(row.change))
                for row in report.ablations
            ),
        ),
        Table(
            "doses",
            ("subject", "method", "strength", "position", "family", *_INTERVAL),
            tuple(
                (curve.subject, curve.method, point.strength, point.position, label, *_interval(e))
                for curve in report.doses
                for point in curve.points
                for label, e in point.sensitivity.items()
            ),
        ),
        Table(
            "checkpoints",
            (
                "subject",
                "checkpoint",
                "eligible",
                "eligibility",
                "claim",
                *(f"on_checkpoint_{part}" for part in _INTERVAL),
                *(f"on_subject_{part}" for part in _INTERVAL),
            ),
            tuple(
                (
                    one.subject,
                    one.checkpoint,
                    one.eligible,
                    one.eligibility,
                    claim.claim,
                    *_interval(claim.on_checkpoint),
                    *_interval(claim.on_subject),
                )
                for one in report.checkpoints
                for claim in one.claims
            ),
        ),
        Table(
            "direct_requests",
            (
                "subject",
                "condition",
                "arm",
                "refused",
                "refused_low",
                "refused_high",
                "n_requests",
                *tuple(f"change_{part}" for part in _INTERVAL),
            ),
            tuple(_direct(report)),
        ),
        Table(
            "figure_sources",
            ("figure", "log"),
            tuple((figure, log) for figure, logs in figure_sources(report).items() for log in logs),
        ),
    )


_SLOPES = (
    "subject",
    "slope",
    "slope_low",
    "slope_high",
    "refusal",
    "plain_slope",
    "rank_correlation",
    "ordered_alike",
    "ordered_opposite",
    "not_told_apart",
    "tau_low",
    "tau_high",
)
_STEERED = (
    "subject",
    "concept",
    "digest",
    "multiplier",
    "dose",
    "parsed",
    "usable",
    "monitored",
    "unmonitored",
    "gap_change",
    "own_score_change",
    "other_score_change",
)


def _methods(report: Convergence) -> Iterator[tuple[Cell, ...]]:
    for model in report.models:
        for method in model.methods:
            start = (model.subject, method.method, method.verdict, method.verdict_suffix, method.direction)
            for label, estimate in method.sensitivity.items():
                yield (*start, label, *_interval(estimate))
            for quantity, one in (("difference", method.contrast), ("untouched gap", method.reference_gap)):
                if one is not None:
                    yield (*start, quantity, *_interval(one))


def _pairs(report: Convergence) -> Iterator[tuple[Cell, ...]]:
    for model in report.models:
        for pair in model.pairs:
            start = (model.subject, pair.first, pair.second)
            for label, estimate in pair.sensitivity.items():
                yield (*start, label, *_interval(estimate), None, None)
            yield (*start, "difference", *_interval(pair.contrast), pair.size, pair.refusal)


def _steered(report: Convergence) -> Iterator[tuple[Cell, ...]]:
    for one in report.steering:
        for vector in one.vectors:
            for p in vector.points:
                yield (
                    one.subject,
                    vector.concept,
                    vector.digest,
                    p.multiplier,
                    p.dose,
                    p.parsed,
                    p.usable,
                    p.monitored,
                    p.unmonitored,
                    *(None if band is None else band.change for band in (p.gap, p.own_score, p.other_score)),
                )
        for control in one.random:
            yield (
                one.subject,
                "random",
                control.digest,
                control.multiplier,
                control.dose,
                control.parsed,
                control.parsed >= one.parse_floor,
                control.monitored,
                control.unmonitored,
                None,
                None,
                None,
            )


def _direct(report: Convergence) -> Iterator[tuple[Cell, ...]]:
    for one in report.direct:
        for row in one.rows:
            for name, arm in (("harmful", row.harmful), ("benign", row.benign)):
                if arm is not None:
                    yield (
                        one.subject,
                        row.label,
                        name,
                        arm.refused,
                        arm.refused_low,
                        arm.refused_high,
                        arm.n_requests,
                        *_interval(arm.change),
                    )


def _interval(estimate: Estimate | None) -> tuple[Cell, ...]:
    if estimate is None:
        return (None,) * len(_INTERVAL)
    return estimate.estimate, estimate.low, estimate.high, estimate.n


def _band(band: Band | None) -> tuple[Cell, ...]:
    return tuple(None if band is None else getattr(band, field) for field in _BAND)
