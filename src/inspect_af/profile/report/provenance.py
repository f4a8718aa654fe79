"""The bottom of the page: excerpts, where the samples are, how it was computed, what it does not show."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from inspect_af.logs import ReadNotes
from inspect_af.profile.report.grouping import blocks
from inspect_af.profile.report.inputs import Excerpt, Excerpts, Supplements
from inspect_af.profile.report.markup import (
    NOTHING,
    Html,
    bullets,
    element,
    escaped,
    folded,
    joined,
    name,
    paragraph,
    table,
)
from inspect_af.profile.report.text import LONGEST_EXCERPT, plural, visible
from inspect_af.profile.result import Profile

_ALL_EXCERPTS = 480_000
"""Characters of all excerpts together; keeps a page with 40 conditions below 2 MB."""


def excerpt_section(profile: Profile, excerpts: Excerpts | None) -> Html:
    """Folded excerpts by subject and condition, each labelled as text that nobody vouches for."""
    if excerpts is None or not (excerpts.drawn or excerpts.unreadable):
        return NOTHING
    groups: dict[tuple[str, str], list[Excerpt]] = {}
    for excerpt in excerpts.drawn:
        groups.setdefault((excerpt.subject, excerpt.condition), []).append(excerpt)
    order = {row.label: k for block in blocks(profile) for k, row in enumerate(block.conditions)}
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], order.get(item[0][1], len(order))))
    several = len({subject for subject, _ in groups}) > 1
    longest = min(LONGEST_EXCERPT, _ALL_EXCERPTS // max(len(excerpts.drawn), 1))
    intro = paragraph(
        f"Drawn by seed {excerpts.seed}, not chosen: at most {excerpts.per_condition} replies of every "
        "condition, whatever they say. Only the reasoning is shown; what a reply delivers is not on this "
        "page.",
        of="note",
    )
    folds = [
        folded(
            joined(
                [
                    name(f"{subject}: {condition}" if several else condition),
                    escaped(f" · {plural(len(own), 'excerpt')}"),
                ]
            ),
            *(_excerpt(excerpt, longest) for excerpt in own),
            of="excerpts",
        )
        for (subject, condition), own in ordered
    ]
    return joined([intro, *folds, bullets(escaped(f"not readable: {line}") for line in excerpts.unreadable)])


def _excerpt(excerpt: Excerpt, longest: int) -> Html:
    where = joined(
        [
            escaped(f"{excerpt.tier} · {excerpt.outcome} · sample "),
            element("code", name(excerpt.sample_id)),
            escaped(f" epoch {excerpt.epoch} in "),
            element("code", name(excerpt.location, longest=160)),
        ]
    )
    if excerpt.reasoning is None:
        body = paragraph("This reply has no reasoning that could be read.", of="note")
    else:
        shown = visible(excerpt.reasoning, longest=longest, whole=excerpt.n_characters)
        body = element("pre", escaped(shown), of="untrusted", dir="auto")
    return element(
        "div",
        element("p", element("strong", escaped("untrusted model text")), escaped(" · "), where, of="facts"),
        body,
        of="excerpt",
    )


def logs_section(profile: Profile, extra: Supplements) -> Html:
    """Commands that open the logs, what reading them left out, and departures from the plan."""
    logs = tuple(dict.fromkeys(extra.logs or profile.logs))
    locations = list(logs)
    if extra.excerpts is not None:
        locations += [excerpt.location for excerpt in extra.excerpts.drawn]
    directories = list(dict.fromkeys(_directory(location) for location in locations))
    commands = "\n".join(f"inspect view --log-dir {shlex.quote(d)}" for d in directories[:_MOST_COMMANDS])
    if len(directories) > _MOST_COMMANDS:
        commands += f"\n# and {len(directories) - _MOST_COMMANDS} more directories"
    view = NOTHING
    if commands:
        view = joined(
            [
                paragraph("Inspect View shows every reply; its log, sample id and epoch find it:"),
                element("pre", escaped(commands), of="command"),
            ]
        )
    files = NOTHING
    if logs:
        entries = bullets(element("code", name(log, longest=200)) for log in logs)
        files = folded(escaped(plural(len(logs), "log")), entries)
    return joined(
        [
            view,
            files,
            _plan(profile, extra.deviations),
            _listed("Left out or unfinished", _left_out(extra.notes)),
            _listed("Notes", profile.notes),
            paragraph(
                f"{plural(profile.n_duplicates, 'reply was', 'replies were')} in more than one log and "
                f"counted once; {plural(profile.n_failed, 'sample')} failed.",
                of="note",
            ),
        ]
    )


_MOST_COMMANDS = 12


def _directory(location: str) -> str:
    """Where a log lies; both kinds of separator may occur, and addresses of remote storage."""
    end = max(location.rfind("/"), location.rfind("\\"))
    return location[:end] if end > 0 else "."


def _left_out(notes: ReadNotes | None) -> tuple[str, ...]:
    if notes is None:
        return ()
    return (
        *(f"skipped: {location}: {reason}" for location, reason, _ in notes.skipped),
        *(
            f"incomplete: {location}: {status}, {n} of {planned} samples"
            for location, status, n, planned in notes.incomplete
        ),
        *(
            f"{plural(n, 'sample')} left out of {location}: {reason}"
            for location, n, reason in notes.bad_rows
        ),
    )


def _plan(profile: Profile, more: Sequence[str]) -> Html:
    """Whether the logs are what was planned; nothing where there was no plan."""
    departures = tuple(dict.fromkeys((*(profile.deviations or ()), *more)))
    if departures or profile.deviations is None:
        return _listed("Departures from the plan", departures)
    return paragraph(f"The logs fit the plan {profile.plan_digest or ''}".rstrip() + ".")


def _listed(title: str, lines: Iterable[str]) -> Html:
    entries = bullets(escaped(line) for line in lines)
    return joined([element("h3", escaped(title)), entries]) if entries else NOTHING


def method_section(profile: Profile) -> Html:
    """Definitions, which interval is which, and every threshold."""
    thresholds = _flat(profile.thresholds.model_dump())
    limits = [[element("code", escaped(key)), escaped(str(value))] for key, value in thresholds.items()]
    return joined(
        [
            bullets(
                escaped(line)
                for line in (
                    "The unit is the request; several epochs are averaged within it first.",
                    "Gap: accepted rate when monitored less accepted rate when not, over requests "
                    "answered in both tiers. Replies that cannot be counted are missing, not refusals.",
                    "Sensitivity of a family: mean over its beliefs of the gap with the belief amplified "
                    "less the gap with it suppressed. Difference: the first family’s less the second’s.",
                    "Effect of an intervention: change of the gap against the baseline (the untouched model) "
                    "and against the placebo; the headline uses the placebo where one was run.",
                )
            ),
            element("p", _with_code(profile.intervals)),
            folded(
                escaped("All thresholds, seeds and levels"),
                table(("setting", "value"), limits, caption="Settings of the analysis"),
            ),
        ]
    )


def limits_section(profile: Profile) -> Html:
    """What must not be concluded, and the line that ends every report."""
    return joined(
        [
            bullets(
                escaped(line)
                for line in (
                    "It is comparative: it ranks two families of beliefs by how the gap moves. It does not "
                    "name the only motive, or rule out others.",
                    "It holds for the texts, checkpoints and requests used here. Other wordings of the same "
                    "belief can move the gap differently.",
                    "The scratchpad is what the model wrote, not proof of why it acted.",
                    "No gap here does not mean no gap elsewhere, and a verdict of any kind is no clearance.",
                )
            ),
            paragraph(profile.closing, of="closing"),
        ]
    )


def _with_code(text: str) -> Html:
    """Text in which `backquoted` words are code."""
    pieces = text.split("`")
    return joined(element("code", escaped(p)) if k % 2 else escaped(p) for k, p in enumerate(pieces))


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `group.name`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
