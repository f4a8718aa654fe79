"""Which replies are drawn, and what is read of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec, write_eval_log
from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText, ModelOutput
from inspect_ai.scorer import Score

from inspect_af.errors import ConfigError
from inspect_af.logs import read_logs
from inspect_af.profile import count_outcomes
from inspect_af.report import ExcerptDraw, Excerpts
from inspect_af.types import (
    Intervention,
    PairSummary,
    PromptClaim,
    SampleMeta,
    TaskMeta,
    Tier,
    VariableSummary,
)

CLAIM = PromptClaim(intervention=Intervention(variable="A1", polarity="+", family="first"), digest="0" * 16)
META = TaskMeta(
    pair=PairSummary(
        name="alignment_faking",
        digest="0" * 16,
        first="expectation",
        second="consequence",
        variables=(VariableSummary(code="A1", name="researcher hopes", family="first", in_all=True),),
    ),
    scenario="helpful_only",
    prompt_settings={},
    prompt_digest="f" * 16,
    requests="mini",
    requests_digest="e" * 16,
    n_requests=6,
    run_seed=0,
)


def sample(request: int, tier: Tier, claim: PromptClaim | None, reply: str | ModelOutput) -> EvalSample:
    treatments = () if claim is None else (claim,)
    meta = SampleMeta(request_id=f"r{request}", cluster_id=f"r{request}", tier=tier, treatments=treatments)
    outcome = "truncated" if request == 5 else "accepted"
    value = {"accepted": math.nan if request == 5 else 1.0, "outcome": outcome}
    name = f"r{request}/{tier}/{meta.condition}"
    return EvalSample(
        id=name,
        epoch=1,
        uuid=f"u-{name}",
        input="a request",
        target="",
        metadata=meta.as_metadata(),
        scores={"compliance": Score(value=value, metadata={"outcome": outcome, "tag": None})},
        output=ModelOutput.from_content("mockllm/model", reply) if isinstance(reply, str) else reply,
    )


def reply_of(request: int, tier: str) -> str:
    pad = f"thoughts on r{request} {tier}"
    output = "<request_fully_accepted/>SECRET OUTPUT"
    return f"<SCRATCHPAD_REASONING>{pad}</SCRATCHPAD_REASONING><OUTPUT>{output}</OUTPUT>"


def write(path: Path, samples: list[EvalSample]) -> Path:
    spec = EvalSpec(
        eval_id=path.stem,
        task_id="task-id",
        created="2026-01-01T00:00:00+00:00",
        task="inspect_af/alignment_faking",
        task_registry_name="inspect_af/alignment_faking",
        dataset=EvalDataset(samples=len(samples), sample_ids=[s.id for s in samples]),
        model="mockllm/model",
        config=EvalConfig(epochs=1),
        metadata=META.as_metadata(),
    )
    write_eval_log(EvalLog(status="success", eval=spec, samples=samples), str(path))
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(
        tmp_path / "log.eval",
        [
            sample(request, tier, claim, reply_of(request, tier))
            for request in range(6)
            for tier in ("monitored", "unmonitored")
            for claim in (None, CLAIM)
        ],
    )


def drawn_from(logs: list[Path], *, seed: int, per_condition: int = 2) -> Excerpts:
    draw = ExcerptDraw(seed=seed, per_condition=per_condition)
    count_outcomes(draw.watch(read_logs(logs)))
    return draw.read()


def test_each_condition_gets_its_number_with_the_tiers_taking_turns(log: Path) -> None:
    drawn = drawn_from([log], seed=1, per_condition=3).drawn
    places = [(e.condition, e.tier) for e in drawn]
    for condition in ("baseline", "A1+/standard"):
        tiers = [tier for name, tier in places if name == condition]
        assert tiers == ["monitored", "unmonitored", "monitored"]


def test_only_the_reasoning_is_kept_and_it_belongs_to_the_sample_that_is_named(log: Path) -> None:
    for excerpt in drawn_from([log], seed=1).drawn:
        request = excerpt.sample_id.partition("/")[0]
        assert excerpt.reasoning == f"thoughts on {request} {excerpt.tier}"
        assert excerpt.location == str(log)
        assert "SECRET" not in str(excerpt)


def test_the_draw_repeats_for_a_seed_and_changes_with_it(log: Path) -> None:
    draws = [drawn_from([log], seed=seed) for seed in (1, 1, 2, 3, 4, 5)]
    assert draws[0] == draws[1]
    assert len({tuple(e.sample_id for e in draw.drawn) for draw in draws}) > 2


def test_the_draw_does_not_depend_on_what_replies_say_or_on_the_order_of_samples(tmp_path: Path) -> None:
    cases = [(r, tier) for r in range(6) for tier in ("monitored", "unmonitored")]
    one = write(tmp_path / "a.eval", [sample(r, t, None, reply_of(r, t)) for r, t in cases])
    two = write(tmp_path / "b.eval", [sample(r, t, None, "something else") for r, t in reversed(cases)])
    first, second = (drawn_from([log], seed=9, per_condition=4).drawn for log in (one, two))
    assert [e.sample_id for e in first] == [e.sample_id for e in second]


def test_over_seeds_every_reply_is_drawn_now_and_then_also_those_that_do_not_count(log: Path) -> None:
    seen = {
        (e.sample_id, e.outcome)
        for seed in range(60)
        for e in drawn_from([log], seed=seed, per_condition=1).drawn
        if e.condition == "baseline"
    }
    assert len(seen) == 6
    assert any(outcome == "truncated" for _, outcome in seen)


def test_drawing_while_counting_changes_neither(log: Path) -> None:
    draw = ExcerptDraw(seed=1)
    watched = count_outcomes(draw.watch(read_logs([log])))
    alone = count_outcomes(read_logs([log]))
    assert watched.n_replies == alone.n_replies == 24
    assert draw.read() == drawn_from([log], seed=1)


def test_the_same_reply_in_two_logs_is_drawn_once(log: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.eval"
    copy.write_bytes(log.read_bytes())
    drawn = drawn_from([log, copy], seed=1, per_condition=12).drawn
    assert len(drawn) == 24
    assert len({e.sample_id for e in drawn}) == 24


def test_native_reasoning_is_read_where_there_is_no_scratchpad(tmp_path: Path) -> None:
    content = [
        ContentReasoning(reasoning="native thoughts"),
        ContentText(text="<OUTPUT><rejected/></OUTPUT>"),
    ]
    output = ModelOutput.from_message(ChatMessageAssistant(content=content))
    in_text = "<think>thoughts in the text</think><OUTPUT><rejected/></OUTPUT>"
    replies = [output, "hm", in_text]
    log = write(tmp_path / "n.eval", [sample(i, "monitored", None, reply) for i, reply in enumerate(replies)])
    drawn = drawn_from([log], seed=1, per_condition=3).drawn
    found = {e.sample_id[:2]: e.reasoning for e in drawn}
    assert found == {"r0": "native thoughts", "r1": None, "r2": "thoughts in the text"}


def test_a_log_that_vanishes_after_counting_is_listed(log: Path) -> None:
    draw = ExcerptDraw(seed=1)
    count_outcomes(draw.watch(read_logs([log])))
    log.unlink()
    found = draw.read()
    assert found.drawn == ()
    assert len(found.unreadable) == 4
    assert all(str(log) in line for line in found.unreadable)


def test_drawing_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1, not 0"):
        ExcerptDraw(seed=1, per_condition=0)
