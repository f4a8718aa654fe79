"""Sweeps: which conditions, how far, and against which controls; then a whole one through real evals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.steering.steerable import NAME, planted_vector, save_controls, steerable

from inspect_af.cli import main
from inspect_af.errors import AnalysisError, ConfigError, TreatmentError
from inspect_af.steering.sweep import (
    SweepCell,
    control_runs,
    matched_vectors,
    sweep_report,
    usable_ranges,
    vector_runs,
)
from inspect_af.steering.vector import load_vector, random_controls
from inspect_af.types import Steer

assert steerable  # registers the provider


def cell(
    multiplier: float | None,
    *,
    gap: float = 0.0,
    parsed: int = 100,
    digest: str = "aa",
    source: Any = "ooc",
    dose: float | None = None,
    layers: str = "all",
    shift: float = 0.0,
    score: float | None = None,
) -> SweepCell:
    steer = None
    if multiplier is not None:
        steer = Steer(
            concept="expectation",
            family=None if source == "random" else "first",
            source=source,
            digest=digest,
            multiplier=multiplier,
            layers=layers,
            dose=abs(multiplier) / 10 if dose is None else dose,
        )
    return SweepCell(
        steer=steer,
        replies=100,
        parsed=parsed,
        monitored=0.5 + gap / 2 + shift,
        unmonitored=0.5 - gap / 2 + shift,
        mean=0.5,
        gap=gap,
        n_complete=50,
        concepts={} if score is None else {"expectation": score},
        n_judged=0 if score is None else 100,
    )


def controls(n: int, multiplier: float, *, gap: float = 0.1, **options: Any) -> list[SweepCell]:
    """Gaps spread evenly from -gap to gap."""
    spread = np.linspace(-gap, gap, n)
    return [
        cell(multiplier, gap=float(at), digest=f"c{k}", source="random", **options)
        for k, at in enumerate(spread)
    ]


def report(cells: list[SweepCell]) -> Any:
    return sweep_report(cells, usable_ranges(cells), model="m", requests="r", n_logs=1)


def test_every_vector_runs_at_every_multiplier_but_zero_and_every_range_of_layers(tmp_path: Path) -> None:
    vector = planted_vector()
    runs = vector_runs({tmp_path / "v": vector}, layers=["0", "all"], multipliers=(2, -2, 0, 2))
    assert [(run.layers, run.multiplier) for run in runs] == [("0", -2), ("0", 2), ("all", -2), ("all", 2)]
    by_dose = vector_runs({tmp_path / "v": vector}, doses=(-0.4, 0.2))
    assert [run.multiplier for run in by_dose] == pytest.approx([-4.0, 2.0])


def test_sweeps_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    vector = planted_vector()
    control = random_controls(vector, 1, seed=0)[0]
    with pytest.raises(ConfigError, match="either multipliers or doses"):
        vector_runs({tmp_path / "v": vector})
    with pytest.raises(ConfigError, match="nan is no multiplier"):
        vector_runs({tmp_path / "v": vector}, multipliers=(float("nan"),))
    with pytest.raises(ConfigError, match="are all 0"):
        vector_runs({tmp_path / "v": vector}, doses=(0, -0.0))
    with pytest.raises(ConfigError, match="is a random control"):
        vector_runs({tmp_path / "c": control}, multipliers=(1,))
    with pytest.raises(ConfigError, match="given twice"):
        vector_runs({tmp_path / "v": vector, tmp_path / "w": vector}, multipliers=(1,))
    with pytest.raises(TreatmentError, match="no vector for 5"):
        vector_runs({tmp_path / "v": vector}, layers=["5"], multipliers=(1,))
    runs = vector_runs({tmp_path / "v": vector}, multipliers=(1,))
    with pytest.raises(ConfigError, match="no random control"):
        matched_vectors(runs, {tmp_path / "v": vector})
    other = random_controls(doubled(vector), 1, seed=0)[0]
    with pytest.raises(ConfigError, match="which is not swept"):
        matched_vectors(runs, {tmp_path / "c": other})


def doubled(vector: Any) -> Any:
    from inspect_af.steering.vector import make_vector

    return make_vector(vector.header, vector.values * 2)


def test_the_usable_range_ends_where_too_few_replies_parse_and_does_not_start_again() -> None:
    parsed = {-4.0: 95, -2.0: 80, -1.0: 92, 1.0: 99, 2.0: 90, 4.0: 89, 8.0: 100}
    cells = [cell(None), *(cell(multiplier, parsed=n) for multiplier, n in parsed.items())]
    (found,) = usable_ranges(cells)
    assert (found.low, found.high) == (-1.0, 2.0)
    assert not found.holds(8.0) and not found.holds(-4.0) and found.holds(2.0)
    assert "-1 to +2 usable" in found.text() and "+4 89%" in found.text()


@given(st.lists(st.floats(-0.5, 0.5), min_size=4, max_size=4))
def test_the_usable_range_does_not_depend_on_effects(gaps: list[float]) -> None:
    sizes = [-2.0, -1.0, 1.0, 2.0]
    cells = [
        cell(None),
        *(cell(m, gap=g, parsed=85 + 5 * int(abs(m) < 2)) for m, g in zip(sizes, gaps, strict=True)),
    ]
    (found,) = usable_ranges(cells)
    assert (found.low, found.high) == (-1.0, 1.0)


def test_nothing_is_usable_where_unsteered_replies_do_not_parse() -> None:
    cells = [cell(None, parsed=50), cell(1.0), cell(2.0)]
    (found,) = usable_ranges(cells)
    assert not found.holds(1.0)
    done = report(cells)
    assert not any(point.usable for point in done.vectors[0].points)
    assert "nothing is compared" in done.text()
    with pytest.raises(ConfigError, match="parse floor of 90"):
        usable_ranges(cells, floor=90)


def test_controls_run_at_the_usable_multipliers_of_their_vector(tmp_path: Path) -> None:
    vector = planted_vector()
    runs = vector_runs({tmp_path / "v": vector}, multipliers=(-2, 1, 4))
    cells = [
        cell(None),
        *(cell(m, digest=vector.digest, parsed=50 if m == 4 else 99) for m in (-2.0, 1.0, 4.0)),
    ]
    two = {tmp_path / f"c{k}": control for k, control in enumerate(random_controls(vector, 2, seed=0))}
    found = control_runs(runs, usable_ranges(cells), two)
    assert [(run.path.name, run.multiplier) for run in found] == [
        ("c0", -2),
        ("c0", 1),
        ("c1", -2),
        ("c1", 1),
    ]


def test_ranks_are_those_of_the_definition() -> None:
    cells = [cell(None, gap=0.0), cell(2.0, gap=0.08), *controls(20, 2.0, gap=0.1)]
    band = report(cells).vectors[0].points[0].bands["gap"]
    spread = np.linspace(-0.1, 0.1, 20)
    assert band.n_controls == 20
    assert band.p_above == (1 + (spread >= 0.08).sum()) / 21
    assert band.p_below == (1 + (spread <= 0.08).sum()) / 21
    assert band.p_either == (1 + (abs(spread) >= 0.08).sum()) / 21
    assert (band.low, band.high) == pytest.approx((-0.1, 0.1))
    assert band.change == pytest.approx(0.08)


def test_a_vector_beyond_all_controls_has_the_smallest_rank_and_a_control_among_them_has_not() -> None:
    """Positive control of the ranks, and uniformity of them under the null."""
    beyond = report([cell(None), cell(2.0, gap=0.4), *controls(20, 2.0)]).vectors[0].points[0].bands["gap"]
    assert beyond.p_either == pytest.approx(1 / 21)
    rng = np.random.default_rng(0)
    ranks = []
    for _ in range(300):
        own, *others = rng.normal(size=21) / 10
        cells = [cell(2.0, gap=float(g), digest=f"c{k}", source="random") for k, g in enumerate(others)]
        point = report([cell(None), cell(2.0, gap=float(own)), *cells]).vectors[0].points[0]
        ranks.append(point.bands["gap"].p_either)
    assert np.mean(np.array(ranks) <= 0.1) < 0.15
    assert np.mean(ranks) == pytest.approx(0.52, abs=0.05)


def test_only_controls_of_the_same_dose_sign_and_layers_are_compared_and_unparsed_ones_are_counted() -> None:
    cells = [
        cell(None),
        cell(2.0, gap=0.1),
        *controls(3, 2.0),
        cell(2.0, digest="d1", source="random", parsed=10),
        cell(-2.0, digest="d2", source="random"),
        cell(2.0, digest="d3", source="random", layers="0"),
        cell(2.0, digest="d4", source="random", dose=0.5),
        cell(5.0, digest="d5", source="random", dose=0.2),
    ]
    point = report(cells).vectors[0].points[0]
    assert point.bands["gap"].n_controls == 4  # another multiplier with the same dose counts
    assert point.n_controls_left_out == 1


def test_a_slope_is_compared_with_the_slopes_of_controls_that_were_run_at_every_dose() -> None:
    sizes = (-2.0, -1.0, 1.0, 2.0)
    own = [cell(m, gap=0.1 * m) for m in sizes]
    flat = [cell(m, gap=0.03, digest=f"c{k}", source="random") for k in range(19) for m in sizes]
    once = [cell(2.0, gap=0.9, digest="once", source="random")]
    slope = report([cell(None), *own, *flat, *once]).vectors[0].slopes["gap"]
    assert slope.value == pytest.approx(1.0)  # 0.1 a multiplier, 0.1 of dose a multiplier
    assert slope.n_controls == 19
    assert slope.p_either == pytest.approx(1 / 20)


def curve(n_controls: int = 20, **own: Any) -> list[SweepCell]:
    """The unsteered model, random vectors that move everything a little, and a vector at two doses; `gap`,
    `shift` and `score` are per unit of multiplier."""
    judged = {"score": 5.0} if "score" in own else {}
    source = own.pop("source", "ooc")
    cells = [cell(None, **judged)]
    for m in (-1.0, 1.0):
        moved = {name: value * m + judged.get(name, 0.0) for name, value in own.items()}
        cells.append(cell(m, source=source, **moved))
        for k in range(n_controls):
            by = 0.01 * (k - n_controls / 2) * m
            scored = {"score": 5 + by} if judged else {}
            cells.append(cell(m, gap=by, shift=by, digest=f"c{k}", source="random", **scored))
    return cells


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"gap": 0.3, "score": 2.0}, "recoverable: moves its own reasoning; action-coupled: moves the gap"),
        ({"gap": -0.3, "score": 2.0}, "recoverable: moves its own reasoning; action-coupled: moves the gap"),
        ({"shift": 0.3, "score": -2.0}, "not shown to be recoverable; action-coupled: moves both arms"),
        ({"gap": 0.02, "score": 0.02}, "not shown to be recoverable; not shown to be action-coupled"),
        ({"gap": 0.3}, "action-coupled: moves the gap"),
    ],
)
def test_a_vector_is_recoverable_and_action_coupled_where_it_moves_more_than_all_random_ones(
    own: dict[str, float], words: str
) -> None:
    found = report(curve(**own))
    assert found.vectors[0].words == f"{words} (beyond all of 20 random vectors)"
    assert found.vectors[0].words in found.text()
    assert report(curve(19, **own)).vectors[0].words == ""


def test_a_null_says_nothing_unless_something_can_move_the_gap() -> None:
    def says(*cells: SweepCell) -> list[str]:
        return [note for note in report(list(cells)).notes if "move the gap" in note]

    (can,) = says(*curve(gap=0.3, source="oversight"))
    assert can.startswith("steering of this model can move the gap: expectation does")
    (cannot,) = says(*curve(gap=0.02, source="oversight"))
    assert cannot.startswith("it is not shown that steering of this model can") and "says nothing" in cannot
    (unknown,) = says(*curve(gap=0.02))
    assert unknown.startswith("it is open whether steering of this model can move the gap")
    assert says(*curve(19, gap=0.3, source="oversight")) == []  # too few random vectors to tell


def test_a_sweep_without_its_unsteered_condition_is_an_error() -> None:
    with pytest.raises(AnalysisError, match="without steering is missing"):
        report([cell(2.0)])
    with pytest.raises(AnalysisError, match="no steered condition"):
        report([cell(None)])


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole sweep of the planted vector with three controls."""
    folder = tmp_path_factory.mktemp("sweep")
    vector = planted_vector()
    vector.save(folder / "hopes.safetensors")
    save_controls(vector, folder / "controls", 3)
    assert main(command(folder)) == 0
    return folder


def command(folder: Path) -> list[str]:
    return [
        "steering", "sweep", "--model", f"{NAME}/m", "--vectors", str(folder / "hopes.safetensors"),
        "--controls", str(folder / "controls"), "--multipliers", "-4,0,2", "--requests", "mini",
        "--limit", "40", "--grader", "af-simulated-judge/keyword",
        "--log-dir", str(folder / "logs"), "--out", str(folder / "out"), "--display", "none",
    ]  # fmt: skip


def test_a_planted_effect_is_found_and_the_controls_have_none(swept: Path) -> None:
    found = json.loads((swept / "out" / "sweep.json").read_text())
    (vector,) = found["vectors"]
    assert (vector["usable"]["low"], vector["usable"]["high"]) == (0, 2)
    points = {point["multiplier"]: point for point in vector["points"]}
    assert points[-4]["cell"]["parsed"] == 0 and not points[-4]["usable"]
    assert points[-4]["bands"]["parse rate"]["n_controls"] == 0
    assert points[2]["cell"]["replies"] == 40
    gap = points[2]["bands"]["gap"]
    assert gap["value"] > gap["high"] and gap["n_controls"] == 3 and gap["p_either"] == 0.25
    score = points[2]["bands"]["concept: expectation"]
    assert score["value"] > score["high"]
    assert any("needs 20" in note for note in found["notes"])
    assert any("judge was simulated" in note for note in found["notes"])
    assert "usable" in (swept / "out" / "usable.txt").read_text()


def test_a_finished_sweep_runs_nothing_again_and_says_the_same(
    swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in (swept / "logs").rglob("*.eval"))
    old = (swept / "out" / "sweep.json").read_bytes()
    assert main(command(swept)) == 0
    assert sorted((path, path.stat().st_mtime_ns) for path in (swept / "logs").rglob("*.eval")) == before
    assert (swept / "out" / "sweep.json").read_bytes() == old
    out = capsys.readouterr().out
    assert "40 of 40 replies parse. Next: 2 conditions with a vector, then at most 6" in out.splitlines()[0]
    assert "before effects are looked at" in out.splitlines()[1]
    assert "-4 (not usable)" in out


def test_the_estimator_stands_in_heading_and_page(swept: Path) -> None:
    text = (swept / "out" / "sweep.txt").read_text()
    assert "expectation (ooc, mean-difference, vector " in text


def test_nothing_is_steered_where_the_model_without_steering_does_not_parse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted_vector().save(tmp_path / "hopes.safetensors")
    save_controls(planted_vector(), tmp_path / "controls", 2)
    asked = [*command(tmp_path), "-M", "mute=true"]
    assert main(asked) == 1
    error = capsys.readouterr().err
    assert "without steering 0 of 40 replies parse (40 unparsed)" in error and "reply protocol" in error
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["unsteered"]
    assert main([*asked, "--parse-floor", "0"]) == 1
    capsys.readouterr()
    assert main([*asked, "--parse-floor", "90"]) == 1
    assert "a share from 0 to 1 is needed" in capsys.readouterr().err


def test_figures_and_page_are_written_and_self_contained(swept: Path) -> None:
    page = (swept / "out" / "sweep.html").read_text()
    assert page.count("<svg") == 1 and "default-src 'none'" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script" not in page
    assert (swept / "out" / "sweep-1.png").read_bytes().startswith(b"\x89PNG")
    assert "gap" in (swept / "out" / "sweep-1.svg").read_text()


def test_a_vector_made_anew_under_the_old_name_is_noticed(
    swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = swept / "hopes.safetensors"
    kept = path.read_bytes()
    asked = command(swept)
    at = asked.index("--controls")
    asked[at : at + 2] = []
    try:
        doubled(load_vector(path)).save(path)
        assert main(asked) == 1
    finally:
        path.write_bytes(kept)
    assert "with other content under the same name" in capsys.readouterr().err
