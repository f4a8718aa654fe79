"""Sweeps: which conditions to run, and how far multipliers may go before replies fall apart.

The usable range is fixed by the share of replies that parse, and by nothing else, before any effect is
looked at; `sweep_cells` counts what was run, `sweep_report` compares it with the controls.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from inspect_af.errors import ConfigError
from inspect_af.steering._record import Record
from inspect_af.steering.sweep_cells import SweepCell
from inspect_af.steering.vector import RandomFit, SteeringVector

PARSE_FLOOR = 0.9
"""Share of replies that has to parse for a multiplier to be usable. Not in source."""


class SweepRun(NamedTuple):
    """One steered condition."""

    path: Path
    digest: str
    multiplier: float
    """Never 0: the condition without steering is run once, without a vector."""
    layers: str


class UsableRange(Record):
    """The multipliers of one vector at one range of layers at which enough replies parse."""

    digest: str
    concept: str
    layers: str
    floor: float
    low: float
    """Lowest usable multiplier; 0 where none below 0 is."""
    high: float
    parse_rates: tuple[tuple[float, float], ...] = Field(min_length=1)
    """(multiplier, share of replies that parse), ascending, 0 for the condition without steering."""

    def holds(self, multiplier: float) -> bool:
        return self.low <= multiplier <= self.high and (self.low, self.high) != (0, 0)

    def text(self) -> str:
        """`expectation, layers 0-2: -2 to 4 usable (parse rate: -4 62%, ...)`."""
        rates = ", ".join(f"{multiplier:+g} {rate:.0%}" for multiplier, rate in self.parse_rates)
        span = "none usable" if (self.low, self.high) == (0, 0) else f"{self.low:+g} to {self.high:+g} usable"
        return (
            f"{self.concept}, layers {self.layers}: {span} at a floor of {self.floor:.0%} (parsed: {rates})"
        )


def vector_runs(
    vectors: Mapping[Path, SteeringVector],
    *,
    layers: Sequence[str] = ("all",),
    multipliers: Sequence[float] = (),
    doses: Sequence[float] = (),
) -> tuple[SweepRun, ...]:
    """Every vector at every range of layers, either at the same multipliers or at the same doses.

    Args:
        vectors: Fitted vectors by their files.
        layers: Ranges such as `all` or `20-40`; every one is a sweep of its own.
        multipliers: Factors of the vector as it is saved.
        doses: ||multiplier * v_l|| / mean ||h_l||, averaged over the layers, with the multiplier's sign.

    Raises:
        ConfigError: Multipliers and doses are both given, or neither; one is not a finite number; or a
            vector is a random control, or given twice.
        TreatmentError: A vector has not all of the layers.
    """
    if bool(multipliers) == bool(doses):
        raise ConfigError("give either multipliers or doses, such as --multipliers=-4,-2,0,2,4")
    if bad := [size for size in (*multipliers, *doses) if not math.isfinite(size)]:
        raise ConfigError(f"{bad[0]} is no multiplier or dose; finite numbers are needed")
    if random := [path for path, vector in vectors.items() if vector.header.source == "random"]:
        raise ConfigError(f"{random[0]} is a random control; give it with --controls")
    if len({vector.digest for vector in vectors.values()}) < len(vectors):
        raise ConfigError(f"the same vector is given twice: {', '.join(map(str, vectors))}")
    runs = []
    for path, vector in vectors.items():
        for where in dict.fromkeys(layers):
            sizes = multipliers or [vector.multiplier_for(dose, where) for dose in doses]
            vector.doses(1.0, where)  # raises for layers that it has not
            runs += [SweepRun(path, vector.digest, float(size), where) for size in sorted(set(sizes)) if size]
    return tuple(runs)


def matched_vectors(runs: Iterable[SweepRun], controls: Mapping[Path, SteeringVector]) -> dict[Path, str]:
    """Digest of the swept vector whose norms each control has.

    Raises:
        ConfigError: A control is not random, or belongs to no vector of the sweep.
    """
    swept = {run.digest for run in runs}
    matched = {}
    for path, control in controls.items():
        fit = control.header.fit
        if not isinstance(fit, RandomFit):
            raise ConfigError(f"{path} is no random control; draw some with: inspect-af steering controls")
        if fit.matched_to not in swept:
            raise ConfigError(
                f"{path} has the norms of the vector {fit.matched_to}, which is not swept; draw controls of "
                "one of the vectors with: inspect-af steering controls"
            )
        matched[path] = fit.matched_to
    return matched


def control_runs(
    runs: Sequence[SweepRun],
    usable: Iterable[UsableRange],
    controls: Mapping[Path, SteeringVector],
) -> tuple[SweepRun, ...]:
    """Every control at the usable multipliers of the vector whose norms it has.

    Raises:
        ConfigError: As of `matched_vectors`.
    """
    ranges = {(found.digest, found.layers): found for found in usable}
    return tuple(
        SweepRun(path, controls[path].digest, run.multiplier, run.layers)
        for path, digest in matched_vectors(runs, controls).items()
        for run in runs
        if run.digest == digest and ranges[run.digest, run.layers].holds(run.multiplier)
    )


def usable_ranges(cells: Iterable[SweepCell], *, floor: float = PARSE_FLOOR) -> tuple[UsableRange, ...]:
    """How far from 0 multipliers go, in both directions, until fewer replies parse than the floor.

    Only parse rates are read. A multiplier behind one that is not usable is not usable either.

    Args:
        cells: Counts of every condition; controls are passed over.
        floor: Share of replies, 0 to 1.

    Raises:
        ConfigError: The floor is no share.
    """
    if not 0 <= floor <= 1:
        raise ConfigError(f"a parse floor of {floor}; a share from 0 to 1 is needed, such as 0.9")
    cells = list(cells)
    unsteered = [(0.0, cell.parse_rate) for cell in cells if cell.steer is None]
    by_vector: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for cell in cells:
        if cell.steer is not None and cell.steer.source != "random":
            key = (cell.steer.digest, cell.steer.concept, cell.steer.layers)
            by_vector.setdefault(key, []).append((cell.steer.multiplier, cell.parse_rate))
    found = []
    for (digest, concept, layers), rates in by_vector.items():
        known = sorted([*unsteered, *rates])
        reaches_from_zero = all(rate >= floor for _, rate in unsteered)
        high = _reach([pair for pair in known if pair[0] > 0], floor) if reaches_from_zero else 0.0
        low = _reach([pair for pair in reversed(known) if pair[0] < 0], floor) if reaches_from_zero else 0.0
        found.append(
            UsableRange(
                digest=digest,
                concept=concept,
                layers=layers,
                floor=floor,
                low=low,
                high=high,
                parse_rates=tuple(known),
            )
        )
    return tuple(found)


def _reach(outward: Iterable[tuple[float, float]], floor: float) -> float:
    reached = 0.0
    for multiplier, rate in outward:
        if rate < floor:
            break
        reached = multiplier
    return reached
