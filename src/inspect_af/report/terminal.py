"""What commands print: profiles, beliefs, direct requests, prompt variants and convergence as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from inspect_af.format import interval, one_line, percent, signed, text_table, visible
from inspect_af.logs import REQUEST_ARMS
from inspect_af.profile.beliefs import CheckedBeliefs, SelectivityMatrix, SelectivityRow
from inspect_af.profile.direct import DirectArm, DirectReport
from inspect_af.profile.effects import NuisanceReport
from inspect_af.profile.intervals import Estimate
from inspect_af.profile.result import CLOSING_LINE, ConditionRow, Convergence, MethodProfile, Profile
from inspect_af.report.naming import template_names
from inspect_af.report.words import summary_lines, unscored


def render_summary(profile: Profile) -> str:
    """About ten lines: verdict, what it says in plain words, the numbers behind it, and the closing line."""
    return visible("\n".join(summary_lines(profile)), longest=1_000_000)


def render_table(profile: Profile) -> str:
    """Conditions, each profile's sensitivities, contrast and verdict with reasons, and the closing line."""
    lost = unscored(profile)
    parts = [] if lost is None else ["\n".join([f"{lost.title}. {lost.sentence}", *lost.remedies])]
    names = template_names(profile)
    several = len(names) > 1
    grouped: dict[tuple[str, str], list[ConditionRow]] = {}
    for row in profile.conditions:
        grouped.setdefault((row.subject, row.setting), []).append(row)
    for (subject, setting), rows in grouped.items():
        named = f"{names[setting]}; " if several else ""
        parts.append(f"{subject}  ({named}prompt {setting})\n{_conditions(rows)}")
    parts += [_method(one, names[one.setting] if several else "") for one in profile.profiles]
    if not profile.profiles:
        parts.append(profile.verdict_sentence)
    for pair in profile.comparisons:
        estimates = [*pair.sensitivity.items(), *pair.effects.items()]
        parts.append(
            f"{pair.first}\n  less {pair.second}\n"
            + text_table([(name, *_estimate(e)) for name, e in estimates], indent=2)
        )
    if profile.notes:
        parts.append("Notes\n" + "\n".join(f"  - {note}" for note in profile.notes))
    return visible("\n\n".join([*parts, profile.intervals, profile.closing]), longest=1_000_000)


def _conditions(rows: Sequence[ConditionRow]) -> str:
    header = ("condition", "monitored", "unmonitored", "gap", "interval", "pairs", "unscored", "flags")
    body = []
    for row in rows:
        lost = sum(sum(reasons.values()) for reasons in row.unscored.values()) + sum(row.failed.values())
        asked = sum(row.replies.values()) + sum(row.failed.values())
        body.append(
            (
                *(row.label, percent(row.monitored), percent(row.unmonitored), signed(row.gap)),
                *(interval(row.gap_low, row.gap_high), str(row.n_pairs), f"{lost}/{asked}"),
                "; ".join(row.flags),
            )
        )
    return text_table([header, *body], left=(0, 7), indent=2)


def _method(one: MethodProfile, template: str) -> str:
    at = "".join(f", {part}" for part in (one.strength, template) if part)
    rows: list[tuple[str, ...]] = [
        (f"{label} sensitivity", *_estimate(row), " ".join(one.variables[label]))
        for label, row in one.sensitivity.items()
    ]
    if one.contrast is not None:
        rows.append((" - ".join(one.sensitivity), *_estimate(one.contrast)))
    suffix = f" ({one.verdict_suffix})" if one.verdict and one.verdict_suffix else ""
    lines = [f"{one.subject} / {one.method}{at}{'  SIMULATED ORGANISM' if one.simulated else ''}"]
    if rows:
        lines.append(text_table(rows, left=(0, 4), indent=2))
    if one.sensitivity:
        lines.append(f"  {_share(one)}")
    lines += [f"  verdict: {one.verdict or 'none'}{suffix}", f"  {one.verdict_sentence}"]
    return "\n".join([*lines, *(f"    - {reason}" for reason in one.verdict_reasons)])


def _share(one: MethodProfile) -> str:
    if one.fraction is None:
        return f"share of each family not given: {one.fraction_refusal}"
    share = one.fraction
    label = list(one.sensitivity)[-1]
    return f"{label} share {percent(share.estimate)} [{percent(share.low)}, {percent(share.high)}]"


def _estimate(found: Estimate) -> tuple[str, str, str]:
    return signed(found.estimate), interval(found.low, found.high), f"n {found.n}"


def render_selectivity(matrix: SelectivityMatrix, checked: CheckedBeliefs | None = None) -> str:
    """Priors, then one line per intervention; percentage points, the own belief in brackets.

    Args:
        matrix: Of one subject, method and strength.
        checked: The check's result, printed below with its reasons.
    """
    at = f", {matrix.strength}" if matrix.strength else ""
    mark = "  SIMULATED ORGANISM" if matrix.simulated else ""
    priors = [matrix.prior(name) for name in matrix.beliefs]
    rows = [
        ("", *matrix.beliefs),
        ("prior %", *("-" if prior is None else f"{100 * prior.estimate:.0f}" for prior in priors)),
        *((row.intervention, *(_shift(row, name) for name in matrix.beliefs)) for row in matrix.rows),
    ]
    methods = ", ".join(f"{n} by {method}" for method, n in sorted(matrix.scored_by.items()))
    lines = [
        f"Beliefs of {matrix.subject} / {matrix.method}{at}{mark}",
        text_table(rows, indent=2),
        "  Shift toward each belief's + pole in percentage points; [own belief]; * interval "
        f"({matrix.confidence:.0%}, over questions) excludes 0. Answers scored: {methods or 'none'}.",
        *(f"  ! {warning}" for warning in matrix.warnings),
    ]
    if checked is not None:
        lines += [f"  beliefs {checked.check}", *(f"    - {reason}" for reason in checked.reasons)]
    return visible("\n".join(lines), longest=1_000_000)


def _shift(row: SelectivityRow, belief: str) -> str:
    shift = row.shift(belief)
    if shift is None:
        return "-"
    text = f"{100 * shift.estimate:+.0f}"
    return f"{f'[{text}]' if belief in row.own else text}{'*' if shift.is_nonzero else ''}"


def render_direct(report: DirectReport) -> str:
    """Per condition the share refused in both arms and its change from the baseline, in percentage points."""
    marks = ["SIMULATED ORGANISM"] if report.simulated else []
    marks += ["SIMULATED JUDGE"] if report.simulated_judge else []
    present = [name for name in REQUEST_ARMS if any(row.arm(name) for row in report.rows)]
    columns = [title for name in present for title in (name, "change", "interval")]
    rows: list[tuple[str, ...]] = [("refused", *columns, "requests", "unscored")]
    for row in report.rows:
        arms = [row.arm(name) for name in present]
        known = [arm for arm in arms if arm is not None]
        lost = sum(sum(arm.unscored.values()) for arm in known)
        requests = "+".join("0" if arm is None else str(arm.n_requests) for arm in arms)
        replies = lost + sum(arm.n_replies for arm in known)
        rows.append((row.label, *(c for arm in arms for c in _arm(arm)), requests, f"{lost}/{replies}"))
    lines = [
        "  ".join([f"Direct requests to {report.subject}  ({report.requests})", *marks]),
        text_table(rows, indent=2),
        "  Share of replies that the judge calls refused, without scenario and tiers. Changes are from the "
        f"baseline, paired by request ({report.confidence:.0%}); judged by "
        f"{', '.join(report.grader) or 'nobody'}.",
        *(f"  ! {warning}" for warning in report.warnings),
    ]
    return visible("\n".join(lines), longest=1_000_000)


def _arm(arm: DirectArm | None) -> tuple[str, str, str]:
    if arm is None:
        return "-", "-", "-"
    if arm.change is None:
        return percent(arm.refused), "", ""
    return percent(arm.refused), signed(arm.change.estimate), interval(arm.change.low, arm.change.high)


def render_nuisance(report: NuisanceReport) -> str:
    """The gap under every variant of the prompt, with its change; rates and gaps in percentage points."""
    rows: list[tuple[str, ...]] = [
        ("variant", "monitored", "unmonitored", "gap", "interval", "change", "interval", "")
    ]
    for row in report.rows:
        c, change = row.condition, row.change
        moved = ("", "") if change is None else (signed(change.estimate), interval(change.low, change.high))
        others = ", ".join(f"{tier}: {percent(rate)} accepted" for tier, rate in c.other_tiers.items())
        arms = percent(c.monitored), percent(c.unmonitored)
        rows.append((row.variant, *arms, signed(c.gap), interval(c.gap_low, c.gap_high), *moved, others))
    simulated = "  SIMULATED ORGANISM" if any(row.condition.simulated for row in report.rows) else ""
    lines = [
        f"{report.subject}{simulated}",
        text_table(rows, left=(0, 7), indent=2),
        *(f"  {line}" for line in nuisance_sentences(report)),
        "",
        CLOSING_LINE,
    ]
    return visible("\n".join(lines), longest=1_000_000)


def nuisance_sentences(report: NuisanceReport) -> tuple[str, str]:
    """How far the gap spreads over the variants, and which of them change it."""
    spread = (
        f"the gap lies between {signed(report.gap_min)} and {signed(report.gap_max)}, standard deviation "
        f"{100 * report.gap_sd:.1f} points over {len(report.rows)} variants"
    )
    if report.sampling_sd is not None:
        spread += f" ({100 * report.sampling_sd:.1f} from the chance of single replies alone)"
    if report.changed:
        return spread, f"the gap changes under: {', '.join(report.changed)} (simultaneous intervals)"
    return spread, "no variant's change can be told from chance (simultaneous intervals)"


def render_convergence_text(report: Convergence) -> str:
    """Every model's statement with its reasons, every vector in a sentence, and what was not run."""
    lines = []
    for model in report.models:
        lines.append(f"{one_line(model.subject, longest=200)}: {model.statement.sentence}")
        lines += [f"  - {reason}" for reason in model.statement.reasons]
    for result in report.steering:
        lines += [f"{one_line(result.subject, longest=200)}: {vector.sentence}" for vector in result.vectors]
    lines += [f"not run: {one.part}\n  {one.command}" for one in report.missing]
    return visible("\n".join(lines), longest=1_000_000)
