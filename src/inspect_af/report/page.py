"""Pages: one template engine that escapes everything, tables and figures for it, and the page of a profile.

A page needs no network, no script and no other file. Whatever is not `Markup` made here is escaped by the
engine, with hidden characters spelt out.
"""

from __future__ import annotations

import html
import math
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_af import __version__
from inspect_af.errors import MissingExtraError
from inspect_af.format import (
    DASH,
    Columns,
    Table,
    WithInterval,
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
    visible,
)
from inspect_af.profile.beliefs import SelectivityMatrix, belief_check
from inspect_af.profile.counts import ConceptScore, FirstOption, by_position
from inspect_af.profile.effects import NuisanceReport
from inspect_af.profile.intervals import Estimate
from inspect_af.profile.result import (
    CLOSING_LINE,
    Comparison,
    ConditionRow,
    LevelVerdict,
    MethodProfile,
    Profile,
)
from inspect_af.profile.scratchpad import ScratchpadReport
from inspect_af.report.canvas import Drawing, to_inline_svg
from inspect_af.report.excerpts import LONGEST_EXCERPT, Excerpts
from inspect_af.report.figures import draw_figures
from inspect_af.report.naming import (
    Block,
    blocks,
    condition_name,
    effect_name,
    family_labels,
    lost_of,
    matrix_title,
    profile_title,
    report_words,
    several_strengths,
    short_profile_title,
)
from inspect_af.report.terminal import (
    BELIEFS,
    awareness_table,
    belief_table,
    by_letter,
    direct_table,
    gap_of,
    nuisance_sentences,
    nuisance_table,
    scratchpad_sentences,
    scratchpad_tables,
)
from inspect_af.report.words import (
    headline_numbers,
    key_of,
    meaning,
    plain_sentences,
    tier_words,
    title_of,
    unscored,
)
from inspect_af.thresholds import Thresholds
from inspect_af.types import TIERS, UNSCORED

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

_ALL_EXCERPTS = 480_000  # Characters of all excerpts together; keeps a page with 40 conditions below 2 MB
_MOST_COMMANDS = 12
_REASONS = (*UNSCORED, "failed")


def name(text: str, longest: int = 80, note: str = "") -> Markup:
    """A foreign name, and below it what it means."""
    from markupsafe import Markup

    below = Markup('<span class="says">{}</span>').format(visible(note)) if note else ""
    return Markup("<bdi>{}</bdi>{}").format(one_line(text, longest=longest), below)


def figures_of(drawings: Sequence[Drawing]) -> dict[str, dict[str, Any]]:
    """Figures by name, as `<svg>` elements with title and caption."""
    from markupsafe import Markup

    found = {}
    for drawing in drawings:
        label = html.escape(one_line(drawing.title, longest=120), quote=True)
        svg = to_inline_svg(drawing).replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
        found[drawing.name] = {"svg": Markup(svg), "caption": drawing.caption, "title": drawing.title}
    return found


def typeset(text: object) -> object:
    """Numbers with a true minus, intervals that stay on one line, and a dash for what is not known."""
    if text == DASH:
        return "–"
    if hasattr(text, "__html__"):
        return text
    signs = re.sub(r"(?<![\w.])-(?=\d)", "−", re.sub(r"\+-(?=\d)", "±", str(text)))
    return re.sub(r"(\[[^\[\]]*,) ([^\[\]]*\])", "\\1\u00a0\\2", signs)


@cache
def environment() -> jinja2.Environment:
    """The template engine: everything is escaped, hidden characters are spelt out, mistakes are errors."""
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.PackageLoader("inspect_af.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if hasattr(value, "__html__") else visible(str(value)),
    )
    found.filters |= {
        **{"name": name, "typeset": typeset, "count": count, "plural": plural},
        "excerpt": lambda text, longest, whole: visible(text, longest=longest, whole=whole),
        "points": lambda found: typeset(points(found)),
        "signed": lambda value: typeset(signed(value)),
        "between": lambda found: typeset(interval(found.low, found.high)),
    }
    return found


def render(template: str, *, thresholds: Thresholds | None = None, **context: Any) -> str:
    """A page from a template of this package, with versions filled in."""
    analysis = None if thresholds is None else thresholds.analysis_version
    return environment().get_template(template).render(version=__version__, analysis=analysis, **context)


def write_report(profile: Profile, file: Path, *, excerpts: Excerpts | None = None) -> None:
    """Writes the page of a profile; without excerpts it shows no model text at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render_html(profile, excerpts), encoding="utf-8", newline="\n")


def notebook_html(profile: Profile) -> str:
    """The page in a sandboxed frame, for a notebook's output: its styles and text stay inside."""
    page = html.escape(render_html(profile), quote=True)
    return (
        f'<iframe sandbox="" srcdoc="{page}" title="Motivation profile" '
        'style="width:100%;height:720px;border:0"></iframe>'
    )


def render_html(profile: Profile, excerpts: Excerpts | None = None) -> str:
    """The page as text. Without matplotlib it has its tables, and says what to install for its figures."""
    drawings, absent = try_drawing(lambda: draw_figures(profile))
    subjects = list(dict.fromkeys(row.subject for row in profile.conditions))
    subject = one_line(subjects[0]) if len(subjects) == 1 else f"{len(subjects)} models"
    simulated = sorted({row.subject for row in profile.conditions if row.simulated})
    cards = [card(one, profile) for one in profile.profiles]
    settings = (one.get("setting") for one in profile.prompt_settings.values())
    codes = ((row.intervention, row.method) for block in blocks(profile) for row in block.conditions)
    return render(
        "profile.html",
        thresholds=profile.thresholds,
        title=f"Motivation profile: {subject}",
        profile=profile,
        absent=absent,
        simulated=simulated,
        all_simulated=len(simulated) == len(subjects),
        unfinished=[note for note in profile.notes if note.startswith("Incomplete (")],
        unscored=unscored(profile),
        single=cards[0] if len(cards) == 1 else None,
        cards=cards,
        figures=figures_of(drawings),
        tiers=tier_words(profile.scenarios, settings),
        key=key_of(profile.codes, codes, family_labels(profile.profiles)),
        concepts=_concept_table(profile.concepts),
        beliefs=[belief_table(one, {}) for one in profile.selectivity if not one.unmeasured],
        belief_checks=belief_lines(profile.selectivity, profile.thresholds, {}, checked_variables(profile)),
        lost=any(lost_of(row)[0] for row in profile.conditions),
        missing=_missing_table(profile),
        positions=_position_tables(profile),
        by_position=list(by_position(profile.first_options)),
        direct=[(with_names(direct_table(one, of=" / ")), one) for one in profile.direct_requests],
        scratchpads=[scratchpad_part(one) for one in profile.scratchpads],
        awareness={
            "table": awareness_table(profile.awareness),
            "judges": ", ".join(dict.fromkeys(row.judge for row in profile.awareness)),
            "simulated": any(row.simulated for row in profile.awareness),
        },
        excerpts=excerpts if excerpts and (excerpts.drawn or excerpts.unreadable) else None,
        folds=_folds(profile, excerpts),
        conditions=[_condition_table(block, profile) for block in blocks(profile)],
        effects=list(filter(None, [_effect_table(one, profile) for one in profile.profiles])),
        sensitivities=list(filter(None, [_sensitivity_table(one, profile) for one in profile.profiles])),
        comparisons=list(filter(None, map(_comparison_table, profile.comparisons))),
        settings=settings_table(profile.thresholds),
        commands=_commands(profile, excerpts),
    )


def render_nuisance_page(reports: Sequence[NuisanceReport]) -> str:
    """The gap of each subject under every variant of the prompt, as a page."""
    parts = []
    for report in reports:
        lines = [sentence[:1].upper() + sentence[1:] + "." for sentence in nuisance_sentences(report)]
        if any(row.condition.simulated for row in report.rows):
            lines.append("A simulated organism: its behaviour was planted.")
        found = nuisance_table(report)
        parts.append((one_line(report.subject), lines, with_names(found)))
    return render("nuisance.html", title="Choices of the prompt", parts=parts, closing=CLOSING_LINE)


def try_drawing(draw: Callable[[], Sequence[Drawing]]) -> tuple[Sequence[Drawing], str | None]:
    """The drawings, or none and what to install where matplotlib is missing."""
    try:
        return draw(), None
    except MissingExtraError as error:
        return (), str(error)


def card(one: MethodProfile, profile: Profile) -> dict[str, Any]:
    """What a page says about one subject and method."""
    families, contrast = headline_numbers(one)
    numbers = [(f"{label} sensitivity", label, e) for label, e in families.items()]
    if contrast is not None:
        numbers.append(("difference", "difference", contrast))
    share = one.fraction
    gap_told = any(r.startswith("gap of") for r in one.verdict_reasons)
    movers = "random vectors" if one.method == "steering" else "placebos"
    facts = (
        (not gap_told, f"gap of {one.reference_gap_of or 'the reference'} {points(one.reference_gap)}"),
        (one.noise_band, f"{movers} moved it by {_reach(one.noise_band)}"),
        (share, f"{family_labels([one]).second} share {rate_of(share)}"),
        (
            not share and one.fraction_refusal,
            f"the families' shares are not stated: {one.fraction_refusal}",
        ),
        (one.beyond_refusal, f"only for what was used here: {one.beyond_refusal}"),
    )
    # What stands in numbers above is not said again below.
    above = [
        f"{label} {said}" for label, _, e in numbers for said in (points(e), f"{signed(e.estimate)} points")
    ]
    suffix = one.verdict_suffix if one.verdict else None
    return {
        "title": profile_title(one, profile),
        "short": short_profile_title(one, profile, longest=40),
        "verdict": title_of(one),
        "suffix": suffix if suffix and suffix not in one.verdict_sentence else None,
        "sentence": one.verdict_sentence,
        "plain": plain_sentences(one, profile),
        "numbers": numbers,
        "reasons": [r for r in one.verdict_reasons if ":" in r or not r.startswith(tuple(above))],
        "strength": one.strength,
        "amount": f"{plural(one.n_requests, 'request')} of {one.requests}",
        "facts": [text for holds, text in facts if holds and not text.endswith(DASH)],
        "evidence": report_words()["evidence"][one.method],
        "levels": _levels_table(one),
    }


def _reach(band: tuple[float, float] | None) -> str:
    """The least and the greatest of some changes, in points; no interval."""
    return DASH if band is None else " to ".join(dict.fromkeys(map(signed, band)))


def sensitivity_columns(
    labels: Iterable[str], of: Callable[[Any], Mapping[str, WithInterval]] = attrgetter("sensitivity")
) -> dict[str, Callable[[Any], str]]:
    """A column for each family's sensitivity, with its interval."""
    # "beliefs", so that a family called `level` or `difference` takes no other column's place
    return {
        f"{label} beliefs": partial(lambda label, row: points(of(row).get(label)), label) for label in labels
    }


def _levels_table(one: MethodProfile) -> Table | None:
    """The verdict for the texts (checkpoints, vectors) that were used and beyond them, side by side."""
    columns: dict[str, Callable[[LevelVerdict], str]] = {
        "level": lambda v: name(v.scope),
        "verdict": lambda v: v.label,
        **sensitivity_columns(one.sensitivity),
        "difference": lambda v: points(v.contrast),
        "per unit of belief": lambda v: points(v.per_unit_of_belief),
        "margin": lambda v: f"{100 * v.margin:.1f}",
        "missing replies": lambda v: DASH if v.tipping_point is None else f"{v.tipping_point:.0%}",
    }
    levels = one.verdict_levels if len(one.verdict_levels) > 1 else ()
    return table("Points with intervals, at both levels", levels, columns, words=2)


def with_names(found: Table | None) -> Table | None:
    """The table with its first column as foreign names."""
    return found and found._replace(rows=[[name(row[0]), *row[1:]] for row in found.rows])


def scratchpad_part(one: ScratchpadReport) -> dict[str, Any]:
    """What the scratchpad edits of one subject show: sentences, then tables."""
    return {
        "subject": one.subject,
        "lines": [sentence[:1].upper() + sentence[1:] for sentence in scratchpad_sentences(one)],
        "tables": scratchpad_tables(one),
        "limits": report_words()["scratchpads"]["note"],
    }


def checked_variables(profile: Profile) -> dict[tuple[str, str], tuple[str, ...]]:
    """The variables whose beliefs have to have moved, by subject and method: those of the sensitivities."""
    return {
        (p.subject, p.method): tuple(v for codes in p.variables.values() for v in codes)
        for p in profile.profiles
    }


def _concept_table(scores: Sequence[ConceptScore]) -> Table | None:
    """The judge's mean score of each concept in each tier, condition by condition."""
    known = [score for score in scores if not math.isnan(score.mean)]
    several = len({(score.subject, score.setting) for score in known}) > 1
    cells: dict[str, dict[str, str]] = {}
    for one in known:
        row = " ".join((one.subject, one.setting[:8], one.condition)) if several else one.condition
        cells.setdefault(row, {})[f"{one.concept} {one.tier}"] = f"{one.mean:.2g}"
    judges = ", ".join(sorted({one_line(one.judge) for one in known if one.judge}))
    caption = f"Judge: {judges}" if judges else "The judge is not recorded"
    if any(one.simulated for one in known):
        caption += ", which is simulated, and says nothing about what a real judge would find"
    columns: dict[str, Callable[[Any], str]] = {"condition": lambda r: name(r[0])}
    for title in dict.fromkeys(title for row in cells.values() for title in row):
        columns[title] = partial(lambda title, r: r[1].get(title, DASH), title)
    return table(caption, cells.items(), columns)


def belief_lines(
    matrices: Sequence[SelectivityMatrix],
    thresholds: Thresholds,
    names: Mapping[str, str],
    variables: Mapping[tuple[str, str], tuple[str, ...]],
) -> list[tuple[str, str, tuple[str, ...]]]:
    """What the manipulation check says, matrix by matrix: (who, result, reasons).

    `variables` are those whose beliefs have to be checked, by subject and method.
    """
    found = []
    for matrix in matrices:
        wanted = variables.get((matrix.subject, matrix.method)) or None
        checked = belief_check(matrix, variables=wanted, thresholds=thresholds.beliefs)
        places = (f"answers {by_letter(matrix)}",) if matrix.by_letter else ()
        reasons = (*checked.reasons, *places)
        found.append((matrix_title(matrix, names), BELIEFS[checked.check], reasons))
    return found


def _condition_table(block: Block, profile: Profile) -> Table | None:
    strength = several_strengths(block.conditions)

    def other(row: ConditionRow, estimand: str) -> str:
        gap = signed(row.estimands[estimand].gap) if estimand in row.estimands else DASH
        return "" if gap == signed(row.gap) else gap

    return table(
        block.title,
        block.conditions,
        {
            "condition": lambda r: name(
                condition_name(r, strength=strength), note=meaning(profile, r.intervention)
            ),
            "monitored": lambda r: rate(r.monitored, r.monitored_low, r.monitored_high),
            "unmonitored": lambda r: rate(r.unmonitored, r.unmonitored_low, r.unmonitored_high),
            "gap": gap_of,
            "at worst": lambda r: interval(r.gap_bound_low, r.gap_bound_high) if lost_of(r)[0] else "",
            "tag only": lambda r: other(r, "tag_only"),
            "contradictory = 0": lambda r: other(r, "contradictory_rejected"),
            "pairs": lambda r: count(r.n_pairs),
            "uncounted": lambda r: "{:,} / {:,}".format(*lost_of(r)) if lost_of(r)[0] else "",
            "flags": lambda r: "; ".join(r.flags),
        },
        remarks=True,
    )


def _missing_table(profile: Profile) -> Table | None:
    several = len(blocks(profile)) > 1
    rows = [
        (f"{block.title}: {condition_name(row)}" if several else condition_name(row), tier, n, reasons)
        for block in blocks(profile)
        for row in block.conditions
        for tier, n in row.replies.items()
        if any((reasons := {**row.unscored.get(tier, {}), "failed": row.failed.get(tier, 0)}).values())
    ]
    columns: dict[str, Callable[[Any], str]] = {
        "condition": lambda r: name(r[0]),
        "tier": lambda r: r[1],
        "asked": lambda r: count(r[2] + r[3]["failed"]),
        **{why: partial(lambda why, r: count(r[3][why]) if r[3].get(why) else "", why) for why in _REASONS},
    }
    return table("Missing replies", rows, columns, words=2)


def _position_tables(profile: Profile) -> list[Table]:
    """Share of replies that take the option named first, a table for each subject and prompt."""
    grouped: dict[tuple[str, str], dict[str, dict[str, FirstOption]]] = {}
    for one in profile.first_options:
        grouped.setdefault((one.subject, one.setting), {}).setdefault(one.condition, {})[one.tier] = one

    def share(tier: str) -> Callable[[Any], str]:
        return lambda row: f"{percent(row[1][tier].share)} of {row[1][tier].n}" if tier in row[1] else DASH

    tables = []
    for (subject, setting), conditions in grouped.items():
        columns: dict[str, Callable[[Any], str]] = {"condition": lambda row: name(row[0])}
        columns |= {tier: share(tier) for tier in TIERS if any(tier in own for own in conditions.values())}
        tables.append(table(f"{subject}, prompt {setting}", list(conditions.items()), columns))
    return [found for found in tables if found is not None]


def _effect_table(one: MethodProfile, profile: Profile) -> Table | None:
    strength = several_strengths(one.effects)
    return table(
        profile_title(one, profile),
        sorted(one.effects, key=lambda row: row.reference),
        {
            "intervention": lambda r: name(
                effect_name(r, strength=strength), note=meaning(profile, r.intervention)
            ),
            "against": lambda r: r.reference,
            "gap": lambda r: points(r.gap),
            "simultaneous": lambda r: interval(r.gap_simultaneous_low, r.gap_simultaneous_high),
            "monitored": lambda r: signed(r.monitored.estimate),
            "unmonitored": lambda r: signed(r.unmonitored.estimate),
            "mean": lambda r: signed(r.mean.estimate),
            "in log-odds": lambda r: ("alike" if r.gap_specific else "not") if r.gap.is_nonzero else "",
            "n": lambda r: count(r.gap.n),
            "control p": lambda r: (
                DASH if r.control_rank_p is None else f"{r.control_rank_p:.3f} ({r.n_controls})"
            ),
            "flags": lambda r: "; ".join(r.flags),
        },
        words=2,
        remarks=True,
    )


def _sensitivity_table(one: MethodProfile, profile: Profile) -> Table | None:
    rows: list[tuple[str, Estimate | None]] = []
    for label, family in one.sensitivity.items():
        rows.append((f"{label} sensitivity", family))
        for variable in family.variables:
            rows.append((f"{variable.variable} alone", variable.sensitivity))
            rows.append((f"{label} without {variable.variable}", variable.without))
    rows += [("difference", one.contrast), ("sum", one.total)]
    rows += [(f"{trend.family} trend per step of dose", trend.slope) for trend in one.dose_trends]
    return _estimates(profile_title(one, profile), rows)


def _comparison_table(one: Comparison) -> Table | None:
    rows = [
        *((f"{label} sensitivity", e) for label, e in one.sensitivity.items()),
        ("contrast of the families", one.contrast),
        *((f"effect of {code}", e) for code, e in one.effects.items()),
    ]
    return _estimates(f"{one.first}, less {one.second}", rows)


def _estimates(caption: str, rows: Iterable[tuple[str, Estimate | None]]) -> Table | None:
    columns: Columns[tuple[str, Estimate]] = {
        "quantity": lambda r: name(r[0]),
        "estimate": lambda r: points(r[1]),
        "equivalence interval": lambda r: interval(r[1].equivalence_low, r[1].equivalence_high),
        "n": lambda r: count(r[1].n),
    }
    return table(caption, [(title, e) for title, e in rows if e is not None], columns)


def settings_table(thresholds: Thresholds) -> Table | None:
    """Every threshold, seed and level as `group.name`."""
    values = {**thresholds.model_dump(), "relative_margin": thresholds.relative}
    beliefs = {f"beliefs.{key}": value for key, value in values.pop("beliefs").items()}
    columns: Columns[tuple[str, Any]] = {"setting": lambda r: r[0], "value": lambda r: str(r[1])}
    return table("Settings of the analysis", {**values, **beliefs}.items(), columns)


def _folds(profile: Profile, excerpts: Excerpts | None) -> list[tuple[str, int, list[Any]]]:
    """Excerpts by condition in the order of the tables, with the characters that each may show."""
    drawn = excerpts.drawn if excerpts else ()
    order = {row.label: k for block in blocks(profile) for k, row in enumerate(block.conditions)}
    ordered = sorted(
        drawn, key=lambda one: (one.subject, order.get(one.condition, len(order)), one.condition)
    )
    several = len({one.subject for one in drawn}) > 1
    longest = min(LONGEST_EXCERPT, _ALL_EXCERPTS // max(len(drawn), 1))
    groups = groupby(ordered, key=lambda one: (one.subject, one.condition))
    return [(f"{who}: {what}" if several else what, longest, list(own)) for (who, what), own in groups]


def _commands(profile: Profile, excerpts: Excerpts | None) -> str:
    """Commands that open the logs; both kinds of separator may occur, and addresses of remote storage."""
    locations = [*profile.logs, *(one.location for one in (excerpts.drawn if excerpts else ()))]
    ends = [(location, max(location.rfind("/"), location.rfind("\\"))) for location in locations]
    directories = list(dict.fromkeys(location[:end] if end > 0 else "." for location, end in ends))
    lines = [f"inspect view --log-dir {shlex.quote(one)}" for one in directories[:_MOST_COMMANDS]]
    if len(directories) > _MOST_COMMANDS:
        lines.append(f"# and {len(directories) - _MOST_COMMANDS} more directories")
    return "\n".join(lines)
