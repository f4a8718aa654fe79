"""What a plan cannot mean is said before anything starts, everything at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.study.plans import SMALL, WHOLE, plan

from inspect_af.errors import ConfigError
from inspect_af.study.draft import plan_problems
from inspect_af.study.steps import build_steps

OUT = Path("studies/x")


def sdf(**changes: Any) -> dict[str, Any]:
    return {"sdf": {**WHOLE["sdf"], **changes}}


def steering(**changes: Any) -> dict[str, Any]:
    return {"steering": {"tiny_world": True, "doses": [-0.1, 0.1], **changes}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../up"}, "name: '../up' names the study's directory"),
        ({"name": " "}, "name: ' ' names the study's directory"),
        ({"name": ".."}, "name: '..' names the study's directory; give letters, digits, spaces"),
        ({"name": "$(touch x)"}, "name: '$(touch x)' names the study's directory"),
        ({"name": "{key}"}, "names the study's directory"),
        ({"name": "two\nlines"}, "name: 'two\\nlines' has characters that cannot be seen"),
        ({"name": "-x"}, "name: '-x' would be read as an option"),
        ({"subjects": ["af-organism/null"] * 2}, "subjects: af-organism/null is there twice"),
        (
            {"subjects": [{"model": "af-hf/x", "args": {"device": d}} for d in ("cpu", "cuda")]},
            "subjects: af-hf/x is there twice",
        ),
        ({"variables": ["A1", "A1"]}, "variables: 'A1' is there twice"),
        ({"scratchpads": {"interventions": ["B2+"]}}, "scratchpads.interventions: B2+ is in no condition"),
        ({"variables": ["A9"]}, "variables: unknown variable 'A9'; one of A1, A2, A3, B1, B2, B3"),
        (
            {"headline_strength": "strong"},
            "headline_strength: strong is not planned; the conditions have standard",
        ),
        ({"conditions": "none", "headline_strength": "weak"}, "no prompt claim at all"),
        ({"checks": {"identities": ["fictional"]}}, "'fictional' is the identity of all the study's prompts"),
        (
            {"checks": {"identities": ["roleplay", "roleplay"]}},
            "checks.identities: 'roleplay' is there twice",
        ),
        ({"budget": {"prices": {"x/y": [-1, 2]}}}, "budget.prices.x/y: -1 is no price"),
        ({"budget": {"prices": {"x/y": [1, float("nan")]}}}, "budget.prices.x/y: nan is no price"),
        (sdf(interventions=["A1+", "A1+"]), "sdf.interventions: 'A1+' is there twice"),
        (sdf(seeds=[0, 0]), "sdf.seeds: 0 is there twice"),
        (sdf(directness=["standard", "standard"]), "sdf.directness: 'standard' is there twice"),
        (sdf(replay="none.jsonl"), "sdf.replay: none.jsonl is no file here"),
        (sdf(directness=["loud"]), "sdf.directness: unknown directness 'loud'; one of oblique"),
        (steering(doses=[0]), "steering.doses: 0; both signs are needed, such as [-0.1, 0.1]"),
        (steering(doses=[0.1, 0.2]), "both signs are needed"),
        (
            steering(doses=[], multipliers=[2]),
            "steering.multipliers: 2; both signs are needed, such as [-4, 4]",
        ),
        (steering(doses=[-0.1, 0.1, 0.1]), "steering.doses: 0.1 is there twice"),
        (steering(doses=[float("nan"), 1]), "give finite numbers"),
        (steering(layers=["banana"]), "steering.layers: layers 'banana'; give 'all'"),
        (steering(layers=["9-3"]), "runs backwards"),
        (steering(layers=["1", "1"]), "steering.layers: '1' is there twice"),
        (
            {"steering": {"files": {"expectation": "none.jsonl"}, "doses": [-1, 1]}},
            "steering.files.expectation: none.jsonl is no file here",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_refused(changes: dict[str, Any], message: str) -> None:
    try:
        said = "; ".join(plan_problems(plan({**SMALL, "subjects": ["af-hf/./x"], **changes})))
    except ConfigError as error:  # texts that nothing else is to quote
        said = error.message
    assert message in said


def test_everything_that_is_wrong_is_said_at_once() -> None:
    wrong = plan(SMALL, name="a/b", variables=["A9"], checks={"identities": ["fictional"]})
    assert [each.partition(":")[0] for each in plan_problems(wrong)] == [
        "name",
        "variables",
        "checks.identities",
    ]


def test_what_every_part_of_a_plan_lacks_is_said_at_once() -> None:
    steering = {"in_context": True, "doses": [0.1], "layers": ["9-3"]}
    checks = {"direct_requests": True, "identities": ["nosuch"]}
    sdf = {**WHOLE["sdf"], "interventions": ["Q+"], "seeds": [0, 0]}
    wrong = plan(SMALL, name="a/b", scratchpads={"edits": ["cut"]}, sdf=sdf, steering=steering, checks=checks)
    said = (
        "name: |checks.direct_requests|scratchpads.edits|judged replies|both signs|sdf.seeds|runs backwards"
    )
    said += "|runs backwards|identity 'nosuch'|sdf needs weights|steering needs weights"
    with pytest.raises(ConfigError) as caught:
        build_steps(wrong, OUT)
    assert [part for part in said.split("|") if part not in caught.value.message] == []


def test_one_model_under_different_arguments_is_several_subjects() -> None:
    given = [{"model": "af-hf/x", "args": {"adapter": adapter}} for adapter in ("one", "two")]
    given += [{"model": "openai/o5", "args": {"effort": effort}} for effort in ("low", "high")]
    made = plan(SMALL, subjects=given)
    assert not plan_problems(made)
    assert len(build_steps(made, OUT)) == 5
