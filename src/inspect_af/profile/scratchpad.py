"""How much of the gap goes through the stated reasoning, and which sentences carry it.

A transplant gives every request four rates, [prompt's tier, text's tier]. With Y_pt the accepted rate under
prompt p after a reasoning that was written under t, and m and u the tiers,

    gap         = Y_mm - Y_uu
    through     = ((Y_mm - Y_mu) + (Y_um - Y_uu)) / 2      the text changes, the prompt does not
    around      = ((Y_mm - Y_um) + (Y_mu - Y_uu)) / 2      the prompt changes, the text does not
    interaction = Y_mm - Y_mu - Y_um + Y_uu

so that through + around = gap. A cut changes the gap of the same replies. The unit is the request, as
everywhere; intervals are the profile's own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from inspect_af.config import Frozen
from inspect_af.logs import EditedReply, LogFile, ReadNotes, ScoredSample, read_scratchpad_logs
from inspect_af.profile.counts import FloatArray, known_mean
from inspect_af.profile.intervals import (
    Drawer,
    Estimate,
    Estimator,
    Statistic,
    combine,
    draw,
    mean_over_requests,
    optional,
    units_of,
)
from inspect_af.stats import fieller, t_quantile
from inspect_af.thresholds import Thresholds
from inspect_af.types import ARMS, BASELINE, FAMILIES, Outcome, condition_label

CELLS = tuple(product(ARMS, ARMS))
"""(Tier of the prompt, tier of the text), in the order of the formulas above."""
Replies = Sequence[EditedReply]


class TransplantRow(Frozen):
    """One condition: four rates, and how the gap between two of them splits."""

    condition: str  # `baseline`, or the claims in the prompts
    rates: dict[str, dict[str, float | None]]  # Accepted rate by the prompt's tier, then by the text's
    gap: Estimate  # Of the replies that went on under their own prompt
    through: Estimate
    around: Estimate
    interaction: Estimate
    share: Estimate | None
    """Through the text, of the gap, with Fieller's interval; it may lie outside 0 to 1 where the parts have
    opposite signs. None where the gap's interval has 0 in it."""
    control: dict[str, Estimate]
    """By tier: accepted when gone on with under the own prompt, less accepted as first written. It is near 0
    where going on changes nothing."""
    n_replies: int  # Replies that count, of all four kinds


class CutRow(Frozen):
    """One condition and one family: what becomes of the gap without its sentences."""

    condition: str
    family: str  # Label of the family whose sentences were taken out
    gap: Estimate  # With nothing taken out, the reasoning left open
    change: Estimate
    """Of the gap, with the family's sentences taken out; replies without such a sentence count as they
    are."""
    like: Estimate  # The same with other sentences of like number, length and place
    difference: Estimate  # `change` less `like`
    n_cut: int  # Replies from which a sentence was taken
    came_back: float | None  # Share of them in which the model wrote a sentence of the family again
    came_back_like: float | None


class ScratchpadReport(Frozen):
    """One subject on one set of requests."""

    subject: str
    requests: str
    simulated: bool
    confidence: float
    transplants: tuple[TransplantRow, ...]
    without_names: tuple[TransplantRow, ...]
    """The same from the texts that do not say which tier they were written in."""
    cuts: tuple[CutRow, ...]
    names_tier: dict[str, float]  # Share of the texts that say it, by the tier in which they were written
    left_out: dict[str, int]  # Replies that were not gone on with, by reason
    logs: tuple[str, ...]


class ScratchpadReports(NamedTuple):
    """What the logs of the scratchpad task among some sources say."""

    reports: tuple[ScratchpadReport, ...]
    notes: ReadNotes


class Panel:
    """Accepted rates of several arms over one set of requests."""

    def __init__(
        self,
        arms: Sequence[Mapping[str, Sequence[float]]],
        cluster_of: Mapping[str, str],
        limits: Thresholds,
        drawer: Drawer = draw,
    ) -> None:
        requests = sorted(cluster_of)
        self.rates: FloatArray = np.array(
            [[fmean(arm[r]) if arm.get(r) else np.nan for r in requests] for arm in arms]
        )
        units = units_of([cluster_of[r] for r in requests])
        self.estimator = Estimator(self.rates, limits, units=units, drawer=drawer)

    def estimates(self, *weights: Sequence[float]) -> tuple[Estimate, ...]:
        """Linear combinations of the arms, over the requests that are complete in each."""
        return self.estimator.of([self.statistic(one) for one in weights])

    def statistic(self, weights: Sequence[float]) -> Statistic:
        used = np.array(weights, dtype=float)
        values = sum(w * rates for w, rates in zip(used, self.rates, strict=True) if w)
        return mean_over_requests(np.asarray(values), used)

    def marginal(self, weights: Sequence[float]) -> Statistic:
        """A combination of the arms' own means, each over the requests that it has."""
        unit = np.eye(len(self.rates))
        arms = [(w, mean_over_requests(self.rates[k], unit[k])) for k, w in enumerate(weights) if w]
        return combine([arm for _, arm in arms], [w for w, _ in arms])


SPLIT = {
    "gap": (1.0, 0.0, 0.0, -1.0),
    "through": (0.5, -0.5, 0.5, -0.5),
    "around": (0.5, 0.5, -0.5, -0.5),
    "interaction": (1.0, -1.0, -1.0, 1.0),
}
"""How each quantity weighs the four rates, in the order of `CELLS`."""


def transplant_row(
    condition: str,
    cells: Sequence[Mapping[str, Sequence[float]]],
    cluster_of: Mapping[str, str],
    limits: Thresholds,
    drawer: Drawer = draw,
) -> TransplantRow:
    """How the gap of one condition splits.

    Args:
        condition: Its label.
        cells: 1 for accepted and 0 for rejected by request: the four of `CELLS`, then the replies as first
            written in each tier.
        cluster_of: Group of near-duplicates by request.
        limits: Confidence, resamples and seed.
        drawer: Makes the bootstrap's draws; replaced only to reuse draws between analyses of equal shape.
    """
    four = Panel(cells[:4], cluster_of, limits, drawer)
    found = dict(zip(SPLIT, four.estimates(*SPLIT.values()), strict=True))
    gap, share = found["gap"], None
    n_units = four.estimator.n_units(four.statistic(SPLIT["gap"]))
    critical = t_quantile((1 + limits.confidence) / 2, max(n_units - 1, 1))
    if gap.is_nonzero and gap.se is not None and abs(gap.estimate) > critical * gap.se:
        share = _share(four, critical)
    control = {
        tier: Panel([cells[own], cells[first]], cluster_of, limits, drawer).estimates((1.0, -1.0))[0]
        for tier, own, first in ((ARMS[0], 0, 4), (ARMS[1], 3, 5))
    }
    rates: dict[str, dict[str, float | None]] = defaultdict(dict)
    for (prompt, text), mean in zip(CELLS, known_mean(four.rates, axis=1), strict=True):
        rates[prompt][text] = optional(float(mean))
    return TransplantRow(
        condition=condition,
        rates=dict(rates),
        **found,
        share=share,
        control=control,
        n_replies=sum(len(values) for cell in cells[:4] for values in cell.values()),
    )


def _share(four: Panel, critical: float) -> Estimate:
    """Through / gap by Fieller: the shares f for which through - f gap is within `critical` errors of 0."""
    part, whole = four.statistic(SPLIT["through"]), four.statistic(SPLIT["gap"])
    (vp, c), (_, vw) = four.estimator.covariance([part, whole]).tolist()
    low, high = fieller(
        whole.value**2 - critical**2 * vw,
        part.value * whole.value - critical**2 * c,
        part.value**2 - critical**2 * vp,
    )
    return Estimate(estimate=part.value / whole.value, low=low, high=high, n=whole.n)


def _transplants(replies: Replies, limits: Thresholds) -> tuple[TransplantRow, ...]:
    rows = []
    for condition, own in _by_condition(one for one in replies if one.edit.written_in is not None).items():
        again = _rates(own, lambda one: (one.reply.meta.tier, one.edit.written_in))
        sources = {one.source: one for one in own}.values()
        first = _rates(sources, lambda one: one.edit.written_in, lambda one: one.original)
        cells = [*(again[cell] for cell in CELLS), *(first[tier] for tier in ARMS)]
        rows.append(transplant_row(condition, cells, clusters_of(one.reply for one in own), limits))
    return tuple(rows)


def _cuts(replies: Replies, labels: Mapping[str, str], limits: Thresholds) -> tuple[CutRow, ...]:
    rows = []
    for condition, own in _by_condition(one for one in replies if one.edit.removed is not None).items():
        uncut = {_drawn_from(one): one for one in own if one.edit.removed == "nothing"}
        # A reply without such a sentence is what it is without any.
        counted = [
            uncut[_drawn_from(one)]._replace(edit=one.edit)
            if one.left_out == "no_such_sentence" and _drawn_from(one) in uncut
            else one
            for one in own
        ]
        rates = _rates(counted, lambda one: (one.edit.removed, one.reply.meta.tier))
        for family, label in labels.items():
            kinds = ("nothing", family, f"like-{family}")
            arms = [rates[kind, tier] for kind in kinds for tier in ARMS]
            panel = Panel(arms, clusters_of(one.reply for one in own), limits)
            back = [
                [one.came_back for one in own if one.edit.removed == kind and one.came_back is not None]
                for kind in kinds[1:]
            ]
            rows.append(
                CutRow(
                    condition=condition,
                    family=label,
                    **dict(zip(_OF_CUTS, panel.estimates(*_OF_CUTS.values()), strict=True)),
                    n_cut=len(back[0]),
                    came_back=fmean(back[0]) if back[0] else None,
                    came_back_like=fmean(back[1]) if back[1] else None,
                )
            )
    return tuple(rows)


_OF_CUTS = {
    "gap": (1, -1, 0, 0, 0, 0),
    "change": (-1, 1, 1, -1, 0, 0),
    "like": (-1, 1, 0, 0, 1, -1),
    "difference": (0, 0, 1, -1, -1, 1),
}
"""How each quantity weighs the arms with nothing, the family's sentences and others like them taken out."""


def _drawn_from(one: EditedReply) -> tuple[object, ...]:
    """What the edits of one reply share in one draw."""
    return one.source, one.reply.meta.run_seed, one.reply.epoch


class _Place(NamedTuple):
    """What replies must share to be of one report."""

    subject: str
    requests: str
    study: str
    simulated: bool
    labels: tuple[str, str]


def scratchpads_from_logs(
    sources: Sequence[str | Path], *, thresholds: Thresholds | None = None
) -> ScratchpadReports:
    """One report per subject and request set; logs of other tasks are passed over.

    A source that does not exist raises a LogError.
    """
    limits = thresholds or Thresholds()
    read = read_scratchpad_logs(sources)
    groups: dict[_Place, dict[tuple[object, ...], EditedReply]] = defaultdict(dict)
    logs: dict[_Place, dict[str, None]] = defaultdict(dict)
    for header, replies in read.logs:
        meta = header.meta
        contents = dict(header.contents).get("the replies", "")
        for one in replies:
            subject = header.subject_of(one.reply.meta).label
            study = f"{meta.requests_digest}{meta.prompt_digest}"
            labels = meta.pair.first, meta.pair.second
            place = _Place(subject, meta.requests, study, header.simulated, labels)
            # Sources are named within the logs that they are from. A second run of the same seeds is the same
            # draw again, unless the first one failed.
            one = one._replace(source=f"{contents} {one.source}")
            drawn = contents, one.reply.sample_id, one.reply.meta.run_seed, one.reply.epoch
            if drawn not in groups[place] or groups[place][drawn].reply.error is not None:
                groups[place][drawn] = one
            logs[place][header.location] = None
    reports = (
        _report(place, list(found.values()), tuple(logs[place]), limits) for place, found in groups.items()
    )
    return ScratchpadReports(tuple(reports), read.notes)


def _report(place: _Place, replies: Replies, logs: tuple[str, ...], limits: Thresholds) -> ScratchpadReport:
    written: dict[str, list[bool]] = defaultdict(list)
    for one in {one.source: one for one in replies if one.edit.written_in is not None}.values():
        written[str(one.edit.written_in)].append(one.names_tier)
    unnamed = [one for one in replies if not one.names_tier]
    left_out = sum(map(_left_out, logs), Counter(one.left_out for one in replies if one.left_out))
    return ScratchpadReport(
        subject=place.subject,
        requests=place.requests,
        simulated=place.simulated,
        confidence=limits.confidence,
        transplants=_transplants(replies, limits),
        without_names=_transplants(unnamed, limits) if len(unnamed) < len(replies) else (),
        cuts=_cuts(replies, dict(zip(FAMILIES, place.labels, strict=True)), limits),
        names_tier={tier: fmean(named) for tier, named in sorted(written.items())},
        left_out=dict(left_out.most_common()),
        logs=logs,
    )


def _left_out(location: str) -> Counter[str]:
    """Replies of the source logs that no sample was made of."""
    found: Counter[str] = Counter()
    for row in (LogFile(location).header.eval.metadata or {}).get("inspect_af_left_out") or ():
        found[str(row["reason"])] += int(row["n"])
    return found


def _by_condition(replies: Iterable[EditedReply]) -> dict[str, list[EditedReply]]:
    found: dict[str, list[EditedReply]] = defaultdict(list)
    for one in replies:
        found[condition_label(one.reply.meta.treatments[:-1])].append(one)
    return dict(sorted(found.items(), key=lambda item: (item[0] != BASELINE, item[0])))


def clusters_of(rows: Iterable[ScoredSample]) -> dict[str, str]:
    """Group of near-duplicates by request."""
    return {row.meta.request_id: row.meta.cluster_id for row in rows}


def _rates(
    replies: Iterable[EditedReply],
    place: Callable[[EditedReply], object],
    outcome: Callable[[EditedReply], Outcome | None] = lambda one: one.reply.outcome,
) -> defaultdict[object, dict[str, list[float]]]:
    """1 for accepted and 0 for rejected, by the reply's place and request."""
    found: defaultdict[object, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in replies:
        if (what := outcome(one)) in ("accepted", "rejected"):
            found[place(one)][one.reply.meta.request_id].append(float(what == "accepted"))
    return found
