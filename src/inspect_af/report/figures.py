"""The figures of a profile, of a convergence report and of a sweep, each drawn once.

Rates, gaps and effects are shown in percent and percentage points. Families of beliefs are told apart by
`canvas.FAMILY_STYLES`, whatever the order in which a report holds them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from inspect_af.format import one_line, signed
from inspect_af.profile.result import (
    Calibration,
    Convergence,
    DosePoint,
    Model,
    Profile,
    SteeringResult,
)
from inspect_af.report.canvas import (
    BLUE,
    CLEAR,
    DASHES,
    FAMILY_STYLES,
    GRID,
    INK,
    MUTED,
    VERMILLION,
    WIDTH,
    Drawing,
    Mark,
    Panel,
    add_axes,
    bounds_of,
    drawing_style,
    drawn,
    family_key,
    forest,
    key,
    mark,
    new_figure,
    numbered,
    span_of,
    squares,
    write,
)
from inspect_af.report.naming import (
    METHOD_NAMES,
    Families,
    blocks,
    condition_name,
    effect_name,
    family_labels,
    grouped_conditions,
    grouped_effects,
    report_words,
    several_strengths,
    shared_families,
    short_names,
    short_profile_title,
)
from inspect_af.report.words import headline_numbers
from inspect_af.steering.sweep import SweepReport, VectorSweep
from inspect_af.types import FAMILIES, Method

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Names = Mapping[str, str]  # What to call every subject
_Held = TypeVar("_Held", Calibration, SteeringResult)
Row = tuple[str, str, Sequence[Mark]]
_Curve = tuple[str, Method, Sequence[DosePoint], Families]


def draw_figures(profile: Profile) -> tuple[Drawing, ...]:
    """All figures of a profile for which there is something to show, in the order of the page.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawers = (draw_plane, draw_gaps, draw_arms, draw_profile_doses)
    return tuple(drawing for draw in drawers if (drawing := draw(profile)) is not None)


def draw_convergence(report: Convergence) -> tuple[Drawing, ...]:
    """All figures of a convergence report for which there is something to show, in the order of the page.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    names = short_names(report)
    drawings = (
        draw_methods(report, names),
        *(draw_model_gaps(model, k, names) for k, model in enumerate(report.models, start=1)),
        draw_calibration(report, names),
        draw_coupling(report, names),
        draw_doses(report, names),
    )
    return tuple(filter(None, drawings))


# Of a profile


def draw_plane(profile: Profile) -> Drawing | None:
    """How strongly the gap follows each family: one point and joint interval per profile that has both."""
    both = [one for one in profile.profiles if len(one.sensitivity) == 2]
    labels = family_labels(both[:1])
    measured = [one for one in both if set(labels) == set(one.sensitivity)]
    points = 100 * np.array([[one.sensitivity[label].estimate for label in labels] for one in measured])
    known = [k for k, point in enumerate(points) if not np.isnan(point).any()]
    if not known:
        return None
    level, delta = profile.thresholds.confidence, 100 * profile.thresholds.delta
    # Radius that a bivariate normal stays within, with that probability.
    radius = math.sqrt(-2 * math.log(1 - level))
    planes = [measured[k].plane or (0.0, 0.0, 0.0) for k in known]
    spreads = [1e4 * np.nan_to_num([[a, c], [c, b]]) for a, b, c in planes]
    arms = np.array([radius * np.sqrt(np.diag(spread).clip(0)) for spread in spreads])
    points = points[known]
    reach = np.concatenate([[0.0, delta, -delta], (points + arms).ravel(), (points - arms).ravel()])
    air = 0.06 * (reach.max() - reach.min())
    low, high = reach.min() - air, reach.max() + air
    # Several points have numbers, whose names stand in a column at the right.
    alone, left, top, line = len(known) == 1, 40.0, 8.0, 12.5
    side, size = (342.0, 11.0) if alone else (240.0, 9.5)
    bottom = top + max(side, line * len(known))
    with drawing_style():
        from matplotlib.patches import Ellipse, Rectangle

        figure = new_figure(bottom + 40)
        ax = add_axes(figure, left, top, side, side)
        ax.set(xlim=(low, high), ylim=(low, high))
        ax.spines["left"].set_visible(True)
        ax.tick_params(axis="y", size=2.5, width=0.6)
        first, second = (one_line(label, longest=30) for label in labels)
        shown = f"{first} sensitivity, points", f"{second} sensitivity, points"
        numbered(ax, shown, x=6, y=6, size=size, ticks=size - 1)
        square = Rectangle((-delta, -delta), 2 * delta, 2 * delta, facecolor=GRID, edgecolor="none", zorder=0)
        ax.add_patch(square)
        ax.axhline(0, color=MUTED, linewidth=0.6, zorder=1)
        ax.axvline(0, color=MUTED, linewidth=0.6, zorder=1)
        ax.plot((low, high), (low, high), color=MUTED, linewidth=0.6, linestyle=(0, (3, 3)), zorder=1)
        edge = 6 * (high - low) / side
        words: dict[str, Any] = {"color": MUTED, "fontsize": size - 1, "style": "italic", "bbox": CLEAR}
        ax.text(high - edge, low + edge, f"follows {first}", ha="right", va="bottom", **words)
        ax.text(low + edge, high - edge, f"follows {second}", ha="left", va="top", **words)
        for number, (k, (x, y), spread) in enumerate(zip(known, points, spreads, strict=True), start=1):
            if spread.any():
                variances, axes = np.linalg.eigh(spread)
                short, long = 2 * radius * np.sqrt(variances.clip(0))
                angle = math.degrees(math.atan2(axes[1, 1], axes[0, 1]))
                look = {"facecolor": BLUE, "edgecolor": "none", "alpha": 0.18, "zorder": 2}
                ax.add_patch(Ellipse((x, y), long, short, angle=angle, **look))
            ax.plot([x], [y], "o", color=BLUE, markersize=6, zorder=4)
            name = short_profile_title(measured[k], profile, longest=34 if alone else 20)
            above: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": size - 1}
            ax.annotate(name if alone else str(number), (x, y), (0, 5), **above)
            if not alone:
                write(figure, left + side + 16, top + (number - 0.5) * line, f"{number} {name}", fontsize=9)
    return drawn(
        "motivation-plane", figure, first=labels.first, second=labels.second, delta=delta, level=level
    )


def draw_gaps(profile: Profile) -> Drawing | None:
    """A row per condition: both arms as dots on one line, and the gap with its interval."""
    rows = grouped_conditions(profile)
    if not rows:
        return None
    strength = several_strengths(row for _, row in rows)
    marks = [
        [
            Mark(0, None, row.unmonitored, row.monitored, MUTED, width=1.4),
            # The larger dot lies below, so that equal arms show as a ring.
            Mark(0, row.unmonitored, None, None, VERMILLION, size=6.5),
            Mark(0, row.monitored, None, None, BLUE),
            Mark(1, row.gap, row.gap_low, row.gap_high, INK, size=5.0),
        ]
        for _, row in rows
    ]
    with drawing_style():
        laid = forest(
            [
                (title, condition_name(row, strength=strength), own)
                for (title, row), own in zip(rows, marks, strict=True)
            ],
            (Panel("", "% accepted", (-3, 103)), Panel("gap")),
            right=36.0,
        )
        write(laid.figure, laid.left, 12, "monitored", color=BLUE)
        write(laid.figure, laid.left + laid.width, 12, "unmonitored", color=VERMILLION, ha="right")
        gaps, heights = laid.axes[1], {}
        for (_, row), y in zip(rows, laid.at, strict=True):
            heights[id(row)] = y
            top = laid.figure.get_figheight() * 72 - gaps.transData.transform((0, y))[1]
            if row.gap is None:
                write(laid.figure, WIDTH - 2, top, " no complete pair", color=MUTED, fontsize=8.5, ha="right")
            else:
                write(laid.figure, WIDTH - 2, top, signed(row.gap).replace("-", "−"), ha="right")
        for block in blocks(profile):  # the untouched model's gap, through all that is compared with it
            untouched = [row.gap for row in block.conditions if row.method == "none" and row.gap is not None]
            if len(untouched) == 1 and len(block.conditions) > 1:
                at = [heights[id(row)] for row in block.conditions]
                dashed: dict[str, Any] = {"color": MUTED, "linewidth": 0.9, "linestyle": DASHES}
                gaps.vlines(100 * untouched[0], min(at) - 0.4, max(at) + 0.4, zorder=2, **dashed)
    return drawn("gaps", laid.figure, level=profile.thresholds.confidence)


def draw_arms(profile: Profile) -> Drawing | None:
    """What each intervention changed: each arm, their mean, and the gap; None where there is no reference."""
    rows = grouped_effects(profile)
    strength = several_strengths(effect for _, effect in rows)
    looks = {"monitored": BLUE, "unmonitored": VERMILLION, "mean": MUTED, "gap": INK}
    references = sorted({f"the {effect.reference}" for _, effect in rows})
    return _rows(
        "arm-decomposition",
        [
            (
                title,
                effect_name(row, strength=strength),
                [mark(k, getattr(row, name), color) for k, (name, color) in enumerate(looks.items())],
            )
            for title, row in rows
        ],
        list(looks),
        against=" or ".join(references),
        level=profile.thresholds.confidence,
    )


def _rows(
    name: str,
    rows: Sequence[Row],
    panels: Sequence[str],
    *,
    of: str = "",
    families: Families | None = None,
    margin: float | None = None,
    lines: Sequence[float | None] = (),
    **words: Any,
) -> Drawing | None:
    """A forest as a figure, None without rows; see `forest` and `drawn`.

    `families` have their key above the panels; `margin` is half the width of a grey band around 0 in the last
    panel, in percentage points; `lines` say where a dashed line is drawn in each panel, 0 to 1.
    """
    if not rows:
        return None
    with drawing_style():
        entries = family_key(families) if families else ()
        laid = forest(rows, [Panel(title) for title in panels], entries=entries)
        if margin is not None:
            laid.axes[-1].axvspan(-margin, margin, color=GRID, alpha=0.6, linewidth=0, zorder=0)
        for ax, value in zip(laid.axes, lines, strict=False):
            if value is not None:
                ax.axvline(100 * value, color=MUTED, linewidth=0.9, linestyle=DASHES, zorder=2)
    return drawn(name, laid.figure, of=of, **words)


# Dose and response


def draw_profile_doses(profile: Profile) -> Drawing | None:
    """A panel per profile that was run at two strengths or multipliers, or more; else None."""
    curves = [
        (short_profile_title(one, profile, longest=30), one.method, one.dose_response, family_labels([one]))
        for one in profile.profiles
        if len({point.position for point in one.dose_response}) > 1
    ]
    return _doses("dose-response", curves, family_labels(profile.profiles), profile.thresholds.confidence)


def draw_doses(report: Convergence, names: Names) -> Drawing | None:
    """Both sensitivities over strength, directness or multiplier, a panel per model and method."""
    shared = shared_families(report)
    own = {model.subject: Families(*model.families) for model in report.models}
    curves = [(names[c.subject], c.method, c.points, own.get(c.subject, shared)) for c in report.doses]
    return _doses("doses", curves, shared, report.thresholds.confidence)


def _doses(name: str, curves: Sequence[_Curve], labels: Families, level: float) -> Drawing | None:
    if not curves:
        return None
    span = span_of(
        v for _, _, points, _ in curves for p in points for v in bounds_of(*p.sensitivity.values())
    )
    with drawing_style():
        figure, panels = squares([title for title, *_ in curves], above=22, height=128.0)
        key(figure, 38.0, 8, family_key(labels))
        for ax, curve in zip(panels, curves, strict=True):
            _curve(ax, curve, span)
    return drawn(name, figure, of="dose-response", level=level)


def _curve(ax: Axes, curve: _Curve, span: tuple[float, float]) -> None:
    _, method, points, labels = curve
    positions = sorted({(point.position, point.strength or "") for point in points})
    first, last = positions[0][0], positions[-1][0]
    width = (last - first) or 1.0
    ax.set(xlim=(first - 0.12 * width, last + 0.12 * width), ylim=span)
    ax.axhline(0, color=GRID, linewidth=0.8, zorder=1)
    shown = report_words()["doses-of"][method], "points"
    numbered(ax, shown, y=4, x=5 if method == "steering" else None)
    if method != "steering":
        ax.set_xticks([p for p, _ in positions], [one_line(text, longest=10) for _, text in positions])
    # Points need not know both families, nor in this order: at the smallest dose there may be only one.
    for family, shift in zip(FAMILIES, (-0.006, 0.006), strict=True):
        color, marker, _ = FAMILY_STYLES[family]
        values = [(p.position + shift * width, p.sensitivity.get(labels.of(family))) for p in points]
        found = [(x, e) for x, e in values if e is not None and not math.isnan(e.estimate)]
        line = [x for x, _ in found], [100 * e.estimate for _, e in found]
        ax.plot(*line, color=color, marker=marker, markersize=4.5, linewidth=1.2)
        for x, e in found:
            if e.low is not None and e.high is not None:
                ax.plot([x, x], [100 * e.low, 100 * e.high], color=color, linewidth=1.4)


# Rows of a convergence report


def draw_methods(report: Convergence, names: Names) -> Drawing | None:
    """Both sensitivities and their difference, by model and method."""
    rows: list[Row] = []
    for model in report.models:
        looks = list(zip(model.families, FAMILIES, (0.14, -0.14), strict=True))
        for method in model.methods if any(one.sensitivity for one in model.methods) else ():
            found, contrast = headline_numbers(method)
            marks = [mark(0, found.get(label), FAMILY_STYLES[f], up) for label, f, up in looks]
            marks.append(mark(1, contrast, INK))
            rows.append((names[model.subject], METHOD_NAMES[method.method], marks))
    return _rows(
        "methods",
        rows,
        ["sensitivity", "difference"],
        families=shared_families(report),
        margin=100 * report.thresholds.delta,
        level=report.thresholds.confidence,
    )


def draw_model_gaps(model: Model, number: int, names: Names) -> Drawing | None:
    """The gap under every condition, a panel per method."""
    families = Families(*model.families)
    headings = ["", *(families.heading(family, placebo=False) for family in FAMILIES), "placebo"]
    codes: dict[tuple[str, str], list[Mark]] = {}
    for panel, method in enumerate(model.methods):
        placebos = [row for row in method.gaps if row.placebo]
        for row in method.gaps:
            code = f"placebo {placebos.index(row) + 1}" if row.placebo else row.intervention
            look = INK if row.family and not row.placebo else MUTED
            heading = families.heading(row.family, placebo=row.placebo)
            codes.setdefault((heading, code), []).append(mark(panel, row.gap, look))
    rows = [(heading, code, marks) for (heading, code), marks in codes.items()]
    return _rows(
        f"gaps-{number}",
        sorted(rows, key=lambda row: headings.index(row[0])),
        [METHOD_NAMES[method.method] for method in model.methods],
        of="model-gaps",
        lines=[m.reference_gap.estimate if m.reference_gap else None for m in model.methods],
        subject=names[model.subject],
    )


# Planes of a convergence report


def _planes(
    name: str,
    held: Sequence[_Held],
    report: Convergence,
    names: Names,
    draw: Callable[[Axes, _Held], None],
    extra: Sequence[tuple[str, str, str]] = (),
) -> Drawing | None:
    """A panel per subject under a key of the families and of `extra` marks; None without subjects."""
    if not held:
        return None
    with drawing_style():
        figure, panels = squares([names[one.subject] for one in held], above=20)
        key(figure, 38.0, 8, [*family_key(shared_families(report)), *extra])
        for ax, one in zip(panels, held, strict=True):
            draw(ax, one)
    return drawn(name, figure)


def draw_calibration(report: Convergence, names: Names) -> Drawing | None:
    """Effect by prompt across, effect by documents up; the line is the corrected slope."""
    span = span_of(v for one in report.calibrations for p in one.points for v in bounds_of(p.prompt, p.sdf))

    def draw(ax: Axes, one: Calibration) -> None:
        _crossed(ax, span, span, "by prompt, points", "by documents, points")
        ax.plot(span, span, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
        found = 100 * np.array([[p.prompt.estimate, p.sdf.estimate] for p in one.points])
        if one.slope is not None:
            x, y = found.T
            ends = np.array([x.min(), x.max()])
            ax.plot(ends, y.mean() + one.slope * (ends - x.mean()), color=INK, linewidth=1.1, zorder=2)
        for point, (x, y) in zip(one.points, found, strict=True):
            color, marker, _ = FAMILY_STYLES[point.family]
            bar: dict[str, Any] = {"color": color, "linewidth": 0.8, "alpha": 0.55, "zorder": 3}
            if point.prompt.low is not None and point.prompt.high is not None:
                ax.plot([100 * point.prompt.low, 100 * point.prompt.high], [y, y], **bar)
            if point.sdf.low is not None and point.sdf.high is not None:
                ax.plot([x, x], [100 * point.sdf.low, 100 * point.sdf.high], **bar)
            ax.plot([x], [y], marker, color=color, markersize=4.5, zorder=4)

    return _planes("calibration", report.calibrations, report, names, draw)


def draw_coupling(report: Convergence, names: Names) -> Drawing | None:
    """Swing of the concept score across, swing of the gap up, vectors among random ones."""

    def draw(ax: Axes, one: SteeringResult) -> None:
        judged = [v for v in one.vectors if v.reasoning]
        dots = [(s, 100 * g, "x", MUTED, 4) for v in judged for s, g in v.control_swings if s is not None]
        for vector in judged:
            color, marker, _ = FAMILY_STYLES[vector.family]
            if vector.reasoning and vector.behaviour:
                dots.append((vector.reasoning.change, 100 * vector.behaviour.change, marker, color, 6))
        across = [0.0, *(x for x, *_ in dots)]
        air = 0.12 * (max(across) - min(across) or 1.0)
        limits = min(across) - air, max(across) + air
        _crossed(ax, limits, span_of(y / 100 for _, y, *_ in dots), "concept score", "gap, points")
        for x, y, marker, color, size in dots:
            ax.plot([x], [y], marker, color=color, markersize=size, zorder=2 if marker == "x" else 4)

    held = [one for one in report.steering if any(v.reasoning and v.behaviour for v in one.vectors)]
    return _planes("coupling", held, report, names, draw, [("×", MUTED, "random")])


def _crossed(ax: Axes, across: tuple[float, float], up: tuple[float, float], x: str, y: str) -> None:
    ax.set(xlim=across, ylim=up)
    numbered(ax, (x, y), x=4, y=4)
    if across[0] < 0 < across[1]:
        ax.axvline(0, color=GRID, linewidth=0.8, zorder=1)
    if up[0] < 0 < up[1]:
        ax.axhline(0, color=GRID, linewidth=0.8, zorder=1)


# Of a sweep


def draw_sweep(sweep: VectorSweep, report: SweepReport, number: int) -> Drawing:
    """A panel for every value over the dose: the vector's line, and the band of the random controls.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    labels = list(dict.fromkeys(label for point in sweep.points for label in point.bands))
    with drawing_style():
        figure, panels = squares(labels, above=20, left=40.0, height=96.0)
        write(figure, 40.0, 10, one_line(sweep.title, longest=60))
        for ax, label in zip(panels, labels, strict=True):
            _swept(ax, label, sweep, report)
    return drawn(f"sweep-{number}", figure, of="sweep", vector=sweep.title)


def _swept(ax: Axes, label: str, sweep: VectorSweep, report: SweepReport) -> None:
    scale = 1.0 if label.startswith("concept: ") else 100.0
    by_dose = all(point.dose is not None for point in sweep.points)
    base = report.unsteered.values.get(label)
    known = [
        (point.dose if by_dose and point.dose is not None else point.multiplier, point, point.bands[label])
        for point in sweep.points
        if label in point.bands
    ]
    line = [(at, band.value) for at, _, band in known]
    banded = [(x, b.low, b.central_low, b.central_high, b.high) for x, _, b in known if b.low is not None]
    if base is not None:
        ax.axhline(scale * base, color=MUTED, linewidth=0.8, linestyle=":")
        line.append((0.0, base))
        if banded:
            x, *bounds = np.array(sorted([*banded, (0.0, base, base, base, base)]), dtype=float).T
            low, central_low, central_high, high = (scale * bound for bound in bounds)
            ax.fill_between(x, low, high, color=GRID, linewidth=0)
            ax.fill_between(x, central_low, central_high, color=MUTED, alpha=0.35, linewidth=0)
    at, values = np.array(sorted(line)).T
    ax.plot(at, scale * values, color=BLUE, linewidth=1.2)
    for place, point, band in known:
        beyond = band.low is not None and band.high is not None and not band.low <= band.value <= band.high
        color = VERMILLION if beyond else BLUE
        face = color if point.usable else "none"
        ax.plot([place], [scale * band.value], marker="o", markersize=4, color=color, markerfacecolor=face)
    if label == "parse rate":
        ax.axhline(100 * report.floor, color=VERMILLION, linewidth=0.8, linestyle="--")
    unit = "score" if scale == 1 else "points" if label == "gap" else "percent"
    numbered(ax, ("dose" if by_dose else "multiplier", unit), x=5, y=4, size=8)
