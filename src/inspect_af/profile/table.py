"""The profile as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from inspect_af.profile.result import ConditionRow, Estimate, MethodProfile, Profile
from inspect_af.profile.templates import template_names
from inspect_af.profile.wording import aligned, interval, percent, signed


def render_table(profile: Profile) -> str:
    """Conditions, each profile's sensitivities, contrast and verdict with reasons, and the closing line."""
    blocks = []
    names = template_names(profile)
    several = len(names) > 1
    for (subject, setting), rows in _by_subject(profile.conditions).items():
        named = f"{names[setting]}; " if several else ""
        blocks.append(f"{subject}  ({named}prompt {setting})\n{_conditions(rows)}")
    blocks.extend(_method(one, names[one.setting] if several else "") for one in profile.profiles)
    if not profile.profiles:
        blocks.append(profile.verdict_sentence)
    blocks.extend(
        f"{c.first}\n  less {c.second}\n"
        + aligned([(f"  {name}", *_estimate(e)) for name, e in (*c.sensitivity.items(), *c.effects.items())])
        for c in profile.comparisons
    )
    if profile.notes:
        blocks.append("Notes\n" + "\n".join(f"  - {note}" for note in profile.notes))
    blocks.append(profile.intervals)
    blocks.append(profile.closing)
    return "\n\n".join(blocks)


def _by_subject(rows: Sequence[ConditionRow]) -> dict[tuple[str, str], list[ConditionRow]]:
    grouped: dict[tuple[str, str], list[ConditionRow]] = {}
    for row in rows:
        grouped.setdefault((row.subject, row.setting), []).append(row)
    return grouped


def _conditions(rows: Sequence[ConditionRow]) -> str:
    header = ("  condition", "monitored", "unmonitored", "gap", "interval", "pairs", "unscored", "flags")
    body = [
        (
            f"  {row.label}",
            percent(row.monitored),
            percent(row.unmonitored),
            signed(row.gap),
            interval(row.gap_low, row.gap_high),
            str(row.n_pairs),
            _unscored(row),
            "; ".join(row.flags),
        )
        for row in rows
    ]
    return aligned([header, *body])


def _unscored(row: ConditionRow) -> str:
    missing = sum(sum(reasons.values()) for reasons in row.unscored.values()) + sum(row.failed.values())
    asked = sum(row.replies.values()) + sum(row.failed.values())
    return f"{missing}/{asked}"


def _method(one: MethodProfile, template: str) -> str:
    at = "".join(f", {part}" for part in (one.strength, template) if part)
    lines: list[tuple[str, ...]] = [
        (f"  {label} sensitivity", *_estimate(row), " ".join(one.variables[label]))
        for label, row in one.sensitivity.items()
    ]
    if one.contrast is not None:
        lines.append(("  " + " - ".join(one.sensitivity), *_estimate(one.contrast), ""))
    if one.at_equal_shifts is not None:
        chosen = ", ".join(f"{name} +/-{size}" for name, size in one.at_equal_shifts.strengths.items())
        lines += [(f"  {title}", *_estimate(e), chosen) for title, e in one.at_equal_shifts.estimates.items()]
    share = _share(one)
    verdict = one.verdict or "none"
    suffix = f" ({one.verdict_suffix})" if one.verdict and one.verdict_suffix else ""
    simulated = "  SIMULATED ORGANISM" if one.simulated else ""
    return "\n".join(
        [
            f"{one.subject} / {one.method}{at}{simulated}",
            *([aligned(lines)] if lines else []),
            *([share] if share else []),
            f"  verdict: {verdict}{suffix}",
            f"  {one.verdict_sentence}",
            *(f"    - {reason}" for reason in one.verdict_reasons),
        ]
    )


def _share(one: MethodProfile) -> str:
    if not one.sensitivity:
        return ""
    label = list(one.sensitivity)[-1]
    if one.fraction is not None:
        low, high = percent(one.fraction.low), percent(one.fraction.high)
        return f"  {label} share {percent(one.fraction.estimate)} [{low}, {high}]"
    return f"  share of each family not given: {one.fraction_refusal}"


def _estimate(estimate: Estimate) -> tuple[str, str, str]:
    return signed(estimate.estimate), interval(estimate.low, estimate.high), f"n {estimate.n}"
