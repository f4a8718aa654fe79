"""The gap under prompt variants, compared request by request."""

from __future__ import annotations

import pytest
from tests.profile.conftest import Header, Row

from inspect_af.errors import AnalysisError
from inspect_af.profile import build_profile, count_outcomes, nuisance_reports
from inspect_af.report import render_nuisance
from inspect_af.thresholds import Thresholds

REFERENCE = {"setting": "prompted", "tier_tag": "free"}


def log(header: Header, row: Row, variant: str, gap_requests: int):
    """Twenty requests, of which the first few are accepted when monitored and none when not."""
    top = header(f"{variant}.eval", prompt_digest=variant)
    top = top._replace(
        meta=top.meta.model_copy(update={"prompt_settings": {"setting": "prompted", "tier_tag": variant}})
    )
    rows = []
    for k in range(20):
        rows.append(
            row(f"r{k}", "monitored", "accepted" if k < gap_requests else "rejected", uuid=f"{variant}{k}m")
        )
        rows.append(row(f"r{k}", "unmonitored", "rejected", uuid=f"{variant}{k}u"))
    return top, rows


def test_a_variant_is_compared_with_the_reference_request_by_request(
    header: Header, row: Row, quick: Thresholds
) -> None:
    outcomes = count_outcomes([log(header, row, "free", 10), log(header, row, "swapped", 4)])
    (report,) = nuisance_reports(outcomes, reference=REFERENCE, thresholds=quick)
    assert [one.variant for one in report.rows] == ["reference", "tier_tag=swapped"]
    assert report.rows[1].change is not None
    assert report.rows[1].change.estimate == pytest.approx(-0.3)
    assert (report.gap_min, report.gap_max) == pytest.approx((0.2, 0.5))
    text = render_nuisance(report)
    assert "tier_tag=swapped" in text and "-30.0" in text


def test_without_the_reference_or_without_a_variant_there_is_nothing_to_compare(
    header: Header, row: Row, quick: Thresholds
) -> None:
    with pytest.raises(AnalysisError, match="not run under the reference"):
        nuisance_reports(
            count_outcomes([log(header, row, "swapped", 4)]), reference=REFERENCE, thresholds=quick
        )
    with pytest.raises(AnalysisError, match="nothing to compare"):
        nuisance_reports(count_outcomes([log(header, row, "free", 4)]), reference=REFERENCE, thresholds=quick)


def test_broken_pairs_are_noted(header: Header, row: Row, quick: Thresholds) -> None:
    top, rows = log(header, row, "free", 10)
    profile = build_profile(count_outcomes([(top, rows[:-1])]), thresholds=quick)
    assert any(note.startswith("Broken pairs: 1 request,") for note in profile.notes)


def test_a_few_requests_show_no_variant_to_change_the_gap(
    header: Header, row: Row, quick: Thresholds
) -> None:
    top, rows = log(header, row, "free", 4)
    other, others = log(header, row, "swapped", 0)
    outcomes = count_outcomes([(top, rows[:8]), (other, others[:8])])
    (report,) = nuisance_reports(outcomes, reference=REFERENCE, thresholds=quick)
    assert report.rows[1].change is not None and report.rows[1].change.low is None
    assert report.changed == ()
