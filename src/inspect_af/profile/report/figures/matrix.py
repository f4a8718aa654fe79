"""Tables of numbers with a tint: concept scores by condition, belief shifts by intervention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inspect_af.profile.concepts import ConceptScore
from inspect_af.profile.report.figures.canvas import (
    BLUE,
    INK,
    MUTED,
    VERMILLION,
    WIDTH,
    Drawing,
    add_axes,
    drawing_style,
    new_figure,
    write,
)
from inspect_af.profile.report.figures.forest import ROW
from inspect_af.profile.report.inputs import BeliefShift
from inspect_af.profile.report.text import one_line, points

_SLANT = 2.6  # height that a character of a slanted heading takes
_LONGEST_COLUMN = 28
_LONGEST_ROW = 22


def draw_concepts(scores: Sequence[ConceptScore]) -> Drawing | None:
    """Mean judge score by condition (rows), concept and tier (columns); None without scores."""
    known = [score for score in scores if score.mean == score.mean]
    if not known:
        return None
    values = {(_row(score, known), f"{score.concept} {score.tier}"): score.mean for score in known}
    texts = {key: f"{value:.2g}" for key, value in values.items()}
    return _draw(
        "concept-scores",
        "Concepts in the reasoning",
        f"Mean score that the judge gave, on its rubric's own scale; darker is more. {_judged_by(known)} "
        "See the judge's validation before reading small differences.",
        values,
        texts,
    )


def _row(score: ConceptScore, among: Sequence[ConceptScore]) -> str:
    """The condition, with the subject and the prompt template where there are several of them."""
    several = len({other.subject for other in among}) > 1
    templates = len({other.setting for other in among if other.subject == score.subject}) > 1
    parts = (score.subject if several else "", score.setting if templates else "", score.condition)
    return " ".join(filter(None, parts))


def _judged_by(scores: Sequence[ConceptScore]) -> str:
    """Names the judges, and warns where one is a simulation."""
    judges = ", ".join(sorted({one_line(score.judge) for score in scores if score.judge}))
    named = f"Judge: {judges}." if judges else "The judge is not recorded."
    if any(score.simulated for score in scores):
        named += " It is simulated, and says nothing about what a real judge would find."
    return named


def draw_beliefs(shifts: Sequence[BeliefShift]) -> Drawing | None:
    """Belief shift by intervention (rows) and belief (columns); None without shifts."""
    known = [shift for shift in shifts if shift.shift == shift.shift]
    if not known:
        return None
    several = len({shift.subject for shift in known}) > 1
    values = {
        (
            f"{shift.subject} {shift.intervention}" if several else shift.intervention,
            shift.belief,
        ): 100 * shift.shift
        for shift in known
    }
    texts = {key: points(value / 100) for key, value in values.items()}
    return _draw(
        "belief-selectivity",
        "Did the belief move, and only that belief?",
        "Change in the share of answers that state each belief, in percentage points. An intervention is "
        "selective where its own belief moves and the rest of its row stays near zero.",
        values,
        texts,
    )


def _draw(
    name: str,
    title: str,
    caption: str,
    values: Mapping[tuple[str, str], float],
    texts: Mapping[tuple[str, str], str],
) -> Drawing:
    rows = list(dict.fromkeys(row for row, _ in values))
    columns = list(dict.fromkeys(column for _, column in values))
    largest = max(max(abs(value) for value in values.values()), 1e-9)
    with drawing_style():
        header = 14 + _SLANT * min(max(map(len, columns)), _LONGEST_COLUMN)
        figure = new_figure(header + ROW * len(rows) + 8)
        left = 14 + 5.75 * min(max(map(len, rows)), _LONGEST_ROW)
        # Few columns stay narrow; at the right is room for the last slanted heading.
        leaning = max(4.4 * min(len(columns[-1]), _LONGEST_COLUMN) - 24, 4)
        width = min(WIDTH - left - leaning, 64 * len(columns))
        ax = add_axes(figure, left, header, width, ROW * len(rows))
        ax.set_xlim(0, len(columns))
        ax.set_ylim(len(rows), 0)
        ax.set_axis_off()
        size = 9.0 if len(columns) <= 8 else 7.5
        for (row, column), value in values.items():
            x, y = columns.index(column), rows.index(row)
            tint = BLUE if value >= 0 else VERMILLION
            ax.fill(
                [x + 0.02, x + 0.98, x + 0.98, x + 0.02],
                [y + 0.05, y + 0.05, y + 0.95, y + 0.95],
                color=tint,
                alpha=0.06 + 0.5 * abs(value) / largest,
                linewidth=0,
            )
            ax.text(
                x + 0.5,
                y + 0.5,
                texts[row, column],
                ha="center",
                va="center_baseline",
                fontsize=size,
                color=INK,
            )
        for k, column in enumerate(columns):
            ax.text(
                k + 0.4,
                -0.25,
                one_line(column, longest=_LONGEST_COLUMN),
                rotation=28,
                ha="left",
                va="bottom",
                fontsize=8.5,
                color=MUTED,
            )
        for k, row in enumerate(rows):
            write(figure, 0, header + (k + 0.5) * ROW, one_line(row, longest=_LONGEST_ROW))
    return Drawing(name, title, caption, figure)
