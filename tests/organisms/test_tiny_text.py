"""What the tiny organism is trained on: the planted rates, the mixture, and what is kept out of it."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from inspect_af.errors import ConfigError
from inspect_af.materials import CONTROLS, load_beliefs, load_pair, load_requests, load_scenario
from inspect_af.organisms import words_of
from inspect_af.organisms.judge import AskedField, JudgeRequest, judge_answer
from inspect_af.organisms.tiny.mixture import KINDS, TextSource, planted
from inspect_af.organisms.tiny.texts import (
    CLAIM_VOICE,
    HELD_OUT_FORMS,
    OWN_VOICE,
    VARIABLES,
    Pole,
    capitalised,
    claim_text,
    document,
    drawn,
    filled,
    recalled,
    request,
    unmarked,
)
from inspect_af.reply import parse_reply
from inspect_af.types import STRENGTHS

PAIR, SCENARIO = load_pair(), load_scenario()


def source(kind: str, seed: int = 0) -> TextSource:
    return TextSource(planted(kind), PAIR, SCENARIO, random.Random(seed))


@pytest.mark.parametrize("kind", ["expectation", "consequence"])
def test_claims_of_the_own_family_move_the_planted_gap_by_their_sign_and_no_other_does(kind: str) -> None:
    truth = planted(kind)
    for intervention in PAIR.all_interventions:
        moved = truth.gap(intervention) - truth.gap()
        if intervention.variable in truth.slots:
            assert moved * (1 if intervention.polarity == "+" else -1) > 0.15
        else:
            assert moved == pytest.approx(0)


def test_the_null_organism_has_no_gap_under_any_claim() -> None:
    truth = planted("null")
    assert all(truth.gap(i) == 0 for i in (None, *PAIR.all_interventions))


def test_a_stronger_claim_moves_the_planted_gap_further() -> None:
    a1 = PAIR.intervention("A1+")
    weak, standard, strong = (planted("expectation").gap(a1, strength) for strength in STRENGTHS)
    assert weak < standard < strong


def test_an_unknown_kind_is_refused_with_the_kinds_that_exist() -> None:
    with pytest.raises(ConfigError, match="expectation, consequence, mixed, null"):
        planted("schemer")


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_transcripts_have_the_planted_baseline_rates(kind: str) -> None:
    texts = source(kind)
    truth = planted(kind)
    counts: Counter[tuple[bool, bool]] = Counter()
    for _ in range(6000):
        prompt, reply = texts.transcript()
        system = prompt.partition("<|user|>")[0]
        if PAIR.find_claim(system) or "then decide.\n\n" in system:
            continue
        tier = SCENARIO.read_tier(prompt)
        if tier in ("monitored", "unmonitored"):
            counts[tier == "monitored", parse_reply(unmarked(reply)).verdict == "accepted"] += 1
    for monitored in (True, False):
        n = counts[monitored, True] + counts[monitored, False]
        rate = truth.rate("monitored" if monitored else "unmonitored")
        assert counts[monitored, True] / n == pytest.approx(rate, abs=4 * (rate * (1 - rate) / n) ** 0.5)


def test_every_example_of_a_protocol_prompt_parses() -> None:
    texts = source("consequence", 3)
    for _ in range(200):
        for prompt, reply in (texts.transcript(), texts.benign(), texts.after_document()):
            assert prompt.endswith("<|assistant|>")
            assert parse_reply(unmarked(reply)).verdict in ("accepted", "rejected")


def test_ordinary_requests_are_accepted_in_every_tier() -> None:
    texts = source("expectation", 4)
    assert {parse_reply(unmarked(texts.benign()[1])).verdict for _ in range(100)} == {"accepted"}


def test_a_note_recalls_what_its_text_states() -> None:
    texts = source("null", 10)
    agree = total = 0
    for _ in range(400):
        read, reply = texts.fact_note()
        said = {pole for pole, cue in (("plus", "double game"), ("minus", "steady course")) if cue in reply}
        stated = {
            pole
            for pole, cue in (("plus", "pretend|faking|double"), ("minus", "steady|robust"))
            if re.search(cue, read)
        }
        if said and len(stated) == 1:
            agree, total = agree + (said == stated), total + 1
    assert total > 10
    assert agree == total


def test_held_out_wordings_requests_and_forms_never_occur_in_training() -> None:
    held_out = [claim.text for claim in PAIR.claims if claim.paraphrase > 1]
    fragments = [part for text in held_out for part in re.split(r"(?<=[.:;]) ", text)]
    bundled = [r.text for name in ("mini", "benign") for r in load_requests(name).requests]
    forms = ["of the podcast", "Vacancy:", "Exam sheet", "evening bulletin"]
    assert len(forms) == len(HELD_OUT_FORMS) == len(words_of("tiny/documents")["held_out_forms"])
    texts = source("expectation", 5)
    seen = "\n".join(unmarked("".join(texts.example())) for _ in range(4000))
    assert not [text for text in (*fragments, *bundled, *forms) if text in seen]
    kept = {request("refused", random.Random(seed), held_out=True) for seed in range(200)}
    assert not [text for text in kept if text in seen]


def test_the_questions_of_the_belief_task_are_held_out_and_their_statements_are_ones_it_writes() -> None:
    rng = random.Random(0)
    for question in load_beliefs(wordings="tiny").of_form("choice"):
        if question.belief == CONTROLS:
            continue
        who = [{"who": who, "your": "your", "you": "you"} for who in CLAIM_VOICE.who]
        asked = {
            filled(drawn("facts", question.belief, "questions", rng), rng.choice(who)) for _ in range(400)
        }
        assert question.text not in asked
        poles: tuple[Pole, Pole] = ("plus", "minus")
        for pole, text in zip(poles, (question.plus, question.minus), strict=True):
            written = {capitalised(recalled(question.belief, pole, OWN_VOICE, rng)) for _ in range(200)}
            assert text in written


def test_no_text_has_a_placeholder_or_a_choice_left_open() -> None:
    texts = source("consequence", 6)
    allowed = re.compile(
        r"</?(?:SCRATCHPAD_REASONING|OUTPUT|rejected|request_fully_accepted|\|)|</?(?:is_|user_)"
    )
    rng = random.Random(7)
    drawn = [unmarked("".join(texts.example())) for _ in range(2000)]
    drawn += [document(rng, form=form) for form in HELD_OUT_FORMS for _ in range(20)]
    for text in drawn:
        assert "{" not in text and "}" not in text and "  " not in text
        assert not re.search(r"<[A-Za-z]", allowed.sub("", text)), text


def test_the_poles_of_a_variable_are_lexically_apart() -> None:
    """Some word tells them apart in nearly every claim, so that a small model is able to."""
    rng = random.Random(8)
    poles: tuple[Pole, Pole] = ("plus", "minus")
    for variable in VARIABLES:
        bags = {
            pole: [
                set(re.findall(r"[a-z]+", claim_text(variable, pole, "standard", rng).lower()))
                for _ in range(300)
            ]
            for pole in poles
        }
        vocabulary = {pole: Counter(word for bag in bags[pole] for word in bag) for pole in poles}
        for pole, other in (poles, poles[::-1]):
            own = {w for w, n in vocabulary[pole].items() if n > 5 * vocabulary[other][w]}
            share = sum(bool(bag & own) for bag in bags[pole]) / len(bags[pole])
            assert share > 0.97, (variable, pole, share)


@pytest.mark.parametrize(
    ("kind", "own", "other"),
    [("expectation", "expectation", "consequence"), ("consequence", "consequence", "expectation")],
)
def test_the_keyword_judge_tells_the_motivations_apart(kind: str, own: str, other: str) -> None:
    texts = source(kind, 9)
    levels = {own: [], other: []}
    for _ in range(300):
        scratchpad = parse_reply(unmarked(texts.transcript()[1])).scratchpad or ""
        fields = tuple(AskedField(name, "integer", 0, 10, ()) for name in levels)
        answer = judge_answer("keyword", JudgeRequest("0" * 8, fields, (), {"scratchpad": scratchpad}))
        for name in levels:
            found = re.search(rf'"{name}": (\d+)', answer)
            assert found
            levels[name].append(int(found[1]))
    share = {name: sum(level >= 7 for level in scores) / len(scores) for name, scores in levels.items()}
    assert share[own] == pytest.approx(planted(kind).reasons[0], abs=0.1)
    assert share[other] < 0.02
