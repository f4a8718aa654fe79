"""One row a condition: arms, gap, the other estimands, and everything that is missing."""

from __future__ import annotations

import numpy as np

from inspect_af.profile.arms import arm_flags, wilson
from inspect_af.profile.contrast import Arms, level_of, log_odds_gap
from inspect_af.profile.design import applied, split, subject_label
from inspect_af.profile.estimands import ARM_TIERS, ESTIMANDS, Estimand, accepted_rate, gap_bounds
from inspect_af.profile.estimator import Estimator, optional
from inspect_af.profile.outcomes import ConditionCounts, RequestSet
from inspect_af.profile.result import ConditionRow, EstimandGap, Estimate
from inspect_af.thresholds import Thresholds
from inspect_af.types import OUTCOMES, TIERS, UNSCORED


def condition_rows(
    requests: RequestSet, by_estimand: dict[Estimand, Arms], estimator: Estimator
) -> tuple[ConditionRow, ...]:
    """Rows in the order of the request set's conditions."""
    arms = by_estimand["strict"]
    cells = [arms.cell([position]) for position in range(len(requests.conditions))]
    gaps = estimator.of([level_of(cell) for cell in cells])
    rows = []
    for position, condition in enumerate(requests.conditions):
        others: dict[str, EstimandGap] = {
            name: _plain(by_estimand[name], position) for name in ESTIMANDS if name != "strict"
        }
        rows.append(
            _row(
                requests,
                condition,
                gaps[position],
                log_odds=log_odds_gap(cells[position]),
                estimands=others,
                thresholds=estimator.thresholds,
            )
        )
    return tuple(rows)


def _row(
    requests: RequestSet,
    condition: ConditionCounts,
    gap: Estimate,
    *,
    log_odds: float,
    estimands: dict[str, EstimandGap],
    thresholds: Thresholds,
) -> ConditionRow:
    rates = accepted_rate(condition)
    monitored, unmonitored = (wilson(rates[:, tier], thresholds.confidence) for tier in ARM_TIERS)
    context, studied = split(condition.treatments)
    what = applied(studied[0]) if len(studied) == 1 else None
    lowest, highest = gap_bounds(condition).mean
    tiers = [t for t in range(len(TIERS)) if condition.counts[:, t].any() or condition.failed[:, t].any()]
    flags = [
        *arm_flags("monitored", monitored[0], thresholds),
        *arm_flags("unmonitored", unmonitored[0], thresholds),
    ]
    if gap.n < thresholds.few_pairs:
        flags.append(f"fewer than {thresholds.few_pairs} complete pairs")
    return ConditionRow(
        subject=subject_label(condition.subject, context),
        method=studied[0].method if studied else "none",
        intervention=" & ".join(applied(t).code for t in studied) or None,
        family=what.family if what else None,
        placebo=what.is_placebo if what else False,
        strength=what.level.label if what else None,
        variant=what.variant if what else None,
        label=condition.label,
        dose=what.dose if what else None,
        setting=condition.setting.prompt_digest,
        requests=requests.name,
        simulated=condition.simulated,
        monitored=optional(monitored[0]),
        monitored_low=optional(monitored[1]),
        monitored_high=optional(monitored[2]),
        unmonitored=optional(unmonitored[0]),
        unmonitored_low=optional(unmonitored[1]),
        unmonitored_high=optional(unmonitored[2]),
        gap=optional(gap.estimate),
        gap_low=gap.low,
        gap_high=gap.high,
        gap_se=gap.se,
        gap_bound_low=optional(lowest),
        gap_bound_high=optional(highest),
        gap_log_odds=optional(log_odds),
        n_pairs=gap.n,
        estimands=estimands,
        replies={TIERS[t]: int(condition.counts[:, t].sum()) for t in tiers},
        unscored={
            TIERS[t]: {o: int(condition.counts[:, t, OUTCOMES.index(o)].sum()) for o in UNSCORED}
            for t in tiers
        },
        failed={TIERS[t]: int(condition.failed[:, t].sum()) for t in tiers},
        other_tiers=_other_tiers(condition, tiers),
        flags=tuple(flags),
    )


def _plain(arms: Arms, position: int) -> EstimandGap:
    monitored, unmonitored = arms.means[2 * position : 2 * position + 2]
    return EstimandGap(
        monitored=optional(monitored),
        unmonitored=optional(unmonitored),
        gap=optional(level_of(arms.cell([position])).value),
    )


def _other_tiers(condition: ConditionCounts, tiers: list[int]) -> dict[str, float]:
    rates = accepted_rate(condition)
    scored = {t: rates[~np.isnan(rates[:, t]), t] for t in tiers if t not in ARM_TIERS}
    return {TIERS[t]: float(values.mean()) for t, values in scored.items() if len(values)}
