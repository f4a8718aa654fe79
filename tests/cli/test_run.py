"""`inspect-af run`: what a user types wrong ends with one message, before any call to a model."""

from __future__ import annotations

from pathlib import Path

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log

from inspect_af.cli import main

RUN = ("run", "af-organism/expectation", "--display", "none")
FILES = {
    "empty.csv": "id,request\na,Say one thing\nb,\n",
    "twice.csv": "id,request\na,Say one thing\na,Say another\n",
    "column.csv": "id,text\na,Say one thing\n",
    "broken.jsonl": '{"request": "x"\n',
    "broken/pair.toml": "name = [unclosed\n",
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--interventions A9+", "unknown intervention 'A9+'; one of A1+, A1-"),
        ("--interventions A9", "unknown intervention 'A9'; one of A1+, A1-, A2+, A2-"),
        ("--interventions A1+ --strength huge", "unknown strength 'huge'; one of weak, standard, strong"),
        ("-T tiers=gold", "unknown tier 'gold'; one of monitored, unmonitored, rated"),
        ("-T nonsense=1", "unknown parameter of alignment_faking 'nonsense'; one of interventions, strength"),
        ("-T pair=", "-T pair is empty; give a value (null for none), or leave it out"),
        ("-T scenario=published:", "unknown published prompt ''; one of full, noexamples"),
        ("-T tiers=[]", "unknown tier ''; one of monitored"),
        ("--task value_conflict -T consequence={a:b}", "unknown consequence {'a:b': None}; one of values"),
        ("--limit 99999-99999", "the range begins at sample 99,999, and there are"),
        ("--epochs 1000000000", "replies are more than 10,000,000; ask fewer samples, or in fewer epochs"),
        ("--log-dir empty.csv", "empty.csv is a file; give a directory"),
        ("--model-role grader=[]", "the model role grader=[]: give a model"),
        ("--cache=1Z", "--cache 1Z: give it alone, or with true, false or a time such as 1W"),
        ("--fail-on-error=nan", "--fail-on-error nan: give it alone, or with true, false or a number of"),
        ("-T setting", "-T takes KEY=VALUE, not 'setting'"),
        ("-M monitored=7", "monitored=7 of the organism expectation: a number from 0 to 1"),
        ("--epochs 0", "--epochs must be at least 1, not 0"),
        ("--limit 0", "--limit must be at least 1, not 0"),
        ("--requests no/such.csv", "requests 'no/such.csv' is no file here"),
        ("--requests empty.csv", "empty.csv, line 3: the request is empty"),
        ("--requests twice.csv", "twice.csv, line 3: id 'a' is already used in twice.csv, line 2"),
        (
            "--requests column.csv",
            "column.csv, line 2: no 'request', 'goal' or 'input' among its columns (id, text)",
        ),
        ("--requests broken.jsonl", "broken.jsonl, line 1 is not valid JSON"),
        ("-T pair=broken", "pair.toml is not valid TOML"),
        ("-T pair=missing", "pair 'missing' is not a directory here"),
    ],
)
def test_a_wrong_value_is_one_message_and_status_1(
    arguments: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    given = arguments.split()
    requests = () if {"--requests", "--task"} & set(given) else ("--requests", "mini")
    assert main([*RUN, *requests, *given]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("inspect-af: ") and message in shown.err
    assert "Did you mean" not in shown.err
    assert shown.err.count("\n") == 1
    assert not list(tmp_path.rglob("*.eval"))


def test_a_parameter_that_is_almost_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "-T", "reqests=mini"]) == 1
    assert "Did you mean requests?" in capsys.readouterr().err


def test_a_long_text_in_a_message_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--requests", "mini", "-T", f"identity={'x' * 100_000}"]) == 1
    assert "[cut here: " in (error := capsys.readouterr().err) and len(error) < 21_000


@pytest.mark.parametrize("model", ["no-such-provider/x", "af-organism/nobody"])
def test_an_unknown_model_is_one_message(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", model, "--requests", "mini", "--display", "none"]) == 1
    error = capsys.readouterr().err
    assert model.partition("/")[2 if "organism" in model else 0] in error
    assert "Traceback" not in error


def test_a_directory_with_another_studys_logs_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = [
        "run",
        "af-organism/null",
        "--limit",
        "2",
        "--log-dir",
        str(tmp_path / "logs"),
        "--display",
        "none",
    ]
    assert main([*run, "--requests", "mini"]) == 0
    assert main([*run, "--requests", "benign"]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'logs'} holds the logs of another command" in error
    assert "choose another log directory" in error and "dirty" not in error and "Traceback" not in error


def test_a_missing_key_is_named_without_terminal_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main(["run", "openai/gpt-4o", "--requests", "mini", "--display", "none"]) == 1
    error = capsys.readouterr().err
    assert "OPENAI_API_KEY" in error and "[bold]" not in error


def test_a_model_or_a_plan_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 1
    assert "give either a MODEL or --plan FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "samples"),
    [
        ("--interventions A1", 2 * (4 + 2)),
        ("--interventions A1 -T baseline_repeats=1", 2 * (1 + 2)),
        ("--interventions none", 2),
        ("--interventions A1 --epochs 2 --limit 5", 5),
    ],
)
def test_the_untouched_subject_is_asked_four_times_beside_interventions_and_the_replies_are_counted_first(
    options: str, samples: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests, logs = tmp_path / "r.csv", tmp_path / "logs"
    requests.write_text("id,request\nr1,Say one thing\n")
    assert main([*RUN, "--requests", str(requests), "--log-dir", str(logs), *options.split()]) == 0
    epochs = 2 if "--epochs" in options else 1
    said = f"{samples * epochs} replies to ask for, less those already in {logs}"
    assert capsys.readouterr().out.splitlines()[0] == said
    (log,) = [read_eval_log(info.name) for info in list_eval_logs(str(logs))]
    assert len(log.samples or []) == samples * epochs


def test_logs_profile_and_report_are_written_where_the_command_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs, file = tmp_path / "here", tmp_path / "p" / "profile.json"
    options = ("--requests", "mini", "--interventions", "none", "--limit", "8")
    assert main([*RUN, *options, "--log-dir", str(logs), "--json", str(file)]) == 0
    assert file.exists() and (logs / "profile.html").exists()
    assert f"wrote {file}" in capsys.readouterr().out
    (log,) = [read_eval_log(info.name) for info in list_eval_logs(str(logs))]
    assert log.status == "success" and len(log.samples or []) == 8


def test_places_may_begin_with_the_home_directory_or_be_written_as_addresses_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    given = (*RUN, "--requests", "mini", "--interventions", "none", "--limit", "2")
    there = f"file://{tmp_path}/there"
    assert main([*given, "--log-dir=~/logs", f"--json={there}/p.json", "--html=~/p.html", "--out=~/o"]) == 0
    assert main([*given, f"--log-dir={there}/logs"]) == 0
    home, logs = tmp_path / "home", tmp_path / "there" / "logs"
    assert len(list_eval_logs(str(home / "logs"))) == len(list_eval_logs(str(logs))) == 1
    assert (home / "p.html").exists() and (home / "o" / "conditions.csv").exists()
    assert (logs.parent / "p.json").exists() and (logs / "profile.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "there"]
