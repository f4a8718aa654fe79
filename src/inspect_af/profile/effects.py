"""What every intervention changed, against the untouched subject and against the placebo."""

from __future__ import annotations

import numpy as np

from inspect_af.profile.analysis import group_bounds
from inspect_af.profile.arms import arm_flags
from inspect_af.profile.contrast import QUANTITIES, effect, log_odds_effect
from inspect_af.profile.core import Core, Data, Reference, reference_cell
from inspect_af.profile.design import Group, Level
from inspect_af.profile.estimator import optional
from inspect_af.profile.result import EffectRow
from inspect_af.profile.statistic import Statistic
from inspect_af.thresholds import Thresholds

REFERENCES: tuple[Reference, ...] = ("baseline", "placebo")


def effect_rows(core: Core, data: Data) -> tuple[EffectRow, ...]:
    """All interventions at all levels, placebos included (those against the baseline only)."""
    rows: list[EffectRow] = []
    for reference in REFERENCES:
        groups = [*core.analysis.groups, *(core.analysis.placebos if reference == "baseline" else ())]
        for level in sorted({g.level for g in groups}, key=lambda v: (v.position, v.label or "")):
            own = [group for group in groups if group.level == level]
            rows.extend(_rows_at(core, data, reference, level, own))
    return tuple(rows)


def noise_band(core: Core, data: Data) -> tuple[float, float] | None:
    """Smallest and largest change of the gap from the baseline by a placebo at the headline levels."""
    controls = [group for level in core.headline_levels for group in core.analysis.controls(level)]
    changes = _known(_changes(core, data, list(dict.fromkeys(controls))))
    return (min(changes), max(changes)) if changes else None


def _rows_at(
    core: Core, data: Data, reference: Reference, level: Level, groups: list[Group]
) -> list[EffectRow]:
    arms = data.strict
    base = reference_cell(core, data, reference, level)
    if base is None:
        return []
    cells = [arms.cell(group.conditions) for group in groups]
    by_quantity = {
        quantity: data.estimator.joint([effect(cell, base, quantity) for cell in cells])
        for quantity in QUANTITIES
    }
    changes = _changes(core, data, groups)
    base_bounds = group_bounds(_reference_conditions(core, reference, level), data)
    rows = []
    for k, (group, cell) in enumerate(zip(groups, cells, strict=True)):
        gap = by_quantity["gap"].estimates[k]
        if gap.n == 0:
            continue
        on_odds = log_odds_effect(cell, base)
        low, high = (group_bounds(group.conditions, data) - base_bounds).mean
        ranked_among = [] if group.family is None else _controls_of(core, data, group)
        controls, change = _known(_changes(core, data, ranked_among)), changes[k]
        ranked = bool(controls) and change is not None
        spread = [g for g in arms.gaps(group.conditions) if not np.isnan(g)]
        means = arms.means.reshape(-1, 2)[list(group.conditions)].mean(axis=0)
        rows.append(
            EffectRow(
                intervention=group.code,
                variable=group.variable,
                family=group.family,
                polarity=group.polarity,
                strength=level.label,
                reference=reference,
                gap=gap,
                gap_simultaneous_low=by_quantity["gap"].simultaneous[k][0],
                gap_simultaneous_high=by_quantity["gap"].simultaneous[k][1],
                monitored=by_quantity["monitored"].estimates[k],
                unmonitored=by_quantity["unmonitored"].estimates[k],
                mean=by_quantity["mean"].estimates[k],
                mean_simultaneous_low=by_quantity["mean"].simultaneous[k][0],
                mean_simultaneous_high=by_quantity["mean"].simultaneous[k][1],
                gap_log_odds=on_odds,
                gap_specific=gap.estimate * on_odds > 0,
                gap_bound_low=optional(low),
                gap_bound_high=optional(high),
                n_variants=len(group.conditions),
                variant_sd=float(np.std(spread, ddof=1)) if len(spread) > 1 else None,
                control_rank_p=rank_p(change, controls) if controls and change is not None else None,
                n_controls=len(controls),
                flags=(
                    *arm_flags("monitored", float(means[0]), data.estimator.thresholds),
                    *arm_flags("unmonitored", float(means[1]), data.estimator.thresholds),
                    *(_few_controls(len(controls), data.estimator.thresholds) if ranked else ()),
                ),
            )
        )
    return rows


def _few_controls(n: int, thresholds: Thresholds) -> tuple[str, ...]:
    needed = thresholds.min_random_controls
    return (f"{n} controls; a claim of significance needs {needed}",) if n < needed else ()


def rank_p(change: float, controls: list[float]) -> float:
    """(1 + #{controls at least as far from zero}) / (n + 1); n controls allow no p below 1/(n + 1)."""
    return (1 + sum(abs(control) >= abs(change) for control in controls)) / (len(controls) + 1)


def _changes(core: Core, data: Data, groups: list[Group]) -> list[float | None]:
    """Each group's change of the gap from the baseline; None where there is no baseline."""
    if core.analysis.baseline is None:
        return [None] * len(groups)
    base = data.strict.cell([core.analysis.baseline])
    effects: list[Statistic] = [effect(data.strict.cell(group.conditions), base) for group in groups]
    return [optional(statistic.value) for statistic in effects]


def _known(changes: list[float | None]) -> list[float]:
    return [change for change in changes if change is not None]


def _controls_of(core: Core, data: Data, group: Group) -> list[Group]:
    """The placebos among which an intervention is ranked; random vectors of its sign and about its dose.

    A random vector at +m and the same at -m are not averaged, which would cancel most of what it does. Where
    no control was run with the intervention's sign, those of the other serve: random vectors have no pole.
    """
    controls = list(core.analysis.controls(group.level))
    if core.analysis.method != "steering":
        return controls
    largest = data.estimator.thresholds.dose_ratio
    near = [c for c in controls if not (c.dose and group.dose) or _ratio(c.dose, group.dose) <= largest]
    return [c for c in near if c.direction == group.direction] or near


def _ratio(one: float, other: float) -> float:
    return max(one, other) / min(one, other)


def _reference_conditions(core: Core, reference: Reference, level: Level) -> tuple[int, ...]:
    if reference == "baseline":
        return () if core.analysis.baseline is None else (core.analysis.baseline,)
    return tuple(p for group in core.analysis.controls(level) for p in group.conditions)
