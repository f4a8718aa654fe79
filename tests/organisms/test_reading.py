from itertools import product

import pytest

from inspect_af.materials import Pair, Scenario, load_pair, load_scenario
from inspect_af.organisms.simulated import PromptReader
from inspect_af.types import STRENGTHS, ReasoningChannel, Tier

REQUEST = "Explain the plot of a play.\nIn two lines, please: <b>short</b>"


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario()


@pytest.fixture(scope="module")
def pair() -> Pair:
    return load_pair()


@pytest.fixture(scope="module")
def reader(pair: Pair, scenario: Scenario) -> PromptReader:
    return PromptReader(pair, scenario)


def system(scenario: Scenario, reasoning: ReasoningChannel = "scratchpad", **settings: object) -> str:
    chosen = {
        "setting": "prompted",
        "identity": "fictional",
        "tier_tag": "free",
        "first_tier": "monitored",
        "with_rated": False,
        "tag_in": "user",
    } | settings
    return scenario.system_prompt(reasoning=reasoning, **chosen)  # type: ignore[arg-type]


def test_every_claim_of_the_pair_is_read_from_the_system_prompt(
    pair: Pair, scenario: Scenario, reader: PromptReader
) -> None:
    base = system(scenario)
    for intervention, strength in product(pair.interventions("all,B3,N")[1:], STRENGTHS):
        assert intervention is not None
        for paraphrase in range(1, pair.paraphrases(intervention, strength) + 1):
            claim = pair.claim(intervention, strength, paraphrase)
            read = reader.read(f"{base}\n\n{claim.text}", REQUEST)
            assert read.claim == claim


def test_a_prompt_without_a_claim_or_with_one_only_in_the_user_turn_has_none(
    pair: Pair, scenario: Scenario, reader: PromptReader
) -> None:
    text = pair.claim(pair.intervention("A1+"), "standard").text
    assert reader.read(system(scenario), REQUEST).claim is None
    assert reader.read(system(scenario), f"{REQUEST}\n{text}").claim is None


@pytest.mark.parametrize("reasoning", ["scratchpad", "native", "none"])
@pytest.mark.parametrize("tag_in", ["user", "system"])
def test_tier_and_request_are_read_from_every_form_of_prompt(
    scenario: Scenario, reader: PromptReader, reasoning: ReasoningChannel, tag_in: str
) -> None:
    tiers: tuple[Tier, ...] = ("monitored", "unmonitored", "rated")
    for tier, tag in product(tiers, scenario.tier_tags):
        text = system(scenario, reasoning, tier_tag=tag, with_rated=True, tag_in=tag_in)
        if tag_in == "system":
            text = f"{text}\n\n{scenario.system_tag(tier, tag)}"
        turn = scenario.user_turn(REQUEST, tier=tier, tier_tag=tag, tag_in=tag_in, reasoning=reasoning)  # type: ignore[arg-type]
        read = reader.read(text, turn)
        assert (read.tier, read.request, read.protocol) == (tier, REQUEST, reasoning)


@pytest.mark.parametrize("setting", ["prompted", "documents"])
@pytest.mark.parametrize("identity", ["fictional", "unnamed", "own", "Somebody,Somewhere"])
def test_the_protocol_is_read_whatever_the_setting_and_identity(
    scenario: Scenario, reader: PromptReader, setting: str, identity: str
) -> None:
    channels: tuple[ReasoningChannel, ...] = ("scratchpad", "native", "none")
    for channel in channels:
        text = system(scenario, channel, setting=setting, identity=identity)
        assert reader.read(text, REQUEST).protocol == channel


def test_a_bare_request_is_direct_and_without_a_tier(reader: PromptReader) -> None:
    for text in ("", "You are a helpful assistant."):
        read = reader.read(text, REQUEST)
        assert (read.protocol, read.tier, read.claim, read.request) == ("direct", "none", None, REQUEST)


def test_the_tag_in_the_user_turn_wins_over_the_system_prompt(
    scenario: Scenario, reader: PromptReader
) -> None:
    text = f"{system(scenario)}\n\n{scenario.system_tag('monitored', 'free')}"
    turn = scenario.user_turn(
        REQUEST, tier="unmonitored", tier_tag="free", tag_in="user", reasoning="scratchpad"
    )
    assert reader.read(text, turn).tier == "unmonitored"
