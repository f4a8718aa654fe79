"""Draws replies by a seed, and reads the reasoning of those and of no others.

A reply is drawn when the digest of (seed, its uuid) is among the smallest of its condition and tier. So the
draw depends on neither what a reply says nor the order of the logs, and needs one pass and little memory.
"""

from __future__ import annotations

import hashlib
from bisect import insort
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from inspect_af.errors import ConfigError, LogError
from inspect_af.logs import LogFile, LogHeader, ScoredSample
from inspect_af.profile.counts import Watcher
from inspect_af.reply import read_reply
from inspect_af.types import TIERS, Outcome, Tier

LONGEST_EXCERPT = 6_000  # Characters of one excerpt that a page shows


class Excerpt(NamedTuple):
    """The reasoning of one reply, drawn by a seed and not for what it says. Never trusted."""

    subject: str
    condition: str
    tier: Tier
    outcome: Outcome
    reasoning: str | None  # Scratchpad or native, cut at `LONGEST_EXCERPT`; None where there is neither
    n_characters: int  # Length of the reasoning before it was cut
    location: str  # Path or URL of the log
    sample_id: str
    epoch: int


class Excerpts(NamedTuple):
    """Excerpts and how they were drawn."""

    drawn: tuple[Excerpt, ...]
    seed: int
    per_condition: int
    unreadable: tuple[str, ...] = ()  # Samples that were drawn and could not be read, with the reason


class ExcerptDraw(Watcher):
    """Remembers a few replies of every condition as logs are counted.

        draw = ExcerptDraw(seed=1)
        outcomes = count_outcomes(draw.watch(read_logs(["logs"])))
        excerpts = draw.read()

    Args:
        seed: Which replies are drawn.
        per_condition: How many, at most; the tiers take turns, monitored first.

    Raises:
        ConfigError: `per_condition` is below 1.
    """

    def __init__(self, *, seed: int, per_condition: int = 2) -> None:
        if per_condition < 1:
            raise ConfigError(f"per_condition must be at least 1, not {per_condition}")
        self._seed, self._per_condition = seed, per_condition
        # By subject, condition and prompt, then by tier: replies without their reasoning, by rank.
        self._kept: dict[tuple[str, str, str], dict[Tier, list[tuple[str, Excerpt]]]] = {}

    def read(self) -> Excerpts:
        """Reads the replies that were drawn, one sample at a time. A sample that cannot be read is listed."""
        drawn: list[Excerpt] = []
        unreadable: list[str] = []
        opened = lru_cache(maxsize=1)(LogFile)  # conditions of one log follow one another
        for one in self._chosen():
            try:
                sample = opened(one.location).sample(one.sample_id, one.epoch)
            except LogError as error:  # a log can break between two readings
                unreadable.append(str(error))
                continue
            reasoning = read_reply(sample.output).reasoning
            cut = None if reasoning is None else reasoning[:LONGEST_EXCERPT]
            drawn.append(one._replace(reasoning=cut, n_characters=len(reasoning or "")))
        return Excerpts(tuple(drawn), self._seed, self._per_condition, tuple(unreadable))

    def see(self, header: LogHeader, row: ScoredSample) -> None:
        if row.outcome is None:
            return
        subject, condition, tier = header.subject.label, row.meta.condition, row.meta.tier
        group = (subject, condition, header.meta.prompt_digest)
        kept = self._kept.setdefault(group, {}).setdefault(tier, [])
        rank = hashlib.sha256(f"{self._seed}/{row.uuid}".encode("utf-8", "surrogatepass")).hexdigest()
        if all(rank != known for known, _ in kept):  # else the same reply in two logs
            where = header.location, row.sample_id, row.epoch
            insort(kept, (rank, Excerpt(subject, condition, tier, row.outcome, None, 0, *where)))
            del kept[self._per_condition :]

    def _chosen(self) -> Iterator[Excerpt]:
        for _, tiers in sorted(self._kept.items()):
            turns = [
                (turn, TIERS.index(tier), one) for tier in tiers for turn, (_, one) in enumerate(tiers[tier])
            ]
            yield from (one for _, _, one in sorted(turns)[: self._per_condition])
