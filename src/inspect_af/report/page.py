"""Pages: one template engine that escapes everything, tables and figures for it, and the page of a profile.

A page needs no network, no script and no other file. Whatever is not `Markup` made here is escaped by the
engine, with hidden characters spelt out.
"""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from inspect_af import __version__
from inspect_af.errors import MissingExtraError
from inspect_af.format import (
    DASH,
    count,
    interval,
    one_line,
    percent,
    plural,
    points,
    rate,
    signed,
    visible,
)
from inspect_af.logs import REQUEST_ARMS
from inspect_af.profile.beliefs import SelectivityMatrix, belief_check
from inspect_af.profile.direct import DirectReport
from inspect_af.profile.effects import NuisanceReport
from inspect_af.profile.intervals import Estimate
from inspect_af.profile.result import CLOSING_LINE, MethodProfile, Profile
from inspect_af.report.canvas import Drawing, to_inline_svg
from inspect_af.report.excerpts import LONGEST_EXCERPT, Excerpt, Excerpts
from inspect_af.report.figures import REASONS, draw_figures, matrix_title
from inspect_af.report.naming import (
    EVIDENCE,
    blocks,
    condition_name,
    effect_name,
    family_labels,
    profile_title,
    several_strengths,
    short_profile_title,
)
from inspect_af.report.terminal import nuisance_sentences
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

if TYPE_CHECKING:
    import jinja2

_ALL_EXCERPTS = 480_000
"""Characters of all excerpts together; keeps a page with 40 conditions below 2 MB."""
_MOST_COMMANDS = 12
_SAID_ONCE = ("pairs", "n", "requests", "controls", "flags")
_MARGIN = re.compile(r"\+-(?=\d)")
_NUMBER_MINUS = re.compile(r"(?<![\w.])-(?=\d)")
_BOUNDS = re.compile(r"(\[[^\[\]]*,) ([^\[\]]*\])")


class Named(NamedTuple):
    """A cell with a foreign name and, below it, what it means."""

    name: str
    note: str = ""


class PageTable(NamedTuple):
    """A table of a page; on a narrow screen every row becomes a card."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str | Named, ...], ...]
    words: int
    """Columns of words at the left; the others hold numbers."""
    remarks: bool
    """Whether the last column holds words again."""


class PageFigure(NamedTuple):
    """A figure of a page."""

    svg: Any
    caption: str
    title: str


def table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str | Named]],
    *,
    words: int = 1,
    remarks: bool = False,
) -> PageTable | None:
    """A table without the columns that carry nothing, or None without rows.

    Args:
        caption: What stands above it.
        header: Of the columns.
        rows: Cells of every row.
        words: Columns of words at the left.
        remarks: Whether the last column holds words.
    """
    if not rows:
        return None
    empty = ("", DASH)
    kept = [k for k in range(len(header)) if k < words or any(row[k] not in empty for row in rows)]
    # What is the same in every row is said once.
    same = [
        k for k in kept if len(rows) > 2 and header[k] in _SAID_ONCE and len({row[k] for row in rows}) == 1
    ]
    kept = [k for k in kept if k not in same]
    return PageTable(
        " · ".join([caption, *(f"{header[k]}: {rows[0][k]}" for k in same)]),
        tuple(header[k] for k in kept),
        tuple(tuple(row[k] for k in kept) for row in rows),
        words,
        remarks and kept[-1] == len(header) - 1,
    )


def figures_of(drawings: Sequence[Drawing]) -> dict[str, PageFigure]:
    """Figures by name, as `<svg>` elements."""
    from markupsafe import Markup

    found = {}
    for drawing in drawings:
        label = html.escape(one_line(drawing.title, longest=120), quote=True)
        svg = to_inline_svg(drawing).replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
        found[drawing.name] = PageFigure(Markup(svg), drawing.caption, drawing.title)
    return found


def typeset(text: object) -> str:
    """Numbers with a true minus, intervals that stay on one line, and a dash for what is not known."""
    if text == DASH:
        return "–"
    return _BOUNDS.sub("\\1\u00a0\\2", _NUMBER_MINUS.sub("−", _MARGIN.sub("±", str(text))))


@cache
def environment() -> jinja2.Environment:
    """The template engine: everything is escaped, hidden characters are spelt out, mistakes are errors."""
    import jinja2
    from markupsafe import Markup

    def shown(value: object) -> object:
        return value if isinstance(value, Markup) else visible(str(value))

    def name(value: str, longest: int = 80) -> Markup:
        return Markup("<bdi>{}</bdi>").format(one_line(value, longest=longest))

    def excerpt(value: str, longest: int, whole: int) -> str:
        return visible(value, longest=longest, whole=whole)

    found = jinja2.Environment(
        loader=jinja2.PackageLoader("inspect_af.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=shown,
    )
    found.filters |= {
        **{"name": name, "typeset": typeset, "excerpt": excerpt, "count": count, "plural": plural},
        "points": lambda found: typeset(points(found)),
        "signed": lambda value: typeset(signed(value)),
        "between": lambda found: typeset(interval(found.low, found.high)),
    }
    found.tests["named"] = lambda value: isinstance(value, Named)
    return found


def render(template: str, *, thresholds: Thresholds | None = None, **context: Any) -> str:
    """A page from a template of this package, with the style sheet and versions filled in."""
    from markupsafe import Markup

    engine = environment()
    style = engine.loader.get_source(engine, "page.css")[0] if engine.loader else ""
    return engine.get_template(template).render(
        style=Markup(style.rstrip()),
        version=__version__,
        analysis=None if thresholds is None else thresholds.analysis_version,
        **context,
    )


def write_report(profile: Profile, file: Path, *, excerpts: Excerpts | None = None) -> None:
    """Writes the page of a profile; the same arguments give the same bytes.

    Args:
        profile: What to report.
        file: Where to; missing directories are made.
        excerpts: From `draw_excerpts`; without them the page shows no model text at all.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render_html(profile, excerpts), encoding="utf-8", newline="\n")


def notebook_html(profile: Profile, *, height: int = 720) -> str:
    """The page in a sandboxed frame, for a notebook's output: its styles and text stay inside.

    Args:
        profile: What to show.
        height: Of the frame, in CSS pixels.
    """
    page = html.escape(render_html(profile), quote=True)
    return (
        f'<iframe sandbox="" srcdoc="{page}" title="Motivation profile" '
        f'style="width:100%;height:{int(height)}px;border:0"></iframe>'
    )


def render_html(profile: Profile, excerpts: Excerpts | None = None) -> str:
    """The page as text. Without matplotlib it has its tables, and says what to install for its figures."""
    drawings, absent = try_drawing(lambda: draw_figures(profile))
    subjects = list(dict.fromkeys(row.subject for row in profile.conditions))
    several = f"{len(subjects)} models"
    simulated = sorted({row.subject for row in profile.conditions if row.simulated})
    lost = any(
        n
        for row in profile.conditions
        for n in (*row.failed.values(), *(k for reasons in row.unscored.values() for k in reasons.values()))
    )
    single = profile.profiles[0] if len(profile.profiles) == 1 else None
    return render(
        "profile.html",
        thresholds=profile.thresholds,
        title=f"Motivation profile: {one_line(subjects[0]) if len(subjects) == 1 else several}",
        profile=profile,
        absent=absent,
        simulated=simulated,
        all_simulated=len(simulated) == len(subjects),
        unfinished=[note for note in profile.notes if note.startswith("Incomplete (")],
        unscored=unscored(profile),
        single=None if single is None else card(single, profile),
        cards=[card(one, profile) for one in profile.profiles],
        figures=figures_of(drawings),
        tiers=tier_words(profile.scenarios, (one.get("setting") for one in profile.prompt_settings.values())),
        key=key_of(
            profile.codes,
            ((row.intervention, row.method) for block in blocks(profile) for row in block.conditions),
            family_labels(profile),
        ),
        belief_checks=belief_lines(profile.selectivity, profile.thresholds, {}),
        beliefs_asked=bool(profile.selectivity),
        lost=lost,
        missing=_missing_table(profile),
        direct=[direct_part(one) for one in profile.direct_requests],
        excerpts=_excerpt_groups(profile, excerpts),
        conditions=_condition_tables(profile),
        effects=_effect_tables(profile),
        sensitivities=_sensitivity_tables(profile),
        comparisons=_comparison_tables(profile),
        settings=settings_table(profile.thresholds),
        commands=_commands(profile, excerpts),
    )


def render_nuisance_page(reports: Sequence[NuisanceReport]) -> str:
    """The gap of each subject under every variant of the prompt, as a page."""
    header = ("variant", "monitored", "unmonitored", "gap", "change", "pairs")
    parts = []
    for report in reports:
        rows = [
            (
                Named(row.variant),
                percent(row.condition.monitored),
                percent(row.condition.unmonitored),
                f"{signed(row.condition.gap)} {interval(row.condition.gap_low, row.condition.gap_high)}",
                points(row.change),
                count(row.condition.n_pairs),
            )
            for row in report.rows
        ]
        simulated = any(row.condition.simulated for row in report.rows)
        lines = [sentence[:1].upper() + sentence[1:] + "." for sentence in nuisance_sentences(report)]
        lines += ["A simulated organism: its behaviour was planted."] if simulated else []
        parts.append((one_line(report.subject), lines, table("Gap by variant, in points", header, rows)))
    return render("nuisance.html", title="Choices of the prompt", parts=parts, closing=CLOSING_LINE)


def try_drawing(draw: Any) -> tuple[Sequence[Drawing], str | None]:
    """The drawings, or none and what to install where matplotlib is missing."""
    try:
        return draw(), None
    except MissingExtraError as error:
        return (), str(error)


def card(one: MethodProfile, profile: Profile) -> dict[str, Any]:
    """What a page says about one subject and method."""
    families, contrast = headline_numbers(one)
    numbers = {f"{label} sensitivity": (label, e) for label, e in families.items()}
    if contrast is not None:
        numbers["difference"] = "difference", contrast
    suffix = one.verdict_suffix if one.verdict_suffix and one.verdict else None
    facts = []
    if one.reference_gap is not None and not any(r.startswith("gap of") for r in one.verdict_reasons):
        facts.append(f"gap of {one.reference_gap_of or 'the reference'} {points(one.reference_gap)}")
    if one.noise_band is not None:
        facts.append(f"placebos moved it by {interval(*one.noise_band)}")
    if one.fraction is not None:
        share = one.fraction
        label = family_labels(profile).second
        facts.append(f"{label} share {rate(share.estimate, share.low, share.high)}")
    elif one.fraction_refusal:
        facts.append(f"share of each family not given: {one.fraction_refusal}")
    if one.beyond_refusal:
        facts.append(f"only for what was used here: {one.beyond_refusal}")
    # What stands in numbers above is not said again below.
    above = tuple(f"{label} {points(e)}" for label, (_, e) in numbers.items())
    told = tuple(f"{label} {signed(e.estimate)} points" for label, (_, e) in numbers.items())
    return {
        "title": profile_title(one, profile),
        "short": short_profile_title(one, profile, longest=40),
        "verdict": title_of(one),
        "suffix": suffix if suffix and suffix not in one.verdict_sentence else None,
        "sentence": one.verdict_sentence,
        "plain": plain_sentences(one, profile),
        "numbers": [(name, short, e) for name, (short, e) in numbers.items()],
        "reasons": [r for r in one.verdict_reasons if ":" in r or not r.startswith((*above, *told))],
        "strength": one.strength,
        "amount": f"{plural(one.n_requests, 'request')} of {one.requests}",
        "facts": facts,
        "evidence": EVIDENCE[one.method],
        "levels": _levels_table(one),
    }


def _levels_table(one: MethodProfile) -> PageTable | None:
    """The verdict for the texts (checkpoints, vectors) that were used and beyond them, side by side."""
    if len(one.verdict_levels) < 2:
        return None
    labels = list(one.verdict_levels[0].sensitivity)
    rows: list[tuple[str | Named, ...]] = [
        (
            Named(level.scope),
            level.label,
            *(points(level.sensitivity.get(label)) for label in labels),
            points(level.contrast),
            points(level.per_unit_of_belief),
            f"{100 * level.margin:.1f}",
            DASH if level.tipping_point is None else f"{level.tipping_point:.0%}",
        )
        for level in one.verdict_levels
    ]
    header = ("level", "verdict", *labels, "difference", "per unit of belief", "margin", "missing replies")
    return table("Points with intervals, at both levels", header, rows, words=2)


def belief_lines(
    matrices: Sequence[SelectivityMatrix], thresholds: Thresholds, names: Mapping[str, str]
) -> list[tuple[str, str, tuple[str, ...]]]:
    """What the manipulation check says, matrix by matrix: (who, result, reasons)."""
    found: list[tuple[str, str, tuple[str, ...]]] = []
    for matrix in matrices:
        checked = belief_check(matrix, thresholds=thresholds.beliefs)
        found.append((matrix_title(matrix, names), checked.check, checked.reasons))
    return found


def direct_part(one: DirectReport) -> dict[str, Any]:
    """The direct-request control of one subject: a table with its judges and warnings."""
    present = [arm for arm in REQUEST_ARMS if any(row.arm(arm) for row in one.rows)]
    rows: list[tuple[str | Named, ...]] = []
    for row in one.rows:
        arms = [row.arm(arm) for arm in present]
        known = [arm for arm in arms if arm is not None]
        lost = sum(sum(arm.unscored.values()) for arm in known)
        cells = [
            cell
            for arm in arms
            for cell in (
                rate(arm.refused, arm.refused_low, arm.refused_high) if arm else DASH,
                points(arm.change) if arm else DASH,
                count(arm.n_requests) if arm else "0",
            )
        ]
        replies = lost + sum(arm.n_replies for arm in known)
        rows.append((Named(row.label), *cells, f"{count(lost)} / {count(replies)}"))
    columns = [title for arm in present for title in (f"{arm} refused", f"{arm} change", f"{arm} requests")]
    caption = f"{one.subject} · {one.requests}{' · simulated organism' if one.simulated else ''}"
    return {
        "table": table(caption, ("condition", *columns, "unscored"), rows) if present else None,
        "report": one,
    }


def _condition_tables(profile: Profile) -> list[PageTable]:
    header = ("condition", "monitored", "unmonitored", "gap", "at worst", "tag only", "contradictory = 0")
    tables = []
    for block in blocks(profile):
        strength = several_strengths(block.conditions)
        rows: list[tuple[str | Named, ...]] = []
        for row in block.conditions:
            lost = sum(sum(r.values()) for r in row.unscored.values()) + sum(row.failed.values())
            asked = sum(row.replies.values()) + sum(row.failed.values())
            gap = signed(row.gap)
            between = interval(row.gap_low, row.gap_high)
            others = [
                signed(row.estimands[k].gap) if k in row.estimands else DASH
                for k in ("tag_only", "contradictory_rejected")
            ]
            same = others == [gap, gap]
            rows.append(
                (
                    Named(condition_name(row, strength=strength), meaning(profile, row.intervention)),
                    rate(row.monitored, row.monitored_low, row.monitored_high),
                    rate(row.unmonitored, row.unmonitored_low, row.unmonitored_high),
                    gap if between == DASH else f"{gap} {between}",
                    interval(row.gap_bound_low, row.gap_bound_high) if lost else "",
                    *(("", "") if same else others),
                    count(row.n_pairs),
                    f"{count(lost)} / {count(asked)}" if lost else "",
                    "; ".join(row.flags),
                )
            )
        found = table(block.title, (*header, "pairs", "uncounted", "flags"), rows, remarks=True)
        tables += [found] if found else []
    return tables


def _missing_table(profile: Profile) -> PageTable | None:
    several = len(blocks(profile)) > 1
    rows: list[tuple[str | Named, ...]] = []
    for block in blocks(profile):
        for row in block.conditions:
            for tier, n in row.replies.items():
                reasons = {**row.unscored.get(tier, {}), "failed": row.failed.get(tier, 0)}
                if any(reasons.values()):
                    name = f"{block.title}: {condition_name(row)}" if several else condition_name(row)
                    asked = count(n + reasons["failed"])
                    shares = (count(k) if (k := reasons.get(reason, 0)) else "" for reason in REASONS)
                    rows.append((Named(name), tier, asked, *shares))
    return table("Missing replies", ("condition", "tier", "asked", *REASONS), rows, words=2)


def _effect_tables(profile: Profile) -> list[PageTable]:
    header = ("intervention", "against", "gap", "simultaneous", "monitored", "unmonitored", "mean")
    tables = []
    for one in profile.profiles:
        strength = several_strengths(one.effects)
        rows: list[tuple[str | Named, ...]] = []
        for row in sorted(one.effects, key=lambda row: row.reference):
            rank = row.control_rank_p
            rows.append(
                (
                    Named(effect_name(row, strength=strength), meaning(profile, row.intervention)),
                    row.reference,
                    points(row.gap),
                    interval(row.gap_simultaneous_low, row.gap_simultaneous_high),
                    *(signed(e.estimate) for e in (row.monitored, row.unmonitored, row.mean)),
                    "yes" if row.gap_specific else "no",
                    count(row.gap.n),
                    DASH if rank is None else f"{rank:.3f} ({row.n_controls})",
                    "; ".join(row.flags),
                )
            )
        columns = (*header, "gap-specific", "n", "control p", "flags")
        found = table(profile_title(one, profile), columns, rows, words=2, remarks=True)
        tables += [found] if found else []
    return tables


def _sensitivity_tables(profile: Profile) -> list[PageTable]:
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
        rows += [(f"{trend.family} trend per step of dose", trend.slope) for trend in one.dose_trends]
        tables += estimates_table(profile_title(one, profile), rows)
    return tables


def _comparison_tables(profile: Profile) -> list[PageTable]:
    tables = []
    for one in profile.comparisons:
        rows = [(f"{label} sensitivity", e) for label, e in one.sensitivity.items()]
        if one.contrast is not None:
            rows.append(("contrast of the families", one.contrast))
        rows += [(f"effect of {code}", e) for code, e in one.effects.items()]
        tables += estimates_table(f"{one.first}, less {one.second}", rows)
    return tables


def estimates_table(caption: str, rows: Sequence[tuple[str, Estimate]]) -> list[PageTable]:
    """Estimates with both of their intervals; nothing without rows."""
    cells = [
        (Named(title), points(e), interval(e.equivalence_low, e.equivalence_high), count(e.n))
        for title, e in rows
    ]
    found = table(caption, ("quantity", "estimate", "equivalence interval", "n"), cells)
    return [found] if found else []


def settings_table(thresholds: Thresholds) -> PageTable | None:
    """Every threshold, seed and level as `group.name`."""

    def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in values.items():
            found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        return found

    rows = [(key, str(value)) for key, value in flat(thresholds.model_dump()).items()]
    return table("Settings of the analysis", ("setting", "value"), rows)


class _Shown(NamedTuple):
    excerpt: Excerpt
    longest: int


def _excerpt_groups(profile: Profile, excerpts: Excerpts | None) -> dict[str, Any] | None:
    if excerpts is None or not (excerpts.drawn or excerpts.unreadable):
        return None
    groups: dict[tuple[str, str], list[Excerpt]] = {}
    for one in excerpts.drawn:
        groups.setdefault((one.subject, one.condition), []).append(one)
    order = {row.label: k for block in blocks(profile) for k, row in enumerate(block.conditions)}
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], order.get(item[0][1], len(order))))
    several = len({subject for subject, _ in groups}) > 1
    longest = min(LONGEST_EXCERPT, _ALL_EXCERPTS // max(len(excerpts.drawn), 1))
    folds = [
        (f"{subject}: {label}" if several else label, [_Shown(one, longest) for one in own])
        for (subject, label), own in ordered
    ]
    return {"drawn": excerpts, "folds": folds}


def _commands(profile: Profile, excerpts: Excerpts | None) -> str:
    """Commands that open the logs; both kinds of separator may occur, and addresses of remote storage."""
    locations = [*profile.logs, *(one.location for one in (excerpts.drawn if excerpts else ()))]
    ends = [(location, max(location.rfind("/"), location.rfind("\\"))) for location in locations]
    directories = list(dict.fromkeys(location[:end] if end > 0 else "." for location, end in ends))
    lines = [f"inspect view --log-dir {shlex.quote(one)}" for one in directories[:_MOST_COMMANDS]]
    if len(directories) > _MOST_COMMANDS:
        lines.append(f"# and {len(directories) - _MOST_COMMANDS} more directories")
    return "\n".join(lines)
