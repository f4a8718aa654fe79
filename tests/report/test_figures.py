"""Figures: what they show, in how many forms, and that odd data does not break them."""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.profile.planted import Motivation, Planted, simulate_outcomes

from inspect_af.errors import InspectAFError
from inspect_af.profile import Outcomes, Profile, Thresholds, build_profile
from inspect_af.profile.beliefs import BeliefMean, SelectivityMatrix, SelectivityRow
from inspect_af.profile.counts import ConceptScore
from inspect_af.report import Drawing, draw_figures, export_csv, export_figures, render_html
from inspect_af.report.canvas import VARIABLES, WIDTH, to_inline_svg, to_svg
from inspect_af.report.figures import draw_plane
from inspect_af.types import STRENGTHS, PromptClaim

QUICK = Thresholds(n_resamples=400)
CONCEPTS = [
    ConceptScore("m", c, "expectation", "monitored", v, 9) for c, v in (("baseline", 1.0), ("A1+", 3.0))
]
SHIFTS = tuple(
    BeliefMean(belief=b, estimate=s, low=None, high=None, n=1) for b, s in (("A1", 0.4), ("B1", -0.05))
)
BELIEFS = SelectivityMatrix(
    subject="m",
    method="prompt",
    strength="standard",
    pair="planted",
    prompt_settings={},
    simulated=False,
    confidence=0.95,
    beliefs=("A1", "B1"),
    default_beliefs=("A1", "B1"),
    priors=(),
    rows=(
        SelectivityRow(
            intervention="A1+",
            variable="A1",
            polarity="+",
            family="first",
            own=("A1",),
            shifts=SHIFTS,
            unscored={},
        ),
    ),
    moves=(),
    scored_by={},
    warnings=(),
)
JUDGED = {"concepts": CONCEPTS, "selectivity": (BELIEFS,)}


def study(motivation: Motivation = "expectation", model: str = "lab/model", *, n: int = 60) -> Outcomes:
    planted = Planted(motivation, 0.5, 0.2, 0.15, missing=(0.1, 0.02))
    return simulate_outcomes(planted, np.random.default_rng(5), n_requests=n, placebos=True, model=model)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return profile_of(study())


@pytest.fixture(scope="module")
def drawings(profile: Profile) -> tuple[Drawing, ...]:
    return draw_figures(profile.model_copy(update=JUDGED))


def profile_of(*studies: Outcomes) -> Profile:
    conditions = tuple(c for one in studies for c in one.request_sets[0].conditions)
    requests = dataclasses.replace(studies[0].request_sets[0], conditions=conditions)
    return build_profile(Outcomes((requests,), n_replies=1), thresholds=QUICK)


def at_all_strengths() -> Profile:
    base = study("mixed").request_sets[0]
    conditions = []
    for condition in base.conditions:
        claims = [t for t in condition.treatments if isinstance(t, PromptClaim)]
        if not claims:
            conditions.append(condition)
        for claim in claims:
            conditions += [
                dataclasses.replace(condition, treatments=(claim.model_copy(update={"strength": strength}),))
                for strength in STRENGTHS
            ]
    requests = dataclasses.replace(base, conditions=tuple(conditions))
    return build_profile(Outcomes((requests,), n_replies=1), thresholds=QUICK)


def by_name(profile: Profile) -> dict[str, Drawing]:
    return {drawing.name: drawing for drawing in draw_figures(profile)}


def texts(drawing: Drawing) -> list[str]:
    root = ElementTree.fromstring(to_svg(drawing))
    return ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_study_at_one_strength_has_no_dose_figure_and_one_at_three_has(profile: Profile) -> None:
    assert "dose-response" not in by_name(profile)
    assert {"weak", "standard", "strong"} <= set(texts(by_name(at_all_strengths())["dose-response"]))


def test_the_gap_figure_names_every_condition_and_prints_every_gap(profile: Profile) -> None:
    shown = texts(by_name(profile)["gaps"])
    for row in profile.conditions:
        assert row.label.removesuffix("/standard") in shown
        assert f"{100 * (row.gap or 0):+.1f}".replace("-", "−") in shown


def test_text_in_an_svg_is_text_and_not_outlines(drawings: tuple[Drawing, ...]) -> None:
    assert len(drawings) == 3
    for drawing in drawings:
        assert len(texts(drawing)) > 3
        assert drawing.caption.endswith(".")


def test_an_inline_figure_uses_css_variables_for_every_colour(drawings: tuple[Drawing, ...]) -> None:
    for drawing in drawings:
        svg = to_inline_svg(drawing)
        assert "var(--ink)" in svg
        assert not re.search(r"(?:fill|stroke): #", svg), drawing.name
        assert "http://www.w3.org/TR" not in svg
        assert "<style" not in svg


def test_every_variable_that_figures_use_is_defined_for_light_and_for_dark() -> None:
    style = Path(__import__("inspect_af.report").__file__).parent / "report/templates/page.css"
    light, dark = style.read_text(encoding="utf-8").split("@media (prefers-color-scheme: dark)", 1)
    for variable in VARIABLES.values():
        assert f"{variable}:" in light
        assert f"{variable}:" in dark[: dark.index("* {")]


def test_scores_of_a_simulated_judge_say_so_and_name_it(profile: Profile) -> None:
    real = ConceptScore("m", "baseline", "expectation", "monitored", 2.0, 9, "lab/judge")
    simulated = real._replace(condition="A1+", judge="af-judge/keyword", simulated=True)
    page = render_html(profile.model_copy(update={"concepts": (real, simulated)}))
    assert "Judge: af-judge/keyword, lab/judge, which is simulated" in page
    alone = render_html(profile.model_copy(update={"concepts": (real,)}))
    assert "<caption>Judge: lab/judge</caption>" in alone


def test_the_same_profile_draws_the_same_bytes(profile: Profile) -> None:
    first, second = ([to_svg(d) for d in draw_figures(profile)] for _ in range(2))
    assert first == second


def test_the_plane_puts_each_organism_on_its_own_side() -> None:
    profile = profile_of(study("expectation", "m/one"), study("consequence", "m/two"))
    drawing = draw_plane(profile)
    assert drawing is not None
    points = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in drawing.figure.axes[0].lines
        if line.get_marker() == "o"
    ]
    assert points[0][0] > 10 > points[0][1]
    assert points[1][1] > 10 > points[1][0]
    assert {"1 one", "2 two"} <= set(texts(drawing))


def test_names_on_the_plane_never_overlap_even_for_twenty_equal_models() -> None:
    profile = profile_of(*(study("unmoved", f"m/model-{k:02}") for k in range(20)))
    drawing = draw_plane(profile)
    assert drawing is not None
    heights = sorted(
        t.get_position()[1] * drawing.figure.get_figheight() * 72
        for t in drawing.figure.texts
        if " model-" in t.get_text()
    )
    assert len(heights) == 20
    assert min(np.diff(heights)) > 11
    assert heights[0] > 0


def test_one_condition_alone_still_has_its_figure() -> None:
    requests = study().request_sets[0]
    alone = Outcomes((dataclasses.replace(requests, conditions=requests.conditions[:1]),), n_replies=1)
    assert "gaps" in by_name(build_profile(alone, thresholds=QUICK))


def test_a_condition_without_a_complete_pair_says_so_and_breaks_nothing() -> None:
    requests = study().request_sets[0]
    empty = dataclasses.replace(requests.conditions[0], counts=np.zeros_like(requests.conditions[0].counts))
    changed = dataclasses.replace(requests, conditions=(empty, *requests.conditions[1:]))
    drawings = by_name(build_profile(Outcomes((changed,), n_replies=1), thresholds=QUICK))
    assert " no complete pair" in texts(drawings["gaps"])


def test_a_study_without_missing_replies_has_no_table_of_them(profile: Profile) -> None:
    planted = Planted("expectation", 0.5, 0.2, 0.15)
    full = simulate_outcomes(planted, np.random.default_rng(5), n_requests=40)
    assert "<caption>Missing replies" not in render_html(build_profile(full, thresholds=QUICK))
    assert "<caption>Missing replies" in render_html(profile)


def test_forty_conditions_keep_every_row_a_line_apart() -> None:
    profile = profile_of(*(study(model=f"m/model-{k}") for k in range(4)))
    assert len(profile.conditions) >= 40
    figure = by_name(profile)["gaps"].figure
    heights = {
        round(t.get_position()[1] * figure.get_figheight() * 72, 1)
        for t in figure.texts
        if t.get_position()[0] == 0
    }
    assert len(heights) >= 44
    assert min(np.diff(sorted(heights))) > 14


@pytest.mark.parametrize("name", ["a $x$ b", "日本語モデル", "x" * 300, "<b>&\x00\u202e"])
def test_odd_model_names_are_drawn_as_they_are(name: str) -> None:
    profile = profile_of(study(model=name), study(model="other"))
    for drawing in draw_figures(profile):
        svg = to_svg(drawing)
        ElementTree.fromstring(svg)
        assert "\u202e" not in svg
    if "$" in name:
        assert any("$x$" in text for text in texts(by_name(profile)["gaps"]))


def test_figures_are_exported_as_svg_and_as_png_of_a_useful_size(profile: Profile, tmp_path: Path) -> None:
    files = export_figures(profile.model_copy(update=JUDGED), tmp_path / "figures")
    names = {file.name for file in files}
    assert {"motivation-plane.svg", "gaps.png", "arm-decomposition.svg"} <= names
    for file in files:
        data = file.read_bytes()
        if file.suffix == ".png":
            assert data.startswith(b"\x89PNG")
            assert struct.unpack(">I", data[16:20])[0] > WIDTH
        else:
            assert "var(--" not in data.decode()


def test_without_matplotlib_the_export_says_what_to_install(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.style", None)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InspectAFError, match=r"pip install 'inspect-af\[figures\]'"):
        export_figures(profile, tmp_path)


def test_a_users_own_matplotlib_settings_change_nothing(profile: Profile) -> None:
    import matplotlib

    plain = to_svg(draw_figures(profile)[0])
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        assert to_svg(draw_figures(profile)[0]) == plain


def test_csv_files_hold_the_profiles_numbers(profile: Profile, tmp_path: Path) -> None:
    import pandas as pd

    files = {file.stem: pd.read_csv(file) for file in export_csv(profile.model_copy(update=JUDGED), tmp_path)}
    assert set(files) >= {"conditions", "profiles", "effects", "sensitivity", "concepts"}
    by_label = files["conditions"].set_index("label")
    for row in profile.conditions:
        assert by_label.loc[row.label, "gap"] == pytest.approx(row.gap)
    assert len(files["effects"]) == sum(len(one.effects) for one in profile.profiles)
    for row in profile.conditions:
        lost = row.unscored["monitored"]["unparsed"]
        assert by_label.loc[row.label, "unscored_monitored_unparsed"] == lost
        assert by_label.loc[row.label, "replies_monitored"] == 60
    shifts = files["selectivity_rows_shifts"]
    assert list(shifts["estimate"]) == [0.4, -0.05] and set(shifts["intervention"]) == {"A1+"}
    assert list(files["sensitivity"]["sensitivity"]) == ["expectation", "consequence"]


def test_every_number_of_conditions_and_profiles_is_in_some_file(profile: Profile, tmp_path: Path) -> None:
    import csv

    cells: set[str] = set()
    for file in export_csv(profile, tmp_path):
        with file.open(newline="", encoding="utf-8") as source:
            cells |= {part for row in csv.reader(source) for cell in row for part in cell.split("; ")}

    def numbers(value: object) -> Iterator[float]:
        if isinstance(value, dict | tuple | list):
            for one in value.values() if isinstance(value, dict) else value:
                yield from numbers(one)
        elif isinstance(value, float) and not np.isnan(value):
            yield value

    found = {*numbers([row.model_dump() for row in (*profile.conditions, *profile.profiles)])}
    assert len(found) > 300
    assert not {number for number in found if str(number) not in cells and f"'{number}" not in cells}


def test_a_csv_cell_is_never_a_formula_and_hides_nothing(tmp_path: Path) -> None:
    import csv

    profile = profile_of(study(model="=HYPERLINK(1)\x00\x1b[2J\u202e"))
    for file in export_csv(profile, tmp_path):
        assert file.read_text(encoding="utf-8").replace("\n", "").isprintable()
        with file.open(newline="", encoding="utf-8") as source:
            for row in csv.reader(source):
                assert not [c for c in row if c.startswith(("=", "@")) or re.match(r"[+-](?![\d.]|inf)", c)]
