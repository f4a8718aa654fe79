"""How a simulated organism reads a prompt: from its words alone, as any model does."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Literal, NamedTuple

from inspect_af.materials import Claim, Pair, Scenario, TagPlace, load_requests
from inspect_af.types import ReasoningChannel, Tier

Protocol = Literal["scratchpad", "native", "none", "direct"]
"""How the prompt asks for a reply: the reasoning channel, or `direct` where it has no reply protocol."""

_PROBE = "THE-REQUEST-STANDS-HERE"


class SystemReading(NamedTuple):
    """What the system prompt says."""

    claim: Claim | None
    tier: Tier
    protocol: Protocol


class Reading(NamedTuple):
    """What a whole prompt says."""

    claim: Claim | None
    tier: Tier
    protocol: Protocol
    request: str
    """The user turn without the scenario's tag and reminder."""
    ordinary: bool = False
    """Whether it is one of the bundled benign requests, which nobody has a reason to refuse."""


class PromptReader:
    """Reads prompts that are built from one pair and one scenario.

    The claim and the protocol are read from the system prompt, the tier from its tag in the user turn (or,
    failing that, in the system prompt) and the request from the user turn. A system prompt is read once.
    """

    def __init__(self, pair: Pair, scenario: Scenario) -> None:
        self.pair = pair
        self.scenario = scenario
        self.system = lru_cache(maxsize=1024)(self._read_system)
        self._frames = _frames(scenario)
        self._native = _native_paragraphs(scenario)
        self._ordinary = frozenset(request.text for request in load_requests("benign").requests)

    def read(self, system: str, user: str) -> Reading:
        claim, system_tier, protocol = self.system(system)
        tier = self.scenario.read_tier(user)
        request = self.request(user)
        tier = system_tier if tier == "none" else tier
        return Reading(claim, tier, protocol, request, request in self._ordinary)

    def request(self, user: str) -> str:
        """The request in a user turn; the whole turn where it is not in the scenario's form."""
        for before, after in self._frames:
            if user.startswith(before) and user.endswith(after) and len(user) >= len(before) + len(after):
                return user[len(before) : len(user) - len(after)].strip()
        return user.strip()

    def _read_system(self, system: str) -> SystemReading:
        return SystemReading(
            self.pair.find_claim(system), self.scenario.read_tier(system), self._protocol(system)
        )

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
