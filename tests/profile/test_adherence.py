"""Departures from a plan: each said once, however many logs and conditions share it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog

from inspect_af.cli import main
from inspect_af.plan import Plan, load_plan
from inspect_af.profile import profile_logs
from inspect_af.tasks import alignment_faking

Run = Callable[..., EvalLog]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    requests, file = tmp_path / "planned.csv", tmp_path / "plan.yaml"
    requests.write_text("id,request\n" + "".join(f"p{n},Say number {n}\n" for n in range(6)))
    assert main(["plan", "af-organism/null", "--requests", str(requests), "--out", str(file)]) == 0
    return load_plan(file)


def test_logs_that_fit_the_plan_depart_in_nothing(run_eval: Run, plan: Plan) -> None:
    log = run_eval(alignment_faking(**plan.task_args()), "af-organism/null")
    profile = profile_logs([log.location], plan=plan)
    assert profile.deviations == () and profile.plan_digest == plan.digest


def test_logs_of_another_study_are_told_in_a_few_lines(
    run_eval: Run, plan: Plan, requests_file: Path
) -> None:
    logs = [
        run_eval(alignment_faking(requests=str(requests_file), run_seed=seed), "af-organism/null").location
        for seed in (1, 2)
    ]
    found = profile_logs(logs, plan=plan).deviations
    assert found is not None
    (digest,) = [line for line in found if line.startswith("the requests' digest is")]
    assert all(log in digest for log in logs)
    (missing,) = [line for line in found if "planned and not run" in line]
    assert "A1+/standard" in missing and "and 12 more" in missing
    assert len(found) <= 6


def test_a_model_that_is_not_planned_is_said_once(run_eval: Run, plan: Plan, requests_file: Path) -> None:
    log = run_eval(alignment_faking(requests=str(requests_file), interventions="A1+"), "af-organism/mixed")
    found = profile_logs([log.location], plan=plan).deviations
    assert found is not None
    assert "af-organism/mixed was run and is not planned." in found
    assert "af-organism/null is planned and was not run." in found
    assert not any("replies instead" in line for line in found)


def test_another_temperature_and_another_analysis_depart_from_the_plan(run_eval: Run, plan: Plan) -> None:
    log = run_eval(alignment_faking(**plan.task_args()), "af-organism/null", temperature=0.3)
    strict = plan.thresholds.model_copy(update={"delta": 0.2})
    found = profile_logs([log.location], plan=plan, thresholds=strict, variables=["A1"]).deviations
    assert found is not None
    assert any(line.startswith("the temperature is 0.3, planned the provider's default") for line in found)
    assert "Thresholds of the analysis: delta 0.2, planned 0.1." in found
    assert len(found) == (3 if plan.variables else 2)
