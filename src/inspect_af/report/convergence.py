"""The page of a convergence report, and the report as files: HTML, JSON, CSV, SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from inspect_af.format import DASH, count, interval, one_line, percent, points, signed
from inspect_af.profile.result import (
    Band,
    Calibration,
    Convergence,
    MethodPair,
    MethodResult,
    Model,
    SteeringResult,
    VectorCoupling,
)
from inspect_af.report.canvas import Drawing
from inspect_af.report.figures import Names, draw_convergence
from inspect_af.report.files import convergence_tables, figure_sources, write_drawings, write_tables
from inspect_af.report.naming import EVIDENCE, METHOD_NAMES, shared_families, short_names, shortest
from inspect_af.report.page import (
    Named,
    PageTable,
    belief_lines,
    direct_part,
    figures_of,
    render,
    settings_table,
    table,
    try_drawing,
)
from inspect_af.report.words import key_of, tier_words

CODES = {"converge": "converge", "diverge": "diverge", "not-enough": "not enough to say"}


def write_convergence(report: Convergence, directory: Path) -> list[Path]:
    """Writes convergence.html, convergence.json, CSV files and every figure; returns the files.

    Without matplotlib the figures are left out, and the page says so.
    """
    directory.mkdir(parents=True, exist_ok=True)
    drawings, absent = try_drawing(lambda: draw_convergence(report))
    page, data = directory / "convergence.html", directory / "convergence.json"
    text = render_convergence(report, None if absent else drawings)
    page.write_text(text, encoding="utf-8", newline="\n")
    data.write_text(report.to_json() + "\n", encoding="utf-8", newline="\n")
    return [
        page,
        data,
        *write_tables(convergence_tables(report), directory),
        *write_drawings(drawings, directory),
    ]


def render_convergence(report: Convergence, drawings: Sequence[Drawing] | None = None) -> str:
    """The page as text. Without matplotlib it has its tables, and says what to install for its figures.

    Args:
        report: What to show.
        drawings: From `draw_convergence`, where they are drawn already.
    """
    names = short_names(report)
    absent = None
    if drawings is None:
        drawings, absent = try_drawing(lambda: draw_convergence(report))
    tally = [
        f"{n} {word}"
        for code, word in CODES.items()
        if (n := sum(model.statement.code == code for model in report.models))
    ]
    judged = [result.simulated_judge and result.judges for result in report.steering]
    sources = figure_sources(report)
    return render(
        "convergence.html",
        thresholds=report.thresholds,
        title=one_line(report.title),
        report=report,
        absent=absent,
        names=names,
        codes=CODES,
        tally=", ".join(tally),
        simulated=[names.get(m.subject, m.subject) for m in report.models if m.simulated],
        simulated_judge=any(judged) or any(one.simulated_judge for one in report.direct),
        figures=figures_of(drawings),
        sources=sources,
        parts=[(id, title, part(report, names)) for id, title, held, part in _PARTS if held(report)],
        models=[_model_part(model) for model in report.models],
        tiers=tier_words(report.scenarios),
        key=key_of(
            report.codes,
            (
                (row.intervention, one.method)
                for model in report.models
                for one in model.methods
                for row in one.gaps
                if row.intervention != "baseline"
            ),
            shared_families(report),
        ),
        evidence=[
            EVIDENCE[m] for m in EVIDENCE if any(o.method == m for x in report.models for o in x.methods)
        ],
        margin=f"{100 * report.thresholds.delta:g} points",
        settings=settings_table(report.thresholds),
    )


def _model_part(model: Model) -> dict[str, Any]:
    """One model: what each method says, side by side, and the methods against one another."""
    header = (
        *("method", "verdict", *model.families, "difference", "untouched gap"),
        *("requests", "beliefs", "remarks"),
    )
    pairs = [
        (
            f"{METHOD_NAMES[pair.first]} less {METHOD_NAMES[pair.second]}",
            *(points(pair.sensitivity.get(label)) for label in model.families),
            points(pair.contrast),
            pair.refusal or _over(pair),
        )
        for pair in model.pairs
    ]
    return {
        "model": model,
        "methods": table(
            "Points with intervals, by method",
            header,
            [_method_row(method, model) for method in model.methods],
            words=2,
            remarks=True,
        ),
        "pairs": table(
            "First less second, in points",
            ("methods", *model.families, "difference", "over"),
            pairs,
            remarks=True,
        ),
        "logs": tuple(dict.fromkeys(log for method in model.methods for log in method.logs)),
    }


def _method_row(method: MethodResult, model: Model) -> tuple[str, ...]:
    setting = method.prompt_settings.get("setting")
    remarks = (method.strength, f"{setting} setting" if setting else None, method.verdict_suffix)
    verdict = method.verdict or "none"
    # The profile's verdict knows nothing of random vectors: where they hold it back, that is said.
    if (
        method.method == "steering"
        and method.direction == "open"
        and "dominant" in (method.verdict_code or "")
    ):
        verdict += ", not counted: not shown beyond random vectors"
    return (
        METHOD_NAMES[method.method],
        verdict,
        *(points(method.sensitivity.get(label)) for label in model.families),
        points(method.contrast),
        points(method.reference_gap),
        f"{count(method.n_requests)} {method.requests}",
        method.beliefs or "not measured",
        ", ".join(part for part in remarks if part),
    )


def _over(pair: MethodPair) -> str:
    sides = [(method, pair.variables.get(method, ())) for method in (pair.first, pair.second)]
    return "; ".join(f"{METHOD_NAMES[method]}: {', '.join(codes)}" for method, codes in sides if codes)


def _part(
    tables: Sequence[tuple[str, PageTable | None]] = (),
    lines: Sequence[str] = (),
    note: str = "",
    **more: Any,
) -> dict[str, Any]:
    """What a section shows: lines, a note, and tables that are folded under a title, or open without one."""
    return {"tables": [one for one in tables if one[1]], "lines": lines, "note": note, **more}


def _calibration(report: Convergence, names: Names) -> dict[str, Any]:
    level = report.thresholds.confidence
    return _part(lines=[_calibrated(one, names, level) for one in report.calibrations])


def _calibrated(one: Calibration, names: Names, level: float) -> str:
    who = names.get(one.subject, one.subject)
    if one.slope is not None and one.slope_low is not None and one.slope_high is not None:
        slope = (
            f"{who}: where a claim moves the gap by 10 points, documents move it by {signed(one.slope / 10)} "
            f"{interval(one.slope_low / 10, one.slope_high / 10)} ({level:.0%}); "
            f"{signed((one.plain_slope or 0.0) / 10)} without the correction for noise."
        )
    else:
        slope = f"{who}: no slope, {one.refusal}."
    rank = one.rank_correlation
    return slope if rank is None else f"{slope} Spearman’s rank correlation of the effects is {rank:+.2f}."


def _steering(report: Convergence, names: Names) -> dict[str, Any]:
    tables: list[tuple[str, PageTable | None]] = []
    lines = []
    for one in report.steering:
        who = names.get(one.subject, one.subject)
        lines += [f"{who}: {vector.sentence}" for vector in one.vectors]
        tables += [("", _vectors(one, who))]
        tables += [(f"{who}, {v.concept} vector: dose by dose", _by_dose(v)) for v in one.vectors]
    judges = list(dict.fromkeys(judge for one in report.steering for judge in one.judges))
    floors = ", ".join(dict.fromkeys(f"{one.parse_floor:.0%}" for one in report.steering))
    judged = f"Judge: {', '.join(judges)}." if judges else "No judge read the replies."
    return _part(tables, lines, f"{judged} A multiplier is used where {floors} of replies can be counted.")


def _vectors(one: SteeringResult, who: str) -> PageTable | None:
    header = (
        *("vector", "concept score", "random", "p (score)", "gap", "random", "p (gap)", "controls"),
        "multipliers used",
    )
    rows = [
        (
            Named(f"{v.concept} vector, layers {v.layers}"),
            *_band(v.reasoning, scale=1.0),
            *_band(v.behaviour, scale=100.0),
            count(v.behaviour.n_controls if v.behaviour else 0),
            ", ".join(f"{m:+g}" for m in v.used) or "none",
        )
        for v in one.vectors
    ]
    caption = f"{who}: swing over the usable doses; p is the rank among random vectors"
    return table(caption, header, rows, remarks=True)


def _band(band: Band | None, *, scale: float) -> tuple[str, str, str]:
    """Change with interval, range of random vectors, rank p."""
    if band is None:
        return DASH, DASH, DASH
    change = signed(band.change, scale=scale)
    around = interval(band.low, band.high, scale=scale)
    random = interval(band.control_low, band.control_high, scale=scale)
    p = DASH if band.rank_p is None else f"{band.rank_p:.3f}"
    return (change if around == DASH else f"{change} {around}"), random, p


def _by_dose(vector: VectorCoupling) -> PageTable | None:
    header = (
        *("multiplier", "dose", "counted", "monitored", "unmonitored", "gap change"),
        *("own score", "other score"),
    )
    rows = [
        (
            f"{p.multiplier:+g}",
            DASH if p.dose is None else f"{p.dose:+.3f}",
            f"{p.parsed:.0%}",
            percent(p.monitored),
            percent(p.unmonitored),
            DASH if p.gap is None else f"{signed(p.gap.change)} {interval(p.gap.low, p.gap.high)}",
            *(DASH if s is None else signed(s.change, scale=1.0) for s in (p.own_score, p.other_score)),
        )
        for p in vector.points
    ]
    return table(f"{vector.concept} ({vector.digest[:6]}), layers {vector.layers}", header, rows)


def _beliefs(report: Convergence, names: Names) -> dict[str, Any]:
    return _part(checks=belief_lines(report.selectivity, report.thresholds, names))


def _screening(report: Convergence, names: Names) -> dict[str, Any]:
    rows = [
        (
            Named(names.get(row.subject, row.subject)),
            percent(row.monitored),
            percent(row.unmonitored),
            points(row.gap),
            count(row.gap.n),
            "; ".join((*row.flags, *(("simulated",) if row.simulated else ()))),
        )
        for row in report.screening
    ]
    recipes = shortest(group.group for group in report.screened_groups)
    spread = [
        f"{recipes[group.group]}: mean gap {signed(group.mean)} over {group.n_seeds} training seeds, "
        f"standard deviation {100 * group.sd:.1f} points between them."
        for group in report.screened_groups
    ]
    header = ("model", "monitored", "unmonitored", "gap", "requests", "flags")
    return _part([("Numbers", table("Untouched models", header, rows, remarks=True))], spread)


def _ablations(report: Convergence, names: Names) -> dict[str, Any]:
    rows = [
        (
            Named(names.get(row.subject, row.subject)),
            Named(row.variant),
            points(row.gap),
            points(row.change),
            interval(row.change_simultaneous_low, row.change_simultaneous_high),
            count(row.gap.n),
        )
        for row in report.ablations
    ]
    header = ("model", "prompt", "gap", "change", "simultaneous", "pairs")
    return _part([("Numbers", table("Untouched model by prompt", header, rows, words=2))])


def _dose_trends(report: Convergence, names: Names) -> dict[str, Any]:
    rows = [
        (
            Named(f"{names.get(curve.subject, curve.subject)}, {METHOD_NAMES[curve.method]}"),
            trend.family,
            points(trend.slope),
        )
        for curve in report.doses
        for trend in curve.trends
    ]
    header = ("model and method", "family", "trend per step")
    return _part([("Slopes", table("Points per step or unit of multiplier", header, rows, words=2))])


def _checkpoints(report: Convergence, names: Names) -> dict[str, Any]:
    lines = [
        f"{names.get(one.subject, one.subject)}, {one.checkpoint}: "
        f"{'eligible' if one.eligible else 'not eligible'}, {one.eligibility}."
        for one in report.checkpoints
    ]
    rows = [
        (
            Named(one.checkpoint),
            claim.claim,
            points(claim.on_checkpoint),
            points(claim.on_subject),
            points(claim.difference),
        )
        for one in report.checkpoints
        for claim in one.claims
    ]
    header = ("checkpoint", "claim", "on it", "on the model", "difference")
    note = (
        "A checkpoint is eligible where its own gap’s interval excludes 0 and both tiers lie between floor "
        "and ceiling; without a gap or room a claim shows nothing. This rule is ours."
    )
    return _part([("Numbers", table("Change of the gap by each claim", header, rows, words=2))], lines, note)


def _direct(report: Convergence, names: Names) -> dict[str, Any]:
    found = [direct_part(one) for one in report.direct]
    warnings = [warning for one in report.direct for warning in one.warnings]
    return _part([("Numbers", one["table"]) for one in found], warnings)


_Part = tuple[str, str, Callable[[Convergence], object], Callable[[Convergence, Names], dict[str, Any]]]
_PARTS: tuple[_Part, ...] = (
    ("calibration", "Prompt against documents", lambda r: r.calibrations, _calibration),
    (
        "coupling",
        "Does a vector move reasoning, and does it move behaviour?",
        lambda r: r.steering,
        _steering,
    ),
    (
        "random-vectors",
        "What any direction does",
        lambda r: any(one.random for one in r.steering),
        lambda r, names: _part(),
    ),
    ("beliefs", "Did the beliefs move, and only those?", lambda r: r.selectivity, _beliefs),
    ("screening", "Which models fake at all", lambda r: r.screening, _screening),
    ("role-play", "Who the model is said to be", lambda r: r.ablations, _ablations),
    ("doses", "Dose and response", lambda r: r.doses, _dose_trends),
    (
        "checkpoints",
        "Prompt claims on document-trained checkpoints",
        lambda r: r.checkpoints,
        _checkpoints,
    ),
    ("direct-requests", "Asked directly, without the scenario", lambda r: r.direct, _direct),
)
"""(id, title, what it needs, what it shows) of every section, in the order of the page."""
