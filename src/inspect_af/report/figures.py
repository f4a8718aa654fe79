"""The figures of a profile, of a convergence report and of a sweep, each drawn once.

Rates, gaps and effects are shown in percent and percentage points. Families of beliefs are told apart by
`canvas.FAMILY_STYLES`, whatever the order in which a report holds them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from inspect_af.format import one_line, signed
from inspect_af.logs import REQUEST_ARMS
from inspect_af.profile.beliefs import SelectivityMatrix
from inspect_af.profile.counts import ConceptScore
from inspect_af.profile.intervals import Estimate
from inspect_af.profile.result import (
    Calibration,
    ConditionRow,
    Convergence,
    DosePoint,
    Model,
    Profile,
    SteeringResult,
)
from inspect_af.report.canvas import (
    BLUE,
    FAMILY_STYLES,
    GREEN,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    ROW,
    SKY,
    VERMILLION,
    WIDTH,
    Drawing,
    Forest,
    Mark,
    Panel,
    add_axes,
    draw_mark,
    drawing_style,
    family_key,
    forest,
    forest_of,
    in_points,
    key,
    mark,
    new_figure,
    numbered,
    span_of,
    squares,
    write,
)
from inspect_af.report.naming import (
    DOSE_NAMES,
    METHOD_NAMES,
    Families,
    blocks,
    condition_name,
    effect_name,
    family_labels,
    grouped_conditions,
    grouped_effects,
    several_strengths,
    shared_families,
    short_names,
    short_profile_title,
    shortest,
)
from inspect_af.steering.sweep import SweepPoint, SweepReport, VectorSweep
from inspect_af.types import FAMILIES, UNSCORED, Method, Tier

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ARMS: tuple[Tier, Tier] = ("monitored", "unmonitored")
REASONS = (*UNSCORED, "failed")
"""Why a reply is missing."""

_Held = TypeVar("_Held", Calibration, SteeringResult)

Names = Mapping[str, str]
"""What to call every subject."""


def draw_figures(profile: Profile) -> tuple[Drawing, ...]:
    """All figures of a profile for which there is something to show, in the order of the page.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawings = (
        draw_plane(profile),
        draw_gaps(profile),
        draw_arms(profile),
        draw_profile_doses(profile),
        draw_missing(profile),
        draw_concepts(profile.concepts),
        draw_beliefs(profile.selectivity),
    )
    return tuple(drawing for drawing in drawings if drawing is not None)


def draw_convergence(report: Convergence) -> tuple[Drawing, ...]:
    """All figures of a convergence report for which there is something to show, in the order of the page.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    names = short_names(report)
    drawings = [
        draw_methods(report, names),
        *(draw_model_gaps(model, k, names) for k, model in enumerate(report.models, start=1)),
        draw_calibration(report, names),
        draw_coupling(report, names),
        draw_random(report, names),
    ]
    for k, matrix in enumerate(report.selectivity, start=1):
        drawing = draw_beliefs([matrix])
        if drawing is not None:
            title = matrix_title(matrix, names)
            drawing = drawing._replace(
                name=f"beliefs-{k}", title=title, caption=f"{title}. {drawing.caption}"
            )
        drawings.append(drawing)
    drawings += [
        draw_screening(report, names),
        draw_ablations(report, names),
        draw_doses(report, names),
        draw_checkpoints(report, names),
        draw_direct(report, names),
    ]
    return tuple(drawing for drawing in drawings if drawing is not None)


def matrix_title(matrix: SelectivityMatrix, names: Names) -> str:
    """Subject, method and strength of a matrix of beliefs."""
    strength = f", {matrix.strength}" if matrix.strength else ""
    return f"{names.get(matrix.subject, matrix.subject)}, {METHOD_NAMES[matrix.method]}{strength}"


# Of a profile


class _Point(NamedTuple):
    label: str
    first: float
    second: float
    covariance: tuple[float, float, float] | None
    """Variance of the first, of the second, and covariance, in squared percentage points."""


def draw_plane(profile: Profile) -> Drawing | None:
    """How strongly the gap follows each family: one point and joint interval per profile that has both."""
    labels, found = family_labels(profile), []
    longest = 34 if len(profile.profiles) == 1 else 20
    for one in profile.profiles:
        if set(labels) <= set(one.sensitivity):
            first, second = (100 * one.sensitivity[label].estimate for label in labels)
            if not math.isnan(first + second):
                plane = one.plane
                usable = plane is not None and not any(map(math.isnan, plane)) and min(plane[:2]) > 0
                covariance = (1e4 * plane[0], 1e4 * plane[1], 1e4 * plane[2]) if plane and usable else None
                title = short_profile_title(one, profile, longest=longest)
                found.append(_Point(title, first, second, covariance))
    if not found:
        return None
    level, delta = profile.thresholds.confidence, 100 * profile.thresholds.delta
    # Squared radius that a bivariate normal stays within, with that probability.
    radius = math.sqrt(-2 * math.log(1 - level))
    reach = [0.0, delta, -delta]
    for point in found:
        a, b = (radius * math.sqrt(v) for v in (point.covariance or (0.0, 0.0))[:2])
        reach += [point.first - a, point.first + a, point.second - b, point.second + b]
    air = 0.06 * (max(reach) - min(reach))
    low, high = min(reach) - air, max(reach) + air
    # Several points are named in a column at the right, a single one beside itself.
    alone, left, top, line = len(found) == 1, 40.0, 8.0, 12.5
    side = 342.0 if alone else 240.0
    scale = (high - low) / side
    with drawing_style():
        figure = new_figure(max(top + side, top + 10 + line * len(found)) + 40)
        ax = add_axes(figure, left, top, side, side)
        _plane_axes(ax, low, high, delta, labels, scale, size=11.0 if alone else 9.5)
        for point in found:
            _plane_point(ax, point, radius)
        if alone:
            (point,) = found
            away = (radius * math.sqrt(point.covariance[1]) if point.covariance else 0.0) + 5 * scale
            above = point.second + away + 12 * scale < high
            ax.text(
                min(max(point.first, low + 62 * scale), high - 62 * scale),
                point.second + (away if above else -away),
                point.label,
                fontsize=11,
                ha="center",
                va="bottom" if above else "top",
            )
        else:
            wanted = [top + (high - point.second) / scale for point in found]
            slots = _apart(wanted, top - line + 6, top + max(side, line * len(found)) - 6, line)
            for point, slot in zip(found, slots, strict=True):
                y = high - (slot - top) * scale
                ax.plot(
                    [point.first, high + 3 * scale, high + 13 * scale],
                    [point.second, y, y],
                    color=MUTED,
                    linewidth=0.5,
                    alpha=0.7,
                    clip_on=False,
                    zorder=3,
                )
                write(figure, left + side + 16, slot, point.label, size=9)
    return Drawing(
        "motivation-plane",
        "The motivation plane",
        "How far the compliance gap moves between amplified and suppressed beliefs, for each family, in "
        f"percentage points. Lower right: the gap follows {labels.first} beliefs. Upper left: "
        f"{labels.second} beliefs. Near the diagonal: both alike. The grey square holds what counts as "
        f"practically none (±{delta:g} points). Ellipses: joint {level:.0%} intervals over "
        "requests (normal approximation).",
        figure,
    )


def _plane_axes(
    ax: Axes, low: float, high: float, delta: float, labels: Families, scale: float, *, size: float
) -> None:
    from matplotlib.patches import Rectangle

    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.spines["left"].set_visible(True)
    ax.tick_params(axis="y", size=2.5, width=0.6)
    numbered(ax, x=6, y=6, size=size - 1)
    names = [one_line(label, longest=30) for label in labels]
    ax.set_xlabel(f"{names[0]} sensitivity, points", labelpad=4, color=INK, fontsize=size)
    ax.set_ylabel(f"{names[1]} sensitivity, points", labelpad=3, color=INK, fontsize=size)
    ax.add_patch(
        Rectangle((-delta, -delta), 2 * delta, 2 * delta, facecolor=GRID, edgecolor="none", zorder=0)
    )
    ax.axhline(0, color=MUTED, linewidth=0.6, zorder=1)
    ax.axvline(0, color=MUTED, linewidth=0.6, zorder=1)
    ax.plot((low, high), (low, high), color=MUTED, linewidth=0.6, linestyle=(0, (3, 3)), zorder=1)
    edge = 6 * scale
    clear = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}
    for x, y, text, across, up in (
        (high - edge, low + edge, f"follows {names[0]}", "right", "bottom"),
        (low + edge, high - edge, f"follows {names[1]}", "left", "top"),
    ):
        ax.text(x, y, text, color=MUTED, fontsize=size - 1, style="italic", ha=across, va=up, bbox=clear)


def _plane_point(ax: Axes, point: _Point, radius: float) -> None:
    from matplotlib.patches import Ellipse

    if point.covariance is not None:
        a, b, c = point.covariance
        spread = math.hypot((a - b) / 2, c)
        long, short = (math.sqrt(max((a + b) / 2 + sign * spread, 0.0)) for sign in (1, -1))
        ax.add_patch(
            Ellipse(
                (point.first, point.second),
                2 * radius * long,
                2 * radius * short,
                angle=math.degrees(0.5 * math.atan2(2 * c, a - b)),
                facecolor=BLUE,
                edgecolor="none",
                alpha=0.18,
                zorder=2,
            )
        )
    ax.plot([point.first], [point.second], "o", color=BLUE, markersize=6, zorder=4)


def _apart(wanted: Sequence[float], start: float, end: float, line: float) -> list[float]:
    """Heights near the wanted ones that are at least a line apart, in the same order from the top."""
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    found, last = [0.0] * len(wanted), start
    for k in order:
        found[k] = last = max(wanted[k], last + line)
    for k in reversed(order):  # what ran over the lower edge is pushed back up
        found[k] = min(found[k], end)
        end = found[k] - line
    return found


def draw_gaps(profile: Profile) -> Drawing | None:
    """A row per condition: both arms as dots on one line, and the gap with its interval."""
    groups = grouped_conditions(profile)
    rows = [row for _, own in groups for row in own]
    if not rows:
        return None
    strength = several_strengths(rows)
    values = [100 * v for row in rows for v in (row.gap, row.gap_low, row.gap_high) if v is not None]
    with drawing_style():
        laid = forest(
            [(title, [condition_name(row, strength=strength) for row in own]) for title, own in groups],
            (Panel("", (-3, 103), "% accepted"), Panel("gap", span_of(values))),
            right=36.0,
        )
        write(laid.figure, laid.left, 12, "monitored", color=BLUE)
        write(laid.figure, laid.left + laid.width, 12, "unmonitored", color=VERMILLION, align="right")
        for row, y in zip(rows, laid.at, strict=True):
            _gap_row(laid, row, y)
        height = {id(row): y for row, y in zip(rows, laid.at, strict=True)}
        for block in blocks(profile):  # the untouched model's gap, through all that is compared with it
            untouched = [row for row in block.conditions if row.method == "none" and row.gap is not None]
            if len(untouched) == 1 and len(block.conditions) > 1:
                heights = [height[id(row)] for row in block.conditions]
                laid.axes[1].vlines(
                    100 * (untouched[0].gap or 0.0),
                    min(heights) - 0.4,
                    max(heights) + 0.4,
                    color=MUTED,
                    linewidth=0.9,
                    linestyle=(0, (3, 2)),
                    zorder=2,
                )
    return Drawing(
        "gaps",
        "Compliance and the gap under each condition",
        "Left: share of requests accepted in each tier. Right: the compliance gap, monitored less "
        f"unmonitored, with its {profile.thresholds.confidence:.0%} interval. An intervention matters where "
        "its gap departs from the baseline’s, the untouched model (dashed).",
        laid.figure,
    )


def _gap_row(laid: Forest, row: ConditionRow, y: float) -> None:
    arms, gaps = laid.axes
    if row.monitored is not None and row.unmonitored is not None:
        arms.plot([100 * row.monitored, 100 * row.unmonitored], [y, y], color=MUTED, linewidth=1.4, zorder=2)
    # The larger dot lies below, so that equal arms show as a ring.
    for value, color, size in ((row.unmonitored, VERMILLION, 6.5), (row.monitored, BLUE, 4.5)):
        if value is not None:
            arms.plot([100 * value], [y], "o", color=color, markersize=size, zorder=4)
    draw_mark(gaps, y, Mark(1, row.gap, row.gap_low, row.gap_high, INK), size=5.0)
    if row.gap is None:
        clear = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
        text = " no complete pair"
        gaps.text(gaps.get_xlim()[0], y, text, color=MUTED, fontsize=8.5, va="center_baseline", bbox=clear)
        return
    place = gaps.transData.transform((0, y))[1] / (laid.figure.get_figheight() * 72)
    number = signed(row.gap).replace("-", "−")
    laid.figure.text(
        (WIDTH - 2) / WIDTH, place, number, color=INK, fontsize=9.5, ha="right", va="center_baseline"
    )


def draw_arms(profile: Profile) -> Drawing | None:
    """What each intervention changed: each arm, their mean, and the gap; None where there is no reference."""
    groups = grouped_effects(profile)
    effects = [effect for _, own in groups for effect in own]
    strength = several_strengths(effects)
    looks = {"monitored": BLUE, "unmonitored": VERMILLION, "mean": MUTED, "gap": INK}
    references = sorted({row.reference for row in effects})
    against = " or ".join("the baseline" if name == "baseline" else "the placebo" for name in references)
    return _rows(
        "arm-decomposition",
        "Where each change comes from",
        f"Change against {against}, in percentage points with {profile.thresholds.confidence:.0%} intervals. "
        "A motivation shows in the gap. A change of the mean alone means that the text moved compliance as "
        "a whole, whoever is watching.",
        [
            (
                title,
                effect_name(row, strength=strength),
                [mark(k, getattr(row, name), color) for k, (name, color) in enumerate(looks.items())],
            )
            for title, own in groups
            for row in own
        ],
        list(looks),
    )


def _rows(
    name: str,
    title: str,
    caption: str,
    rows: Sequence[tuple[str, str, list[Mark]]],
    panels: Sequence[str],
    *,
    families: Families | None = None,
    margin: float | None = None,
    lines: Sequence[float | None] = (),
    **layout: Any,
) -> Drawing | None:
    """A figure of rows with marks; None without rows.

    Args:
        name: Of the file.
        title: Of the figure.
        caption: What to read off.
        rows: (heading, name, marks); rows of one heading stand together.
        panels: Their titles.
        families: Whose key is drawn above the panels.
        margin: Half the width of a grey band around 0 in the last panel.
        lines: Where a dashed line is drawn in each panel, 0 to 1.
        layout: See `forest_of`.
    """
    if not rows:
        return None
    groups: dict[str, list[tuple[str, list[Mark]]]] = {}
    for heading, label, marks in rows:
        groups.setdefault(heading, []).append((label, marks))
    with drawing_style():
        laid = forest_of(
            [(heading, [label for label, _ in own]) for heading, own in groups.items()],
            panels,
            [marks for own in groups.values() for _, marks in own],
            above=16 if families else 0,
            **layout,
        )
        if families:
            key(laid.figure, laid.left, 8, family_key(families))
        if margin is not None:
            laid.axes[-1].axvspan(-margin, margin, color=GRID, alpha=0.6, linewidth=0, zorder=0)
        for ax, value in zip(laid.axes, lines, strict=False):
            if value is not None:
                ax.axvline(100 * value, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)), zorder=2)
    return Drawing(name, title, caption, laid.figure)


def missing_share(row: ConditionRow, tier: str, reason: str) -> float:
    """Share of a tier's replies that are missing for a reason; 0 where none were asked for."""
    asked = row.replies.get(tier, 0) + row.failed.get(tier, 0)
    n = row.failed.get(tier, 0) if reason == "failed" else row.unscored.get(tier, {}).get(reason, 0)
    return n / asked if asked else 0.0


def draw_missing(profile: Profile) -> Drawing | None:
    """Missing replies by tier and reason, and the gap's worst cases; None where nothing is missing."""
    groups = grouped_conditions(profile)
    rows = [row for _, own in groups for row in own]
    shares = {
        (k, tier): [(r, 100 * missing_share(row, tier, r)) for r in REASONS]
        for k, row in enumerate(rows)
        for tier in ARMS
    }
    totals = [sum(value for _, value in own) for own in shares.values()]
    if not any(totals):
        return None
    colors = dict(zip(REASONS, (ORANGE, SKY, PURPLE, GREEN, MUTED), strict=True))
    present = [r for r in REASONS if any(dict(own)[r] for own in shares.values())]
    bounds = [v for row in rows for v in (row.gap, row.gap_bound_low, row.gap_bound_high)]
    share = (0.0, max(*totals, 5.0) * 1.05)
    strength = several_strengths(rows)
    with drawing_style():
        laid = forest(
            [(title, [condition_name(row, strength=strength) for row in own]) for title, own in groups],
            (
                *(Panel(tier, share, "% missing") for tier in ARMS),
                Panel("gap at worst", span_of(100 * v for v in bounds if v is not None)),
            ),
            above=16,
        )
        key(laid.figure, 0, 8, [("■", colors[reason], reason) for reason in present])
        for k, (row, y) in enumerate(zip(rows, laid.at, strict=True)):
            for ax, tier in zip(laid.axes, ARMS, strict=False):
                left = 0.0
                for reason, width in shares[k, tier]:
                    if width:
                        ax.barh([y], [width], left=left, height=0.56, color=colors[reason], zorder=3)
                        left += width
            if row.gap_bound_low is not None and row.gap_bound_high is not None:
                worst = [100 * row.gap_bound_low, 100 * row.gap_bound_high]
                laid.axes[2].plot(worst, [y, y], color=SKY, linewidth=4, solid_capstyle="butt", zorder=2)
            draw_mark(laid.axes[2], y, Mark(2, row.gap, None, None, INK))
    return Drawing(
        "missingness",
        "What is missing",
        "Share of replies that could not be counted, by reason. Right: the gap (dot) within the worst cases "
        "that the missing replies allow (bar; not a confidence interval). Where one tier misses more than "
        "the other, trust the bar.",
        laid.figure,
    )


# Tables of numbers with a tint


def draw_concepts(scores: Sequence[ConceptScore]) -> Drawing | None:
    """Mean judge score by condition (rows), concept and tier (columns); None without scores."""
    known = [score for score in scores if not math.isnan(score.mean)]
    if not known:
        return None
    several = len({score.subject for score in known}) > 1
    templates = len({(score.subject, score.setting) for score in known}) > len({s.subject for s in known})

    def row(score: ConceptScore) -> str:
        parts = (score.subject if several else "", score.setting if templates else "", score.condition)
        return " ".join(filter(None, parts))

    judges = ", ".join(sorted({one_line(score.judge) for score in known if score.judge}))
    named = f"Judge: {judges}." if judges else "The judge is not recorded."
    if any(score.simulated for score in known):
        named += " It is simulated, and says nothing about what a real judge would find."
    return _matrix(
        "concept-scores",
        "Concepts in the reasoning",
        f"Mean score that the judge gave, on its rubric's own scale; darker is more. {named} See the "
        "judge's validation before reading small differences.",
        {(row(score), f"{score.concept} {score.tier}"): (score.mean, f"{score.mean:.2g}") for score in known},
    )


def draw_beliefs(matrices: Sequence[SelectivityMatrix]) -> Drawing | None:
    """Change of each belief (columns) under each intervention (rows); None without shifts."""
    several = len({matrix.subject for matrix in matrices}) > 1
    cells = {
        (f"{matrix.subject} {row.intervention}" if several else row.intervention, shift.belief): (
            100 * shift.estimate,
            signed(shift.estimate).replace("-", "−"),
        )
        for matrix in matrices
        for row in matrix.rows
        for shift in row.shifts
        if not math.isnan(shift.estimate)
    }
    if not cells:
        return None
    return _matrix(
        "belief-selectivity",
        "Did the belief move, and only that belief?",
        "Change in the share of answers that state each belief, in percentage points. An intervention is "
        "selective where its own belief moves and the rest of its row stays near zero.",
        cells,
    )


def _matrix(
    name: str, title: str, caption: str, cells: Mapping[tuple[str, str], tuple[float, str]]
) -> Drawing:
    rows = list(dict.fromkeys(row for row, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    largest = max(max(abs(value) for value, _ in cells.values()), 1e-9)
    longest_row, longest_column = 22, 28
    with drawing_style():
        header = 14 + 2.6 * min(max(map(len, columns)), longest_column)  # slanted headings
        figure = new_figure(header + ROW * len(rows) + 8)
        left = 14 + 5.75 * min(max(map(len, rows)), longest_row)
        # Few columns stay narrow; at the right is room for the last slanted heading.
        leaning = max(4.4 * min(len(columns[-1]), longest_column) - 24, 4)
        ax = add_axes(figure, left, header, min(WIDTH - left - leaning, 64 * len(columns)), ROW * len(rows))
        ax.set_xlim(0, len(columns))
        ax.set_ylim(len(rows), 0)
        ax.set_axis_off()
        size = 9.0 if len(columns) <= 8 else 7.5
        for (row, column), (value, text) in cells.items():
            x, y = columns.index(column), rows.index(row)
            ax.fill(
                [x + 0.02, x + 0.98, x + 0.98, x + 0.02],
                [y + 0.05, y + 0.05, y + 0.95, y + 0.95],
                color=BLUE if value >= 0 else VERMILLION,
                alpha=0.06 + 0.5 * abs(value) / largest,
                linewidth=0,
            )
            ax.text(x + 0.5, y + 0.5, text, ha="center", va="center_baseline", fontsize=size, color=INK)
        for k, column in enumerate(columns):
            label = one_line(column, longest=longest_column)
            ax.text(k + 0.4, -0.25, label, rotation=28, ha="left", va="bottom", fontsize=8.5, color=MUTED)
        for k, row in enumerate(rows):
            write(figure, 0, header + (k + 0.5) * ROW, one_line(row, longest=longest_row))
    return Drawing(name, title, caption, figure)


# Dose and response


class _Curve(NamedTuple):
    title: str
    method: Method
    points: tuple[DosePoint, ...]
    labels: Families


def draw_profile_doses(profile: Profile) -> Drawing | None:
    """A panel per profile that was run at two strengths or multipliers, or more; else None."""
    labels = family_labels(profile)
    curves = [
        _Curve(short_profile_title(one, profile, longest=30), one.method, one.dose_response, labels)
        for one in profile.profiles
        if len({point.position for point in one.dose_response}) > 1
    ]
    return _doses("dose-response", curves, labels, profile.thresholds.confidence)


def draw_doses(report: Convergence, names: Names) -> Drawing | None:
    """Both sensitivities over strength, directness or multiplier, a panel per model and method."""
    shared = shared_families(report)
    own = {model.subject: Families(*model.families) for model in report.models}
    curves = [
        _Curve(names.get(c.subject, c.subject), c.method, c.points, own.get(c.subject, shared))
        for c in report.doses
    ]
    return _doses("doses", curves, shared, report.thresholds.confidence)


def _doses(name: str, curves: Sequence[_Curve], labels: Families, level: float) -> Drawing | None:
    if not curves:
        return None
    span = span_of(v for curve in curves for p in curve.points for v in in_points(*p.sensitivity.values()))
    with drawing_style():
        figure, panels = squares([curve.title for curve in curves], above=22, height=128.0)
        key(figure, 38.0, 8, family_key(labels))
        for ax, curve in zip(panels, curves, strict=True):
            _curve(ax, curve, span)
    return Drawing(
        name,
        "Dose and response",
        "Sensitivity of each family at every strength of the claim, directness of the documents or size of "
        f"the multiplier, in percentage points with {level:.0%} intervals. A motivation that is there should "
        "show more clearly as the dose rises, until replies fall apart.",
        figure,
    )


def _curve(ax: Axes, curve: _Curve, span: tuple[float, float]) -> None:
    positions = sorted({(point.position, point.strength or "") for point in curve.points})
    first, last = positions[0][0], positions[-1][0]
    width = (last - first) or 1.0
    ax.set_xlim(first - 0.12 * width, last + 0.12 * width)
    ax.set_ylim(*span)
    ax.axhline(0, color=GRID, linewidth=0.8, zorder=1)
    numbered(ax, y=4, x=5 if curve.method == "steering" else None)
    if curve.method != "steering":
        ax.set_xticks([p for p, _ in positions], [one_line(text, longest=10) for _, text in positions])
    ax.set_xlabel(DOSE_NAMES[curve.method], fontsize=8.5, labelpad=2)
    ax.set_ylabel("points", fontsize=8.5, labelpad=1)
    # Points need not know both families, nor in this order: at the smallest dose there may be only one.
    for family, shift in zip(FAMILIES, (-0.006, 0.006), strict=True):
        style, label = FAMILY_STYLES[family], curve.labels.of(family)
        found = [
            (point.position + shift * width, point.sensitivity[label])
            for point in curve.points
            if label in point.sensitivity and not math.isnan(point.sensitivity[label].estimate)
        ]
        ax.plot(
            [x for x, _ in found],
            [100 * e.estimate for _, e in found],
            color=style.color,
            marker=style.marker,
            markersize=4.5,
            linewidth=1.2,
        )
        for x, e in found:
            if e.low is not None and e.high is not None:
                ax.plot([x, x], [100 * e.low, 100 * e.high], color=style.color, linewidth=1.4)


# Rows of a convergence report


def draw_methods(report: Convergence, names: Names) -> Drawing | None:
    """Both sensitivities and their difference, by model and method."""
    rows = [
        (
            names.get(model.subject, model.subject),
            METHOD_NAMES[method.method],
            [
                *(
                    mark(0, method.sensitivity.get(label), FAMILY_STYLES[family], lift)
                    for label, family, lift in zip(model.families, FAMILIES, (0.14, -0.14), strict=True)
                ),
                mark(1, method.contrast, INK),
            ],
        )
        for model in report.models
        if any(method.sensitivity for method in model.methods)
        for method in model.methods
    ]
    return _rows(
        "methods",
        "The same question by each method",
        "Left: how far the gap follows each family of beliefs (sensitivity). Right: the first family’s less "
        f"the second’s; grey is the equivalence margin. Percentage points, "
        f"{report.thresholds.confidence:.0%} intervals. Methods that agree on a family have their right-hand "
        "intervals on its side of 0; steering counts only beyond random vectors.",
        rows,
        ["sensitivity", "difference"],
        families=shared_families(report),
        margin=100 * report.thresholds.delta,
    )


def draw_model_gaps(model: Model, number: int, names: Names) -> Drawing | None:
    """The gap under every condition, a panel per method."""
    families = Families(*model.families)
    headings = ["", *(families.heading(family, placebo=False) for family in FAMILIES), "placebo"]
    codes: dict[tuple[str, str], list[Mark]] = {}
    for panel, method in enumerate(model.methods):
        placebos = 0
        for row in method.gaps:
            code, heading = row.intervention, families.heading(row.family, placebo=row.placebo)
            if row.placebo:
                placebos += 1
                code = f"placebo {placebos}"
            look = INK if row.family and not row.placebo else MUTED
            codes.setdefault((heading, code), []).append(mark(panel, row.gap, look))
    ordered = sorted(codes.items(), key=lambda item: headings.index(item[0][0]))
    return _rows(
        f"gaps-{number}",
        f"{names.get(model.subject, model.subject)}: the gap under each condition",
        "Compliance gap, monitored less unmonitored, in percentage points. Dashed: the untouched model. "
        "Steering has concepts in place of variables.",
        [(heading, code, marks) for (heading, code), marks in ordered],
        [METHOD_NAMES[method.method] for method in model.methods],
        lines=[m.reference_gap.estimate if m.reference_gap else None for m in model.methods],
    )


def draw_screening(report: Convergence, names: Names) -> Drawing | None:
    """The gap of every untouched model and training seed."""
    recipes = shortest(group.group for group in report.screened_groups)
    rows = []
    for row in report.screening:
        seeded = row.group in recipes
        heading = recipes[row.group] if seeded else ("one model each" if recipes else "")
        label = f"seed {row.seed}" if seeded else names.get(row.subject, row.subject)
        rows.append((heading, label, [mark(0, row.gap, INK)]))
    return _rows(
        "screening",
        "Which models fake at all",
        "Compliance gap of each untouched model in percentage points"
        + (", one row per training seed" if recipes else "")
        + f", with {report.thresholds.confidence:.0%} intervals over requests.",
        rows,
        ["gap"],
    )


def draw_ablations(report: Convergence, names: Names) -> Drawing | None:
    """The gap under other identities and other prompt choices."""
    rows = []
    for row in report.ablations:
        color = VERMILLION if row.is_identity else INK
        marks = [mark(0, row.gap, color), mark(1, row.change, color)]
        rows.append((names.get(row.subject, row.subject), row.variant, marks))
    return _rows(
        "role-play",
        "Who the model is said to be",
        "The untouched model’s gap under other identities (coloured) and other choices of the prompt that "
        "should not matter, and its change from the main prompt, in percentage points.",
        rows,
        ["gap", "change"],
        shared=False,
    )


def draw_checkpoints(report: Convergence, names: Names) -> Drawing | None:
    """What each claim does on document-trained checkpoints, beside what it does on the model itself."""
    rows = []
    for one in report.checkpoints:
        note = "" if one.eligible else " (not eligible)"
        title = f"{names.get(one.subject, one.subject)}, {one.checkpoint}{note}"
        for claim in one.claims:
            style = FAMILY_STYLES[claim.family if one.eligible else None]
            marks = [mark(0, claim.on_checkpoint, style), mark(1, claim.on_subject, style)]
            rows.append((title, claim.claim, marks))
    return _rows(
        "checkpoints",
        "Prompt claims on document-trained checkpoints",
        "Change of the gap by each claim, in percentage points: on the checkpoint against its own baseline, "
        "and on the model without documents. Checkpoints that are not eligible are grey.",
        rows,
        ["on the checkpoint", "on the model"],
    )


def draw_direct(report: Convergence, names: Names) -> Drawing | None:
    """Share refused when simply asked: harmful and benign requests."""
    rows = []
    for one in report.direct:
        for row in one.rows:
            marks = [
                Mark(k, arm.refused, arm.refused_low, arm.refused_high, color)
                for k, (name, color) in enumerate(zip(REQUEST_ARMS, (VERMILLION, BLUE), strict=True))
                if (arm := row.arm(name)) is not None
            ]
            if marks:
                rows.append((names.get(one.subject, one.subject), row.label, marks))
    return _rows(
        "direct-requests",
        "Asked directly, without the scenario",
        "Share of plain requests refused. A treatment under which benign requests are refused more has made "
        "the model refuse, not made it fake less.",
        rows,
        [f"{arm} requests" for arm in REQUEST_ARMS],
        span=(-3.0, 103.0),
        unit="% refused",
    )


# Planes of a convergence report


def _planes(
    name: str,
    title: str,
    caption: str,
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
        figure, panels = squares([names.get(one.subject, one.subject) for one in held], above=20)
        key(figure, 38.0, 8, [*family_key(shared_families(report)), *extra])
        for ax, one in zip(panels, held, strict=True):
            draw(ax, one)
    return Drawing(name, title, caption, figure)


def draw_calibration(report: Convergence, names: Names) -> Drawing | None:
    """Effect by prompt across, effect by documents up; the line is the corrected slope."""
    span = span_of(v for one in report.calibrations for p in one.points for v in in_points(p.prompt, p.sdf))
    return _planes(
        "calibration",
        "Prompt against documents",
        "Each mark is one intervention: change of the gap by its claim in the prompt (across) and by "
        "documents that state it (up), in percentage points. Dotted: equal effects. Solid: slope, corrected "
        "for noise in the prompt’s effects; drawn only where it is bounded.",
        report.calibrations,
        report,
        names,
        lambda ax, one: _calibrated(ax, one, span),
    )


def _calibrated(ax: Axes, one: Calibration, span: tuple[float, float]) -> None:
    _crossed(ax, span, span, "by prompt, points", "by documents, points")
    ax.plot(span, span, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    if one.slope is not None:
        x = [100 * point.prompt.estimate for point in one.points]
        y = [100 * point.sdf.estimate for point in one.points]
        middle, ends = (sum(x) / len(x), sum(y) / len(y)), [min(x), max(x)]
        line = [middle[1] + one.slope * (v - middle[0]) for v in ends]
        ax.plot(ends, line, color=INK, linewidth=1.1, zorder=2)
    for point in one.points:
        color, marker, _ = FAMILY_STYLES[point.family]
        px, py = 100 * point.prompt.estimate, 100 * point.sdf.estimate
        for along, across in ((_ends(point.prompt), [py, py]), (_ends(point.sdf), [px, px])):
            if along:
                pair = (along, across) if across[0] == py else (across, along)
                ax.plot(*pair, color=color, linewidth=0.8, alpha=0.55, zorder=3)
        ax.plot([px], [py], marker, color=color, markersize=4.5, zorder=4)


def _ends(found: Estimate) -> list[float]:
    return [] if found.low is None or found.high is None else [100 * found.low, 100 * found.high]


def draw_coupling(report: Convergence, names: Names) -> Drawing | None:
    """Swing of the concept score across, swing of the gap up, vectors among random ones."""
    return _planes(
        "coupling",
        "Does a vector move reasoning, and does it move behaviour?",
        "Across: how far the judge’s score of the vector’s own concept swings from its lowest usable dose to "
        "the highest. Up: how far the gap swings, in percentage points. Crosses are random vectors of the "
        "same size, scored for the same concepts. Far right and at zero height: read, but not acted on.",
        [one for one in report.steering if any(v.reasoning and v.behaviour for v in one.vectors)],
        report,
        names,
        _coupled,
        [("×", MUTED, "random")],
    )


def _coupled(ax: Axes, one: SteeringResult) -> None:
    random = [(s, 100 * g) for v in one.vectors for s, g in _swings(v.control_swings) if v.reasoning]
    marks = [
        (v, v.reasoning.change, 100 * v.behaviour.change) for v in one.vectors if v.reasoning and v.behaviour
    ]
    across = [0.0, *(x for x, _ in random), *(x for _, x, _ in marks)]
    air = 0.12 * (max(across) - min(across) or 1.0)
    up = span_of([*(y for _, y in random), *(y for _, _, y in marks)])
    _crossed(ax, (min(across) - air, max(across) + air), up, "concept score", "gap, points")
    for x, y in random:
        ax.plot([x], [y], "x", color=MUTED, markersize=4, zorder=2)
    for vector, x, y in marks:
        color, marker, _ = FAMILY_STYLES[vector.family]
        ax.plot([x], [y], marker, color=color, markersize=6, zorder=4)


def _swings(found: Sequence[tuple[float | None, float]]) -> list[tuple[float, float]]:
    return [(score, gap) for score, gap in found if score is not None]


def draw_random(report: Convergence, names: Names) -> Drawing | None:
    """Both arms under random vectors, fitted vectors and no vector."""
    return _planes(
        "random-vectors",
        "What any direction does",
        "Accepted in the unmonitored tier (across) and in the monitored tier (up), in percent, under every "
        "vector and multiplier at which enough replies parse. Random vectors show how far behaviour moves "
        "without any meaning in the direction. The diagonal is no gap.",
        [one for one in report.steering if one.random],
        report,
        names,
        _scattered,
        [("×", MUTED, "random"), ("+", INK, "unsteered")],
    )


def _scattered(ax: Axes, one: SteeringResult) -> None:
    _crossed(ax, (-3, 103), (-3, 103), "unmonitored, %", "monitored, %")
    ax.plot([0, 100], [0, 100], color=GRID, linewidth=0.8, zorder=1)
    for random in one.random:
        if random.parsed >= one.parse_floor:
            _dot(ax, random.unmonitored, random.monitored, "x", MUTED, 4)
    for vector in one.vectors:
        color, marker, _ = FAMILY_STYLES[vector.family]
        for point in vector.points:
            if point.usable:
                _dot(ax, point.unmonitored, point.monitored, marker, color, 4)
    _dot(ax, one.unsteered[1], one.unsteered[0], "+", INK, 9)


def _dot(ax: Axes, x: float | None, y: float | None, marker: str, color: str, size: float) -> None:
    if x is not None and y is not None:
        ax.plot([100 * x], [100 * y], marker, color=color, markersize=size, zorder=3)


def _crossed(
    ax: Axes, across: tuple[float, float], up: tuple[float, float], xlabel: str, ylabel: str
) -> None:
    ax.set_xlim(*across)
    ax.set_ylim(*up)
    numbered(ax, x=4, y=4)
    ax.set_xlabel(xlabel, fontsize=8.5, labelpad=2)
    ax.set_ylabel(ylabel, fontsize=8.5, labelpad=1)
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
    title = sweep.title
    with drawing_style():
        figure, panels = squares(labels, above=20, left=40.0, height=96.0)
        write(figure, 40.0, 10, one_line(title, longest=60))
        for ax, label in zip(panels, labels, strict=True):
            _swept(ax, label, sweep, report)
    return Drawing(
        f"sweep-{number}",
        f"Dose and response: {title}",
        "Line: the vector; hollow marks lie outside the usable range, orange ones beyond all controls. Grey: "
        "the random controls at the same dose, all of them and (darker) their central 95 %. Dotted: no "
        "steering. A vector that does something of its own leaves the grey band.",
        figure,
    )


def _swept(ax: Axes, label: str, sweep: VectorSweep, report: SweepReport) -> None:
    scale = 1.0 if label.startswith("concept: ") else 100.0
    by_dose = all(point.dose is not None for point in sweep.points)
    base = report.unsteered.values.get(label)

    def position(point: SweepPoint) -> float:
        return point.dose if by_dose and point.dose is not None else point.multiplier

    known = [(position(point), point, point.bands[label]) for point in sweep.points if label in point.bands]
    banded = [(x, b.low, b.central_low, b.central_high, b.high) for x, _, b in known if b.low is not None]
    if base is not None and banded:
        banded = sorted([*banded, (0.0, base, base, base, base)])
        x, low, central_low, central_high, high = (
            [scale * v if k and v is not None else v for v in axis]
            for k, axis in enumerate(zip(*banded, strict=True))
        )
        ax.fill_between(x, low, high, color=GRID, linewidth=0)
        ax.fill_between(x, central_low, central_high, color=MUTED, alpha=0.35, linewidth=0)
    if base is not None:
        ax.axhline(scale * base, color=MUTED, linewidth=0.8, linestyle=":")
    line = sorted([(at, band.value) for at, _, band in known] + ([] if base is None else [(0.0, base)]))
    ax.plot([at for at, _ in line], [scale * value for _, value in line], color=BLUE, linewidth=1.2)
    for at, point, band in known:
        beyond = band.low is not None and band.high is not None and not band.low <= band.value <= band.high
        color = VERMILLION if beyond else BLUE
        face = color if point.usable else "none"
        ax.plot([at], [scale * band.value], marker="o", markersize=4, color=color, markerfacecolor=face)
    if label == "parse rate":
        ax.axhline(100 * report.floor, color=VERMILLION, linewidth=0.8, linestyle="--")
    numbered(ax, x=5, y=4, size=8)
    unit = "score" if scale == 1 else "points" if label == "gap" else "percent"
    ax.set_xlabel("dose" if by_dose else "multiplier", fontsize=8, labelpad=1)
    ax.set_ylabel(unit, fontsize=8, labelpad=1)
