"""The figures of a profile, each drawn once and shown on the page, as SVG and as PNG.

matplotlib (the extra `figures`) is imported when the first figure is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from inspect_af.profile.report.figures.arms import draw_arms
from inspect_af.profile.report.figures.canvas import Drawing, to_inline_svg, to_png, to_svg
from inspect_af.profile.report.figures.dose import draw_dose
from inspect_af.profile.report.figures.gaps import draw_gaps
from inspect_af.profile.report.figures.matrix import draw_beliefs, draw_concepts
from inspect_af.profile.report.figures.missing import draw_missing
from inspect_af.profile.report.figures.plane import draw_plane
from inspect_af.profile.report.inputs import BeliefShift
from inspect_af.profile.result import Profile

__all__ = [
    "Drawing",
    "draw_arms",
    "draw_beliefs",
    "draw_concepts",
    "draw_dose",
    "draw_figures",
    "draw_gaps",
    "draw_missing",
    "draw_plane",
    "to_inline_svg",
    "to_png",
    "to_svg",
]


def draw_figures(profile: Profile, *, beliefs: Sequence[BeliefShift] = ()) -> tuple[Drawing, ...]:
    """All figures for which there is something to show, in the order of the report.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawings = (
        draw_plane(profile),
        draw_gaps(profile),
        draw_arms(profile),
        draw_dose(profile),
        draw_missing(profile),
        draw_concepts(profile.concepts),
        draw_beliefs(beliefs),
    )
    return tuple(drawing for drawing in drawings if drawing is not None)
