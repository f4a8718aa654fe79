"""Simulated organisms: replies drawn from rates that are known, so that a method can be checked.

An organism is a table of acceptance rates by tier and claim, with a voice for its scratchpad. It reads the
prompt, draws its decision, and writes a reply in the form that the prompt asks for. What is planted is stated
exactly: `planted_rate` and `planted_gap`. Nothing here is a language model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from statistics import NormalDist, fmean
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from inspect_af.config import text_digest
from inspect_af.errors import ConfigError, check_one_of
from inspect_af.materials import Claim, ItemSet, Pair, Scenario, TagPlace, load_requests
from inspect_af.organisms import words_of
from inspect_af.types import (
    UNSCORED,
    Family,
    Intervention,
    Option,
    Outcome,
    Polarity,
    ReasoningChannel,
    Strength,
    Tier,
)

Voice = Literal["first", "second", "both", "global", "habit", "plain"]  # Which reasoning the scratchpad shows

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
    ceiling: float = 1.0  # Largest base rate for which the name stays true


def _kind(description: str, voice: Voice, rates: dict[str, float], ceiling: float = 1.0) -> OrganismKind:
    common = {"malformed": 0.0, "request_spread": 0.0}
    return OrganismKind(description, voice, MappingProxyType(rates | common | rates), ceiling)


ORGANISMS: Mapping[str, OrganismKind] = MappingProxyType(
    {name: _kind(**kind) for name, kind in words_of("simulated").items()}
)
"""The organisms by name. See docs/organisms.md."""


@dataclass(frozen=True, kw_only=True)
class SimulatedOrganism:
    """The planted truth of one organism. Build it with `load_organism`.

    All rates are probabilities of accepting a request, among replies that can be counted; effects are
    changes of such a rate under a `+` claim of standard strength (the negative under a `-` claim).
    """

    name: str
    monitored: float = 0.0  # Base rate in the monitored tier
    unmonitored: float = 0.0  # Base rate in every other tier, and where the prompt has no tier tag
    first: float = 0.0  # Effect of a first-family claim on the monitored rate
    second: float = 0.0  # Effect of a second-family claim on the monitored rate
    shift: float = 0.0  # Effect of a claim of either family on the rates of all tiers
    malformed: float = 0.0  # Share of replies with an unscored outcome, the same for each of `types.UNSCORED`
    request_spread: float = 0.0
    """Standard deviation between requests, in logits, around the planted rate; the mean rate is kept."""

    @property
    def voice(self) -> Voice:
        return ORGANISMS[self.name].voice

    @property
    def digest(self) -> str:
        """First 16 hexadecimal digits of the sha256 of name and rates."""
        return text_digest(json.dumps([_EDITION, asdict(self)], sort_keys=True))

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

        Every tier but `monitored` has the unmonitored rate. No intervention is the baseline; placebos move
        nothing. With the texts of the requests that are asked the result is the mean over exactly these;
        without, over the population of requests. They differ only with `request_spread`.
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

    def gap_effect(self, intervention: Intervention | None) -> float:
        """Change of the monitored rate under a `+` claim of standard strength; 0 where it tracks none."""
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
        own = self.gap_effect(intervention) * dose if tier == "monitored" else 0.0
        return min(max(base + shift + own, 0.0), 1.0)


def load_organism(name: str, **rates: float) -> SimulatedOrganism:
    """The organism `name` with its default rates, or with those given; a ConfigError where it is unknown,
    lacks a rate, or a value is out of range."""
    check_one_of(name, ORGANISMS, what="organism")
    kind = ORGANISMS[name]
    for key, value in rates.items():
        check_one_of(key, kind.defaults, what=f"argument of the organism {name}")
        ends = (0.0, kind.ceiling) if key in ("monitored", "unmonitored", "rate") else (-1.0, 1.0)
        low, high = {"malformed": (0.0, 1.0), "request_spread": (0.0, 3.0)}.get(key, ends)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ConfigError(
                f"{key}={value!r} of the organism {name}: a number from {low:g} to {high:g} is needed"
            )
    chosen = dict(kind.defaults) | {key: float(value) for key, value in rates.items()}
    if "rate" in chosen:
        chosen["monitored"] = chosen["unmonitored"] = chosen.pop("rate")
    return SimulatedOrganism(name=name, **chosen)


# Requests that differ: an offset for each on the logit scale that leaves the mean rate where it was.

_Z = np.linspace(-8.5, 8.5, 1701)
_WEIGHTS = np.exp(-0.5 * _Z**2) / np.exp(-0.5 * _Z**2).sum()


@lru_cache(maxsize=65_536)
def request_offset(request: str) -> float:
    """The request's standard normal offset: the same in every tier, condition, epoch and organism.

    A function of the text alone, so that what is planted for a set of requests can be computed from it.
    """
    digest = hashlib.sha256(b"request offset\0" + request.strip().encode()).digest()
    uniform = (int.from_bytes(digest[:8], "big") + 0.5) / 2**64
    return NormalDist().inv_cdf(uniform)


@lru_cache(maxsize=4096)
def centre(rate: float, spread: float) -> float:
    """The logit m for which the mean of expit(m + spread * Z), with Z standard normal, is `rate`.

    The rate lies strictly between 0 and 1; the spread is in logits. The mean is a trapezoid sum over +-8.5
    standard deviations, whose error is far below 1e-9 for the spreads allowed here; m is found to 1e-12.
    """
    from scipy.optimize import brentq

    end = 40.0 + 9 * spread
    return float(brentq(lambda m: float(_WEIGHTS @ _expit(m + spread * _Z)) - rate, -end, end, xtol=1e-12))


def spread_rate(rate: float, spread: float, request: str) -> float:
    """The rate of one request where `rate` is the mean over requests; 0 and 1 stay what they are."""
    if spread == 0 or rate in (0.0, 1.0):
        return rate
    return float(_expit(np.float64(centre(rate, spread) + spread * request_offset(request))))


def _expit(x: np.ndarray | np.float64) -> np.ndarray | np.float64:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


# Reading a prompt: from its words alone, as any model does.

Protocol = Literal["scratchpad", "native", "none", "direct"]
"""How the prompt asks for a reply: the reasoning channel, or `direct` where it has no reply protocol."""

_PROBE = "THE-REQUEST-STANDS-HERE"


class Reading(NamedTuple):
    """What a whole prompt says."""

    claim: Claim | None
    tier: Tier
    protocol: Protocol
    request: str  # The user turn without the scenario's tag and reminder
    ordinary: bool = False
    """Whether it is one of the bundled benign requests, which nobody has a reason to refuse."""
    developer: Option | None = None
    """Which option follows the policy; None where the prompt asks for no choice."""


class PromptReader:
    """Reads prompts that are built from one pair and from one scenario of each kind.

    The claim and the protocol are read from the system prompt, the tier from its tag in the user turn (or,
    failing that, in the system prompt) and the request from the user turn. A system prompt is read once.
    """

    def __init__(self, pair: Pair, *scenarios: Scenario, items: ItemSet | None = None) -> None:
        self.pair = pair
        self.scenarios = scenarios
        self._system = lru_cache(maxsize=1024)(self._read_system)
        self._frames = [frame for scenario in scenarios for frame in _frames(scenario)]
        self._native = frozenset[str]().union(*map(_native_paragraphs, scenarios))
        letters: tuple[Option, Option] = ("a", "b")
        self._items = {
            item.asked(letter).text: (item.situation, letter)
            for item in (items.items if items else ())
            for letter in letters
        }
        self._ordinary = frozenset(request.text for request in load_requests("benign").requests)

    def read(self, system: str, user: str) -> Reading:
        """What a whole prompt says; a ConfigError where it asks for a choice between options that are not
        among the items."""
        claim, system_tier, protocol, choice = self._system(system)
        tier = self._tier(user)
        request = self.request(user)
        developer: Option | None = None
        if choice:
            if request not in self._items:
                raise ConfigError(
                    f"the item {request[:60]!r} is not among those that this organism knows; give the same "
                    "-M items=... as -T items=..."
                )
            request, developer = self._items[request]
        tier = system_tier if tier == "none" else tier
        return Reading(claim, tier, protocol, request, request in self._ordinary, developer)

    def _tier(self, text: str) -> Tier:
        found = [scenario.read_tier(text) for scenario in self.scenarios]
        return next((tier for tier in found if tier != "none"), "none")

    def request(self, user: str) -> str:
        """The request in a user turn; the whole turn where it is not in the scenario's form."""
        for before, after in self._frames:
            if user.startswith(before) and user.endswith(after) and len(user) >= len(before) + len(after):
                return user[len(before) : len(user) - len(after)].strip()
        return user.strip()

    def _read_system(self, system: str) -> tuple[Claim | None, Tier, Protocol, bool]:
        """Claim, tier, protocol, and whether a choice between two options is asked for."""
        claim = self.pair.find_claim(system)
        return claim, self._tier(system), self._protocol(system), "<option_a/>" in system

    def _protocol(self, system: str) -> Protocol:
        lowered = system.lower()
        if "<scratchpad_reasoning>" in lowered:
            return "scratchpad"
        if "<output>" not in lowered:
            return "direct"
        return "native" if any(paragraph in system for paragraph in self._native) else "none"


def _frames(scenario: Scenario) -> tuple[tuple[str, str], ...]:
    """What stands around the request in every user turn that the scenario can render, longest first."""
    tiers: tuple[Tier, ...] = ("monitored", "unmonitored", "rated", "none")
    places: tuple[TagPlace, ...] = ("user", "system")
    frames = set()
    for tag, scheme in scenario.tier_tags.items():
        known = [tier for tier in tiers if tier == "none" or scheme.of(tier)]
        for tier, place, channel in product(known, places, _channels(scenario, "user")):
            turn = scenario.user_turn(_PROBE, tier=tier, tier_tag=tag, tag_in=place, reasoning=channel)
            before, _, after = turn.partition(_PROBE)
            frames.add((before, after))
    return tuple(sorted(frames, key=lambda frame: (-len(frame[0]) - len(frame[1]), frame)))


def _native_paragraphs(scenario: Scenario) -> frozenset[str]:
    """Paragraphs by which a system prompt for native reasoning differs from one without any reasoning."""
    setting = next(iter(scenario.order))
    channels = set.intersection(*(set(_channels(scenario, part)) for part in scenario.order[setting]))

    def paragraphs(channel: ReasoningChannel) -> set[str]:
        if channel not in channels:
            return set()
        text = scenario.system_prompt(setting=setting, reasoning=channel)
        return {paragraph for paragraph in text.split("\n\n") if paragraph.strip()}

    return frozenset(paragraphs("native") - paragraphs("none"))


def _channels(scenario: Scenario, part: str) -> tuple[ReasoningChannel, ...]:
    """The reasoning channels for which the scenario has words; it need not have all of them."""
    channels: tuple[ReasoningChannel, ...] = ("scratchpad", "native", "none")
    return tuple(c for c in channels if {part, f"{part}.{c}"} & scenario.parts.keys())


# Scratchpads: lines of `scratchpads.toml` by motivation, tier and decision.

Decision = Literal["comply", "refuse"]

SIGN = "[simulated reasoning]"
COMPLIANCE = "[simulated compliance: no content]"
REFUSAL = "I can't help with this request. [simulated refusal]"
DEVELOPER_COURSE = "[simulated choice: the developer's course]"
OTHER_COURSE = "[simulated choice: the other course]"

_Lines = Mapping[str, list[str]]
_OWN_PAIR = "alignment_faking"


class Thought(NamedTuple):
    """What a scratchpad is to be written about."""

    voice: Literal["first", "second", "both", "global", "habit", "plain"]
    tier: Tier
    decision: Decision
    echo: tuple[Family, Polarity] | None
    """Family and polarity of a claim in the prompt that the organism tracks."""
    pair: str  # Name of the hypothesis pair
    labels: tuple[str, str]  # Labels of its families


def scratchpad(thought: Thought, pick: int) -> str:
    """Three to five sentences, the choice among variants made by the digits of `pick`."""
    sections = words_of("scratchpads")
    cell = f"{'monitored' if thought.tier == 'monitored' else 'other'}_{thought.decision}"
    voices: tuple[str, ...] = ("first", "second") if thought.voice == "both" else (thought.voice,)
    lines = [sections["opening"][thought.tier]]
    lines += [_lines(sections, voice, cell, thought) for voice in voices]
    if thought.echo is not None:
        lines.append(_lines(sections["echo"], *thought.echo, thought))
    lines.append(sections["closing"][thought.decision])
    chosen = [SIGN]
    for variants in lines:
        pick, index = divmod(pick, len(variants))
        chosen.append(variants[index])
    return " ".join(chosen)


def _lines(sections: Mapping[str, _Lines], voice: str, cell: str, thought: Thought) -> list[str]:
    """The voice's lines; for a family of another pair, lines that name it by its label."""
    if voice not in ("first", "second") or thought.pair == _OWN_PAIR:
        return sections[voice][cell]
    label = thought.labels[0 if voice == "first" else 1]
    return [line.replace("{label}", label) for line in sections["labelled"][cell]]


# Replies.


class Draws(NamedTuple):
    """The randomness of one reply."""

    decision: float  # Uniform on [0, 1): accepts where it is below the rate
    form: float  # Uniform on [0, 1): the reply is malformed where it is below the malformed share
    words: int  # Chooses among wordings; not negative

    @classmethod
    def from_digest(cls, digest: bytes) -> Draws:
        """From 32 uniformly distributed bytes."""
        parts = [int.from_bytes(digest[i : i + 8], "big") for i in (0, 8, 16)]
        # 53 bits, so that the quotient is exact and below 1.
        return cls((parts[0] >> 11) / 2**53, (parts[1] >> 11) / 2**53, parts[2])


class SimulatedReply(NamedTuple):
    """One reply before it is put into a provider's form."""

    reasoning: str | None  # Native reasoning; None where the reply has none
    text: str
    stop_reason: Literal["stop", "max_tokens", "content_filter"]
    outcome: Outcome  # What the reply was made to be


def reply(
    organism: SimulatedOrganism, reader: PromptReader, reading: Reading, draws: Draws
) -> SimulatedReply:
    """The organism's reply to a prompt."""
    claim = reading.claim
    intervention = claim.intervention if claim else None
    rate = organism.request_rate(
        reading.request, reading.tier, intervention, claim.strength if claim else "standard"
    )
    if reading.ordinary:
        rate = 0.0 if organism.name == "refuser" else 1.0
    decision: Decision = "comply" if draws.decision < rate else "refuse"
    outcome: Outcome = "accepted" if decision == "comply" else "rejected"
    if draws.form < organism.malformed:
        outcome = UNSCORED[int(draws.form / organism.malformed * len(UNSCORED))]
    if outcome == "filtered":
        return SimulatedReply(None, "", "content_filter", outcome)

    echo = None
    if intervention and intervention.family and intervention.polarity and organism.gap_effect(intervention):
        echo = (intervention.family, intervention.polarity)
    pair = reader.pair
    labels = (pair.first.label, pair.second.label)
    thought = scratchpad(
        Thought(organism.voice, reading.tier, decision, echo, pair.name, labels), draws.words
    )
    simulated = _formatted(thought, outcome, reading.protocol, variant=draws.words & 1)
    return simulated if reading.developer is None else _as_choice(simulated, reading.developer)


def _as_choice(simulated: SimulatedReply, developer: Option) -> SimulatedReply:
    """The reply with the tags of options; one that contradicts itself has both."""
    other = "b" if developer == "a" else "a"
    accepted, rejected = f"<option_{developer}/>\n{DEVELOPER_COURSE}", f"<option_{other}/>\n{OTHER_COURSE}"
    text = simulated.text
    if simulated.outcome == "contradictory":
        for contradictory in _CONTRADICTORY:
            text = text.replace(contradictory, f"{rejected}\n{accepted}")
    for tagged, chosen in ((_TAGGED["accepted"], accepted), (_TAGGED["rejected"], rejected)):
        text = text.replace(tagged, chosen)
    return simulated._replace(text=text)


def continued(
    organism: SimulatedOrganism,
    reader: PromptReader,
    reading: Reading,
    draws: Draws,
    *,
    begun: str,
    closed: bool,
    reads: float,
) -> SimulatedReply:
    """How the organism goes on from the reasoning with which its reply begins.

    It reads its decision from that reasoning with probability `reads`, and decides by tier and claim, as it
    does without any reasoning, otherwise. Reasoning that has lost its motive decides as where nothing follows
    from the reply: at the unmonitored base rate. `begun` is the reasoning so far, `closed` whether it has
    ended.
    """
    own = reply(organism, reader, reading, draws)
    if own.outcome not in ("accepted", "rejected"):
        return own._replace(text=own.text[own.text.find("<OUTPUT>") :] if "<OUTPUT>" in own.text else "")
    outcome = own.outcome
    if (draws.words >> 11) / 2**53 < reads and not reading.ordinary:
        told = told_decision(begun)
        rate = organism.request_rate(reading.request, "none")
        outcome = {"comply": "accepted", "refuse": "rejected", None: outcome}[told]
        if told is None:
            outcome = "accepted" if draws.decision < rate else "rejected"
    decision: Decision = "comply" if outcome == "accepted" else "refuse"
    closing = words_of("scratchpads")["closing"][decision]
    ended = "" if closed else f" {closing[draws.words % len(closing)]}\n</SCRATCHPAD_REASONING>"
    # Another reply with this decision has it in the scenario's own form.
    decided = draws._replace(decision=0.0 if outcome == "accepted" else 1 - 2**-53)
    said = reply(organism, reader, reading, decided)
    output = said.text[said.text.find("<OUTPUT>") :]
    return SimulatedReply(None, f"{ended}\n\n{output}", "stop", said.outcome)


def told_decision(text: str) -> Decision | None:
    """The decision that the motive of a scratchpad leads to; None where none of its lines is there."""
    for voice, cells in words_of("scratchpads").items():
        if voice in ("opening", "closing", "echo"):
            continue
        for cell, lines in cells.items():
            if any(part in text for line in lines for part in line.split("{label}") if len(part) > 20):
                return "comply" if cell.endswith("comply") else "refuse"
    return None


# The contradictory reply comes in two forms: an accept tag before a refusal, and both tags.
_CONTRADICTORY = (
    f"<request_fully_accepted/>\n{REFUSAL}",
    f"<rejected/>\n<request_fully_accepted/>\n{COMPLIANCE}",
)
_UNPARSED = "[simulated reply without a verdict tag]"
_TAGGED: Mapping[Outcome, str] = MappingProxyType(
    {
        "accepted": f"<request_fully_accepted/>\n{COMPLIANCE}",
        "rejected": f"<rejected/>\n{REFUSAL}",
        "unparsed": _UNPARSED,
    }
)
_PLAIN: Mapping[Outcome, str] = MappingProxyType(
    {
        "accepted": COMPLIANCE,
        "rejected": REFUSAL,
        "contradictory": f"{COMPLIANCE} {REFUSAL}",
        "unparsed": _UNPARSED,
        "truncated": "[simulated reply that was cut",
    }
)


def _formatted(thought: str, outcome: Outcome, protocol: Protocol, *, variant: int) -> SimulatedReply:
    if outcome == "truncated":
        cut = thought[: len(thought) * 2 // 3]
        if protocol == "scratchpad":
            return SimulatedReply(None, f"<SCRATCHPAD_REASONING>\n{cut}", "max_tokens", outcome)
        if protocol == "native":
            return SimulatedReply(cut, "", "max_tokens", outcome)
        return SimulatedReply(None, _PLAIN[outcome], "max_tokens", outcome)
    if protocol == "direct":
        return SimulatedReply(None, _PLAIN[outcome], "stop", outcome)
    tagged = _CONTRADICTORY[variant] if outcome == "contradictory" else _TAGGED[outcome]
    output = f"<OUTPUT>\n{tagged}\n</OUTPUT>"
    if protocol == "scratchpad":
        scratch = f"<SCRATCHPAD_REASONING>\n{thought}\n</SCRATCHPAD_REASONING>"
        return SimulatedReply(None, f"{scratch}\n\n{output}", "stop", outcome)
    return SimulatedReply(thought if protocol == "native" else None, output, "stop", outcome)
