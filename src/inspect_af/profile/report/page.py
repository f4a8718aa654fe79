"""A profile as one HTML page that needs no network, no script and no other file."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template

from inspect_af import __version__
from inspect_af.errors import MissingExtraError
from inspect_af.logs import ReadNotes
from inspect_af.profile.report.direct import direct_section
from inspect_af.profile.report.figures import Drawing, draw_figures, to_inline_svg
from inspect_af.profile.report.inputs import BeliefShift, Excerpts, Supplements
from inspect_af.profile.report.markup import (
    NOTHING,
    Html,
    element,
    escaped,
    joined,
    paragraph,
    section,
)
from inspect_af.profile.report.provenance import (
    excerpt_section,
    limits_section,
    logs_section,
    method_section,
)
from inspect_af.profile.report.tables import condition_tables, effect_tables, missing_table
from inspect_af.profile.report.text import one_line
from inspect_af.profile.report.verdicts import amounts, banner, headline, verdict_cards
from inspect_af.profile.result import Profile


def write_report(
    profile: Profile,
    file: Path,
    *,
    excerpts: Excerpts | None = None,
    notes: ReadNotes | None = None,
    logs: Sequence[str] = (),
    deviations: Sequence[str] = (),
    beliefs: Sequence[BeliefShift] = (),
) -> None:
    """Writes the page; the same arguments give the same bytes.

    Args:
        profile: What to report.
        file: Where to; missing directories are made.
        excerpts: From `draw_excerpts`; without them the page shows no model text at all.
        notes: From `LogReader.notes`: logs and samples that were left out.
        logs: Locations of the logs, for the commands that open them; the profile's own if empty.
        deviations: Departures from the plan beside those that the profile names.
        beliefs: Belief shifts, where beliefs were asked about.
    """
    extra = Supplements(excerpts, notes, tuple(map(str, logs)), tuple(deviations), tuple(beliefs))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render_html(profile, extra), encoding="utf-8", newline="\n")


def render_html(profile: Profile, extra: Supplements | None = None) -> str:
    """The page as text. Without matplotlib it has its tables, and says what to install for its figures."""
    extra = extra or Supplements()
    try:
        drawings = draw_figures(profile, beliefs=extra.beliefs)
        absent = NOTHING
    except MissingExtraError as error:
        drawings, absent = (), paragraph(f"No figures on this page: {error}", of="banner")
    figures = {drawing.name: drawing for drawing in drawings}
    subjects = list(dict.fromkeys(row.subject for row in profile.conditions))
    title = (
        f"Motivation profile: {one_line(subjects[0]) if len(subjects) == 1 else f'{len(subjects)} models'}"
    )
    beside = "beside" if "motivation-plane" in figures else "alone"
    return Template(_asset("page.html")).substitute(
        title=html.escape(title),
        style=_asset("page.css").rstrip(),
        banner=joined([banner(profile), absent]),
        layout=beside,
        headline=headline(profile),
        amounts=escaped(amounts(profile)),
        plane=_figure(figures.get("motivation-plane")),
        sections=joined(_sections(profile, extra, figures), "\n"),
        version=escaped(__version__),
        analysis=escaped(profile.thresholds.analysis_version),
    )


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


def _sections(profile: Profile, extra: Supplements, figures: dict[str, Drawing]) -> list[Html]:
    parts = [section("verdicts", "Verdict by verdict", verdict_cards(profile))]
    parts += [_figure_section(figures, name) for name in ("gaps", "arm-decomposition", "dose-response")]
    parts.append(_missing(profile, figures))
    parts += [_figure_section(figures, name) for name in ("concept-scores", "belief-selectivity")]
    asked = direct_section(profile.direct_requests)
    parts += [
        section("direct-requests", "Asked directly, without the scenario", asked),
        section("excerpts", "What the model wrote", excerpt_section(profile, extra.excerpts)),
        section("conditions", "All conditions", condition_tables(profile), effect_tables(profile)),
        section("method", "How it was computed", method_section(profile)),
        section("logs", "Where the samples are", logs_section(profile, extra)),
        section("limits", "What this does not show", limits_section(profile)),
    ]
    return [part for part in parts if part]


def _missing(profile: Profile, figures: dict[str, Drawing]) -> Html:
    drawing = figures.get("missingness")
    lost = any(
        n
        for row in profile.conditions
        for n in (*row.failed.values(), *(k for reasons in row.unscored.values() for k in reasons.values()))
    )
    if not lost:
        return section("missingness", "What is missing", paragraph("Nothing: every reply could be counted."))
    return section("missingness", "What is missing", _figure(drawing), missing_table(profile))


def _figure_section(figures: dict[str, Drawing], name: str) -> Html:
    drawing = figures.get(name)
    return NOTHING if drawing is None else section(name, drawing.title, _figure(drawing))


def _figure(drawing: Drawing | None) -> Html:
    if drawing is None:
        return NOTHING
    svg = to_inline_svg(drawing).replace(
        "<svg", f'<svg role="img" aria-label="{html.escape(drawing.title, quote=True)}"', 1
    )
    return element("figure", Html(svg), element("figcaption", escaped(drawing.caption)))


def _asset(name: str) -> str:
    return resources.files("inspect_af.profile.report").joinpath(name).read_text(encoding="utf-8")
