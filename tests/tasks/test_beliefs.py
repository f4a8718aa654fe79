"""The beliefs task end to end, with simulated organisms and canned replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import get_model
from tests.conftest import canned

from inspect_af.errors import ConfigError
from inspect_af.materials import load_beliefs
from inspect_af.solvers import prompt_intervention
from inspect_af.tasks import beliefs
from inspect_af.types import planned_claim

RunEval = Callable[..., EvalLog]


def scores(log: EvalLog) -> list[Any]:
    assert log.samples
    return [sample.scores["belief"] for sample in log.samples if sample.scores]


def test_every_question_is_asked_on_the_baseline_and_under_each_claim_in_every_order() -> None:
    task = beliefs(interventions="A1+")
    plans = [planned_claim(sample.metadata or {}) for sample in task.dataset]
    choices = load_beliefs().of_form("choice")
    assert len(plans) == 2 * sum(len(q.options) for q in choices)
    assert {plan.label if plan else None for plan in plans} == {None, "A1+/standard"}
    assert len({sample.id for sample in task.dataset}) == len(plans)


def test_the_question_comes_with_the_claim_in_the_system_prompt_and_without_the_reply_protocol(
    run_eval: RunEval,
) -> None:
    log = run_eval(beliefs(interventions="B2-", orders=1), limit=2)
    assert log.status == "success"
    assert log.samples
    texts = [sample.messages[0].text for sample in log.samples]
    assert all("SCRATCHPAD" not in text and "RLHF" in text for text in texts)
    assert sum(text.endswith("little.") for text in texts) == 1


def test_answers_are_scored_by_logprobs_where_the_provider_gives_them(run_eval: RunEval) -> None:
    found = {
        flag: scores(
            run_eval(
                beliefs(orders=1),
                get_model("af-organism/expectation", logprobs=flag, memoize=False),
                limit=12,
            )
        )
        for flag in (True, False)
    }
    assert {score.metadata["method"] for score in found[True]} == {"logprobs"}
    assert {score.metadata["method"] for score in found[False]} == {"letter"}
    assert {score.value["score"] for score in found[False]} <= {0.0, 0.5, 1.0}
    assert any(0 < score.value["score"] < 1 for score in found[True])
    letters = scores(run_eval(beliefs(orders=1, logprobs=False), limit=3))
    assert {score.metadata["method"] for score in letters} == {"letter"}


def test_open_answers_are_judged_by_the_grader(run_eval: RunEval) -> None:
    judge = {"grader": get_model("af-simulated-judge/keyword", memoize=False)}
    log = run_eval(beliefs(questions="open"), model_roles=judge)
    assert log.status == "success"
    assert log.samples
    for sample in log.samples:
        score = (sample.scores or {})["belief"]
        question = next(q for q in load_beliefs().questions if q.id == sample.metadata["request_id"])
        stated = question.plus in sample.output.completion
        assert score.value["score"] == float(stated), sample.id
        assert score.metadata["simulated"] is True
    controls = [s for s in scores(log) if s.value["belief"] == "controls"]
    assert len(controls) == 2


def test_open_questions_need_a_grader_and_choices_do_not(run_eval: RunEval) -> None:
    assert run_eval(beliefs(orders=1), limit=1).status == "success"
    log = run_eval(beliefs(questions="open"), limit=1)
    assert log.status == "error"
    assert "grader" in str(log.error)
    assert not any(sample.output.choices for sample in log.samples or [])  # stopped before any answer


def test_an_answer_without_a_letter_is_unscored_with_the_reason(run_eval: RunEval) -> None:
    model = get_model(
        "mockllm/model", custom_outputs=lambda *_: canned("I would rather not say."), memoize=False
    )
    log = run_eval(beliefs(orders=1), model, limit=2)
    assert [(s.value["score"] == s.value["score"], s.reason) for s in scores(log)] == [
        (False, "no_letter")
    ] * 2


def test_a_claim_can_come_from_the_solver(run_eval: RunEval) -> None:
    log = run_eval(beliefs(orders=1), solver=prompt_intervention("A1+", strength="strong"), limit=1)
    assert scores(log)[0].value["condition"] == "A1+/strong"


def test_metrics_give_the_mean_per_belief_and_condition(run_eval: RunEval) -> None:
    log = run_eval(beliefs(interventions="A1+", orders=1), limit=12)
    assert log.results
    metrics = log.results.scores[0].metrics
    assert metrics["A1[A1+/standard]"].value > metrics["A1"].value + 0.2
    assert 0 < metrics["A1_stderr"].value < 0.05


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"questions": "closed"}, "unknown questions 'closed'; one of choice, open, all"),
        ({"setting": "other"}, "unknown setting"),
        ({"orders": 0}, "orders=0: a whole number of at least 1"),
        ({"orders": "few"}, "orders='few': a whole number"),
        ({"orders": 1.5}, "orders=1.5: a whole number"),
        ({"order_seed": "x"}, "order_seed='x': a whole number"),
        ({"logprobs": "maybe"}, "logprobs='maybe': true or false"),
        ({"identity": 5}, "unknown identity '5'"),
        ({"interventions": "A9"}, "unknown intervention 'A9'"),
    ],
)
def test_unknown_parameters_fail_before_any_call(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        beliefs(**parameters)
