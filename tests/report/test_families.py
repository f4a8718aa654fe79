"""Every figure tells the families apart by what they are, in whatever order they are met.

The mark that a figure's key gives to a family is looked up in the figure, and what is drawn with it must be
the numbers of that family in the report: with the families as they are, with the second family met first, and
with the two of them the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from tests.profile.convergence_study import adapters, claims, controls, drawn, judged, outcomes, vectors
from tests.report.test_figures import at_all_strengths

from inspect_af.profile import Profile, Thresholds, build_profile
from inspect_af.profile.convergence import build_convergence
from inspect_af.profile.result import Convergence
from inspect_af.report import Drawing, draw_convergence, draw_figures
from inspect_af.types import Steer

QUICK = Thresholds(n_resamples=200)
GLYPHS = {"●": "o", "■": "s", "◆": "D"}
OTHER = {"first": "second", "second": "first"}


def study() -> Any:
    """Claims, documents and vectors; the second family's vector has the smaller dose, and comes first."""

    def half(claim: Any) -> Any:
        steered = vectors(4.0)(claim)
        if steered is None or steered[0].family == "first":
            return steered
        return vectors(2.0)(claim)

    def unequal(claim: Any) -> Any:
        (adapter,) = adapters("oblique" if claim.intervention.family == "second" else "explicit")(claim)
        return (adapter,)

    def eight(claim: Any) -> Any:
        return vectors(8.0)(claim)

    return outcomes(
        drawn(claims, "expectation", 1, strengths=("weak", "standard", "strong")),
        drawn(adapters("direct"), "expectation", 2, effect=0.15),
        drawn(unequal, "expectation", 3),
        drawn(half, "expectation", 4),
        drawn(eight, "expectation", 5),
        controls(4, 100),
    )


def shift(steer: Steer, concept: str) -> float:
    return 0.5 * steer.multiplier if concept == steer.concept else 0.0


def reversed_order(value: Any) -> Any:
    """The same report, in which whatever is keyed by family or listed has the second family first."""
    if isinstance(value, dict):
        entries = reversed(value.items()) if {"expectation", "consequence"} & set(value) else value.items()
        return {key: reversed_order(item) for key, item in entries}
    if isinstance(value, list | tuple):
        items = [reversed_order(item) for item in value]
        if items and isinstance(items[0], dict) and items[0].get("family") is not None:
            return sorted(items, key=lambda item: str(item["family"]), reverse=True)
        return items
    return value


def swapped(value: Any, key: str = "") -> Any:
    """The same numbers and labels, where the family that was the second is the first."""
    if isinstance(value, dict):
        return {name: swapped(item, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        items = [swapped(item, key) for item in value]
        return items[::-1] if key == "families" else items
    if key == "family" and value in OTHER:
        return OTHER[value]
    return value


@pytest.fixture(scope="module")
def report() -> Convergence:
    counted = study()
    return build_convergence(counted, record=judged(counted, shift), thresholds=QUICK)


def changed(report: Any, change: Callable[[Any], Any]) -> Any:
    return type(report).model_validate(change(report.model_dump(by_alias=True)))


VARIANTS = pytest.mark.parametrize("change", [lambda value: value, reversed_order, swapped])


def key_of(drawing: Drawing) -> dict[str, tuple[str, str]]:
    """(colour, marker) of every entry of the key, by its name."""
    entries, texts = {}, drawing.figure.texts
    for mark, name in pairwise(texts):
        if mark.get_text() in GLYPHS and name.get_text() not in GLYPHS:
            entries[name.get_text()] = (str(mark.get_color()), GLYPHS[mark.get_text()])
    assert {"expectation", "consequence"} <= set(entries), drawing.name
    assert len(set(entries.values())) == len(entries)
    return entries


def drawn_as(drawing: Drawing, label: str, panels: slice | None = None) -> list[tuple[float, float]]:
    """The points drawn with the mark that the key gives to a family."""
    color, marker = key_of(drawing)[label]
    return sorted(
        (round(float(x), 6), round(float(y), 6))
        for ax in drawing.figure.axes[panels or slice(None)]
        for line in ax.lines
        if (line.get_color(), line.get_marker()) == (color, marker)
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    )


def labels_of(report: Convergence) -> dict[str, str]:
    return dict(zip(("first", "second"), report.models[0].families, strict=True))


def rounded(values: Iterator[float]) -> list[float]:
    return sorted(round(value, 6) for value in values)


def by_name(report: Convergence) -> dict[str, Drawing]:
    return {drawing.name: drawing for drawing in draw_convergence(report)}


@VARIANTS
@pytest.mark.parametrize("label", ["expectation", "consequence"])
def test_marks_of_the_doses_are_the_numbers_of_their_family(
    report: Convergence, change: Callable[[Any], Any], label: str
) -> None:
    other = changed(report, change)
    steering = next(curve for curve in other.doses if curve.method == "steering")
    assert set(steering.points[0].sensitivity) == {"consequence"}, "the second family's dose is the smaller"
    for k, curve in enumerate(other.doses):
        marked = drawn_as(by_name(other)["doses"], label, slice(k, k + 1))
        assert rounded(y for _, y in marked) == rounded(
            100 * point.sensitivity[label].estimate for point in curve.points if label in point.sensitivity
        )


@VARIANTS
@pytest.mark.parametrize("label", ["expectation", "consequence"])
def test_marks_of_every_other_figure_are_the_numbers_of_their_family(
    report: Convergence, change: Callable[[Any], Any], label: str
) -> None:
    other = changed(report, change)
    labels, figures = labels_of(other), by_name(other)
    found = rounded(x for x, _ in drawn_as(figures["methods"], label, slice(0, 1)))
    assert found == rounded(
        100 * m.sensitivity[label].estimate for m in other.models[0].methods if label in m.sensitivity
    )
    points = [p for p in other.calibrations[0].points if p.family and labels[p.family] == label]
    assert drawn_as(figures["calibration"], label) == sorted(
        (round(100 * p.prompt.estimate, 6), round(100 * p.sdf.estimate, 6)) for p in points
    )
    vectors_ = [v for v in other.steering[0].vectors if labels[v.family] == label]
    assert vectors_ and all(v.family_label == label for v in vectors_)
    assert drawn_as(figures["coupling"], label) == sorted(
        (round(v.reasoning.change, 6), round(100 * v.behaviour.change, 6))
        for v in vectors_
        if v.reasoning and v.behaviour
    )


@VARIANTS
@pytest.mark.parametrize("label", ["expectation", "consequence"])
def test_marks_of_a_profiles_doses_are_the_numbers_of_their_family(
    change: Callable[[Any], Any], label: str
) -> None:
    profile: Profile = changed(at_all_strengths(), change)
    drawing = {d.name: d for d in draw_figures(profile)}["dose-response"]
    assert rounded(y for _, y in drawn_as(drawing, label)) == rounded(
        100 * point.sensitivity[label].estimate for point in profile.profiles[0].dose_response
    )


@VARIANTS
def test_the_axes_of_the_plane_are_named_after_what_they_measure(change: Callable[[Any], Any]) -> None:
    profile: Profile = changed(
        build_profile(outcomes(drawn(claims, "expectation", 1)), thresholds=QUICK), change
    )
    drawing = {d.name: d for d in draw_figures(profile)}["motivation-plane"]
    (ax,) = drawing.figure.axes
    across, up = (text.split(" ")[0] for text in (ax.get_xlabel(), ax.get_ylabel()))
    (point,) = [line for line in ax.lines if line.get_marker() == "o"]
    found = profile.profiles[0].sensitivity
    assert {across, up} == {"expectation", "consequence"}
    assert float(point.get_xdata()[0]) == pytest.approx(100 * found[across].estimate)
    assert float(point.get_ydata()[0]) == pytest.approx(100 * found[up].estimate)
