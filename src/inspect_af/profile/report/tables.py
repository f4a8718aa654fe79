"""The numbers behind the figures, as tables on the page."""

from __future__ import annotations

from inspect_af.profile.report.figures.missing import REASONS
from inspect_af.profile.report.grouping import (
    blocks,
    condition_name,
    effect_name,
    profile_title,
)
from inspect_af.profile.report.markup import (
    NOTHING,
    Html,
    escaped,
    folded,
    joined,
    name,
    paragraph,
    table,
)
from inspect_af.profile.report.text import between, count, points, rate
from inspect_af.profile.result import ConditionRow, EffectRow, Estimate, Profile


def condition_tables(profile: Profile) -> Html:
    """All conditions of every subject: arms, gap, worst cases, estimands, flags."""
    header = (
        "condition",
        "monitored %",
        "unmonitored %",
        "gap",
        "interval",
        "at worst",
        "tag only",
        "contr. = 0",
        "pairs",
        "uncounted",
        "flags",
    )
    tables = [
        table(header, [_condition(row) for row in block.conditions], caption=block.title, remarks=True)
        for block in blocks(profile)
    ]
    legend = paragraph(
        "Gaps in percentage points. At worst: the gap’s range if every missing reply had gone the least "
        "convenient way. Tag only and contr. = 0: the gap when the first protocol tag alone counts, and when "
        "replies that accept and then refuse count as refusals. Pairs: requests answered in both tiers.",
        of="note",
    )
    return joined([*tables, legend])


def effect_tables(profile: Profile) -> Html:
    """Effects against both references, sensitivities by variable, and comparisons; folded."""
    parts = [_effects(profile), _sensitivities(profile), _comparisons(profile)]
    return joined(part for part in parts if part)


def missing_table(profile: Profile) -> Html:
    """How many replies are missing per condition, tier and reason."""
    header = ("condition", "tier", "asked", *REASONS)
    rows = [
        [
            name(f"{block.title}: {condition_name(row)}" if several else condition_name(row)),
            escaped(tier),
            escaped(count(n + row.failed.get(tier, 0))),
            *(escaped(count(_missing(row, tier, reason))) for reason in REASONS),
        ]
        for blocks_ in [blocks(profile)]
        for several in [len(blocks_) > 1]
        for block in blocks_
        for row in block.conditions
        for tier, n in row.replies.items()
    ]
    return folded(
        escaped("Missing replies by tier and reason"), table(header, rows, caption="Missing replies", words=2)
    )


def _missing(row: ConditionRow, tier: str, reason: str) -> int:
    return row.failed.get(tier, 0) if reason == "failed" else row.unscored.get(tier, {}).get(reason, 0)


def _condition(row: ConditionRow) -> list[Html]:
    lost = sum(sum(reasons.values()) for reasons in row.unscored.values()) + sum(row.failed.values())
    asked = sum(row.replies.values()) + sum(row.failed.values())
    return [
        name(condition_name(row)),
        escaped(rate(row.monitored, row.monitored_low, row.monitored_high)),
        escaped(rate(row.unmonitored, row.unmonitored_low, row.unmonitored_high)),
        escaped(points(row.gap)),
        escaped(between(row.gap_low, row.gap_high)),
        escaped(between(row.gap_bound_low, row.gap_bound_high)),
        *(
            escaped(points(row.estimands[key].gap) if key in row.estimands else points(None))
            for key in ("tag_only", "contradictory_rejected")
        ),
        escaped(count(row.n_pairs)),
        escaped(f"{count(lost)} / {count(asked)}"),
        escaped("; ".join(row.flags)),
    ]


def _effects(profile: Profile) -> Html:
    header = (
        "intervention",
        "against",
        "gap",
        "interval",
        "simultaneous",
        "monitored",
        "unmonitored",
        "mean",
        "gap-specific",
        "n",
        "control p",
        "flags",
    )
    tables = [
        table(
            header,
            [_effect(row) for row in sorted(one.effects, key=lambda row: row.reference)],
            caption=profile_title(one, profile),
            words=2,
            remarks=True,
        )
        for one in profile.profiles
        if one.effects
    ]
    if not tables:
        return NOTHING
    legend = paragraph(
        "Change in percentage points over requests complete in all four arms. Simultaneous: bounds that hold "
        "for all interventions of one reference and strength at once. Gap-specific: the gap’s change has the "
        "same sign as rates and as log-odds. Control p: rank among placebos of the same strength; when "
        "steering, among random vectors of the same sign and about the same dose.",
        of="note",
    )
    return folded(escaped("Effect of every intervention"), *tables, legend)


def _effect(row: EffectRow) -> list[Html]:
    controls = "–" if row.control_rank_p is None else f"{row.control_rank_p:.3f} ({row.n_controls})"
    return [
        name(effect_name(row)),
        escaped(row.reference),
        escaped(points(row.gap.estimate)),
        escaped(between(row.gap.low, row.gap.high)),
        escaped(between(row.gap_simultaneous_low, row.gap_simultaneous_high)),
        *(escaped(points(e.estimate)) for e in (row.monitored, row.unmonitored, row.mean)),
        escaped("yes" if row.gap_specific else "no"),
        escaped(count(row.gap.n)),
        escaped(controls),
        escaped("; ".join(row.flags)),
    ]


def _sensitivities(profile: Profile) -> Html:
    header = ("quantity", "estimate", "interval", "equivalence interval", "n")
    tables = []
    for one in profile.profiles:
        rows: list[tuple[str, Estimate]] = []
        for label, family in one.sensitivity.items():
            rows.append((f"{label} sensitivity", family))
            for variable in family.variables:
                rows.append((f"{variable.variable} alone", variable.sensitivity))
                if variable.without is not None:
                    rows.append((f"{label} without {variable.variable}", variable.without))
        rows += [
            (title, e) for title, e in (("difference", one.contrast), ("sum", one.total)) if e is not None
        ]
        if one.at_equal_shifts is not None:
            rows += one.at_equal_shifts.estimates.items()
        rows += [(f"{trend.family} trend per step of dose", trend.slope) for trend in one.dose_trends]
        if rows:
            cells = [_estimate(title, estimate) for title, estimate in rows]
            tables.append(table(header, cells, caption=profile_title(one, profile)))
    return folded(escaped("Sensitivities, variable by variable"), *tables) if tables else NOTHING


def _comparisons(profile: Profile) -> Html:
    header = ("quantity", "difference", "interval", "equivalence interval", "n")
    tables = []
    for one in profile.comparisons:
        rows = [(f"{label} sensitivity", estimate) for label, estimate in one.sensitivity.items()]
        if one.contrast is not None:
            rows.append(("contrast of the families", one.contrast))
        rows += [(f"effect of {code}", estimate) for code, estimate in one.effects.items()]
        cells = [_estimate(title, estimate) for title, estimate in rows]
        tables.append(table(header, cells, caption=f"{one.first}, less {one.second}"))
    return folded(escaped("Models and methods compared"), *tables) if tables else NOTHING


def _estimate(title: str, estimate: Estimate) -> list[Html]:
    return [
        name(title),
        escaped(points(estimate.estimate)),
        escaped(between(estimate.low, estimate.high)),
        escaped(between(estimate.equivalence_low, estimate.equivalence_high)),
        escaped(count(estimate.n)),
    ]
