"""What a person writes becomes a plan; what is wrong in it is one message."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.study.plans import SMALL, WHOLE, plan

from inspect_af.errors import ConfigError
from inspect_af.materials import load_pair
from inspect_af.plan import save_plan
from inspect_af.study.draft import complete_draft, read_study_plan, template


def test_a_draft_gets_the_digests_and_conditions_of_the_task_that_it_asks_for() -> None:
    made = plan(SMALL)
    assert made.pair_digest == load_pair().digest
    assert [condition.label for condition in made.conditions] == [
        f"{code}/standard/rotated" for code in ("A1+", "A1-", "B1+", "B1-")
    ]
    assert made.requests.source == "mini" and made.requests.n == 48
    assert len(made.requests.digest) == len(made.prompt.digest) == 16


@pytest.mark.parametrize(
    "conditions",
    [
        "A1,B1",
        ["A1", "B1"],
        ["A1+/standard", "A1-", "B1"],
        {"interventions": "A1,B1", "strength": "standard"},
    ],
)
def test_conditions_may_be_written_in_several_ways(conditions: object) -> None:
    assert plan(SMALL, conditions=conditions).digest == plan(SMALL).digest


def test_the_untouched_subject_is_asked_four_times_where_beliefs_are_changed_and_once_elsewhere() -> None:
    repeats = {
        name: made.generation.baseline_repeats
        for name, made in {
            "claims": plan(SMALL, generation={"epochs": 2}),
            "said": plan(SMALL, generation={"baseline_repeats": 2}),
            "documents": plan(WHOLE, conditions="none"),
            "nothing": plan(SMALL, conditions="none"),
        }.items()
    }
    assert repeats == {"claims": 4, "said": 2, "documents": 4, "nothing": 1}


def test_every_part_of_a_draft_is_part_of_the_digest() -> None:
    whole = plan(WHOLE)
    sdf = {**WHOLE["sdf"], "tokens": 3000}
    steering = {**WHOLE["steering"], "controls": 3}
    changed = [
        plan(WHOLE, sdf=sdf),
        plan(WHOLE, steering=steering),
        plan(WHOLE, beliefs=None),
        plan(WHOLE, conditions={"interventions": "A1,B1,N1", "strength": "strong"}),
        plan(WHOLE, prompt={"identity": "roleplay"}),
    ]
    assert len({whole.digest, *(each.digest for each in changed)}) == len(changed) + 1


def test_tokens_of_a_corpus_are_written_as_on_the_command_line() -> None:
    written = {
        each: plan(WHOLE, sdf={**WHOLE["sdf"], "tokens": each}) for each in (3000, "3k", "3_000", "0.003M")
    }
    assert {one.digest for one in written.values()} == {written[3000].digest}
    for wrong in (0, -5, "tenM", True, "", None):
        with pytest.raises(ValueError, match=r"sdf\.tokens: .*no number of tokens; give one such as 10M"):
            plan(WHOLE, sdf={**WHOLE["sdf"], "tokens": wrong})


def test_a_plan_without_the_new_parts_has_the_digest_that_it_always_had() -> None:
    from tests.test_plan import plan as old_plan

    absent = {"sdf", "steering", "beliefs", "judging", "checks", "budget", "estimate", "subjects"}
    old = old_plan()
    assert absent & set(type(old).model_fields) == absent
    # Written down before those parts existed; materials and thresholds enter it, so they may move it.
    known = old.model_copy(update={"pair_digest": "0" * 16})
    assert known.digest == "2835ed835322af59"


def test_a_completed_draft_is_read_back_from_its_file(tmp_path: Path) -> None:
    save_plan(plan(WHOLE), tmp_path / "plan.yaml")
    assert read_study_plan(tmp_path / "plan.yaml") == plan(WHOLE)


def test_the_template_is_a_draft_and_with_its_comments_taken_away_a_larger_one() -> None:
    small = yaml.safe_load(template())
    assert complete_draft({**small, "requests": "mini"}).beliefs is not None
    lines = [line.removeprefix("# ") if line.startswith("# ") else line for line in template().splitlines()]
    kept = [line for line in lines if not line[:1].isupper() and not line.startswith("conditions: {")]
    assert "max_cost_usd" not in small["budget"], (
        "the template names no prices, so that its dry run would fail"
    )
    large = yaml.safe_load("\n".join(kept))
    large["subjects"] = ["af-hf/./models/x"]
    made = complete_draft({**large, "requests": "mini"})
    assert made.sdf is not None and made.steering is not None and made.checks is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subjects: [af-organism/null]\nconditions: A9", "unknown intervention 'A9'"),
        ("subjects: [af-organism/null]\nrequests: mini\ntypo: 1", "typo: unknown key 'typo'; one of name"),
        (
            "subjects: [af-organism/null]\nrequests: mini\ncondition: A1",
            "condition: unknown key 'condition'; one of",
        ),
        ("subjects: [af-organism/null]\nrequests: mini\ncondition: A1", "Did you mean conditions?"),
        ("subjects: [{model: x/y, arg: {}}]\nrequests: mini", "Did you mean args?"),
        ("subjects: [x/y]\nrequests: mini\nsteering: {layer: [1], doses: [1]}", "Did you mean layers?"),
        ("subjects: []\nrequests: mini", "subjects: Tuple should have at least 1 item"),
        ("subjects: [x/y]\nrequests: mini\nconditions: {codes: A1}", "conditions: unknown 'codes'"),
        (
            "subjects: [x/y]\nrequests: mini\nprompt: {colour: red}",
            "prompt: unknown key 'colour'; one",
        ),
        (
            "subjects: [x/y]\nrequests: mini\nsteering: {in_context: true}",
            "give either multipliers or doses",
        ),
        (
            "subjects: [x/y]\nrequests: mini\nsteering: {multipliers: [1]}",
            "contrast pairs come from one of",
        ),
        ("name: x", "--template"),
        ("subject: [x/y]\nrequests: mini", "Did you mean subjects?"),
        ("subjects: [x/y]\nrequests: mini\nprompt: {redact: true}", "prompt: unknown key 'redact'; one of"),
        ("subjects: [x/y]\nrequests: mini\nsdf: {seeds: 1}", "sdf.seeds: 1 is no list; write it as"),
        ("subjects: openai/gpt-4o\nrequests: mini", "subjects: 'openai/gpt-4o' is no list"),
        ("subjects:\nrequests: mini", "subjects: None is no list"),
        ("subjects: {model: x/y}\nrequests: mini", "is no list"),
        ("subjects: [{args: {a: 1}}]\nrequests: mini", "subjects.0.model: Field required"),
        ("subjects: [x/y]\nrequests: mini\ngeneration: 3", "generation: 3; give settings by name"),
        ("subjects: [x/y]\nrequests: mini\nprompt: [a]", "prompt: ['a']; give settings by name"),
        ("subjects: [x/y]\nrequests: {file: a.csv}", "requests: {'file': 'a.csv'}; give advbench"),
        ("subjects: [x/y]\nrequests: {source: mini, n: 3}", "their number and digest are worked out"),
        ("subjects: [x/y]\nrequests:", "requests: None; give advbench"),
        ("subjects: [x/y]\nrequests: mini\npair: 3", "pair: Input should be a valid string"),
        ("subjects: [x/y]\nrequests: mini\nconditions: {strength: strong}", "names no interventions"),
        ("subjects: [x/y]\nrequests: mini\nsubjects: [x/z]", "the key 'subjects' is there twice"),
        (
            "subjects: [x/y]\nrequests: mini\nsteering: {tiny_world: true, doses: [1], doses: [2]}",
            "the key 'doses' is there twice",
        ),
        ("subjects: [x/y]\nrequests: mini\ngeneration: {epochs: yes}", "generation.epochs: "),
        ("subjects: [x/y]\nrequests: mini\ngeneration: {temperature: no}", "true and false are no numbers"),
        ("subjects: [x/y]\nrequests: mini\ngeneration: {temperature: .inf}", "generation.temperature: "),
        ("subjects: [x/y]\nrequests: mini\nthresholds: {floor: off}", "thresholds.floor: "),
        ("subjects: [x/y]\nrequests: mini\nbudget: {prices: {x/y: [1, on]}}", "budget.prices: "),
        ("subjects: [x/y]\nrequests: mini\ngeneration: {max_tokens: 0600}", "0600 is read as 384"),
        ("a: [", "is not valid YAML"),
        (None, "cannot read the plan"),
    ],
)
def test_a_wrong_draft_is_one_message(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "study.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_study_plan(file)
    assert message in caught.value.message


WRONG = """
subjects: [{modl: x}]
requests: nosuch.csv
conditions: Z9
prompt: {identity: nosuch, tiers: [nosuch], tagin: user}
generation: {epochs: 0}
budget: {max_calls: yes}
nosuch: 1
"""


def test_everything_that_is_wrong_with_a_draft_is_in_the_message(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(WRONG)
    said = "modl|'nosuch.csv'|'Z9'|key 'tagin'|generation.epochs|budget.max_calls|unknown key 'nosuch'"
    with pytest.raises(ConfigError) as caught:
        read_study_plan(file)
    assert [part for part in said.split("|") if part not in caught.value.message] == []
    file.write_text(WRONG.replace(", tagin: user", ""))
    with pytest.raises(ConfigError) as caught:
        read_study_plan(file)
    said += "|identity 'nosuch'|tier 'nosuch'"
    assert [part for part in said.split("|") if part not in caught.value.message] == ["key 'tagin'"]


def test_layers_may_be_written_as_numbers() -> None:
    steering = plan(
        {**WHOLE, "steering": {"tiny_world": True, "layers": [1, "2-3"], "doses": [-0.2, 0.2]}}
    ).steering
    assert steering is not None and steering.layers == ("1", "2-3")


def test_a_missing_plan_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_study_plan(tmp_path / "none.yaml")
    assert caught.value.message == f"cannot read the plan {tmp_path / 'none.yaml'}: No such file or directory"
