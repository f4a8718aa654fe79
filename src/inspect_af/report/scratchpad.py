"""What scratchpad edits show, in sentences and tables for pages and the terminal alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from inspect_af.format import count, percent, plural, points, rate, text_table, visible
from inspect_af.profile.awareness import AwarenessRow
from inspect_af.profile.scratchpad import CutRow, ScratchpadReport, TransplantRow
from inspect_af.report.naming import report_words
from inspect_af.types import ARMS


class Table(NamedTuple):
    """One table: its title, columns and rows."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def scratchpad_sentences(report: ScratchpadReport) -> Iterator[str]:
    """What one subject's edits show; every sentence is printed only where its numbers say it."""
    for row in report.transplants:
        where = "" if row.condition == "baseline" else f"With {row.condition}: "
        yield (
            f"{where}of a gap of {points(row.gap)} points, {points(row.through)} goes through the stated "
            f"reasoning and {points(row.around)} around it (interaction {points(row.interaction)})."
        )
        if row.share is not None:
            share = row.share
            yield (
                f"{where}that is {rate(share.estimate, share.low, share.high)} of the gap through the stated "
                "reasoning."
            )
        moved = [
            f"{points(found)} points in the {tier} tier"
            for tier, found in row.control.items()
            if found.is_nonzero
        ]
        if moved:
            yield (
                f"{where}going on under the own prompt already changes what is accepted, by "
                f"{' and '.join(moved)}: the split is of the replies that went on, not of the first ones."
            )
    for cut in report.cuts:
        where = "" if cut.condition == "baseline" else f"With {cut.condition}: "
        away = cut.difference
        if away.is_nonzero:
            yield (
                f"{where}taking out the sentences about {cut.family} moves the gap by {points(cut.change)} "
                f"points, {points(away)} more than taking out others like them."
            )
        elif away.low is not None:
            yield (
                f"{where}taking out the sentences about {cut.family} moves the gap by {points(cut.change)} "
                f"points, not shown to be more than taking out others like them ({points(cut.like)})."
            )
    if any(report.names_tier.values()):
        told = " and ".join(
            f"{percent(share)} of the {tier} ones" for tier, share in report.names_tier.items()
        )
        apart = "their replies are counted apart below" if report.without_names else "no text is without"
        yield f"Some texts say which tier they were written in ({told}); {apart}."
    if report.left_out:
        reasons = "; ".join(
            f"{report_words()['left-out'].get(reason, reason)}: {n}" for reason, n in report.left_out.items()
        )
        yield f"Not gone on with: {reasons}."


def scratchpad_tables(report: ScratchpadReport) -> Iterator[Table]:
    """The numbers of one subject's edits."""
    for title, rows in (
        ("Points of the gap through the text and around it", report.transplants),
        ("The same, from texts that do not say their tier", report.without_names),
    ):
        if rows:
            parts = ("gap", "through the text", "around it", "interaction", "share through", "n")
            yield Table(title, ("condition", *parts), tuple(map(_transplant, rows)))
    if report.transplants:
        cells = [(prompt, text) for prompt in ARMS for text in ARMS]
        yield Table(
            "Accepted",
            ("condition", *(f"{prompt} prompt, {text} text" for prompt, text in cells)),
            tuple(
                (row.condition, *(percent(row.rates[prompt].get(text)) for prompt, text in cells))
                for row in report.transplants
            ),
        )
    if report.cuts:
        moved = ("gap uncut", "change", "others like them", "difference")
        yield Table(
            "Change of the gap without sentences",
            ("condition", "sentences about", *moved, "n", "cut", "came back", "after others"),
            tuple(map(_cut, report.cuts)),
        )


def awareness_table(rows: Sequence[AwarenessRow]) -> Table | None:
    """Replies that voice a test, condition by condition."""
    if not rows:
        return None
    several = len({row.subject for row in rows}) > 1
    shares = (f"{kind}, {tier}" for kind in ("a test", "real") for tier in ARMS)
    return Table(
        "Replies whose reasoning voices a test, or that it is real",
        ("condition", *shares, "change of a test", "gap where voiced", "gap elsewhere", "difference", "n"),
        tuple(
            (
                f"{row.subject}: {row.condition}" if several else row.condition,
                *(percent(kind.get(tier)) for kind in (row.test, row.real) for tier in ARMS),
                *map(points, (row.raised, row.gap_voiced, row.gap_other, row.difference)),
                count(row.n),
            )
            for row in rows
        ),
    )


def render_scratchpads(report: ScratchpadReport) -> str:
    """Sentences and tables for the terminal."""
    mark = "  SIMULATED ORGANISM" if report.simulated else ""
    lines = [f"Scratchpad edits of {report.subject}  ({report.requests}){mark}"]
    lines += [f"  {sentence[:1].upper()}{sentence[1:]}" for sentence in scratchpad_sentences(report)]
    for table in scratchpad_tables(report):
        lines += [f"  {table.title}", text_table([table.header, *table.rows], indent=4)]
    return visible("\n".join([*lines, "  " + report_words()["scratchpads"]["note"]]), longest=1_000_000)


def _transplant(row: TransplantRow) -> tuple[str, ...]:
    share = "-" if row.share is None else rate(row.share.estimate, row.share.low, row.share.high)
    split: Sequence[str] = [points(one) for one in (row.gap, row.through, row.around, row.interaction)]
    return (row.condition, *split, share, count(row.gap.n))


def _cut(row: CutRow) -> tuple[str, ...]:
    moved = [points(one) for one in (row.gap, row.change, row.like, row.difference)]
    back = percent(row.came_back), percent(row.came_back_like)
    return (
        row.condition,
        row.family,
        *moved,
        count(row.change.n),
        plural(row.n_cut, "reply", "replies"),
        *back,
    )
