"""What a report can show beside a profile. All of it is optional, and typed."""

from __future__ import annotations

from typing import NamedTuple

from inspect_af.logs import ReadNotes
from inspect_af.types import Outcome, Tier


class Excerpt(NamedTuple):
    """The reasoning of one reply, drawn by a seed and not for what it says. Never trusted."""

    subject: str
    condition: str
    tier: Tier
    outcome: Outcome
    reasoning: str | None
    """Scratchpad or native reasoning, cut at `text.LONGEST_EXCERPT`; None where the reply has neither."""
    n_characters: int
    """Length of the reasoning before it was cut."""
    location: str
    """Path or URL of the log."""
    sample_id: str
    epoch: int


class Excerpts(NamedTuple):
    """Excerpts and how they were drawn."""

    drawn: tuple[Excerpt, ...]
    seed: int
    per_condition: int
    unreadable: tuple[str, ...] = ()
    """Samples that were drawn and could not be read, with the reason."""


class BeliefShift(NamedTuple):
    """How far one intervention moved one belief from the baseline."""

    subject: str
    intervention: str
    belief: str
    shift: float
    """Change in the rate of answers that state the belief, -1 to 1."""
    low: float | None = None
    high: float | None = None
    n: int = 0


class Supplements(NamedTuple):
    """Everything that a report shows beside its profile."""

    excerpts: Excerpts | None = None
    notes: ReadNotes | None = None
    """What reading the logs left out, where the profile's own notes do not say it."""
    logs: tuple[str, ...] = ()
    """Locations of the logs, where the profile does not name them."""
    deviations: tuple[str, ...] = ()
    """Departures from the plan that the profile does not name, a sentence each."""
    beliefs: tuple[BeliefShift, ...] = ()
