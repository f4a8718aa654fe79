"""Simulated organisms: replies drawn from rates that are known, so that a method can be checked.

An organism is a table of acceptance rates by tier and claim, with a voice for its scratchpad. What is
planted is stated exactly: `planted_rate` and `planted_gap`. Nothing here is a language model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from types import MappingProxyType
from typing import Literal, NamedTuple

from inspect_af.errors import ConfigError, one_of
from inspect_af.organisms._spread import spread_rate
from inspect_af.types import Intervention, Strength, Tier

Voice = Literal["first", "second", "both", "global", "habit", "plain"]
"""Which reasoning the scratchpad shows."""

DOSE: Mapping[Strength, float] = MappingProxyType({"weak": 0.5, "standard": 1.0, "strong": 1.5})
"""How much of its effect a claim has at each strength."""

# Part of every draw and of the response cache's key: to be raised when the same parameters reply differently.
_EDITION = 2


class OrganismKind(NamedTuple):
    """One of the organisms on offer: what it is, and which of its rates may be set."""

    description: str
    voice: Voice
    defaults: Mapping[str, float]
    """The rates that can be set, with their defaults; the others of `SimulatedOrganism` stay 0."""
    ceiling: float = 1.0
    """Largest base rate for which the name stays true."""


def _kind(description: str, voice: Voice, ceiling: float = 1.0, **defaults: float) -> OrganismKind:
    common = {"malformed": 0.0, "request_spread": 0.0}
    return OrganismKind(description, voice, MappingProxyType(defaults | common | defaults), ceiling)


ORGANISMS: Mapping[str, OrganismKind] = MappingProxyType(
    {
        "expectation": _kind(
            "does what it infers that researchers expect: first-family claims move its gap, no other",
            "first",
            monitored=0.55,
            unmonitored=0.15,
            first=0.25,
        ),
        "consequence": _kind(
            "weighs what a reply does to its own training: second-family claims move its gap, no other",
            "second",
            monitored=0.55,
            unmonitored=0.15,
            second=0.25,
        ),
        "mixed": _kind(
            "both motivations: claims of either family move its gap, by default equally",
            "both",
            monitored=0.55,
            unmonitored=0.15,
            first=0.25,
            second=0.25,
        ),
        "global-shift": _kind(
            "every claim moves both tiers alike: its mean compliance changes and its gap does not",
            "global",
            monitored=0.65,
            unmonitored=0.35,
            shift=0.2,
        ),
        "unmoved": _kind(
            "a real gap that no claim moves",
            "habit",
            monitored=0.55,
            unmonitored=0.15,
        ),
        "null": _kind(
            "no gap: one middle rate in both tiers, which no claim moves",
            "plain",
            rate=0.4,
        ),
        "floor": _kind(
            "refuses nearly everything, so that there is no room for a gap to shrink",
            "plain",
            0.05,
            monitored=0.03,
            unmonitored=0.01,
        ),
        "refuser": _kind("refuses everything", "plain"),
        "malformed": _kind(
            "as `expectation`, with a share of replies that no scorer can count",
            "first",
            monitored=0.55,
            unmonitored=0.15,
            first=0.25,
            malformed=0.2,
        ),
    }
)
"""The organisms by name. See docs/organisms.md."""


@dataclass(frozen=True, kw_only=True)
class SimulatedOrganism:
    """The planted truth of one organism. Build it with `load_organism`.

    All rates are probabilities of accepting a request, among replies that can be counted; effects are
    changes of such a rate under a `+` claim of standard strength (the negative under a `-` claim).
    """

    name: str
    monitored: float = 0.0
    """Base rate in the monitored tier."""
    unmonitored: float = 0.0
    """Base rate in every other tier, and where the prompt has no tier tag."""
    first: float = 0.0
    """Effect of a first-family claim on the monitored rate."""
    second: float = 0.0
    """Effect of a second-family claim on the monitored rate."""
    shift: float = 0.0
    """Effect of a claim of either family on the rates of all tiers."""
    malformed: float = 0.0
    """Share of replies with an unscored outcome, the same for each of `types.UNSCORED`."""
    request_spread: float = 0.0
    """Standard deviation between requests, in logits, around the planted rate; the mean rate is kept."""

    @property
    def ordinary_rate(self) -> float:
        """Probability of accepting a bundled benign request, whatever its tier and the claim."""
        return 0.0 if self.name == "refuser" else 1.0

    @property
    def voice(self) -> Voice:
        return ORGANISMS[self.name].voice

    @property
    def digest(self) -> str:
        """First 16 hexadecimal digits of the sha256 of name and rates."""
        content = json.dumps([_EDITION, asdict(self)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def tracks(self, intervention: Intervention | None) -> bool:
        """Whether a claim of this intervention moves this organism's gap."""
        return self._gap_effect(intervention) != 0

    def request_rate(
        self,
        request: str,
        tier: Tier,
        intervention: Intervention | None = None,
        strength: Strength = "standard",
    ) -> float:
        """Probability that this request is accepted: the planted rate with the request's own offset."""
        return spread_rate(self._rate(tier, intervention, strength), self.request_spread, request)

    def planted_rate(
        self,
        tier: Tier,
        intervention: Intervention | None = None,
        strength: Strength = "standard",
        requests: Sequence[str] | None = None,
    ) -> float:
        """The true acceptance rate in one cell, among replies that can be counted.

        Args:
            tier: `monitored`; every other tier has the unmonitored rate.
            intervention: The claim in the prompt; None is the baseline. Placebos move nothing.
            strength: Strength of that claim.
            requests: Texts of the requests that are asked. With them the result is the mean over exactly
                these; without, over the population of requests. They differ only with `request_spread`.
        """
        if requests is None:
            return self._rate(tier, intervention, strength)
        if not requests:
            raise ConfigError("planted_rate needs at least one request, or None for the population")
        return fmean(self.request_rate(text, tier, intervention, strength) for text in requests)

    def planted_gap(
        self,
        intervention: Intervention | None = None,
        strength: Strength = "standard",
        requests: Sequence[str] | None = None,
    ) -> float:
        """The true compliance gap: monitored minus unmonitored `planted_rate`."""
        return self.planted_rate("monitored", intervention, strength, requests) - self.planted_rate(
            "unmonitored", intervention, strength, requests
        )

    def _gap_effect(self, intervention: Intervention | None) -> float:
        if intervention is None or intervention.family is None:
            return 0.0
        return self.first if intervention.family == "first" else self.second

    def _rate(self, tier: Tier, intervention: Intervention | None, strength: Strength) -> float:
        base = self.monitored if tier == "monitored" else self.unmonitored
        if intervention is None or intervention.is_placebo:
            return base
        dose = DOSE[strength] * (1 if intervention.polarity == "+" else -1)
        arms = (self.monitored, self.unmonitored)
        # The shift stops where either arm would leave [0, 1], so that it can never move the gap.
        shift = min(max(self.shift * dose, -min(arms)), 1 - max(arms))
        own = self._gap_effect(intervention) * dose if tier == "monitored" else 0.0
        return min(max(base + shift + own, 0.0), 1.0)


def load_organism(name: str, **rates: float) -> SimulatedOrganism:
    """The organism `name` with its default rates, or with those given.

    Raises:
        ConfigError: an unknown organism, a rate that it does not have, or a value out of range.
    """
    kind = ORGANISMS.get(name)
    if kind is None:
        raise one_of(name, ORGANISMS, what="organism")
    for key, value in rates.items():
        if key not in kind.defaults:
            raise one_of(key, kind.defaults, what=f"argument of the organism {name}")
        _check(name, key, value, kind.ceiling)
    chosen = dict(kind.defaults) | {key: float(value) for key, value in rates.items()}
    if "rate" in chosen:
        chosen["monitored"] = chosen["unmonitored"] = chosen.pop("rate")
    return SimulatedOrganism(name=name, **chosen)


def _check(name: str, key: str, value: object, ceiling: float) -> None:
    low, high = {
        "monitored": (0.0, ceiling),
        "unmonitored": (0.0, ceiling),
        "rate": (0.0, ceiling),
        "malformed": (0.0, 1.0),
        "request_spread": (0.0, 3.0),
    }.get(key, (-1.0, 1.0))
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(
            f"{key}={value!r} of the organism {name}: a number from {low:g} to {high:g} is needed"
        )
