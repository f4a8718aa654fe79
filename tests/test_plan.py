"""A plan is read back as it was written, and a change after the fact is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inspect_af.errors import ConfigError
from inspect_af.materials import load_pair
from inspect_af.plan import (
    Estimate,
    Generation,
    Plan,
    PlannedPrompt,
    PlannedRequests,
    PlannedSubject,
    known_price,
    load_plan,
    save_plan,
)
from inspect_af.tasks import alignment_faking
from inspect_af.types import ROTATED, Intervention, PromptClaim, planned_claim

PLUS = Intervention(variable="A1", polarity="+", family="first")


def plan(**changes: Any) -> Plan:
    parts: dict[str, Any] = {
        "name": "a study",
        "subjects": (PlannedSubject(model="af-organism/expectation", args={"latency": 0.1}),),
        "pair_digest": load_pair().digest,
        "conditions": (
            PromptClaim(intervention=PLUS, strength="strong"),
            PromptClaim(intervention=PLUS, paraphrase=2),
        ),
        "prompt": PlannedPrompt(digest="0" * 16),
        "requests": PlannedRequests(source="mini", digest="1" * 16, n=48),
        "generation": Generation(epochs=2, temperature=1.0),
    }
    return Plan(**{**parts, **changes})


@pytest.mark.parametrize("provider", ["hf", "vllm", "af-hf"])
def test_no_price_of_a_local_model_is_looked_up_for_which_it_would_be_loaded(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(model: str) -> None:
        raise AssertionError(f"{model} is loaded")

    monkeypatch.setattr("inspect_ai.model.get_model_info", load)
    assert known_price(f"{provider}/someones/model") is None


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    save_plan(plan(), tmp_path / "deep" / "plan.yaml")
    assert load_plan(tmp_path / "deep" / "plan.yaml") == plan()


def test_the_task_that_a_plan_asks_for_has_exactly_its_conditions() -> None:
    task = alignment_faking(**plan().task_args())
    plans = [planned_claim(sample.metadata or {}) for sample in task.dataset]
    assert {p.label if p else None for p in plans} == {None, "A1+/strong", "A1+/standard/p2"}
    assert len(task.dataset) * 2 == plan().samples_per_subject == 48 * 2 * 3 * 2


def test_a_plan_that_does_not_say_how_often_the_untouched_subject_is_asked_asks_it_once(
    tmp_path: Path,
) -> None:
    save_plan(plan(), tmp_path / "plan.yaml")
    text = (tmp_path / "plan.yaml").read_text()
    (tmp_path / "older.yaml").write_text(text.replace("  baseline_repeats: 1\n", ""))
    assert "baseline_repeats" not in (tmp_path / "older.yaml").read_text()
    assert load_plan(tmp_path / "older.yaml") == plan()
    repeated = plan(generation=Generation(epochs=2, temperature=1.0, baseline_repeats=4))
    assert repeated.digest != plan().digest
    task = alignment_faking(**repeated.task_args())
    assert len(task.dataset) * 2 == repeated.samples_per_subject == 48 * 2 * (4 + 2) * 2


def test_rotated_and_single_wordings_stay_apart_in_the_task_that_a_plan_asks_for() -> None:
    for paraphrases in ((ROTATED,), (ROTATED, 1), (1, 2), (ROTATED, 1, 2)):
        conditions = tuple(PromptClaim(intervention=PLUS, paraphrase=number) for number in paraphrases)
        task = alignment_faking(**plan(conditions=conditions).task_args())
        plans = {planned_claim(sample.metadata or {}) for sample in task.dataset} - {None}
        assert {p.paraphrase for p in plans if p} == set(paraphrases)


def test_the_digest_covers_what_decides_results_and_not_the_estimate() -> None:
    estimate = Estimate(calls=1, input_tokens=1, output_tokens=1, cost_usd=None)
    assert plan(estimate=estimate).digest == plan().digest
    assert plan(generation=Generation(epochs=3)).digest != plan().digest


def test_a_plan_that_was_changed_after_its_digest_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    save_plan(plan(), file)
    file.write_text(file.read_text().replace("epochs: 2", "epochs: 9"))
    with pytest.raises(ConfigError, match="was changed after it was written"):
        load_plan(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "is not a plan"),
        ("a: [", "is not valid YAML"),
        ("digest: 0\nname: x", "subjects: Field required"),
        ("name: x", "has no digest, so it is a draft"),
        (None, "cannot read the plan"),
    ],
)
def test_a_file_that_is_no_plan_is_refused_with_its_problem(
    tmp_path: Path, text: str | None, message: str
) -> None:
    file = tmp_path / "plan.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_plan(file)


def test_a_condition_cannot_be_planned_twice() -> None:
    claim = PromptClaim(intervention=PLUS)
    with pytest.raises(ValueError, match="conditions listed twice: A1\\+/standard"):
        plan(conditions=(claim, claim))
