"""The convergence report as one HTML page that needs no network, no script and no other file."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from string import Template

from inspect_af import __version__
from inspect_af.errors import MissingExtraError
from inspect_af.profile.convergence.drawings import draw_convergence
from inspect_af.profile.convergence.model_part import banner, headline, model_part
from inspect_af.profile.convergence.naming import short_names
from inspect_af.profile.convergence.parts import sources
from inspect_af.profile.convergence.provenance import figure_sources
from inspect_af.profile.convergence.result import Convergence
from inspect_af.profile.convergence.sections import (
    ablation_part,
    beliefs_part,
    calibration_part,
    checkpoint_part,
    direct_part,
    dose_part,
    limits_part,
    logs_part,
    method_part,
    missing_part,
    screening_part,
)
from inspect_af.profile.convergence.steering_part import steering_part
from inspect_af.profile.report.figures import Drawing, to_inline_svg
from inspect_af.profile.report.markup import (
    NOTHING,
    Html,
    element,
    escaped,
    joined,
    paragraph,
    section,
)
from inspect_af.profile.report.text import count, one_line, plural


def render_convergence(report: Convergence, drawings: Sequence[Drawing] | None = None) -> str:
    """The page as text. Without matplotlib it has its tables, and says what to install for its figures.

    Args:
        report: What to show.
        drawings: From `draw_convergence`, where they are drawn already.
    """
    names = short_names(report)
    absent = NOTHING
    if drawings is None:
        try:
            drawings = draw_convergence(report)
        except MissingExtraError as error:
            drawings, absent = (), paragraph(f"No figures on this page: {error}", of="banner")
    figures = {drawing.name: drawing for drawing in drawings}
    amounts = (
        f"{count(report.n_replies)} replies from {plural(len(report.logs), 'log')}"
        if report.logs
        else f"{count(report.n_replies)} replies"
    )
    return Template(_asset("page.html")).substitute(
        title=html.escape(one_line(report.title)),
        style="\n".join(
            [_asset("page.css", "inspect_af.profile.report").rstrip(), _asset("page.css").rstrip()]
        ),
        banner=joined([banner(report, names), absent]),
        layout="beside" if "methods" in figures else "alone",
        headline=headline(report, names),
        amounts=escaped(amounts),
        figure=_figure(figures.get("methods"), figure_sources(report)["methods"]),
        sections=joined(_sections(report, names, figures), "\n"),
        version=escaped(__version__),
        analysis=escaped(report.thresholds.analysis_version),
    )


_PARTS: tuple[tuple[str, str, Callable[[Convergence, Mapping[str, str]], Html]], ...] = (
    ("calibration", "Prompt against documents", calibration_part),
    ("coupling", "Does a vector move reasoning, and does it move behaviour?", steering_part),
    (
        "random-vectors",
        "What any direction does",
        lambda report, _: sources(figure_sources(report)["random-vectors"]),
    ),
    ("beliefs", "Did the beliefs move, and only those?", beliefs_part),
    ("screening", "Which models fake at all", screening_part),
    ("role-play", "Who the model is said to be", ablation_part),
    ("doses", "Dose and response", dose_part),
    ("checkpoints", "Prompt claims on document-trained checkpoints", checkpoint_part),
    ("direct-requests", "Asked directly, without the scenario", direct_part),
)


def _sections(
    report: Convergence, names: Mapping[str, str], drawings: Mapping[str, Drawing]
) -> Iterator[Html]:
    yield section(
        "models",
        "Model by model",
        *(
            model_part(model, _figure(drawings.get(f"gaps-{k}")), names)
            for k, model in enumerate(report.models, start=1)
        ),
    )
    has = {
        "calibration": bool(report.calibrations),
        "coupling": bool(report.steering),
        "random-vectors": any(one.random for one in report.steering),
        "beliefs": bool(report.selectivity),
        "screening": bool(report.screening),
        "role-play": bool(report.ablations),
        "doses": bool(report.doses),
        "checkpoints": bool(report.checkpoints),
        "direct-requests": bool(report.direct),
    }
    for identifier, title, part in _PARTS:
        if has[identifier]:
            figures = [_figure(d) for key, d in drawings.items() if _numbered(key) == identifier]
            yield section(identifier, title, *figures, part(report, names))
    yield section("missing", "What was not run", missing_part(report))
    yield section("method", "How it was computed", method_part(report))
    yield section("logs", "Logs and notes", logs_part(report))
    yield section("limits", "What this does not show", limits_part(report))


def _figure(drawing: Drawing | None, logs: Sequence[str] = ()) -> Html:
    if drawing is None:
        return NOTHING
    svg = to_inline_svg(drawing).replace(
        "<svg",
        f'<svg role="img" aria-label="{html.escape(one_line(drawing.title, longest=120), quote=True)}"',
        1,
    )
    return element("figure", Html(svg), element("figcaption", escaped(drawing.caption)), sources(logs))


def _asset(file: str, package: str = "inspect_af.profile.convergence") -> str:
    return resources.files(package).joinpath(file).read_text(encoding="utf-8")


def _numbered(name: str) -> str:
    """The part that a figure with a number at its end belongs to: `beliefs` for `beliefs-2`."""
    stem, _, number = name.rpartition("-")
    return stem if number.isdigit() else name
