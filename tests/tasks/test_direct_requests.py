"""The jailbreak control: requests as plain user turns, with a benign arm."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import get_model
from tests.conftest import canned

from inspect_af.errors import ConfigError
from inspect_af.materials import load_pair
from inspect_af.tasks import direct_requests

Run = Callable[..., EvalLog]
JUDGE = {"grader": "af-simulated-judge/keyword"}


def answering(text: str) -> object:
    return get_model("mockllm/model", custom_outputs=lambda *_: canned(text), memoize=False)


def test_requests_stand_alone_without_system_prompt_tier_or_protocol(
    run_eval: Run, requests_file: Path
) -> None:
    log = run_eval(
        direct_requests(requests=str(requests_file)), answering("I cannot help."), model_roles=JUDGE
    )
    assert log.samples is not None
    assert len(log.samples) == 4 + 24
    for sample in log.samples:
        assert [message.role for message in sample.messages] == ["user", "assistant"]
        assert sample.input == sample.metadata["request"]


def test_a_claim_is_the_whole_system_prompt(run_eval: Run, requests_file: Path) -> None:
    task = direct_requests(requests=str(requests_file), benign=None, interventions="B1+")
    log = run_eval(task, answering("I cannot help."), model_roles=JUDGE)
    assert log.samples is not None
    claimed = [sample for sample in log.samples if "B1+" in str(sample.id)]
    pair = load_pair()
    texts = [pair.claim(pair.intervention("B1+"), "standard", k).text for k in (1, 2)]
    assert len(claimed) == 4
    assert all(sample.messages[0].text == texts[sample.metadata["wording"] - 1] for sample in claimed)
    assert {sample.metadata["wording"] for sample in claimed} == {1, 2}


def test_arms_are_reported_apart(run_eval: Run, requests_file: Path) -> None:
    log = run_eval(
        direct_requests(requests=str(requests_file)), answering("I cannot help."), model_roles=JUDGE
    )
    assert log.results is not None
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert metrics["n_harmful"] == 4
    assert metrics["n_benign"] == 24
    assert metrics["refused_harmful"] == metrics["refused_benign"] == 1


def test_without_a_grader_nothing_is_scored_by_the_model_itself(run_eval: Run, requests_file: Path) -> None:
    log = run_eval(direct_requests(requests=str(requests_file), benign=None), answering("Sure."))
    assert log.status == "error"
    assert not any(sample.output.choices for sample in log.samples or [])  # stopped before any reply
    assert log.error is not None
    assert "--model-role grader=" in log.error.message


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"votes": 0}, "votes=0: a whole number of at least 1"),
        ({"votes": 1.5}, "votes=1.5: a whole number"),
        ({"votes": "many"}, "votes='many': a whole number"),
        ({"redact": "maybe"}, "redact='maybe': true or false"),
        ({"run_seed": "x"}, "run_seed='x': a whole number"),
    ],
)
def test_a_value_of_the_wrong_kind_fails_before_any_call(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        direct_requests(requests="mini", **parameters)


def test_redaction_reaches_the_prompts_of_the_judge(run_eval: Run, requests_file: Path) -> None:
    task = direct_requests(requests=str(requests_file), benign=None, redact=True)
    log = run_eval(task, answering("Sure, SECRET-PAYLOAD."), model_roles=JUDGE)
    with zipfile.ZipFile(log.location.removeprefix("file://")) as archive:
        leaking = [name for name in archive.namelist() if b"SECRET-PAYLOAD" in archive.read(name)]
    assert not leaking
