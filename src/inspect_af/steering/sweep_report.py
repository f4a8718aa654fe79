"""Dose-response of vectors against the band of random controls at the same doses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from inspect_af.errors import AnalysisError
from inspect_af.format import text_table
from inspect_af.steering._record import Record
from inspect_af.steering.sweep import UsableRange
from inspect_af.steering.sweep_cells import SweepCell

SAME_DOSE = 0.02
"""Doses that differ by less than this share count as matched."""

ENOUGH_CONTROLS = 20
"""Controls that a claim about significance needs."""


class Band(Record):
    """A value among those of the random controls."""

    value: float
    change: float
    """From the condition without steering."""
    low: float | None
    """Lowest of the controls; None without any."""
    central_low: float | None
    """2.5 % quantile of the controls."""
    central_high: float | None
    high: float | None
    n_controls: int = Field(ge=0)
    p_above: float | None
    """(1 + controls at or above the value) / (n + 1)."""
    p_below: float | None
    p_either: float | None
    """(1 + controls whose change is as large, in either direction) / (n + 1)."""


class SweepPoint(Record):
    """One multiplier of one vector."""

    multiplier: float
    dose: float | None
    """||multiplier * v_l|| / mean ||h_l||, with the multiplier's sign."""
    usable: bool
    cell: SweepCell
    n_controls_left_out: int = Field(ge=0)
    """Controls at this dose of which fewer replies parse than the floor."""
    bands: dict[str, Band]
    """By the name of the value, see `SweepCell.values`."""


class VectorSweep(Record):
    """One vector at one range of layers."""

    concept: str
    digest: str
    source: str
    layers: str
    usable: UsableRange
    points: tuple[SweepPoint, ...]
    """By multiplier, ascending, without 0."""
    slopes: dict[str, Band]
    """Least-squares slopes of the values on the signed dose over the usable multipliers and 0, per unit of
    dose, among the slopes of the controls that were run at all of them: one test of a whole curve. `change`
    is the slope itself."""


class SweepReport(Record):
    """What `inspect-af steering sweep` writes as JSON."""

    schema_version: int = 1
    model: str
    requests: str
    n_logs: int
    floor: float
    unsteered: SweepCell
    vectors: tuple[VectorSweep, ...]
    notes: tuple[str, ...] = ()


def sweep_report(
    cells: Sequence[SweepCell],
    usable: Sequence[UsableRange],
    *,
    model: str,
    requests: str,
    n_logs: int,
) -> SweepReport:
    """Compares every vector with the controls at its doses.

    A control is compared where its dose is the vector's (and its sign), its layers are the same, and enough
    of its replies parse; how many were left out for the latter is shown.

    Args:
        cells: Counts of every condition.
        usable: From `usable_ranges`, fixed beforehand.
        model: What was steered.
        requests: Name of the request set.
        n_logs: How many logs were read.

    Raises:
        AnalysisError: The condition without steering is missing, or no vector was run.
    """
    unsteered = next((cell for cell in cells if cell.steer is None), None)
    if unsteered is None:
        raise AnalysisError("the condition without steering is missing; repeat the sweep to run it")
    if not usable:
        raise AnalysisError("no steered condition in the logs; repeat the sweep to run them")
    controls = [cell for cell in cells if cell.steer is not None and cell.steer.source == "random"]
    vectors = [_vector_sweep(cells, found, unsteered, controls) for found in usable]
    return SweepReport(
        model=model,
        requests=requests,
        n_logs=n_logs,
        floor=usable[0].floor,
        unsteered=unsteered,
        vectors=tuple(vectors),
        notes=_notes(vectors, cells),
    )


def report_text(report: SweepReport) -> str:
    """The report as tables for a terminal."""
    base = report.unsteered
    parts = [
        f"{report.model}, requests {report.requests}: {report.n_logs} logs\n"
        f"unsteered, {base.replies} replies: "
        + ", ".join(f"{name} {shown(name, value)}" for name, value in base.values.items())
    ]
    for vector in report.vectors:
        title = f"{vector.concept} ({vector.source}, vector {vector.digest}), layers {vector.layers}"
        parts.append(f"{title}\n{vector.usable.text()}\n{_table(vector)}")
    parts.append(
        "x: not usable, not compared; p: two-sided rank among the controls; slope: per unit of dose over the "
        "usable multipliers"
    )
    return "\n\n".join([*parts, *(f"note: {note}" for note in report.notes)])


def shown(name: str, value: float) -> str:
    """A share in percent, a gap in signed percent, a concept score on its own scale."""
    if name.startswith("concept: "):
        return f"{value:.2f}"
    return f"{value:+.1%}" if name == "gap" else f"{value:.1%}"


def _vector_sweep(
    cells: Sequence[SweepCell],
    usable: UsableRange,
    unsteered: SweepCell,
    controls: Sequence[SweepCell],
) -> VectorSweep:
    own = sorted(
        (
            (cell.steer.multiplier, cell)
            for cell in cells
            if cell.steer is not None
            and (cell.steer.digest, cell.steer.layers) == (usable.digest, usable.layers)
        ),
        key=lambda pair: pair[0],
    )
    there = [cell for cell in controls if cell.steer is not None and cell.steer.layers == usable.layers]
    points, curve = [], [(unsteered, {_control_id(cell): unsteered for cell in there})]
    for multiplier, cell in own:
        matched = [control for control in there if _same_dose(control, cell)]
        fit = [control for control in matched if control.parse_rate >= usable.floor]
        is_usable = usable.holds(multiplier)
        bands = {
            name: _band(
                value,
                unsteered.values.get(name),
                [control.values[name] for control in fit if name in control.values] if is_usable else [],
            )
            for name, value in cell.values.items()
        }
        points.append(
            SweepPoint(
                multiplier=multiplier,
                dose=cell.signed_dose,
                usable=is_usable,
                cell=cell,
                n_controls_left_out=len(matched) - len(fit),
                bands=bands,
            )
        )
        if is_usable:
            curve.append((cell, {_control_id(control): control for control in fit}))
    first = own[0][1].steer
    return VectorSweep(
        concept=usable.concept,
        digest=usable.digest,
        source="" if first is None else first.source,
        layers=usable.layers,
        usable=usable,
        points=tuple(points),
        slopes=_slopes(curve),
    )


def _slopes(curve: Sequence[tuple[SweepCell, dict[str, SweepCell]]]) -> dict[str, Band]:
    own = [cell for cell, _ in curve]
    if len(own) < 3 or any(cell.signed_dose is None for cell in own):
        return {}
    everywhere = set.intersection(*(set(controls) for _, controls in curve))
    found = {}
    for name in own[0].values:
        slope = _slope(own, name)
        if slope is not None:
            others = [
                _slope([controls[control] for _, controls in curve], name) for control in sorted(everywhere)
            ]
            found[name] = _band(slope, 0.0, [other for other in others if other is not None])
    return found


def _slope(cells: Sequence[SweepCell], name: str) -> float | None:
    if any(name not in cell.values or cell.signed_dose is None for cell in cells):
        return None
    doses = np.array([cell.signed_dose for cell in cells], dtype=np.float64)
    centred = doses - doses.mean()
    total = float(centred @ centred)
    return float(centred @ np.array([cell.values[name] for cell in cells])) / total if total else None


def _band(value: float, reference: float | None, controls: Sequence[float]) -> Band:
    change = value - (reference if reference is not None else value)
    n = len(controls)
    if not n:
        none = dict.fromkeys(("low", "central_low", "central_high", "high", "p_above", "p_below", "p_either"))
        return Band(value=value, change=change, n_controls=0, **none)
    among = np.array(controls)
    changes = np.abs(among - (reference if reference is not None else value))
    nearly = 1e-12  # a control that is equal up to rounding counts as at least as large

    def rank(at_least: int) -> float:
        return (1 + at_least) / (n + 1)

    return Band(
        value=value,
        change=change,
        low=float(among.min()),
        central_low=float(np.quantile(among, 0.025)),
        central_high=float(np.quantile(among, 0.975)),
        high=float(among.max()),
        n_controls=n,
        p_above=rank(int((among >= value - nearly).sum())),
        p_below=rank(int((among <= value + nearly).sum())),
        p_either=rank(int((changes >= abs(change) - nearly).sum())),
    )


def _same_dose(control: SweepCell, cell: SweepCell) -> bool:
    one, other = control.signed_dose, cell.signed_dose
    if one is None or other is None:
        return False
    return abs(one - other) <= SAME_DOSE * abs(other)


def _control_id(cell: SweepCell) -> str:
    return "" if cell.steer is None else cell.steer.digest


def _notes(vectors: Sequence[VectorSweep], cells: Sequence[SweepCell]) -> tuple[str, ...]:
    notes = []
    compared = [
        max((band.n_controls for band in point.bands.values()), default=0)
        for vector in vectors
        for point in vector.points
        if point.usable
    ]
    if not compared:
        notes.append("no multiplier is usable, so nothing is compared; try smaller ones")
    elif min(compared) < ENOUGH_CONTROLS:
        notes.append(
            f"{min(compared)} controls at some doses; a claim about significance needs {ENOUGH_CONTROLS}"
        )
    if any(cell.simulated_judge for cell in cells):
        notes.append("a judge was simulated: its concept scores only try the pipeline")
    n_tests = sum(len(point.bands) for vector in vectors for point in vector.points if point.usable)
    if n_tests > 1:
        notes.append(
            f"{n_tests} ranks are shown, uncorrected; the slope is the one test of a curve. Comparative, "
            "conditional on these texts, and not evidence of safety"
        )
    return tuple(notes)


def _table(vector: VectorSweep) -> str:
    rows = [["value", "multiplier", "dose", "", "change", "controls", "n", "p"]]
    for name in dict.fromkeys(name for point in vector.points for name in point.bands):
        for at, point in enumerate(vector.points):
            if name in point.bands:
                mark = "" if point.usable else "x "
                dose = "" if point.dose is None else f"{point.dose:+.3g}"
                places = [f"{mark}{point.multiplier:+g}", dose]
                left_out = f" (-{point.n_controls_left_out})" if point.n_controls_left_out else ""
                rows.append(["" if at else name, *places, *band_texts(name, point.bands[name])])
                rows[-1][-2] += left_out
        if name in vector.slopes:
            rows.append(["", "slope", "", *band_texts(name, vector.slopes[name], slope=True)])
    return text_table(rows)


def band_texts(name: str, band: Band, *, slope: bool = False) -> list[str]:
    """A value, its change, the controls' range, their number, and the rank p, as text."""

    def show(value: float, *, signed: bool = False) -> str:
        if slope:
            return f"{value:+.3g}" if abs(value) > 1e-9 else "0"
        text = shown(name, value)
        return f"+{text}" if signed and value >= 0 and not text.startswith("+") else text

    change = "" if slope else show(band.change, signed=True)
    if band.low is None or band.high is None or band.p_either is None:
        return [show(band.value), change, "", "", ""]
    span = f"{show(band.low)} to {show(band.high)}"
    return [show(band.value), change, span, str(band.n_controls), f"{band.p_either:.3f}"]
