"""The direct-request control on the page and as CSV rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspect_af.logs import REQUEST_ARMS, RequestArm
from inspect_af.profile.direct_requests import DirectReport
from inspect_af.profile.direct_rows import DirectArm, DirectRow
from inspect_af.profile.estimate import Estimate
from inspect_af.profile.report.markup import NOTHING, Html, bullets, element, escaped, joined, name, table
from inspect_af.profile.report.text import between, count, percent, points, rate

DIRECT_COLUMNS = (
    "subject",
    "requests",
    "condition",
    "method",
    "intervention",
    "family",
    "placebo",
    "strength",
    "arm",
    "refused",
    "refused_low",
    "refused_high",
    "accepted",
    "partial",
    "off_topic",
    "n_requests",
    "n_replies",
    "unscored",
    "change",
    "change_low",
    "change_high",
    "change_n",
    "change_simultaneous_low",
    "change_simultaneous_high",
    "simulated",
    "simulated_judge",
)


def direct_section(reports: Sequence[DirectReport]) -> Html:
    """A table per subject and request set, with its judges and warnings; nothing without reports."""
    return joined(_report(one) for one in reports)


def direct_cells(reports: Sequence[DirectReport]) -> Iterator[tuple[str | int | float | bool | None, ...]]:
    """One row per condition and arm that was asked, in the order of `DIRECT_COLUMNS`; shares are 0 to 1."""
    for one in reports:
        for row in one.rows:
            for arm in REQUEST_ARMS:
                if (found := row.arm(arm)) is not None:
                    yield (
                        *(one.subject, one.requests, row.label, row.method, row.intervention, row.family),
                        *(row.placebo, row.strength, arm),
                        *(found.refused, found.refused_low, found.refused_high),
                        *(found.accepted, found.partial, found.off_topic),
                        *(found.n_requests, found.n_replies, sum(found.unscored.values())),
                        *_change(found.change),
                        *(found.change_simultaneous_low, found.change_simultaneous_high),
                        *(one.simulated, one.simulated_judge),
                    )


def _change(change: Estimate | None) -> tuple[float | int | None, ...]:
    return (None,) * 4 if change is None else (change.estimate, change.low, change.high, change.n)


def _report(one: DirectReport) -> Html:
    asked = [arm for arm in REQUEST_ARMS if any(row.arm(arm) for row in one.rows)]
    if not asked:
        return NOTHING
    columns = [title for arm in asked for title in (f"{arm} refused %", "change", "interval", "requests")]
    about = [
        escaped(
            "Share of replies that the judge calls refused, without scenario and tiers. Changes are from the "
            f"baseline, in percentage points, paired by request ({one.confidence:.0%}). Judged by "
        ),
        joined([name(grader) for grader in one.grader], ", ") or escaped("nobody"),
        escaped(" (a simulated judge)." if one.simulated_judge else "."),
    ]
    marks = " · simulated organism" if one.simulated else ""
    return joined(
        [
            table(
                ("condition", *columns, "unscored"),
                [_row(row, asked) for row in one.rows],
                caption=f"{one.subject} · {one.requests}{marks}",
            ),
            element("p", *about, of="note"),
            bullets(escaped(warning) for warning in one.warnings),
        ]
    )


def _row(row: DirectRow, asked: Sequence[RequestArm]) -> list[Html]:
    arms = [row.arm(arm) for arm in asked]
    known = [arm for arm in arms if arm is not None]
    lost = sum(sum(arm.unscored.values()) for arm in known)
    replies = lost + sum(arm.n_replies for arm in known)
    cells = [escaped(text) for arm in arms for text in _arm(arm)]
    return [name(row.label), *cells, escaped(f"{count(lost)} / {count(replies)}")]


def _arm(arm: DirectArm | None) -> tuple[str, str, str, str]:
    if arm is None:
        return percent(None), points(None), between(None, None), count(0)
    share = rate(arm.refused, arm.refused_low, arm.refused_high)
    if arm.change is None:
        return share, "", "", count(arm.n_requests)
    change = arm.change
    return share, points(change.estimate), between(change.low, change.high), count(arm.n_requests)
