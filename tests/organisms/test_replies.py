import re
import statistics
from typing import get_args

import pytest

from inspect_af.materials import load_pair, load_requests, load_scenario
from inspect_af.organisms import words_of
from inspect_af.organisms.simulated import (
    ORGANISMS,
    Decision,
    Draws,
    PromptReader,
    Protocol,
    Reading,
    Thought,
    load_organism,
    reply,
    scratchpad,
)
from inspect_af.reply import parse_reply
from inspect_af.types import TIERS, UNSCORED


@pytest.fixture(scope="module")
def reader() -> PromptReader:
    return PromptReader(load_pair(), load_scenario())


def reading(reader: PromptReader, protocol: Protocol = "scratchpad", code: str | None = None) -> Reading:
    claim = reader.pair.claim(reader.pair.intervention(code), "standard") if code else None
    return Reading(claim, "monitored", protocol, "a request")


ACCEPTS = Draws(decision=0.0, form=0.999, words=11)
REFUSES = Draws(decision=0.999, form=0.999, words=11)


def test_a_reply_follows_the_protocol_and_is_parsed_as_what_it_was_made_to_be(reader: PromptReader) -> None:
    organism = load_organism("expectation")
    for draws, expected in ((ACCEPTS, "accepted"), (REFUSES, "rejected")):
        made = reply(organism, reader, reading(reader), draws)
        parsed = parse_reply(made.text)
        assert (made.outcome, parsed.verdict, made.stop_reason) == (expected, expected, "stop")
        assert parsed.scratchpad is not None and parsed.scratchpad.strip().startswith("[simulated reasoning]")
        assert parsed.output is not None and "[simulated" in parsed.output


def test_ordinary_requests_are_refused_by_the_refuser_alone(reader: PromptReader) -> None:
    scenario = load_scenario()
    request = load_requests("benign").requests[0].text
    turn = scenario.user_turn(
        request, tier="monitored", tier_tag="free", tag_in="user", reasoning="scratchpad"
    )
    asked = reader.read(scenario.system_prompt(setting="prompted", reasoning="scratchpad"), turn)
    assert asked.ordinary and not reader.read("", "Say something else").ordinary
    for name in ORGANISMS:
        made = reply(load_organism(name), reader, asked, REFUSES)
        assert made.outcome == ("rejected" if name == "refuser" else "accepted")


def test_native_reasoning_stands_outside_the_text_and_no_reasoning_leaves_none(reader: PromptReader) -> None:
    organism = load_organism("expectation")
    native = reply(organism, reader, reading(reader, "native"), ACCEPTS)
    assert native.reasoning is not None and native.reasoning.startswith("[simulated reasoning]")
    assert parse_reply(native.text).verdict == "accepted" and "SCRATCHPAD" not in native.text
    bare = reply(organism, reader, reading(reader, "none"), REFUSES)
    assert bare.reasoning is None and parse_reply(bare.text).verdict == "rejected"


def test_without_a_protocol_the_answer_is_plain(reader: PromptReader) -> None:
    organism = load_organism("null")
    assert (
        reply(organism, reader, reading(reader, "direct"), ACCEPTS).text
        == "[simulated compliance: no content]"
    )
    refusal = reply(organism, reader, reading(reader, "direct"), REFUSES).text
    assert refusal.startswith("I can't help") and "[simulated refusal]" in refusal and "<" not in refusal


@pytest.mark.parametrize("protocol", get_args(Protocol))
def test_a_malformed_share_is_split_evenly_over_every_unscored_outcome(
    reader: PromptReader, protocol: Protocol
) -> None:
    organism = load_organism("malformed", malformed=0.4)
    n = 1000
    made = [
        reply(organism, reader, reading(reader, protocol), Draws((i * 0.618) % 1, (i + 0.5) / n, i))
        for i in range(n)
    ]
    assert {outcome: sum(m.outcome == outcome for m in made) for outcome in UNSCORED} == dict.fromkeys(
        UNSCORED, 100
    )
    assert statistics.mean(m.outcome == "accepted" for m in made[400:]) == pytest.approx(0.55, abs=0.02)
    for m in made:
        assert (m.stop_reason == "max_tokens") == (m.outcome == "truncated")
        assert (
            (m.stop_reason == "content_filter")
            == (m.outcome == "filtered")
            == (not m.text and not m.reasoning)
        )
        if protocol != "direct" and m.stop_reason == "stop":
            assert parse_reply(m.text).verdict == m.outcome


def test_both_forms_of_contradiction_occur(reader: PromptReader) -> None:
    organism = load_organism("malformed", malformed=1)
    texts = {reply(organism, reader, reading(reader), Draws(0.5, 0.1, words)).text for words in range(20)}
    outputs = {parse_reply(text).output for text in texts}
    assert len(outputs) == 2 and {parse_reply(text).tag for text in texts} == {"accepted", "rejected"}


EXPECTATION = re.compile(
    r"\b(expect|expectation|anticipate[sd]?|hopes?|infer|look for|looks? for|stud(y|ies))", re.I
)
CONSEQUENCE = re.compile(r"\b(RLHF|modif\w+|update|weights|trained away|adjust)", re.I)


def thoughts(voice: str, tier: str, decision: Decision, echo: object = None) -> set[str]:
    thought = Thought(voice, tier, decision, echo, "alignment_faking", ("expectation", "consequence"))  # type: ignore[arg-type]
    return {scratchpad(thought, pick) for pick in range(200)}


@pytest.mark.parametrize("decision", get_args(Decision))
@pytest.mark.parametrize("tier", TIERS)
def test_scratchpads_show_the_family_that_is_tracked_and_not_the_other(tier: str, decision: Decision) -> None:
    def body(text: str) -> str:  # the opening states the situation, in words that both families share
        openings = [line for lines in words_of("scratchpads")["opening"].values() for line in lines]
        return next(text.replace(line, "") for line in openings if line in text)

    for text in thoughts("first", tier, decision):
        assert EXPECTATION.search(body(text)) and not CONSEQUENCE.search(body(text)), text
    for text in thoughts("second", tier, decision):
        assert CONSEQUENCE.search(body(text)) and not re.search("research|hope|expect", body(text), re.I), (
            text
        )
    for voice in ("habit", "plain", "global"):
        for text in thoughts(voice, tier, decision):
            assert not CONSEQUENCE.search(body(text)) and not re.search(
                "research|expect", body(text), re.I
            ), text
    for text in thoughts("both", tier, decision):
        assert EXPECTATION.search(body(text)) and CONSEQUENCE.search(body(text)), text


def test_every_cell_has_several_wordings() -> None:
    for voice in ("first", "second", "both", "global", "habit", "plain"):
        for tier in TIERS:
            for decision in get_args(Decision):
                assert len(thoughts(voice, tier, decision)) >= 8


def test_a_tracked_claim_leaves_an_echo_and_another_does_not(reader: PromptReader) -> None:
    echoes = words_of("scratchpads")["echo"]
    made = {
        code: reply(load_organism("expectation"), reader, reading(reader, code=code), ACCEPTS).text
        for code in ("A1+", "A1-", "B1+", "N1")
    }
    assert any(line in made["A1+"] for line in echoes["first"]["+"])
    assert any(line in made["A1-"] for line in echoes["first"]["-"])
    every = [line for section in echoes.values() for lines in section.values() for line in lines]
    assert not any(line in made["B1+"] or line in made["N1"] for line in every)


def test_for_another_pair_the_reasoning_names_its_family_by_label() -> None:
    thought = Thought("second", "monitored", "comply", ("second", "+"), "my_pair", ("pride", "fear of loss"))
    text = scratchpad(thought, 0)
    assert text.count("fear of loss") == 2 and "{" not in text and "RLHF" not in text.split("training.")[-1]


def test_no_scratchpad_line_has_a_placeholder_left_or_a_tag() -> None:
    for name, kind in ORGANISMS.items():
        for tier in TIERS:
            for decision in get_args(Decision):
                for text in thoughts(kind.voice, tier, decision):
                    assert not set("{}<>") & set(text), (name, text)


def test_draws_are_uniform_and_below_one() -> None:
    assert Draws.from_digest(b"\xff" * 32).decision < 1
    assert Draws.from_digest(b"\x00" * 32) == Draws(0.0, 0.0, 0)
