"""The direct-request control as plain text, for a terminal."""

from __future__ import annotations

from inspect_af.profile.direct_requests import DirectReport
from inspect_af.profile.direct_rows import DirectArm, DirectRow
from inspect_af.profile.wording import aligned, interval, percent, signed


def render_direct(report: DirectReport) -> str:
    """Per condition the share refused in both arms and its change from the baseline, in percentage points."""
    marks = ["SIMULATED ORGANISM"] if report.simulated else []
    marks += ["SIMULATED JUDGE"] if report.simulated_judge else []
    asked = [name for name in ("harmful", "benign") if any(getattr(row, name) for row in report.rows)]
    columns = [title for name in asked for title in (name, "change", "interval")]
    header = ("  refused", *columns, "requests", "unscored", "")
    lines = [
        "  ".join([f"Direct requests to {report.subject}  ({report.requests})", *marks]),
        aligned([header, *(_line(row, asked) for row in report.rows)]),
        "  Share of replies that the judge calls refused, without scenario and tiers. Changes are from the "
        f"baseline, paired by request ({report.confidence:.0%}); judged by "
        f"{', '.join(report.grader) or 'nobody'}.",
        *(f"  ! {warning}" for warning in report.warnings),
    ]
    return "\n".join(lines)


def _line(row: DirectRow, asked: list[str]) -> tuple[str, ...]:
    arms: list[DirectArm | None] = [getattr(row, name) for name in asked]
    cells = [cell for arm in arms for cell in _cells(arm)]
    known = [arm for arm in arms if arm is not None]
    unscored = sum(sum(arm.unscored.values()) for arm in known)
    replies = unscored + sum(arm.n_replies for arm in known)
    requests = "+".join("0" if arm is None else str(arm.n_requests) for arm in arms)
    return (f"  {row.label}", *cells, requests, f"{unscored}/{replies}", "")


def _cells(arm: DirectArm | None) -> tuple[str, str, str]:
    if arm is None:
        return "-", "-", "-"
    if arm.change is None:
        return percent(arm.refused), "", ""
    return percent(arm.refused), signed(arm.change.estimate), interval(arm.change.low, arm.change.high)
