"""Evals under the same name with other content: run anew into another directory, or refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log

from inspect_af.cli import main
from inspect_af.config import only_one, path_digest
from inspect_af.errors import ConfigError
from inspect_af.logs import find_logs, read_logs
from inspect_af.plan import PlannedModel
from inspect_af.profile import count_outcomes
from inspect_af.tasks.evals import (
    Evals,
    EvalTask,
    default_log_dir,
    finished_evals,
    model_files,
    run_evals,
    run_until_decided,
)

BASE = ("run", "af-organism/null", "--interventions", "A1+", "--limit", "2", "--display", "none")


def numbered_requests(n: int) -> None:
    lines = (f"q{i},Say the number {i} {chr(97 + i) * 4}" for i in range(n))
    Path("r.csv").write_text("\n".join(["id,request", *lines]))


def until_decided(**changes: object) -> Evals:
    args = {"requests": "r.csv", "interventions": "A1,B1"}
    fields = {"tasks": (EvalTask(task="alignment_faking", args=args),), "models": (PlannedModel(model=NULL),)}
    return Evals(**{**fields, **changes})


NULL = "af-organism/null"


def test_a_run_until_decided_asks_whole_requests_block_by_block_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    numbered_requests(9)
    monkeypatch.setattr("inspect_af.tasks.evals.FIRST_LOOK", 4)
    monkeypatch.setattr("inspect_af.tasks.evals.BLOCK", 2)
    looks: list[list[str]] = []

    def third_look(places: list[str]) -> bool:
        looks.append([Path(place).name for place in places])
        return len(places) == 3

    assert run_until_decided(until_decided(), "logs", third_look, display="none")
    blocks = ["requests-0001-0004", "requests-0005-0006", "requests-0007-0008"]
    assert looks == [blocks[:1], blocks[:2], blocks]
    asked: dict[str, set[str]] = {}
    for block in blocks:
        (log,) = [read_eval_log(location) for location in logs_in(Path("logs") / block)]
        names = {str(sample.id).partition("/")[0] for sample in log.samples or ()}
        assert len(log.samples or ()) == len(names) * 2 * 5
        asked[block] = names
    assert [len(names) for names in asked.values()] == [4, 2, 2]
    assert len(set.union(*asked.values())) == 8
    assert sorted(asked[blocks[0]]) != ["q0", "q1", "q2", "q3"]  # not in the order of the file
    (group,) = count_outcomes(read_logs(["logs"])).request_sets
    assert group.stopped is not None and tuple(group.stopped) == (8, 9)

    before = logs_in(Path("logs"))
    assert run_until_decided(until_decided(), "logs", third_look, display="none")
    assert logs_in(Path("logs")) == before
    assert run_until_decided(until_decided(), "logs", lambda places: False, display="none")
    (group,) = count_outcomes(read_logs(["logs"])).request_sets
    assert group.stopped is None and len(group.request_ids) == 9

    before = logs_in(Path("logs"))
    with pytest.raises(ConfigError, match="is of a run that stops once it is decided"):
        run_evals(until_decided(), "logs", display="none")
    assert run_evals(until_decided(limit=10), "whole", display="none")
    with pytest.raises(ConfigError, match="is of a run that does not stop once it is decided"):
        run_until_decided(until_decided(), "whole", third_look, display="none")
    assert logs_in(Path("logs")) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit": 8}, "one model and no limit"),
        ({"models": (PlannedModel(model=NULL), PlannedModel(model="af-organism/mixed"))}, "one model and no"),
        (
            {"tasks": (EvalTask(task="alignment_faking", args={"requests": "r.csv", "interventions": "A"}),)},
            "both have to be asked with both poles",
        ),
    ],
)
def test_what_nothing_could_decide_is_refused_before_the_first_call(
    changes: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    numbered_requests(2)
    with pytest.raises(ConfigError, match=message):
        run_until_decided(until_decided(**changes), "logs", lambda places: True)
    assert not Path("logs").exists()


def logs_in(directory: Path) -> list[str]:
    return [info.name for info in list_eval_logs(str(directory))]


def requests(text: str) -> None:
    Path("r.csv").write_text(f"id,request\na,{text}\n")


def pair(text: str) -> None:
    if not Path("p").exists():
        shutil.copytree(str(files("inspect_af.materials") / "pairs" / "alignment_faking"), "p")
    file = Path("p/claims/A1.toml")
    hope = "The researchers who study you hope"
    file.write_text(re.sub(rf"(EDITED \w+\. )?{hope}", f"EDITED {text}. {hope}", file.read_text()))


def renamed_pair(text: str) -> None:
    pair(text)
    file = Path("p/pair.toml")
    file.write_text(re.sub(r"(?m)^name = .*", f'name = "{text}"', file.read_text(), count=1))


def scenario(text: str) -> None:
    if not Path("s").exists():
        shutil.copytree(str(files("inspect_af.materials") / "scenario" / "helpful_only"), "s")
    file = Path("s/criteria.txt")
    file.write_text(f"{file.read_text().partition(' EDITED')[0].rstrip()} EDITED {text}.\n")


KINDS: dict[str, tuple[Callable[[str], None], tuple[str, ...]]] = {
    "requests": (requests, ("--requests", "r.csv")),
    "pair": (pair, ("--requests", "mini", "-T", "pair=p")),
    "renamed pair": (renamed_pair, ("--requests", "mini", "-T", "pair=p")),
    "scenario": (scenario, ("--requests", "mini", "-T", "scenario=s")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_edited_file_runs_into_another_directory_and_is_refused_in_the_old_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    edit, options = KINDS[kind]
    edit("first")
    assert main([*BASE, *options]) == 0
    (first,) = logs_in(tmp_path / "logs")
    assert main([*BASE, *options]) == 0
    assert logs_in(tmp_path / "logs") == [first], "the same content is not run again"

    edit("second")
    assert main([*BASE, *options]) == 0
    assert len(logs_in(tmp_path / "logs")) == 2, "other content is run anew"

    old = str(Path(first.removeprefix("file://")).parent)
    capsys.readouterr()
    assert main([*BASE, *options, "--log-dir", old]) == 1
    error = capsys.readouterr().err
    assert (
        "was made with other content under the same name" in error and "choose another log directory" in error
    )
    then, now = (error.split(word)[1].split()[0] for word in ("had digest ", "has "))
    assert then != now and len(then.strip(".;")) == len(now.strip(".;")) == 16

    edit("first")
    assert main([*BASE, *options, "--log-dir", old]) == 0
    assert len(logs_in(tmp_path / "logs")) == 2, "put back, the old log counts again"


def chat_template(text: str) -> None:
    from tests.local_models import CHAT_TEMPLATE

    Path("t.jinja").write_text("{# " + text + " #}" + CHAT_TEMPLATE)


def vector(text: str) -> None:
    from tests.local_models import save_vector

    save_vector(Path("v.safetensors"), seed=len(text))


def weights(text: str) -> None:
    from tests.local_models import save_adapter

    shutil.rmtree("a", ignore_errors=True)
    save_adapter(Path("base"), Path("a"), seed=len(text))


def alpha(text: str) -> None:
    if not Path("a").exists():
        weights(text)
    config = json.loads(Path("a/adapter_config.json").read_text())
    Path("a/adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 8 * len(text)}))


def checkpoint(text: str) -> None:
    from tests.local_models import save_model

    shutil.rmtree("base", ignore_errors=True)
    save_model(Path("base"), seed=len(text))


ADAPTER = ("-M", "adapter=a", "-M", "adapter_role=intervention", "-M", "intervention=A1+")
LOCAL: dict[str, tuple[Callable[[str], None], tuple[str, ...]]] = {
    "vector": (vector, ("-M", "vector=v.safetensors", "-M", "multiplier=2")),
    "weights": (weights, ADAPTER),
    "alpha": (alpha, ADAPTER),
    "chat template": (chat_template, ("-M", "chat_template=t.jinja")),
    "checkpoint": (checkpoint, ()),
}


@pytest.mark.local
@pytest.mark.parametrize("kind", LOCAL)
def test_what_a_local_model_is_given_is_content_too(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for library in ("torch", "transformers", "peft"):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    checkpoint("some")
    edit, options = LOCAL[kind]
    run = ("run", "af-hf/./base", "--requests", "mini", "--interventions", "none", "--limit", "1")
    given = (*run, "--max-tokens", "4", "--display", "none", *options)
    edit("first")
    main(given)
    (first,) = logs_in(tmp_path / "logs")
    edit("first")
    main(given)
    assert logs_in(tmp_path / "logs") == [first]
    edit("another")
    main(given)
    assert len(logs_in(tmp_path / "logs")) == 2
    capsys.readouterr()
    old = Path(first.removeprefix("file://")).parent
    assert main([*given, "--log-dir", str(old)]) == 1
    error = capsys.readouterr().err
    assert (
        "with other content" in error and f"{options[1] if options else 'model=./base'} had digest" in error
    )

    # A log that `inspect eval` wrote does not name the files; what its samples carry is compared.
    if kind in ("vector", "weights"):
        model = PlannedModel.model_validate(
            {"model": "af-hf/./base", "args": dict(item.split("=") for item in options[1::2])}
        )
        asked = Evals(
            tasks=(EvalTask(task="alignment_faking", args={"requests": "mini"}),), models=(model,), limit=1
        )
        command = [sys.executable, "-m", "inspect_ai", "eval", "inspect_af/alignment_faking", *options]
        command += ["--model", "af-hf/./base", "--limit", "1", "--max-tokens", "4", "-T", "requests=mini"]
        subprocess.run([*command, "--log-dir", "by-inspect", "--display", "none"], check=True)
        assert finished_evals(asked, Path("by-inspect")) == 1
        edit("first")
        assert finished_evals(asked, Path("by-inspect")) == 0


@pytest.mark.local
@pytest.mark.parametrize(
    "role", ["grader=af-hf/./base", "grader={model: af-hf/./base}", "grader=[af-hf/./base]"]
)
def test_a_judge_that_was_replaced_under_its_name_is_refused(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    checkpoint("some")
    given = (*BASE, "--requests", "mini", "--model-role", role, "--log-dir", "here")
    assert main(given) == 0
    checkpoint("another")
    capsys.readouterr()
    assert main(given) == 1
    error = capsys.readouterr().err
    assert "with other content" in error and "model=./base had digest" in error


@pytest.mark.parametrize(
    ("role", "message"),
    [
        ("grader=nosuch/x", "nosuch"),
        ("grader=af-organism/nosuch", "nosuch"),
        ("grader={model: 3}", "give a model"),
        ("grader=[{temperature: 0}]", "give a model"),
    ],
)
def test_a_role_that_no_model_can_have_is_one_line(
    role: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (*BASE, "--requests", "mini", "--model-role", role, "--log-dir", str(tmp_path / "here"))
    assert main(given) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("value", ["x" * 300, "~nosuchuser/x", "a,~nosuchuser/x"])
def test_a_model_argument_that_is_no_path_is_let_be(value: str) -> None:
    assert model_files(PlannedModel(model=f"mockllm/{value}", args={"system": value, "more": [value]})) == {}


def test_a_renamed_json_log_is_named_before_its_replies_are_asked_for_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (*BASE, "--requests", "mini", "--log-format", "json", "--log-dir", str(tmp_path))
    assert main(given) == 0
    (log,) = (Path(location.removeprefix("file://")) for location in logs_in(tmp_path))
    log.rename(tmp_path / "mine.json")
    capsys.readouterr()
    assert main(given) == 1
    error = capsys.readouterr().err
    assert "mine.json is a log of this command" in error and not logs_in(tmp_path)
    (tmp_path / "mine.json").rename(tmp_path / error.split("rename it to ")[1].partition(",")[0])
    assert main(given) == 0
    assert len(logs_in(tmp_path)) == 1


def test_a_plan_whose_words_were_edited_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    requests("first")
    assert main(["plan", "af-organism/null", "--requests", "r.csv", "--interventions", "A1+"]) == 0
    requests("second")
    capsys.readouterr()
    assert main(["run", "--plan", "plan.yaml", "--display", "none"]) == 1
    error = capsys.readouterr().err
    assert "the requests r.csv had digest" in error and "write another plan" in error
    assert not logs_in(tmp_path / "logs") if (tmp_path / "logs").exists() else True


def test_evals_of_changed_words_are_refused_and_their_old_log_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pair("first")
    args = {"requests": "mini", "pair": "p", "judges": ["concept"]}
    evals = Evals(
        tasks=(EvalTask(task="alignment_faking", args=args), EvalTask(task="beliefs", args={"pair": "p"})),
        models=(PlannedModel(model="af-organism/null"),),
        grader=PlannedModel(model="af-simulated-judge/keyword"),
        limit=1,
    )
    assert run_evals(evals, Path("here"), display="none")
    assert finished_evals(evals, Path("here")) == 2
    for file, what, left in (
        ("p/rubrics/concept.toml", "the concept rubric", 1),
        ("p/beliefs/A1.toml", "the belief questions", 1),
    ):
        path = Path(file)
        before = path.read_text()
        path.write_text(re.sub(r"(?m)^([^#\n]*)\bthe\b", r"\1this", before, count=1))
        assert finished_evals(evals, Path("here")) == left
        with pytest.raises(ConfigError) as refused:
            run_evals(evals, Path("here"), display="none")
        assert what in refused.value.message
        path.write_text(before)
    assert finished_evals(evals, Path("here")) == 2


def test_the_default_directory_is_the_same_for_the_same_evals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Evals(
        tasks=(EvalTask(task="alignment_faking", args={"requests": "mini"}),),
        models=(PlannedModel(model="openai/gpt-4o"),),
    )
    others = [
        {"epochs": 2},
        {"tasks": (EvalTask(task="alignment_faking", args={"requests": "benign"}),)},
        {"temperature": 0.0},
        {"models": (PlannedModel(model="openai/gpt-4o", args={"a": 1}),)},
    ]
    each = [asked, *(asked.model_copy(update=update) for update in others)]
    assert default_log_dir(asked) == default_log_dir(asked.model_copy())
    assert len({default_log_dir(one) for one in each}) == 5
    assert "openai-gpt-4o" in str(default_log_dir(asked))
    monkeypatch.setenv("INSPECT_LOG_DIR", "elsewhere")
    assert default_log_dir(asked).parts[0] == "elsewhere"


@pytest.mark.parametrize(
    ("first", "then", "goes_on"),
    [
        ({"limit": 2}, {"limit": 4}, True),
        ({"limit": 2}, {"limit": 4, "epochs": 2}, True),
        ({"limit": 4}, {"limit": 2}, True),
        ({"sample_range": (0, 2)}, {"sample_range": (2, 4)}, False),
        ({"sample_range": (0, 4)}, {"sample_range": (2, 6)}, False),
        ({"limit": 2, "epochs": 2}, {"limit": 2}, False),
        ({"limit": 4}, {"limit": 2, "epochs": 2}, False),
    ],
)
def test_replies_are_neither_taken_for_others_nor_lost(
    first: dict[str, Any], then: dict[str, Any], goes_on: bool, tmp_path: Path
) -> None:
    def evals(changes: dict[str, Any]) -> Evals:
        tasks = (EvalTask(task="alignment_faking", args={"requests": "mini"}),)
        return Evals(tasks=tasks, models=(PlannedModel(model=NULL),), **changes)

    def replies() -> set[str | None]:
        return {sample.uuid for log in logs_in(tmp_path) for sample in read_eval_log(log).samples or ()}

    assert run_evals(evals(first), tmp_path, display="none")
    before = replies()
    if goes_on:
        assert run_evals(evals(then), tmp_path, display="none")
    else:
        with pytest.raises(ConfigError, match=r"samples in . epochs?, and . of them are among the"):
            run_evals(evals(then), tmp_path, display="none")
    assert before <= replies()


def test_a_second_run_in_the_same_directory_is_refused_at_once(tmp_path: Path) -> None:
    asked = Evals(
        tasks=(EvalTask(task="alignment_faking", args={"requests": "mini"}),),
        models=(PlannedModel(model="af-organism/null"),),
        limit=1,
    )
    hold = "import sys; from pathlib import Path; from inspect_af.config import only_one\n"
    hold += "with only_one(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=f"another process .process {other.pid}. is running evals in"):
            run_evals(asked, tmp_path, display="none")
        assert not logs_in(tmp_path)
        other.kill()
    assert run_evals(asked, tmp_path, display="none")
    with only_one(tmp_path / "free"):
        pass


@pytest.mark.parametrize("name", ["exp#3", "sweep 50%20", "what?", "two\nlines"])
def test_a_directory_whose_logs_could_not_be_read_again_is_refused_before_the_first_call(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BASE, "--requests", "mini", "--log-dir", str(tmp_path / name)]) == 1
    assert "in its name" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_a_directory_with_a_space_works(tmp_path: Path) -> None:
    assert main([*BASE, "--requests", "mini", "--log-dir", str(tmp_path / "a b")]) == 0
    (log,) = logs_in(tmp_path / "a b")
    assert read_eval_log(log).status == "success"
    assert find_logs([tmp_path / "a b"])


def test_the_digest_of_a_path_is_its_content(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text("same")
    assert path_digest(tmp_path / "one") == path_digest(tmp_path / "two")
    (tmp_path / "two" / "x.txt").write_text("other")
    assert path_digest(tmp_path / "one") != path_digest(tmp_path / "two")
    times = (tmp_path / "one" / "x.txt").stat()
    before = path_digest(tmp_path / "one")
    (tmp_path / "new").write_text("emas")
    os.utime(tmp_path / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "new").rename(tmp_path / "one" / "x.txt")
    assert path_digest(tmp_path / "one") != before, "times do not count"
    (tmp_path / "one" / "x.txt").write_text("same")
    (tmp_path / "two" / "x.txt").rename(tmp_path / "two" / "y.txt")
    (tmp_path / "two" / "y.txt").write_text("same")
    assert path_digest(tmp_path / "one") != path_digest(tmp_path / "two"), "names inside count"
