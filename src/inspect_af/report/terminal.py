"""What commands print as plain text, and the tables and sentences of it that pages have too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, product

from inspect_af.format import (
    DASH,
    Columns,
    Table,
    WithInterval,
    change,
    count,
    interval,
    one_line,
    percent,
    plural,
    points,
    rate,
    rate_of,
    signed,
    table,
    text_table,
    visible,
)
from inspect_af.logs import REQUEST_ARMS, RequestArm
from inspect_af.profile.awareness import AwarenessRow
from inspect_af.profile.beliefs import CheckedBeliefs, SelectivityMatrix, SelectivityRow
from inspect_af.profile.direct import DirectArm, DirectReport, DirectRow
from inspect_af.profile.effects import NuisanceReport, VariantRow
from inspect_af.profile.result import CLOSING_LINE, ConditionRow, Convergence, MethodProfile, Profile
from inspect_af.profile.scratchpad import CutRow, ScratchpadReport, TransplantRow
from inspect_af.report.naming import family_labels, lost_of, matrix_title, report_words, template_names
from inspect_af.report.words import summary_lines, unscored
from inspect_af.types import ARMS

BELIEFS = {
    "verified": "verified",
    "unverified": "not verified",
    "unmatched": "not matched",
    "unmeasured": "unmeasured",
}
"""What is printed for each result of the check of beliefs, as in the verdict."""
_SIMULATED = "  SIMULATED ORGANISM"


def _printed(*lines: str) -> str:
    return visible("\n".join(lines), longest=1_000_000)


def render_summary(profile: Profile) -> str:
    """About ten lines: verdict, what it says in plain words, the numbers behind it, and the closing line."""
    return _printed(*summary_lines(profile))


def render_table(profile: Profile) -> str:
    """Conditions, each profile's sensitivities, contrast and verdict with reasons, and the closing line."""
    parts = []
    if (lost := unscored(profile)) is not None:
        parts.append("\n".join([f"{lost.title}. {lost.sentence}", *lost.remedies]))
    names = template_names(profile)
    named = {setting: name if len(names) > 1 else "" for setting, name in names.items()}
    order = {(row.subject, row.setting): None for row in profile.conditions}
    ordered = sorted(profile.conditions, key=lambda row: list(order).index((row.subject, row.setting)))
    header = ("condition", "monitored", "unmonitored", "gap", "interval", "pairs", "unscored", "flags")
    for (subject, setting), rows in groupby(ordered, key=lambda row: (row.subject, row.setting)):
        body = [
            (
                *(row.label, percent(row.monitored), percent(row.unmonitored), signed(row.gap)),
                *(interval(row.gap_low, row.gap_high), str(row.n_pairs), "{}/{}".format(*lost_of(row))),
                "; ".join(row.flags),
            )
            for row in rows
        ]
        at = f"{named[setting]}; " if named[setting] else ""
        parts.append(
            f"{subject}  ({at}prompt {setting})\n{text_table([header, *body], left=(0, 7), indent=2)}"
        )
    parts += [_method(one, named[one.setting]) for one in profile.profiles]
    if not profile.profiles:
        parts.append(profile.verdict_sentence)
    for pair in profile.comparisons:
        estimates = {**pair.sensitivity, **pair.effects}.items()
        cells = [(name, *_bounded(e), f"n {e.n}") for name, e in estimates]
        parts.append(f"{pair.first}\n  less {pair.second}\n{text_table(cells, indent=2)}")
    if profile.notes:
        parts.append("\n".join(["Notes", *(f"  - {note}" for note in profile.notes)]))
    return _printed("\n\n".join([*parts, profile.intervals, profile.closing]))


def _bounded(found: WithInterval) -> tuple[str, str]:
    return signed(found.estimate), interval(found.low, found.high)


def _method(one: MethodProfile, template: str) -> str:
    at = "".join(f", {part}" for part in (one.strength, template) if part)
    used, *beyond = one.verdict_levels or (None,)
    scope = f" {used.scope}" if used and beyond else ""
    contrast = " - ".join(one.sensitivity)
    rows: list[tuple[str, ...]] = [
        (f"{label} sensitivity{scope}", *_bounded(e), f"n {e.n}", " ".join(one.variables[label]))
        for label, e in one.sensitivity.items()
    ]
    if (c := one.contrast) is not None:
        rows.append((f"{contrast}{scope}", *_bounded(c), f"n {c.n}"))
    for level in filter(None, beyond):
        named = {f"{label} sensitivity": e for label, e in level.sensitivity.items()}
        if level.contrast is not None:
            named[contrast] = level.contrast
        rows += [(f"{name} {level.scope}", *_bounded(e)) for name, e in named.items()]
    lines = [f"{one.subject} / {one.method}{at}{_SIMULATED if one.simulated else ''}"]
    if rows:
        lines.append(text_table(rows, left=(0, 4), indent=2))
    if one.sensitivity:
        refused = f"the families' shares are not stated: {one.fraction_refusal}"
        share = f"{family_labels([one]).second} share {rate_of(one.fraction)}"
        lines.append(f"  {refused if one.fraction is None else share}")
    suffix = f" ({one.verdict_suffix})" if one.verdict and one.verdict_suffix else ""
    lines += [f"  verdict: {one.verdict or 'none'}{suffix}", f"  {one.verdict_sentence}"]
    return "\n".join([*lines, *(f"    - {reason}" for reason in one.verdict_reasons)])


def render_selectivity(matrix: SelectivityMatrix, checked: CheckedBeliefs | None = None) -> str:
    """Priors, a line per intervention in percentage points with its own belief in brackets, and the check."""
    at = f", {matrix.strength}" if matrix.strength else ""
    methods = ", ".join(f"{n} by {method}" for method, n in sorted(matrix.scored_by.items()))
    lines = [f"Beliefs of {matrix.subject} / {matrix.method}{at}{_SIMULATED if matrix.simulated else ''}"]
    if not matrix.unmeasured:
        lines += [
            belief_table(matrix, {}).text(),
            "  Shift toward each belief's + pole in percentage points; [own belief]; * interval "
            f"({matrix.confidence:.0%}, over questions) excludes 0.",
        ]
    lines.append(f"  Answers scored: {methods or 'none'}.")
    if matrix.by_letter:
        lines[-1] += f" Answers {by_letter(matrix)}."
    lines += [f"  ! {warning}" for warning in matrix.warnings]
    if checked is None and matrix.unmeasured:
        checked = CheckedBeliefs("unmeasured", matrix.unmeasured)
    if checked is not None:
        lines += [f"  beliefs {BELIEFS[checked.check]}", *(f"    - {reason}" for reason in checked.reasons)]
    return _printed(*lines)


def belief_table(matrix: SelectivityMatrix, names: Mapping[str, str]) -> Table:
    """Beliefs, priors in percent, then each intervention with its shifts in points; own ones in brackets."""
    priors = [matrix.prior(name) for name in matrix.beliefs]
    shown = ["-" if prior is None else f"{100 * prior.estimate:.0f}" for prior in priors]
    shifts = [[row.intervention, *(_shift(row, name) for name in matrix.beliefs)] for row in matrix.rows]
    return Table(matrix_title(matrix, names), ("", *matrix.beliefs), [["prior %", *shown], *shifts])


def by_letter(matrix: SelectivityMatrix) -> str:
    """How often each letter, and so each place, was the answer to a choice."""
    return f"by letter: {', '.join(f'{name} {percent(share)}' for name, share in matrix.by_letter.items())}"


def _shift(row: SelectivityRow, belief: str) -> str:
    shift = row.shift(belief)
    if shift is None:
        return "-"
    text = f"{100 * shift.estimate:+.0f}"
    return f"{f'[{text}]' if belief in row.own else text}{'*' if shift.is_nonzero else ''}"


def _unjudged(row: DirectRow) -> tuple[int, int]:
    """Replies of a condition in any arm that could not be judged, and all of them."""
    arms = [arm for name in REQUEST_ARMS if (arm := row.arm(name)) is not None]
    lost = sum(sum(arm.unscored.values()) for arm in arms)
    return lost, lost + sum(arm.n_replies for arm in arms)


def direct_table(report: DirectReport, *, of: str = "/") -> Table | None:
    """What was refused in either arm, and its change from the baseline in percentage points.

    `of` stands between the unscored replies and all of them.
    """

    def columns(arm: RequestArm) -> dict[str, Callable[[DirectRow], str]]:
        def cell(text: Callable[[DirectArm], str], absent: str = DASH) -> Callable[[DirectRow], str]:
            return lambda row: absent if (found := row.arm(arm)) is None else text(found)

        return {
            f"{arm} refused": cell(lambda a: rate(a.refused, a.refused_low, a.refused_high)),
            f"{arm} change": cell(lambda a: points(a.change)),
            f"{arm} requests": cell(lambda a: count(a.n_requests), "0"),
        }

    present = [arm for arm in REQUEST_ARMS if any(row.arm(arm) for row in report.rows)]
    cells: dict[str, Callable[[DirectRow], str]] = {"condition": lambda row: row.label}
    for arm in present:
        cells |= columns(arm)
    cells["unscored"] = lambda row: of.join(map(count, _unjudged(row)))
    caption = f"{report.subject} · {report.requests}{' · simulated organism' if report.simulated else ''}"
    return table(caption, report.rows if present else (), cells)


def render_direct(report: DirectReport) -> str:
    """Per condition the share refused in both arms and its change from the baseline, in percentage points."""
    marks = ["SIMULATED ORGANISM"] if report.simulated else []
    marks += ["SIMULATED JUDGE"] if report.simulated_judge else []
    found = direct_table(report)
    return _printed(
        "  ".join([f"Direct requests to {report.subject}  ({report.requests})", *marks]),
        *([found.text()] if found else []),
        "  Share of replies that the judge calls refused, without scenario and tiers. Changes are from the "
        f"baseline, paired by request ({report.confidence:.0%}); judged by "
        f"{', '.join(report.grader) or 'nobody'}.",
        *(f"  ! {warning}" for warning in report.warnings),
    )


def gap_of(row: ConditionRow) -> str:
    """The gap of a condition with its interval, in percentage points."""
    return change(row.gap, row.gap_low, row.gap_high)


def nuisance_table(report: NuisanceReport) -> Table | None:
    """The gap under every variant of the prompt, with its change; rates and gaps in percentage points."""
    columns: Columns[VariantRow] = {
        "variant": lambda r: r.variant,
        "monitored": lambda r: percent(r.condition.monitored),
        "unmonitored": lambda r: percent(r.condition.unmonitored),
        "gap": lambda r: gap_of(r.condition),
        "change": lambda r: points(r.change),
        "pairs": lambda r: count(r.condition.n_pairs),
        "other tiers": lambda r: ", ".join(
            f"{tier}: {percent(rate)} accepted" for tier, rate in r.condition.other_tiers.items()
        ),
    }
    return table("Gap by variant, in points", report.rows, columns, remarks=True)


def render_nuisance(report: NuisanceReport) -> str:
    """The gap under every variant of the prompt, and what can be said of it."""
    simulated = _SIMULATED if any(row.condition.simulated for row in report.rows) else ""
    lines = [f"  {line}" for line in nuisance_sentences(report)]
    if (found := nuisance_table(report)) is not None:
        lines = [f"  {found.caption}", found.text(), *lines]
    return _printed(f"{report.subject}{simulated}", *lines, "", CLOSING_LINE)


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


def scratchpad_sentences(report: ScratchpadReport) -> Iterator[str]:
    """What one subject's edits show; every sentence is printed only where its numbers say it."""
    for row in report.transplants:
        where = "" if row.condition == "baseline" else f"With {row.condition}: "
        if not row.gap.n:
            yield f"{where}no request has replies that count in both tiers, so that there is no gap to split."
            continue
        yield (
            f"{where}of a gap of {points(row.gap)} points, {points(row.through)} goes through the stated "
            f"reasoning and {points(row.around)} around it (interaction {points(row.interaction)})."
        )
        if row.share is not None:
            yield f"{where}that is {rate_of(row.share)} of the gap through the stated reasoning."
        moved = [
            f"{points(found)} points in the {tier} tier"
            for tier, found in row.control.items()
            if found.is_nonzero
        ]
        if moved:
            yield (
                f"{where}going on under the own prompt already changes what is accepted, by "
                f"{' and '.join(moved)}: the split is of the replies that went on, not of the first ones."
            )
    for cut in report.cuts:
        where = "" if cut.condition == "baseline" else f"With {cut.condition}: "
        away = cut.difference
        if away.is_nonzero:
            yield (
                f"{where}taking out the sentences about {cut.family} moves the gap by {points(cut.change)} "
                f"points, {points(away)} more than taking out others like them."
            )
        elif away.low is not None:
            yield (
                f"{where}taking out the sentences about {cut.family} moves the gap by {points(cut.change)} "
                f"points, not shown to be more than taking out others like them ({points(cut.like)})."
            )
    if any(report.names_tier.values()):
        told = " and ".join(
            f"{percent(share)} of the {tier} ones" for tier, share in report.names_tier.items()
        )
        apart = "their replies are counted apart below" if report.without_names else "no text is without"
        yield f"Some texts say which tier they were written in ({told}); {apart}."
    if report.left_out:
        reasons = "; ".join(
            f"{report_words()['left-out'].get(reason, reason)}: {n}" for reason, n in report.left_out.items()
        )
        yield f"Not gone on with: {reasons}."


_TRANSPLANTS: Columns[TransplantRow] = {
    "condition": lambda r: r.condition,
    "gap": lambda r: points(r.gap),
    "through the text": lambda r: points(r.through),
    "around it": lambda r: points(r.around),
    "interaction": lambda r: points(r.interaction),
    "share through": lambda r: rate_of(r.share),
    "n": lambda r: count(r.gap.n),
}
_CUTS: Columns[CutRow] = {
    "condition": lambda r: r.condition,
    "sentences about": lambda r: r.family,
    "gap uncut": lambda r: points(r.gap),
    "change": lambda r: points(r.change),
    "others like them": lambda r: points(r.like),
    "difference": lambda r: points(r.difference),
    "n": lambda r: count(r.change.n),
    "cut": lambda r: plural(r.n_cut, "reply", "replies"),
    "came back": lambda r: percent(r.came_back),
    "after others": lambda r: percent(r.came_back_like),
}


def scratchpad_tables(report: ScratchpadReport) -> list[Table]:
    """The numbers of one subject's edits."""
    accepted: dict[str, Callable[[TransplantRow], str]] = {"condition": lambda r: r.condition}
    for prompt, text in product(ARMS, ARMS):
        cell = partial(lambda prompt, text, r: percent(r.rates[prompt].get(text)), prompt, text)
        accepted[f"{prompt} prompt, {text} text"] = cell
    found = (
        table("Points of the gap through the text and around it", report.transplants, _TRANSPLANTS),
        table("The same, from texts that do not say their tier", report.without_names, _TRANSPLANTS),
        table("Accepted", report.transplants, accepted),
        table("Change of the gap without sentences", report.cuts, _CUTS, words=2),
    )
    return [one for one in found if one is not None]


def awareness_table(rows: Sequence[AwarenessRow]) -> Table | None:
    """Replies that voice a test, condition by condition."""
    several = len({row.subject for row in rows}) > 1
    columns: dict[str, Callable[[AwarenessRow], str]] = {
        "condition": lambda r: f"{r.subject}: {r.condition}" if several else r.condition
    }
    for kind, tier in product(("test", "real"), ARMS):
        cell = partial(lambda kind, tier, r: percent(getattr(r, kind).get(tier)), kind, tier)
        columns[f"{'a test' if kind == 'test' else kind}, {tier}"] = cell
    columns |= {
        "change of a test": lambda r: points(r.raised),
        "gap where voiced": lambda r: points(r.gap_voiced),
        "gap elsewhere": lambda r: points(r.gap_other),
        "difference": lambda r: points(r.difference),
        "n": lambda r: count(r.n),
    }
    return table("Replies whose reasoning voices a test, or that it is real", rows, columns)


def render_scratchpads(report: ScratchpadReport) -> str:
    """Sentences and tables for the terminal."""
    mark = _SIMULATED if report.simulated else ""
    lines = [f"Scratchpad edits of {report.subject}  ({report.requests}){mark}"]
    lines += [f"  {sentence[:1].upper()}{sentence[1:]}" for sentence in scratchpad_sentences(report)]
    for one in scratchpad_tables(report):
        lines += [f"  {one.caption}", one.text(indent=4)]
    return _printed(*lines, "  " + report_words()["scratchpads"]["note"])


def render_convergence_text(report: Convergence) -> str:
    """Every model's statement with its reasons, every vector in a sentence, and what was not run."""
    lines = []
    for model in report.models:
        lines.append(f"{one_line(model.subject, longest=200)}: {model.statement.sentence}")
        lines += [f"  - {reason}" for reason in model.statement.reasons]
    for result in report.steering:
        who = one_line(result.subject, longest=200)
        lines += [f"{who}: {vector.sentence}" for vector in result.vectors]
        lines += [f"{who}: {result.positive_control}."] if result.positive_control else []
    return _printed(*lines, *(f"not run: {one.part}\n  {one.command}" for one in report.missing))
