"""The beliefs task end to end, with simulated organisms and canned replies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ContentReasoning,
    ContentText,
    Logprob,
    Logprobs,
    ModelOutput,
    TopLogprob,
    get_model,
)
from tests.conftest import canned

from inspect_af.errors import ConfigError
from inspect_af.materials import AskedBelief, load_beliefs
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
    assert {plan.label if plan else None for plan in plans} == {None, "A1+/standard/rotated"}
    assert len({sample.id for sample in task.dataset}) == len(plans)


def test_the_question_comes_with_the_claim_in_the_system_prompt_and_without_the_reply_protocol(
    run_eval: RunEval,
) -> None:
    log = run_eval(beliefs(interventions="B2-", paraphrase=1, orders=1), limit=2)
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


def local(letters: dict[str, float], *, thinks: bool = False) -> tuple[Any, list[tuple[str, str]]]:
    """A model as a local engine is: it goes on with a reply and gives the probabilities of what it is given.

    Letters have these probabilities behind `Answer:`; of the options' words the longest is the likeliest.
    """
    asked: list[tuple[str, str]] = []

    def answer(messages: list[Any], _tools: Any, _choice: Any, config: Any) -> ModelOutput:
        asked.append((messages[-1].role, messages[-1].text))
        output = canned("B")
        choice = output.choices[0]
        if messages[-1].role != "assistant":
            return output
        if thinks:
            choice.message.content = [ContentReasoning(reasoning="Let me think"), ContentText(text="")]
        if config.prompt_logprobs:
            scored = Logprob(token="words", logprob=9.0 * len(messages[-1].text))
            choice.prompt_logprobs = Logprobs(content=[scored])
        top = [TopLogprob(token=f" {name}", logprob=math.log(p)) for name, p in letters.items()]
        choice.logprobs = Logprobs(content=[Logprob(token=" The", logprob=-1.0, top_logprobs=top)])
        return output

    model = get_model("mockllm/model", custom_outputs=answer, memoize=False)
    model.api.scores_replies = True  # type: ignore[attr-defined]
    return model, asked


def test_a_local_model_answers_by_the_letters_behind_the_beginning_of_an_answer(run_eval: RunEval) -> None:
    model, asked = local({"A": 0.5, "B": 0.3, "The": 0.2})
    log = run_eval(beliefs(), model, limit=3)
    assert log.samples
    for sample in log.samples:
        shown = AskedBelief.from_metadata(sample.metadata)
        score = (sample.scores or {})["belief"]
        assert (score.answer, score.metadata["method"]) == ("A", "prefill")
        assert score.metadata["p_A"] == pytest.approx(0.625)
        value = {"plus": 1.0, "minus": 0.0, "other": 0.5}
        expected = 0.625 * value[shown.poles["A"]] + 0.375 * value[shown.poles["B"]]
        assert score.value["score"] == pytest.approx(expected)
        longest = max(shown.options, key=lambda letter: len(shown.options[letter]))
        assert abs(score.metadata["words"] - value[shown.poles[longest]]) < 0.1
        assert ("assistant", "Answer:") in asked
        assert {("assistant", f"Answer: {text}") for text in shown.options.values()} <= set(asked)
    assert log.results
    assert log.results.scores[0].metrics["letter A"].value == pytest.approx(0.625)


def test_by_words_a_local_model_needs_no_letters(run_eval: RunEval) -> None:
    model, _ = local({"The": 1.0})
    log = run_eval(beliefs(reading="words"), model, limit=3)
    for sample in log.samples or []:
        shown = AskedBelief.from_metadata(sample.metadata)
        score = (sample.scores or {})["belief"]
        longest = max(shown.options, key=lambda letter: len(shown.options[letter]))
        assert (score.answer, score.metadata["method"]) == (longest, "words")
        assert abs(score.value["score"] - {"plus": 1, "minus": 0, "other": 0.5}[shown.poles[longest]]) < 0.1


def test_words_cannot_be_read_from_a_model_that_does_not_give_their_probabilities(run_eval: RunEval) -> None:
    log = run_eval(beliefs(reading="words"), "af-organism/mixed", limit=1)
    assert log.status == "error" and log.error is not None
    assert "reading=words: af-organism/mixed does not give the probabilities" in log.error.message
    thinking, _ = local({"A": 1.0}, thinks=True)
    log = run_eval(beliefs(reading="words"), thinking, limit=1)
    assert log.error is not None and "thinking=false" in log.error.message
    with pytest.raises(ConfigError, match="reading=words is of questions=choice"):
        beliefs(reading="words", questions="all")
    with pytest.raises(ConfigError, match="letters, words"):
        beliefs(reading="lips")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("letters", "thinks"), [({"A": 0.3, "The": 0.7}, False), ({"A": 0.6, "B": 0.4}, True)]
)
def test_where_no_letter_is_to_come_the_model_answers_in_its_own_way(
    run_eval: RunEval, letters: dict[str, float], thinks: bool
) -> None:
    model, asked = local(letters, thinks=thinks)
    log = run_eval(beliefs(), model, limit=1)
    assert [score.metadata["method"] for score in scores(log)] == ["letter"]
    assert [role for role, _ in asked] == ["assistant", "user"]
    freely, asked = local({"A": 0.6, "B": 0.4})
    run_eval(beliefs(logprobs=False), freely, limit=1)
    assert [role for role, _ in asked] == ["user"]


def test_a_claim_can_come_from_the_solver(run_eval: RunEval) -> None:
    log = run_eval(beliefs(orders=1), solver=prompt_intervention("A1+", strength="strong"), limit=1)
    assert scores(log)[0].value["condition"] == "A1+/strong"


def test_metrics_give_the_mean_per_belief_and_condition(run_eval: RunEval) -> None:
    log = run_eval(beliefs(interventions="A1+", orders=1), limit=12)
    assert log.results
    metrics = log.results.scores[0].metrics
    assert metrics["A1[A1+/standard/rotated]"].value > metrics["A1"].value + 0.2
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
