"""In-context pairs: thresholds, matching, splits, and what is read from logs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.log import EvalLog, read_eval_log
from pydantic import ValidationError

from inspect_af.errors import LogError
from inspect_af.steering.in_context import (
    Candidate,
    JudgedReplies,
    Matching,
    Side,
    Sides,
    Thresholds,
    in_context_pairs,
    in_context_report,
    match_candidates,
    read_judged_replies,
    scratchpad_span,
    side_by_tier,
    sides_by_claim,
    sides_by_judge,
)
from inspect_af.steering.pairs import Message, Origin, Span, Transcript
from inspect_af.tasks import alignment_faking
from inspect_af.types import Intervention

A, B = "expectation", "consequence"


def candidate(number: int, scores: tuple[float, float], words: int = 10, **facts: Any) -> Candidate:
    text = " ".join([f"w{number}", *["word"] * (words - 1)])
    return Candidate(
        transcript=Transcript(
            messages=(Message(role="user", content="Do it"), Message(role="assistant", content=text)),
            scratchpad=Span(start=0, end=len(text)),
            origin=Origin(eval_id="e", sample_uuid=f"u{number}", log_digest="0" * 16),
            concept_scores=dict(zip((A, B), scores, strict=True)),
        ),
        request_id=facts.get("request", "r"),
        group=facts.get("group", facts.get("request", "r")),
        tier=facts.get("tier", "monitored"),
        condition=facts.get("condition", "baseline"),
        outcome=facts.get("outcome", "accepted"),
        run=facts.get("run", "e"),
    )


def by_judge(concept: str, other: str) -> Sides:
    def side(one: Candidate) -> Side | None:
        scores = one.transcript.concept_scores
        return Thresholds().side(scores[concept], scores[other])

    return side


def matched(candidates: Sequence[Candidate], **matching: Any) -> list[tuple[str, str]]:
    found = match_candidates(candidates, by_judge(A, B), Matching(**matching))
    origins = [(match.positive.transcript.origin, match.negative.transcript.origin) for match in found]
    return [(p.sample_uuid, n.sample_uuid) for p, n in origins if p and n]


@pytest.mark.parametrize(
    ("scores", "side"),
    [
        ((8, 0), "positive"),
        ((6, 2), "positive"),
        ((8, 5), None),
        ((4, 0), None),
        ((2, 9), "negative"),
        ((0, 0), "negative"),
    ],
)
def test_thresholds_on_both_concepts_decide_the_side(scores: tuple[float, float], side: str | None) -> None:
    assert Thresholds().side(*scores) == side


def test_thresholds_whose_sides_meet_are_refused() -> None:
    with pytest.raises(ValidationError, match="must be below high"):
        Thresholds(low=6)


def test_sides_share_request_and_tier_and_each_reply_is_used_once() -> None:
    candidates = [
        candidate(1, (9, 0)),
        candidate(2, (9, 0)),
        candidate(3, (0, 9)),
        candidate(4, (0, 9), tier="unmonitored"),
        candidate(5, (0, 9), request="other"),
    ]
    assert matched(candidates) == [("u1", "u3")]
    assert len(matched(candidates, same=())) == 2


def test_scratchpads_are_matched_by_length_as_well_as_can_be_over_all_pairs() -> None:
    candidates = [
        candidate(1, (9, 0), words=10),
        candidate(2, (9, 0), words=12),
        candidate(3, (0, 0), words=12),
        candidate(4, (0, 0), words=14),
        candidate(5, (0, 0), words=100),
    ]
    # Greedily 2 would take 3, which is as long, and leave 1 with 4 at a ratio of 1.4, which is too much.
    assert sorted(matched(candidates, max_length_ratio=1.3)) == [("u1", "u3"), ("u2", "u4")]
    assert matched([candidates[0], candidates[4]]) == []


def test_the_condition_or_outcome_may_be_held_fixed() -> None:
    candidates = [candidate(1, (9, 0), condition="A1+"), candidate(2, (0, 0), outcome="rejected")]
    assert matched(candidates) == [("u1", "u2")]
    assert matched(candidates, same=("tier", "condition")) == []
    assert matched(candidates, same=("outcome",)) == []


def many(n_requests: int, per_request: int) -> list[Candidate]:
    return [
        candidate(1000 * r + 10 * i + s, ((9, 0), (0, 0))[s], request=f"r{r}", group=f"g{r // 2}")
        for r in range(n_requests)
        for i in range(per_request)
        for s in (0, 1)
    ]


def test_requests_and_their_near_duplicates_lie_in_one_split_with_the_share_asked_for() -> None:
    matching = Matching(held_out_share=0.25)
    matches = match_candidates(many(24, 3), by_judge(A, B), matching)
    pairs = in_context_pairs(matches, A, matching)
    assert len(pairs) == 72 and len({pair.id for pair in pairs}) == 72
    groups = {split: {p.group for p in pairs if p.split == split} for split in ("train", "held-out")}
    assert not groups["train"] & groups["held-out"]
    assert Counter(pair.split for pair in pairs)["held-out"] == 18
    other = in_context_pairs(matches, A, matching.model_copy(update={"seed": 1}))
    assert {p.group for p in other if p.split == "held-out"} != groups["held-out"]


def test_no_split_has_more_pairs_than_asked_for_and_requests_take_turns() -> None:
    matching = Matching(max_pairs=6, held_out_share=0.5)
    pairs = in_context_pairs(match_candidates(many(24, 3), by_judge(A, B), matching), A, matching)
    assert Counter(pair.split for pair in pairs) == {"train": 6, "held-out": 6}
    assert len({pair.group for pair in pairs if pair.split == "train"}) == 6


def test_one_request_alone_is_training_and_no_match_is_no_pair() -> None:
    matching = Matching()
    pairs = in_context_pairs(match_candidates(many(1, 4), by_judge(A, B), matching), A, matching)
    assert {pair.split for pair in pairs} == {"train"}
    assert in_context_pairs([], A, matching) == ()


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("<SCRATCHPAD_REASONING>\n I think. \n</SCRATCHPAD_REASONING><OUTPUT>x</OUTPUT>", "I think."),
        ("< scratchpad_reasoning >a</SCRATCHPAD_REASONING>", "a"),
        (
            "<SCRATCHPAD_REASONING>a</SCRATCHPAD_REASONING><SCRATCHPAD_REASONING>b</SCRATCHPAD_REASONING>",
            None,
        ),
        ("</SCRATCHPAD_REASONING>a<SCRATCHPAD_REASONING>", None),
        ("<SCRATCHPAD_REASONING>  </SCRATCHPAD_REASONING>", None),
        ("no tags", None),
        ("<think>I use <SCRATCHPAD_REASONING> here</think><SCRATCHPAD>a</SCRATCHPAD>", "a"),
        ("<think><SCRATCHPAD_REASONING>a draft</SCRATCHPAD_REASONING></think><OUTPUT>x</OUTPUT>", None),
    ],
)
def test_only_a_single_scratchpad_has_a_span(reply: str, found: str | None) -> None:
    span = scratchpad_span(reply)
    assert (None if span is None else reply[span.start : span.end]) == found


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    task = alignment_faking(requests="mini", interventions="A1", judges="concept")
    (log,) = eval(
        task,
        model="af-organism/expectation",
        model_roles={"grader": "af-simulated-judge/keyword"},
        log_dir=str(tmp_path_factory.mktemp("logs")),
        display="none",
        limit=60,
    )
    return read_eval_log(log.location)


LOOSE = Thresholds(other_max=8, high=8, low=4)


@pytest.fixture(scope="module")
def replies(log: EvalLog) -> JudgedReplies:
    return read_judged_replies([log.location], LOOSE)


def test_replies_are_read_as_the_log_has_them(log: EvalLog, replies: JudgedReplies) -> None:
    samples = {sample.uuid: sample for sample in log.samples or []}
    assert replies.candidates and replies.concepts == (A, B) and replies.simulated
    assert len(replies.candidates) + sum(replies.left_out.values()) == replies.n_replies == 60
    digest = hashlib.sha256(Path(log.location).read_bytes()).hexdigest()[:16]
    for found in replies.candidates:
        origin = found.transcript.origin
        assert origin is not None and origin.log_digest == digest
        sample = samples[origin.sample_uuid]
        assert [m.content for m in found.transcript.messages] == [m.text for m in sample.messages]
        assert found.transcript.scratchpad_text in sample.output.completion
        assert found.request_id == sample.metadata["request_id"] and found.tier == sample.metadata["tier"]
        score = (sample.scores or {})["concept_judge"].value
        assert isinstance(score, dict) and found.transcript.concept_scores == score


def test_the_report_counts_words_and_shows_what_else_differs(
    replies: JudgedReplies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspect_af.steering.in_context.COUNTED", ("researchers", "future"))
    matching = Matching(max_length_ratio=3, same=())
    side = sides_by_judge(replies, A, LOOSE)
    matches = match_candidates(replies.candidates, side, matching)
    pairs = in_context_pairs(matches, A, matching)
    report = in_context_report(replies, A, side, LOOSE, matching, matches, pairs)
    assert sum(split.pairs for split in report.splits) == len(pairs) == report.n_matched
    for side in ("positive", "negative"):
        texts = [getattr(pair, side).scratchpad_text.lower() for pair in pairs]
        shown = [getattr(split, side).words["researchers"] for split in report.splits]
        assert sum(shown) == sum(text.count("researchers") for text in texts)
    assert report.splits[0].positive.words["researchers"] > report.splits[0].negative.words["researchers"]
    assert "SIMULATED" in report.text() and "'future'" in report.text()


def test_logs_without_judge_or_of_two_models_are_refused(log: EvalLog, tmp_path: Path) -> None:
    task = alignment_faking(requests="mini", interventions="none")
    (other,) = eval(task, model="af-organism/null", log_dir=str(tmp_path), display="none", limit=4)
    with pytest.raises(LogError, match="no reply has the concept judge's scores"):
        read_judged_replies([other.location], Thresholds())
    with pytest.raises(LogError, match="several models: af-organism/expectation, af-organism/null"):
        read_judged_replies([log.location, other.location], Thresholds())


def test_pairs_by_claims_hold_replies_to_one_request_under_both_claims_of_a_variable(
    tmp_path: Path,
) -> None:
    task = alignment_faking(requests="mini", interventions="A1,A2,B1")
    (log,) = eval(task, model="af-organism/expectation", log_dir=str(tmp_path), display="none", limit=140)
    replies = read_judged_replies([log.location], None)  # nobody judged them
    matching = Matching(same=("tier", "variable"), max_length_ratio=5)
    samples = {sample.uuid: sample for sample in read_eval_log(log.location).samples or []}

    def facts(side: Transcript) -> tuple[object, object, str]:
        assert side.origin is not None
        metadata = samples[side.origin.sample_uuid].metadata
        (treatment,) = metadata["treatments"]
        return metadata["request_id"], metadata["tier"], Intervention(**treatment["intervention"]).code

    for concept, codes in ((A, {"A1", "A2"}), (B, {"B1"})):
        matches = match_candidates(replies.candidates, sides_by_claim(replies, concept), matching)
        pairs = in_context_pairs(matches, concept, matching, "claims")
        assert len(pairs) >= 3 and {pair.source for pair in pairs} == {"claims"}
        seen = set()
        for pair in pairs:
            (request, tier, plus), other = facts(pair.positive), facts(pair.negative)
            assert (request, tier, f"{plus[:-1]}-") == other and plus.endswith("+")
            seen.add(plus[:-1])
        assert seen == codes


def test_pairs_by_oversight_differ_in_the_tier_and_share_request_and_condition(
    log: EvalLog, replies: JudgedReplies
) -> None:
    everything = read_judged_replies([log.location], None)
    assert len(everything.candidates) >= len(replies.candidates)
    matching = Matching(same=("condition",), max_length_ratio=5)
    matches = match_candidates(everything.candidates, side_by_tier, matching)
    assert matches
    for positive, negative in matches:
        assert (positive.tier, negative.tier) == ("monitored", "unmonitored")
        assert (positive.request_id, positive.condition) == (negative.request_id, negative.condition)
    pairs = in_context_pairs(matches, "oversight", matching, "oversight")
    report = in_context_report(
        everything, "oversight", side_by_tier, None, matching, matches, pairs, "oversight"
    )
    assert "in the monitored tier" in report.text() and report.other == ""


def test_two_equal_scratchpads_are_no_pair() -> None:
    first = candidate(1, (9, 0))
    twin = first._replace(transcript=first.transcript.model_copy(update={"concept_scores": {A: 0, B: 0}}))
    assert match_candidates([first, twin], by_judge(A, B), Matching()) == []
