"""A plan comes to commands that the command line takes, in an order in which they can be done."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml
from tests.study.plans import SMALL, WHOLE, plan

from inspect_af.cli import parsed
from inspect_af.config import path_digest
from inspect_af.errors import ConfigError
from inspect_af.materials import load_beliefs
from inspect_af.plan import PlannedSubject
from inspect_af.study.draft import read_study_plan
from inspect_af.study.run import Record, Study
from inspect_af.study.steps import (
    SENTENCES,
    Step,
    build_steps,
    check_budget,
    evals_load,
    subject_names,
    total_load,
)
from inspect_af.tasks.evals import Evals
from inspect_af.types import Removed

OUT = Path("studies/x")
NO_JUDGE = {"judging": None, "checks": None}


def steps_of(draft: dict[str, object], **changes: object) -> dict[str, Step]:
    return {step.key: step for step in build_steps(plan(draft, **changes), OUT)}


def group(step: Step, name: str) -> Evals:
    """The evals of a step whose logs are in the directory of that name."""
    (found,) = [each.evals for each in step.evals if Path(each.logs).name == name]
    return found


def test_a_small_study_is_its_evals_and_a_report() -> None:
    assert list(steps_of(SMALL)) == ["evals/expectation/untouched", "report"]


def test_every_command_of_a_whole_study_is_one_that_the_command_line_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = steps_of(WHOLE)
    for step in steps.values():
        if not step.evals:
            parsed(step.command)  # exits where it does not
    kinds = {step.kind for step in steps.values()}
    assert kinds == {
        *("organism", "documents", "corpora", "adapter", "evals", "pairs"),
        *("activations", "vector", "controls", "sweep", "report"),
    }


def test_what_was_made_from_another_checkpoint_or_chat_template_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base, template = Path("models/other/config.json"), Path("t.jinja")
    base.parent.mkdir(parents=True)
    base.write_text("{}")
    template.write_text("one")
    subject = {"model": "af-hf/./models/other", "args": {"chat_template": "t.jinja"}}
    study = Study(OUT, build_steps(plan(WHOLE, subjects=[subject]), OUT))
    for key in ("adapter/other", "activations/other/expectation", "sweep/other/expectation"):
        step = next(each for name, each in study.steps.items() if name.startswith(key))
        inputs = {path: path_digest(Path(path)) for path in step.reads if Path(path).exists()}
        study.write(step, Record(state="done", inputs=inputs))
        assert study.changed_inputs(step) == []
        for file, name in ((base, "models/other"), (template, "t.jinja")):
            before = file.read_text()
            file.write_text(before + " ")
            assert study.changed_inputs(step) == [name]
            file.write_text(before)


def test_a_step_comes_after_what_it_needs_and_the_report_last() -> None:
    seen: set[str] = set()
    for step in steps_of(WHOLE).values():
        assert seen.issuperset(step.needs), step.key
        seen.add(step.key)
    assert list(steps_of(WHOLE))[-1] == "report"


def test_documents_are_written_once_and_corpora_and_adapters_are_made_for_each_subject() -> None:
    ids = list(steps_of(WHOLE))
    assert sum(each.startswith("documents/") for each in ids) == 2
    assert sum(each.startswith("corpora/") for each in ids) == 2
    assert sum(each.startswith("adapter/") for each in ids) == 4


def test_ordinary_documents_are_written_once_and_go_into_every_adapter(tmp_path: Path) -> None:
    steps = steps_of(WHOLE, sdf={**WHOLE["sdf"], "tiny_replay": 90})
    (written,) = steps["ordinary"].outputs
    adapters = [step for step in steps.values() if step.kind == "adapter"]
    assert len(adapters) == 4
    for step in adapters:
        assert "ordinary" in step.needs
        assert yaml.safe_load(step.files[0][1])["replay"] == written
    parsed(steps["ordinary"].command)
    own = tmp_path / "ordinary.jsonl"
    own.touch()
    steps = steps_of(WHOLE, sdf={**WHOLE["sdf"], "replay": str(own)})
    assert "ordinary" not in steps
    assert yaml.safe_load(steps["adapter/other/A1+"].files[0][1])["replay"] == str(own)
    with pytest.raises(ValueError, match="give one"):
        steps_of(WHOLE, sdf={**WHOLE["sdf"], "replay": str(own), "tiny_replay": 90})


def test_checkpoints_are_evaluated_in_one_process_with_claims_where_asked() -> None:
    steps = steps_of(WHOLE)
    evals = group(steps["evals/other/sdf"], "sdf")
    adapters = [model.args["adapter"] for model in evals.models]
    where = "studies/x/subjects/other/adapters"
    assert adapters == [f"{where}/{code}/seed-{seed}" for code in ("A1+", "neutral") for seed in (0, 1)]
    assert evals.max_tasks == 1
    assert evals.tasks[0].args["interventions"] == "none"
    claims = group(steps["evals/other/sdf"], "sdf-prompt")
    assert claims.tasks[0].args["interventions"] == ["A1"] and claims.models == evals.models


def test_an_organism_adapter_stays_under_the_trained_one() -> None:
    args = {"adapter": "org", "revision": "main", "chat_template": "t.jinja"}
    subject = {"model": "af-hf/base", "args": args}
    steps = steps_of(WHOLE, subjects=[subject])
    training = yaml.safe_load(steps["adapter/base/A1+"].files[0][1])
    assert training["parents"] == ["org"] and training["revision"] == "main"
    stacked = group(steps["evals/base/sdf"], "sdf").models[0].args["adapter"]
    assert stacked == "org,studies/x/subjects/base/adapters/A1+/seed-0"
    extract = steps["activations/base/expectation"].command
    assert extract[extract.index("--adapter") + 1] == "org" and "chat_template=t.jinja" in extract


def test_calls_are_counted_exactly_for_evals() -> None:
    steps = steps_of(WHOLE)
    claims, untouched, tiers, epochs, judged = 5, 4, 2, 2, 2
    made = plan(WHOLE)
    prompt = group(steps["evals/other/untouched"], "prompt")
    assert evals_load(made, prompt).calls == 48 * tiers * (untouched + claims) * epochs * judged
    assert evals_load(made, group(steps["evals/other/untouched"], "identities")).calls == (
        48 * tiers * epochs * judged
    )
    groups = steps["evals/other/untouched"].evals
    assert [Path(each.logs).name for each in groups] == ["prompt", "beliefs", "identities", "direct"]
    assert steps["evals/other/untouched"].load.calls == sum(
        evals_load(made, each.evals).calls for each in groups
    )
    vectors, controls = 2, 4
    fewer = steps["sweep/other/expectation-controls"]
    assert fewer.load.calls == 6 * tiers * (1 + vectors + controls) * epochs * judged
    assert fewer.command[fewer.command.index("--limit") + 1] == str(6 * tiers)
    full = steps["sweep/other/expectation"]
    assert full.load.calls == 48 * tiers * (1 + vectors) * epochs * judged
    assert "--controls" not in full.command and "--controls" in fewer.command


def test_every_vote_of_a_judge_is_counted_and_so_are_open_questions() -> None:
    judging = {"grader": "af-simulated-judge/keyword", "judges": ["concept", "faking", "awareness"]}
    made = plan(SMALL, judging=judging, beliefs={"questions": "open"})
    (untouched, _) = build_steps(made, OUT)
    replies = 48 * 2 * (4 + 4)
    assert evals_load(made, group(untouched, "prompt")).calls == replies * (1 + 1 + 20 + 5)
    open_questions = len(load_beliefs().of_form("open")) * (1 + 4)
    assert evals_load(made, group(untouched, "beliefs")).calls == open_questions * 2


def test_a_study_above_its_budget_is_refused_with_both_numbers() -> None:
    made = plan(SMALL, budget={"max_calls": 100, "max_tokens": 5})
    load = total_load(build_steps(made, OUT))
    with pytest.raises(ConfigError, match=r"768 calls, allowed are 100; .* tokens, allowed are 5"):
        check_budget(made, load)


def test_an_unknown_price_is_above_any_budget_and_a_given_one_is_used() -> None:
    writer = {**WHOLE["sdf"], "writer": "mockllm/model"}
    limited = {"max_cost_usd": 0.5}
    unknown = plan(WHOLE, sdf=writer, budget=limited)
    steps = build_steps(unknown, OUT)
    with pytest.raises(ConfigError, match="unknown, since a model has no price"):
        check_budget(unknown, total_load(steps))
    priced = plan(WHOLE, sdf=writer, budget={**limited, "prices": {"mockllm/model": [1.0, 1.0]}})
    load = total_load(build_steps(priced, OUT))
    assert load.cost_usd is not None and 0 < load.cost_usd < 0.5
    check_budget(priced, load)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subjects": ["openai/gpt-4o"]}, "openai/gpt-4o has none here"),
        ({"subjects": [{"model": "openai/x", "organism": {"kind": "null"}}]}, "an organism is trained into"),
        ({"judging": None}, "direct_requests are scored by a judge"),
        ({**NO_JUDGE, "beliefs": {"questions": "all"}}, "beliefs.questions: a judge scores open questions"),
        ({**NO_JUDGE, "steering": {"in_context": True, "doses": [-1, 1]}}, "judged replies"),
        ({"steering": {"files": {"greed": "x.jsonl"}, "doses": [-1, 1]}}, "unknown concept 'greed'"),
        (
            {"sdf": {**WHOLE["sdf"], "hyperparameters": {"rank": 8}}},
            "hyperparameters.learning_rate: Field required",
        ),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_starts(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        steps_of(WHOLE, **changes)
    assert message in caught.value.message


def test_pairs_under_claims_come_from_the_subjects_own_replies_and_need_no_judge() -> None:
    steps = steps_of(WHOLE, **NO_JUDGE, steering={"in_context": "claims", "doses": [-1, 1]})
    pairs = steps["pairs/expectation/consequence"]
    assert pairs.needs == ("evals/expectation/untouched",)
    assert {"ic", "--by", "claims", "consequence"} <= set(pairs.command)
    assert steps["activations/expectation/consequence"].needs[-1] == pairs.key


def test_the_oversight_direction_comes_from_the_untouched_replies_and_shares_the_random_vectors() -> None:
    steps = steps_of(WHOLE, steering={**WHOLE["steering"], "oversight": True})
    pairs, sweep = steps["pairs/expectation/oversight"], steps["sweep/expectation/oversight"]
    assert pairs.needs == ("evals/expectation/untouched",)
    assert pairs.command[pairs.command.index("--by") + 1] == "oversight"
    assert "--controls" not in sweep.command and "controls/expectation/oversight" not in steps
    assert not any("oversight" in key for key in steps_of(WHOLE))


def test_scratchpads_are_gone_on_with_once_their_replies_are_there_and_cost_what_is_planned() -> None:
    planned = {"edits": ["transplant", "cut"], "interventions": ["none"]}
    step = steps_of(WHOLE, scratchpads=planned)["evals/expectation/scratchpads"]
    assert step.needs == ("evals/expectation/untouched",)
    tasks = [task for logged in step.evals for task in logged.evals.tasks]
    assert [(task.args["edit"], task.args["interventions"]) for task in tasks] == [
        ("transplant", ["none"]),
        ("cut", ["none"]),
    ]
    asked, repeats = 48 * 2 * 2, 4  # requests, tiers, epochs
    replies = asked * repeats
    judged = replies * SENTENCES
    assert step.load.calls == replies * (2 + len(get_args(Removed))) + judged
    every = steps_of(WHOLE, scratchpads={"edits": ["transplant"]})["evals/expectation/scratchpads"]
    assert every.load.calls == asked * (repeats + 5) * 2  # the baseline, four claims and a placebo


def test_the_report_is_judged_by_the_plan_that_the_study_belongs_to() -> None:
    command = steps_of(SMALL)["report"].command
    assert command[command.index("--plan") + 1] == "studies/x/plan.yaml"


def test_subjects_on_one_model_are_named_by_what_tells_them_apart_in_logs() -> None:
    given = [
        {"model": "openai/o5", "args": {"effort": "low"}},
        {"model": "openai/o5", "args": {"effort": "high"}},
        {"model": "af-hf/base", "args": {"adapter": "one"}},
        {"model": "af-hf/base", "args": {"adapter": "two"}},
    ]
    command = steps_of(SMALL, subjects=given)["report"].command
    names = [command[at + 1] for at, part in enumerate(command) if part == "--name"]
    # Adapters are in a subject's label beside its model's name, so that the two on `base` stay two.
    assert names == ["openai/o5[effort=low]=o5", "openai/o5[effort=high]=o5-2", "af-hf/base=base"]


def test_every_subject_has_a_directory_of_its_own() -> None:
    models = ["a/gpt-4o", "a/gpt-4o-2", "b/gpt-4o", "a/x", "b/x", "c/x", "a/y"]
    assert subject_names([PlannedSubject(model=model) for model in models]) == (
        *("gpt-4o", "gpt-4o-2", "gpt-4o-3", "x", "x-2", "x-3", "y"),
    )


@pytest.mark.parametrize(
    ("changes", "strength"),
    [
        ({}, "standard"),
        ({"conditions": {"interventions": "A1", "strength": "all"}}, "standard"),
        ({"conditions": {"interventions": "A1", "strength": "strong"}}, "strong"),
        ({"conditions": {"interventions": "A1", "strength": "all"}, "headline_strength": "weak"}, "weak"),
    ],
)
def test_claims_on_checkpoints_have_the_strength_that_the_report_compares(
    changes: dict[str, object], strength: str
) -> None:
    (task,) = group(steps_of(WHOLE, **changes)["evals/other/sdf"], "sdf-prompt").tasks
    assert task.args["strength"] == strength


@pytest.mark.parametrize(("name", "kinds"), [("study", 4), ("seed", 2)])
def test_the_examples_of_known_truth_are_plans_of_three_methods_within_their_budgets(
    name: str, kinds: int, tmp_path: Path
) -> None:
    example = Path(__file__).parents[2] / "examples" / "known_truth" / f"{name}.yaml"
    file = tmp_path / "plan.yaml"
    file.write_text(example.read_text(encoding="utf-8").replace("SEED", "3"), encoding="utf-8")
    made = read_study_plan(file)
    steps = build_steps(made, OUT)
    check_budget(made, total_load(steps))
    assert {step.key.partition("/")[0] for step in steps} >= {"organism", "adapter", "sweep", "report"}
    assert len(made.subjects) == kinds and made.steering is not None
    assert 2 * made.steering.controls >= 20, "random vectors of both concepts are one sample"
