"""The page of a convergence report, and the report as files: HTML, JSON, CSV, SVG and PNG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from inspect_af.format import DASH, Columns, Table, change, count, interval, percent, points, signed, table
from inspect_af.profile.result import Band, Convergence, MethodPair, MethodResult, Model, VectorCoupling
from inspect_af.report.canvas import Drawing
from inspect_af.report.figures import Names, draw_convergence
from inspect_af.report.files import convergence_tables, figure_sources, write_drawings, write_tables
from inspect_af.report.naming import METHOD_NAMES, report_words, shared_families, short_names, shortest
from inspect_af.report.page import (
    belief_lines,
    figures_of,
    name,
    render,
    scratchpad_part,
    sensitivity_columns,
    settings_table,
    try_drawing,
    with_names,
)
from inspect_af.report.terminal import belief_table, direct_table
from inspect_af.report.words import headline_numbers, key_of, tier_words

CODES = {"converge": "converge", "diverge": "diverge", "not-enough": "not enough to say"}


def write_convergence(report: Convergence, directory: Path) -> list[Path]:
    """Writes convergence.html, convergence.json, CSV files and every figure; returns the files.

    Without matplotlib the figures are left out, and the page says so.
    """
    directory.mkdir(parents=True, exist_ok=True)
    drawings, absent = try_drawing(lambda: draw_convergence(report))
    page, data = directory / "convergence.html", directory / "convergence.json"
    page.write_text(_page(report, drawings, absent), encoding="utf-8", newline="\n")
    data.write_text(report.to_json() + "\n", encoding="utf-8", newline="\n")
    tables = write_tables(convergence_tables(report), directory)
    return [page, data, *tables, *write_drawings(drawings, directory)]


def render_convergence(report: Convergence) -> str:
    """The page as text. Without matplotlib it has its tables, and says what to install for its figures."""
    return _page(report, *try_drawing(lambda: draw_convergence(report)))


def _page(report: Convergence, drawings: Sequence[Drawing], absent: str | None) -> str:
    evidence = report_words()["evidence"]
    names, methods = short_names(report), [m for model in report.models for m in model.methods]
    tally = {word: sum(m.statement.code == code for m in report.models) for code, word in CODES.items()}
    judges = any(one.simulated_judge and one.judges for one in report.steering)
    shown = (
        (row.intervention, m.method) for m in methods for row in m.gaps if row.intervention != "baseline"
    )
    return render(
        "convergence.html",
        thresholds=report.thresholds,
        title=report.title,
        report=report,
        absent=absent,
        names=names,
        codes=CODES,
        tally=", ".join(f"{n} {word}" for word, n in tally.items() if n),
        simulated=[names[m.subject] for m in report.models if m.simulated],
        simulated_judge=judges or any(one.simulated_judge for one in report.direct),
        figures=figures_of(drawings),
        sources=figure_sources(report),
        parts=_parts(report, names),
        models=[(model, _methods(model), _pairs(model)) for model in report.models],
        tiers=tier_words(report.scenarios),
        key=key_of(report.codes, shown, shared_families(report)),
        evidence=[text for name, text in evidence.items() if any(m.method == name for m in methods)],
        margin=f"{100 * report.thresholds.delta:g} points",
        settings=settings_table(report.thresholds),
    )


def _methods(model: Model) -> Table | None:
    def verdict(method: MethodResult) -> str:
        # The profile's verdict knows nothing of random vectors: where they hold it back, that is said.
        leads = (method.verdict_code or "").endswith(("-dominant", "-leaning"))
        held_back = method.method == "steering" and leads and method.direction == "open"
        return (method.verdict or "none") + (
            ", not counted: not shown beyond random vectors" if held_back else ""
        )

    def remarks(method: MethodResult) -> str:
        setting = method.prompt_settings.get("setting")
        parts = (method.strength, f"{setting} setting" if setting else None, method.verdict_suffix)
        return ", ".join(filter(None, parts))

    columns: Columns[MethodResult] = {
        "method": lambda m: METHOD_NAMES[m.method],
        "verdict": verdict,
        "level": lambda m: m.verdict_levels[-1].scope if m.verdict_levels else DASH,
        **sensitivity_columns(model.families, lambda m: headline_numbers(m)[0]),
        "difference": lambda m: points(headline_numbers(m)[1]),
        "reference gap": lambda m: points(m.reference_gap),
        "requests": lambda m: f"{count(m.n_requests)} {m.requests}",
        "beliefs": lambda m: m.beliefs or "not measured",
        "remarks": remarks,
    }
    return table(
        "Points with intervals, by method, at the level of its verdict",
        model.methods,
        columns,
        words=3,
        remarks=True,
    )


def _pairs(model: Model) -> Table | None:
    def over(pair: MethodPair) -> str:
        sides = [(METHOD_NAMES[m], pair.variables.get(m, ())) for m in (pair.first, pair.second)]
        return pair.refusal or "; ".join(f"{side}: {', '.join(codes)}" for side, codes in sides if codes)

    columns: Columns[MethodPair] = {
        "methods": lambda p: f"{METHOD_NAMES[p.first]} less {METHOD_NAMES[p.second]}",
        **sensitivity_columns(model.families),
        "difference": lambda p: points(p.contrast),
        "over": over,
    }
    return table(
        "First less second, in points, for the texts, documents and vectors that were used",
        model.pairs,
        columns,
        remarks=True,
    )


def _parts(report: Convergence, names: Names) -> list[dict[str, Any]]:
    """Every section that has something to show: lines, a note, and tables that are folded under a title, or
    open without one."""
    recipes = shortest(group.group for group in report.screened_groups)
    judges = list(dict.fromkeys(judge for one in report.steering for judge in one.judges))
    floors = ", ".join(dict.fromkeys(f"{one.parse_floor:.0%}" for one in report.steering))
    judged = f"Judge: {', '.join(judges)}." if judges else "No judge read the replies."
    vectors: list[tuple[str, Table | None]] = []
    for one in report.steering:
        who = names[one.subject]
        swing = f"{who}: swing over the usable doses; p is the rank among random vectors"
        vectors.append(("", table(swing, one.vectors, _VECTOR, remarks=True)))
        vectors += [(f"{who}, {v.concept} vector: dose by dose", _by_dose(v)) for v in one.vectors]
    screening = table(
        "Untouched models",
        report.screening,
        {
            "model": lambda r: name(names[r.subject]),
            "monitored": lambda r: percent(r.monitored),
            "unmonitored": lambda r: percent(r.unmonitored),
            "gap": lambda r: points(r.gap),
            "requests": lambda r: count(r.gap.n),
            "flags": lambda r: "; ".join((*r.flags, *(("simulated",) if r.simulated else ()))),
        },
        remarks=True,
    )
    ablations = table(
        "Untouched model by prompt",
        report.ablations,
        {
            "model": lambda r: name(names[r.subject]),
            "prompt": lambda r: name(r.variant),
            "gap": lambda r: points(r.gap),
            "change": lambda r: points(r.change),
            "simultaneous": lambda r: interval(r.change_simultaneous_low, r.change_simultaneous_high),
            "pairs": lambda r: count(r.gap.n),
        },
        words=2,
    )
    trends = table(
        "Points per step or unit of multiplier",
        [(curve, trend) for curve in report.doses for trend in curve.trends],
        {
            "model and method": lambda r: name(f"{names[r[0].subject]}, {METHOD_NAMES[r[0].method]}"),
            "family": lambda r: r[1].family,
            "trend per step": lambda r: points(r[1].slope),
        },
        words=2,
    )
    checkpoints = table(
        "Change of the gap by each claim",
        [(one, claim) for one in report.checkpoints for claim in one.claims],
        {
            "checkpoint": lambda r: name(r[0].checkpoint),
            "claim": lambda r: r[1].claim,
            "on it": lambda r: points(r[1].on_checkpoint),
            "on the model": lambda r: points(r[1].on_subject),
            "difference": lambda r: points(r[1].difference),
        },
        words=2,
    )
    asked: dict[tuple[str, str], tuple[str, ...]] = {
        (model.subject, method.method): tuple(
            dict.fromkeys(
                row.intervention.rstrip("+-") for row in method.gaps if row.family and not row.placebo
            )
        )
        for model in report.models
        for method in model.methods
        if method.method != "steering"
    }
    eligible = [
        f"{names[one.subject]}, {one.checkpoint}: {'' if one.eligible else 'not '}eligible, "
        f"{one.eligibility}."
        for one in report.checkpoints
    ]
    eligible += [f"{names[one.subject]}: {one.sentence}" for one in report.checkpoints_apart]
    measured = [one for one in report.selectivity if not one.unmeasured]
    spread = (
        f"{recipes[g.group]}: mean gap {signed(g.mean)} over {g.n_seeds} training seeds, standard deviation "
        f"{100 * g.sd:.1f} points between them."
        for g in report.screened_groups
    )
    said = [
        f"{names[one.subject]}: {line}"
        for one in report.steering
        for line in (*(v.sentence for v in one.vectors), one.positive_control and f"{one.positive_control}.")
        if line
    ]
    used = f"{judged} A multiplier is used where {floors} of replies can be counted."
    warnings = [warning for one in report.direct for warning in one.warnings]
    direct = [with_names(direct_table(one, of=" / ")) for one in report.direct]
    edits = [(one.subject, scratchpad_part(one)) for one in report.scratchpads]
    edited = [f"{who}: {line}" for who, part in edits for line in part["lines"]]
    changes = [found for _, part in edits for found in part["tables"]]
    checks = belief_lines(report.selectivity, report.thresholds, names, asked)

    def part(id: str, *tables: Table | None, lines: Iterable[str] = (), **more: Any) -> dict[str, Any]:
        about = {"id": id, "title": report_words()[id]["title"], "note": report_words()[id].get("note")}
        shown = [("", found) for found in tables if found]
        return {**about, "lines": list(lines), "tables": shown, "checks": (), **more}

    parts = (
        (report.calibrations, part("calibration", lines=_slopes(report, names))),
        (report.steering, part("coupling", lines=said, note=used, tables=[one for one in vectors if one[1]])),
        (report.selectivity, part("beliefs", *(belief_table(m, names) for m in measured), checks=checks)),
        (report.screening, part("screening", screening, lines=spread)),
        (report.ablations, part("role-play", ablations)),
        (report.doses, part("doses", tables=[("Slopes", trends)] if trends else [])),
        (report.checkpoints, part("checkpoints", checkpoints, lines=eligible)),
        (report.direct, part("direct-requests", *direct, lines=warnings)),
        (report.scratchpads, part("scratchpads", *changes, lines=edited)),
    )
    return [found for held, found in parts if held]


def _slopes(report: Convergence, names: Names) -> list[str]:
    lines = []
    for one in report.calibrations:
        line = f"{names[one.subject]}: no slope, {one.refusal}."
        if one.slope is not None and one.slope_low is not None and one.slope_high is not None:
            line = (
                f"{names[one.subject]}: where a claim moves the gap by 10 points, documents move it by "
                f"{signed(one.slope / 10)} {interval(one.slope_low / 10, one.slope_high / 10)} "
                f"({report.thresholds.confidence:.0%}); {signed((one.plain_slope or 0.0) / 10)} without the "
                "correction for noise."
            )
        if one.rank_correlation is not None:
            line += f" Spearman’s rank correlation of the effects is {one.rank_correlation:+.2f}."
        lines.append(line)
    return lines


def _change(band: Band | None, scale: float = 100.0) -> str:
    return DASH if band is None else change(band.change, band.low, band.high, scale=scale)


def _random(band: Band | None, scale: float = 100.0) -> str:
    return DASH if band is None else interval(band.control_low, band.control_high, scale=scale)


def _rank(band: Band | None) -> str:
    return DASH if band is None or band.rank_p is None else f"{band.rank_p:.3f}"


_VECTOR: Columns[VectorCoupling] = {
    "vector": lambda v: name(f"{v.concept} vector, layers {v.layers}"),
    "concept score": lambda v: _change(v.reasoning, 1.0),
    "random (score)": lambda v: _random(v.reasoning, 1.0),
    "p (score)": lambda v: _rank(v.reasoning),
    "gap": lambda v: _change(v.behaviour),
    "random (gap)": lambda v: _random(v.behaviour),
    "p (gap)": lambda v: _rank(v.behaviour),
    "controls": lambda v: count(v.behaviour.n_controls if v.behaviour else 0),
    "multipliers used": lambda v: ", ".join(f"{m:+g}" for m in v.used) or "none",
}


def _by_dose(vector: VectorCoupling) -> Table | None:
    return table(
        f"{vector.concept} ({vector.digest[:6]}), layers {vector.layers}",
        vector.points,
        {
            "multiplier": lambda p: f"{p.multiplier:+g}",
            "dose": lambda p: DASH if p.dose is None else f"{p.dose:+.3f}",
            "counted": lambda p: f"{p.parsed:.0%}",
            "monitored": lambda p: percent(p.monitored),
            "unmonitored": lambda p: percent(p.unmonitored),
            "gap change": lambda p: _change(p.gap),
            "own score": lambda p: signed(p.own_score.change if p.own_score else None, scale=1.0),
            "other score": lambda p: signed(p.other_score.change if p.other_score else None, scale=1.0),
        },
    )
