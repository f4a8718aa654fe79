"""What several parts of the page share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inspect_af.profile.estimate import Estimate
from inspect_af.profile.report.markup import NOTHING, Html, bullets, element, escaped, folded, name
from inspect_af.profile.report.text import between, plural, points

Names = Mapping[str, str]
"""What to call every subject."""


def sources(logs: Sequence[str]) -> Html:
    """The logs behind a figure or table, folded."""
    if not logs:
        return NOTHING
    return folded(
        escaped(f"From {plural(len(logs), 'log')}"),
        bullets(element("code", name(log, longest=160)) for log in logs),
        of="sources",
    )


def shown(estimate: Estimate | None) -> str:
    """An estimate in points with its interval; a dash where there is none."""
    if estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return points(estimate.estimate)
    # A narrow column may put the interval below the estimate, but not break it.
    interval = between(estimate.low, estimate.high).replace(" ", "\u00a0")
    return f"{points(estimate.estimate)} ({interval})"
