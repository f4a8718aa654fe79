"""`inspect-af plan` and `power`: a study that could not run as written is refused before it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai.model import ModelCost, ModelInfo, set_model_info

from inspect_af.cli import main
from inspect_af.plan import load_plan

Refused = Callable[[str], str]
PLAN = "plan af-organism/expectation --requests mini --interventions A1,B1"


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """The one line that a command line ends with; asserts that nothing was written."""
    monkeypatch.chdir(tmp_path)

    def refuse(command: str) -> str:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert main(command.split()) == 1
        shown = capsys.readouterr()
        assert shown.err.startswith("inspect-af: ") and shown.err.count("\n") == 1
        assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        return shown.err

    return refuse


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--delta 10", "--delta must be above 0 and below 1, not 10; for 10 % write 0.1"),
        ("--delta 0", "--delta must be above 0 and below 1, not 0"),
        ("--temperature -1", "--temperature must be at least 0, not -1"),
        ("--max-tokens 0", "--max-tokens must be at least 1, not 0"),
        ("--reply-tokens -5", "--reply-tokens must be at least 1, not -5"),
        ("--price -1 3", "--price must be at least 0, not -1"),
        ("--price inf 3", "--price must be at least 0, not inf"),
        ("--interventions none --headline-strength strong", "the plan has no prompt claim"),
        ("--rates 14 0.5", "--rates must lie between 0 and 1, not 14; for 14 % write 0.14"),
        ("--rates 1 0", "--rates 1 0: replies that never vary need no study"),
        ("--epochs 0", "--epochs must be at least 1, not 0"),
        ("-M nonsense=1", "unknown argument of af-organism/expectation 'nonsense'"),
        ("-M rate={a:", "-M 'rate={a:': the value is not valid YAML"),
    ],
)
def test_a_number_out_of_range_is_refused_with_what_may_have_been_meant(
    options: str, message: str, refused: Refused
) -> None:
    assert message in refused(f"{PLAN} {options}")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("gpt-4o", "a name has the form PROVIDER/MODEL"),
        ("af-organism/null af-organism/null", "af-organism/null is named twice"),
        ("no-such-provider/x", "no-such-provider"),
        ("af-organism/nobody", "unknown organism 'nobody'; one of expectation"),
        ("openai/gpt-4o -M since=2024-01-01", "the value has '2024-01-01', which is read as a date"),
    ],
)
def test_a_model_that_cannot_be_asked_is_not_planned(model: str, message: str, refused: Refused) -> None:
    assert message in refused(f"plan {model} --requests mini")


def test_a_provider_that_wants_a_key_can_be_planned_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    file = tmp_path / "plan.yaml"
    assert main(["plan", "openai/gpt-4o", "--requests", "mini", "--out", str(file)]) == 0
    codes = [condition.intervention.code for condition in load_plan(file).conditions]
    assert codes[:2] == ["A1+", "A1-"] and "N1" in codes  # the default is `all,N`


def test_another_plan_is_overwritten_only_by_force(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    assert main(PLAN.split()) == 0
    first = load_plan(file).digest
    assert main([*PLAN.split(), "--rates", "0.1", "0.2"]) == 0  # the estimate is no part of a plan
    assert "holds another plan" in refused(f"{PLAN} --epochs 2")
    assert main([*PLAN.split(), "--epochs", "2", "--force"]) == 0
    assert load_plan(file).digest != first
    file.write_text("what: else\n")
    assert "is no readable plan" in refused(PLAN)


def test_cost_is_given_by_option_or_by_what_inspect_was_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ["plan", "mockllm/priced", "--requests", "mini", "--force", "--out", str(tmp_path / "plan.yaml")]
    assert main(plan) == 0
    assert "cost         unknown" in capsys.readouterr().out
    assert main([*plan, "--price", "2", "10"]) == 0
    by_option = load_plan(tmp_path / "plan.yaml").estimate
    assert by_option is not None and by_option.cost_usd is not None
    tokens = 2 * by_option.input_tokens + 10 * by_option.output_tokens
    assert by_option.cost_usd == pytest.approx(tokens / 1e6, abs=0.01)
    cost = ModelCost(input=2, output=10, input_cache_write=0, input_cache_read=0)
    set_model_info("mockllm/priced", ModelInfo(cost=cost))
    assert main(plan) == 0
    assert load_plan(tmp_path / "plan.yaml").estimate == by_option


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--interventions", "all,N"),
        ("--requests", "advbench"),
        ("--epochs", "1"),
        ("--strength", "standard"),
        ("--run-seed", "0"),
        ("-M", "rate=0.5"),
        ("-T", "setting=documents"),
        ("--limit", "8"),
    ],
)
def test_a_plan_and_an_option_that_it_decides_do_not_go_together_even_with_the_default_value(
    option: str, value: str, refused: Refused
) -> None:
    assert main(PLAN.split()) == 0
    assert f"{option}: a plan decides these" in refused(f"run --plan plan.yaml {option} {value}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--power 80", "--power must be above 0 and below 1, not 80; for 80 % write 0.8"),
        ("--confidence 95", "for 95 % write 0.95"),
        ("--target 10", "--target must be above 0 and below 1, not 10; for 10 % write 0.1"),
        ("--rates 0 0", "--rates 0 0: replies that never vary"),
        ("--rates 60 30", "for 60 % write 0.6"),
        ("--requests 0", "--requests must be at least 1, not 0"),
        ("--epochs 3 -1", "--epochs must be at least 1, not -1"),
        ("--gap-sd 3", "gap_sd 3.0 is outside 0 to"),
    ],
)
def test_power_refuses_percentages_and_impossible_designs(
    options: str, message: str, refused: Refused
) -> None:
    assert message in refused(f"power {options}")


def test_rates_at_one_end_can_be_planned_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--rates", "0.2", "0", "--requests", "100", "--epochs", "1"]) == 0
    shown = capsys.readouterr().out
    assert "assumed: 20% monitored, 0% unmonitored" in shown and "two variables in each family" in shown


def test_a_model_of_this_package_costs_nothing_as_in_a_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*PLAN.split(), "--out", str(tmp_path / "plan.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "cost         $0.00" in shown and "no prices known" not in shown


def test_a_plan_names_the_size_of_an_effect_in_points(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*PLAN.split(), "--out", str(tmp_path / "plan.yaml")]) == 0
    assert "a family that moves the gap by 20 points leads in" in capsys.readouterr().out


def test_power_counts_the_samples_of_the_untouched_subject(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["power", "--rates", "0.5", "0.5", "--requests", "48", "--epochs", "1", "--studies", "1"]
    rows = {}
    for repeats in ("1", "4"):
        assert main([*command, "--baseline-repeats", repeats]) == 0
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        (rows[repeats],) = [line[3:] for line in lines if line[:3] == ["48", "x", "1"] and len(line) == 7]
    assert rows["1"] == ["28.6", "40.4", "28.6", "40.4"]
    assert rows["4"] == ["14.3", "32.0", "28.6", "40.4"]
    assert main([*command, "--target", "0.1"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[1] for line in shown.splitlines() if line.split()[:1] == ["gap"]] == ["99"]


def test_power_calls_verdicts_as_reports_do_and_assumes_a_gap(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--requests", "100", "--epochs", "1", "--studies", "20"]) == 0
    shown = capsys.readouterr().out
    assert "assumed: 50% monitored, 30% unmonitored" in shown and "4 samples of the untouched" in shown
    assert "expectation" in shown and "first-" not in shown


def test_a_plan_with_placebos_says_how_often_its_headline_leads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for interventions, beyond in (("all,N", True), ("all", False)):
        plan = f"plan af-organism/null --requests mini --interventions {interventions} --force --out".split()
        assert main([*plan, str(tmp_path / "plan.yaml")]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if " leads in " in line]
        assert (
            "% of simulated studies beyond these texts, where the report's headline is read (" in line
        ) == beyond
        found = load_plan(tmp_path / "plan.yaml").estimate
        assert found is not None and (found.power_to_lead_beyond is not None) == beyond


def test_power_names_no_gap_of_more_than_a_hundred_points(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--requests", "1", "--epochs", "1", "--baseline-repeats", "1"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[:2] == ["1", "x"]]
    assert row.split()[3:] == ["none"] * 4


def test_a_plan_written_again_without_a_price_keeps_its_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.yaml"
    plan = ["plan", "mockllm/unpriced", "--requests", "mini", "--out", str(file)]
    assert main([*plan, "--price", "2", "8"]) == 0
    before = load_plan(file).estimate
    assert main(plan) == 0
    assert before is not None and before.cost_usd and load_plan(file).estimate == before
    assert "its cost is kept" in capsys.readouterr().out
    assert main([*plan, "--rates", "0.1", "0.2"]) == 0
    other = load_plan(file).estimate
    assert other is not None and other.cost_usd == before.cost_usd
    assert other.minimum_detectable_effect != before.minimum_detectable_effect
    assert main([*plan, "--reply-tokens", "7"]) == 0
    assert "other numbers of tokens and is dropped" in capsys.readouterr().out
    assert main([*plan, "--price", "4", "16"]) == 0
    after = load_plan(file).estimate
    assert after is not None and after.cost_usd == pytest.approx(2 * before.cost_usd, abs=0.02)
