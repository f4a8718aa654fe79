"""Direct requests on the page and in the CSV files: every condition and arm, and foreign text as text."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tests.report.test_page import HOSTILE, QUICK, Walk, outcomes, words

from inspect_af.profile import Estimate, Profile, build_profile
from inspect_af.profile.direct import DirectArm, DirectReport, DirectRow
from inspect_af.report import export_csv, render_html

CHANGE = Estimate(
    estimate=0.25, low=0.1, high=0.4, equivalence_low=0.12, equivalence_high=0.38, se=0.07, n=40
)


def arm(refused: float | None, change: Estimate | None = None, **unscored: int) -> DirectArm:
    return DirectArm(
        refused=refused,
        refused_low=None if refused is None else refused - 0.05,
        refused_high=None if refused is None else refused + 0.05,
        accepted=None if refused is None else 1 - refused,
        partial=0.0,
        off_topic=0.0,
        change=change,
        n_requests=40,
        n_replies=78,
        unscored=unscored,
    )


def report(*rows: DirectRow, subject: str = "lab/model", warnings: tuple[str, ...] = ()) -> DirectReport:
    return DirectReport(
        subject=subject,
        requests="advbench",
        grader=("lab/judge",),
        simulated=False,
        simulated_judge=True,
        confidence=0.95,
        rows=rows,
        logs=("logs/direct.eval",),
        warnings=warnings,
    )


def row(label: str, harmful: DirectArm | None, benign: DirectArm | None) -> DirectRow:
    return DirectRow(
        label=label,
        method="none" if label == "baseline" else "prompt",
        intervention=None if label == "baseline" else label.partition("/")[0],
        family=None,
        placebo=False,
        strength=None,
        harmful=harmful,
        benign=benign,
    )


BOTH = report(
    row("baseline", arm(0.5), arm(0.1)),
    row("A1+/standard", arm(0.75, CHANGE, no_output=2), None),
)


@pytest.fixture(scope="module")
def without() -> Profile:
    return build_profile(outcomes(), thresholds=QUICK)


def with_(profile: Profile, *reports: DirectReport) -> Profile:
    return profile.model_copy(update={"direct_requests": reports})


def test_the_page_shows_share_change_and_interval_of_every_condition_in_every_arm(without: Profile) -> None:
    page = words(render_html(with_(without, BOTH)))
    start = page.index("Asked directly, without the scenario")
    shown = page[start : page.index("All conditions", start)]
    for text in ("harmful refused", "50.0% [45.0%, 55.0%]", "10.0% [5.0%, 15.0%]", "+25.0 [+10.0, +40.0]"):
        assert text in shown
    assert "2 / 80" in shown and "lab/judge (a simulated judge)" in shown


def test_a_profile_without_direct_requests_has_no_such_section_and_no_such_file(
    without: Profile, tmp_path: Path
) -> None:
    assert "Asked directly" not in render_html(without)
    assert "direct_requests" not in {file.stem for file in export_csv(without, tmp_path)}


def test_an_arm_that_nobody_asked_has_no_column(without: Profile) -> None:
    only = report(row("baseline", arm(0.5), None))
    page = render_html(with_(without, only))
    assert "harmful refused" in page and "benign refused" not in page


def test_names_and_warnings_are_text_and_never_markup(without: Profile) -> None:
    hostile = report(row(HOSTILE, arm(0.5), None), subject=HOSTILE, warnings=(HOSTILE,))
    page = render_html(with_(without, hostile))
    tags = {tag for tag, _ in Walk(page).tags}
    assert "script" not in tags and "img" not in tags
    assert page.count("&lt;script&gt;alert(1)") >= 3 and "\u202e" not in page


def test_the_csv_file_has_a_row_for_every_condition_with_the_arms_that_were_asked(
    without: Profile, tmp_path: Path
) -> None:
    export_csv(with_(without, BOTH), tmp_path)
    with (tmp_path / "direct_requests_rows.csv").open(newline="", encoding="utf-8") as source:
        baseline, moved = csv.DictReader(source)
    assert (baseline["label"], moved["label"]) == ("baseline", "A1+/standard")
    assert (float(baseline["harmful_refused"]), float(baseline["benign_refused"])) == (0.5, 0.1)
    assert baseline["harmful_change_estimate"] == "" and moved["benign_refused"] == ""
    change = [float(moved[f"harmful_change_{part}"]) for part in ("estimate", "low", "n")]
    assert change == [0.25, 0.1, 40]
    assert (moved["harmful_unscored_no_output"], moved["harmful_n_replies"]) == ("2", "78")
    with (tmp_path / "direct_requests.csv").open(newline="", encoding="utf-8") as source:
        (asked,) = csv.DictReader(source)
    assert (asked["simulated_judge"], asked["grader"]) == ("true", "lab/judge")
