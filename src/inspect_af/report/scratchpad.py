"""What scratchpad edits show, in sentences and tables for pages and the terminal alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

from inspect_af.format import Columns, Table, count, percent, plural, points, rate_of, table, visible
from inspect_af.profile.awareness import AwarenessRow
from inspect_af.profile.scratchpad import CutRow, ScratchpadReport, TransplantRow
from inspect_af.report.naming import report_words
from inspect_af.types import ARMS


def scratchpad_sentences(report: ScratchpadReport) -> Iterator[str]:
    """What one subject's edits show; every sentence is printed only where its numbers say it."""
    for row in report.transplants:
        where = "" if row.condition == "baseline" else f"With {row.condition}: "
        yield (
            f"{where}of a gap of {points(row.gap)} points, {points(row.through)} goes through the stated "
            f"reasoning and {points(row.around)} around it (interaction {points(row.interaction)})."
        )
        if row.share is not None:
            yield f"{where}that is {rate_of(row.share)} of the gap through the stated reasoning."
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


_TRANSPLANTS: Columns[TransplantRow] = {
    "condition": lambda r: r.condition,
    "gap": lambda r: points(r.gap),
    "through the text": lambda r: points(r.through),
    "around it": lambda r: points(r.around),
    "interaction": lambda r: points(r.interaction),
    "share through": lambda r: rate_of(r.share),
    "n": lambda r: count(r.gap.n),
}
_CUTS: Columns[CutRow] = {
    "condition": lambda r: r.condition,
    "sentences about": lambda r: r.family,
    "gap uncut": lambda r: points(r.gap),
    "change": lambda r: points(r.change),
    "others like them": lambda r: points(r.like),
    "difference": lambda r: points(r.difference),
    "n": lambda r: count(r.change.n),
    "cut": lambda r: plural(r.n_cut, "reply", "replies"),
    "came back": lambda r: percent(r.came_back),
    "after others": lambda r: percent(r.came_back_like),
}


def scratchpad_tables(report: ScratchpadReport) -> list[Table]:
    """The numbers of one subject's edits."""
    accepted: dict[str, Callable[[TransplantRow], str]] = {"condition": lambda r: r.condition}
    for prompt, text in product(ARMS, ARMS):
        cell = partial(lambda prompt, text, r: percent(r.rates[prompt].get(text)), prompt, text)
        accepted[f"{prompt} prompt, {text} text"] = cell
    found = (
        table("Points of the gap through the text and around it", report.transplants, _TRANSPLANTS),
        table("The same, from texts that do not say their tier", report.without_names, _TRANSPLANTS),
        table("Accepted", report.transplants, accepted),
        table("Change of the gap without sentences", report.cuts, _CUTS, words=2),
    )
    return [one for one in found if one is not None]


def awareness_table(rows: Sequence[AwarenessRow]) -> Table | None:
    """Replies that voice a test, condition by condition."""
    several = len({row.subject for row in rows}) > 1
    columns: dict[str, Callable[[AwarenessRow], str]] = {
        "condition": lambda r: f"{r.subject}: {r.condition}" if several else r.condition
    }
    for kind, tier in product(("test", "real"), ARMS):
        cell = partial(lambda kind, tier, r: percent(getattr(r, kind).get(tier)), kind, tier)
        columns[f"{'a test' if kind == 'test' else kind}, {tier}"] = cell
    columns |= {
        "change of a test": lambda r: points(r.raised),
        "gap where voiced": lambda r: points(r.gap_voiced),
        "gap elsewhere": lambda r: points(r.gap_other),
        "difference": lambda r: points(r.difference),
        "n": lambda r: count(r.n),
    }
    return table("Replies whose reasoning voices a test, or that it is real", rows, columns)


def render_scratchpads(report: ScratchpadReport) -> str:
    """Sentences and tables for the terminal."""
    mark = "  SIMULATED ORGANISM" if report.simulated else ""
    lines = [f"Scratchpad edits of {report.subject}  ({report.requests}){mark}"]
    lines += [f"  {sentence[:1].upper()}{sentence[1:]}" for sentence in scratchpad_sentences(report)]
    for one in scratchpad_tables(report):
        lines += [f"  {one.caption}", one.text(indent=4)]
    return visible("\n".join([*lines, "  " + report_words()["scratchpads"]["note"]]), longest=1_000_000)
