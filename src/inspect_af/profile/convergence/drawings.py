"""All figures of a convergence report for which there is something to show."""

from __future__ import annotations

from inspect_af.profile.convergence.forests import (
    METHOD_TITLES,
    draw_ablations,
    draw_checkpoints,
    draw_direct,
    draw_methods,
    draw_model_gaps,
    draw_screening,
)
from inspect_af.profile.convergence.naming import short_names
from inspect_af.profile.convergence.planes import draw_calibration, draw_coupling, draw_doses, draw_random
from inspect_af.profile.convergence.result import Convergence
from inspect_af.profile.report.belief_shifts import belief_shifts
from inspect_af.profile.report.figures import Drawing, draw_beliefs


def draw_convergence(report: Convergence) -> tuple[Drawing, ...]:
    """In the order of the page.

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
        *_beliefs(report),
        draw_screening(report, names),
        draw_ablations(report, names),
        draw_doses(report, names),
        draw_checkpoints(report, names),
        draw_direct(report, names),
    ]
    return tuple(drawing for drawing in drawings if drawing is not None)


def _beliefs(report: Convergence) -> list[Drawing | None]:
    names = short_names(report)
    found: list[Drawing | None] = []
    for k, matrix in enumerate(report.selectivity, start=1):
        drawing = draw_beliefs(belief_shifts(matrix))
        if drawing is not None:
            who = f"{names.get(matrix.subject, matrix.subject)}, {METHOD_TITLES[matrix.method]}"
            strength = f", {matrix.strength}" if matrix.strength else ""
            drawing = drawing._replace(
                name=f"beliefs-{k}",
                title=f"{who}{strength}",
                caption=f"{who}{strength}. {drawing.caption}",
            )
        found.append(drawing)
    return found
