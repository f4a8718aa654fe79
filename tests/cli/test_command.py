"""How words become values: lists, abbreviations, options without a value, what is imported and when."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from inspect_ai._cli.eval import eval_set_command

from inspect_af.cli import VERBS, app, main, parsed
from inspect_af.cli.command import Option
from inspect_af.cli.options import INSPECT
from inspect_af.errors import ConfigError


@cache
def commands() -> dict[str, click.Command]:
    """Every command by its words, such as `steering pairs ic`."""

    def below(group: click.Group, words: str) -> Iterator[tuple[str, click.Command]]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from below(command, f"{words}{name} ")
            else:
                yield f"{words}{name}", command

    return dict(below(app, ""))


SWEEP = ["steering", "sweep", "--model", "af-hf/x", "--vectors", "v.safetensors", "--out", "o"]


@pytest.mark.parametrize("numbers", ["-4,-2,0,2", "-.5,.5", "0,1", "-1e-3,2"])
def test_a_list_reaches_its_option_whatever_its_first_sign(numbers: str) -> None:
    _, values = parsed([*SWEEP, "--doses", numbers, "--layers", "0", "all"])
    assert (values["doses"], list(values["layers"])) == (numbers, ["0", "all"])
    assert [path.name for path in values["vectors"]] == ["v.safetensors"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("power --requests 48 100 --epochs 3", {"requests": (48, 100), "epochs": (3,)}),
        ("power --requests=48 --requests 7", {"requests": (48, 7)}),
        ("power --pilot a b c --target .1", {"pilot": ("a", "b", "c"), "target": 0.1}),
        ("power --rates 0.5 0.6", {"rates": (0.5, 0.6)}),
        ("power --conf .9", {"confidence": 0.9}),
        ("run --batch openai/x", {"batch": "true", "models": ("openai/x",)}),
        ("run openai/x --batch 20", {"batch": "20", "models": ("openai/x",)}),
        ("run openai/x --retry-on-error", {"retry_on_error": "true"}),
        ("run openai/x --display PLAIN", {"display": "plain"}),
        ("run --retry-on-error 3 openai/x", {"retry_on_error": "3"}),
        ("run --cache 1W openai/x", {"cache": "1W"}),
        ("run openai/x -T a=1 -T b=-2", {"task_args": ("a=1", "b=-2")}),
        ("run --model a/b --model c/d", {"model": ("a/b", "c/d")}),
        ("sdf build a b --tokens 3k --tokenizer characters --out c", {"sources": ("a", "b"), "tokens": 3000}),
        ("steering pairs ooc a --out b --held-out 3", {"logs": ("a",), "held_out": 3, "train": None}),
        ("convergence a b --out c --name x=y --name z=y", {"name": ("x=y", "z=y")}),
    ],
)
def test_words_become_values(words: str, expected: dict[str, object]) -> None:
    _, values = parsed(words.split())
    assert {name: values[name] for name in expected} == expected


@pytest.mark.parametrize(
    "words",
    [
        "power --requests",
        "run --display loud",
        "nothing",
        "run --model-",
        "judge nobody",
        "power --request x",
        "sdf build a --tokenizer characters --tokens many --out b",
        "sdf push adapter name/repository --role judge",
        "organism check x --setting spoken",
        "steering sweep --model x --vectors v --out o",
        "steering sweep --model x --vectors v --out o --doses 1 --multipliers 1",
        "steering pairs write model",
        "convergence --out x",
    ],
)
def test_a_malformed_line_ends_with_status_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    assert stopped.value.code == 2
    assert "Error: " in capsys.readouterr().err


def test_the_command_alone_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "Usage: inspect-af" in shown and all(verb in shown for verb in VERBS)


def test_every_verb_can_be_loaded_and_has_a_help() -> None:
    context = click.Context(app)
    for name in app.list_commands(context):
        assert app.get_command(context, name) is not None


def test_no_help_is_cut_and_every_option_that_may_be_repeated_says_so() -> None:
    for words, command in commands().items():
        about = command.get_short_help_str(45)
        assert about and not about.endswith("..."), words
        for each in command.params:
            if isinstance(each, Option) and each.multiple and not each.several:
                assert (each.help or "").count("repeatable") == 1, (words, each.name)


@pytest.mark.parametrize(
    "words",
    [
        "plan af-organism/null --requests mini --interventions none",
        "run af-organism/null --requests mini --interventions none --limit 1 --display none --log-dir l",
    ],
)
def test_a_full_disk_is_one_line(words: str, tmp_path: Path) -> None:
    full = "import resource, sys; from inspect_af.cli import main; "
    full += "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", full, *words.split()]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1] == "inspect-af: a file could not be written: File too large"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from inspect_af.cli import main; main(['--help']); "
        "print(sorted({'inspect_ai', 'numpy', 'scipy', 'pandas', 'torch', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize("option", INSPECT, ids=lambda option: option.flag)
def test_options_of_inspect_are_what_they_are_there(option: object) -> None:
    theirs = next(each for each in eval_set_command.params if option.flag in each.opts)
    variables = [theirs.envvar] if isinstance(theirs.envvar, str) else list(theirs.envvar or [None])
    assert option.variable in variables
    assert isinstance(theirs, click.Option)
    if option.flag != "--model":  # of which `run` takes several
        assert theirs.multiple == option.several
    if isinstance(theirs.type, click.Choice):
        assert option.value.split("|") == list(theirs.type.choices)
    kinds = {"integer": click.INT, "number": click.FLOAT}
    if option.value in kinds:
        assert theirs.type is kinds[option.value]
    if option.value == "switch":
        assert theirs.flag_value in ("true", 0.0)


def test_another_option_of_inspect_is_answered_with_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "openai/x", "--requests", "mini", "--top-p", "0.9", "--interventions=A1+"])
    line = capsys.readouterr().err.strip().splitlines()[-1].strip()
    assert line == (
        "inspect eval-set inspect_af/alignment_faking --model openai/x -T requests=mini --top-p 0.9 "
        "-T interventions=A1+ -T baseline_repeats=4"
    )


@pytest.mark.parametrize("command", commands())
def test_no_option_takes_an_empty_value(command: str) -> None:
    given = [
        each for each in commands()[command].params if isinstance(each, click.Option) and not each.is_flag
    ]
    for name in (each.opts[0] for each in given):
        for words in ([name, ""], [name, " "], [f"{name}="]):
            with pytest.raises(ConfigError, match=f"^{name} is empty; give a value, or leave it out$"):
                parsed([*command.split(), *words])


FROM_ZERO = {"--seed", "--placebos", "--revisions", "--train", "--held-out", "--keyword-hard"}
ELSEWHERE = {"--run-seed", ("sdf train", "--seed"), ("steering fit", "--folds")}
"""Any number seeds a run; a configuration has seeds of its own; folds are checked beside C."""


@pytest.mark.parametrize("command", commands())
def test_a_number_that_counts_is_one_at_least(command: str) -> None:
    for each in commands()[command].params:
        name = each.opts[0]
        whole = getattr(each.type, "name", "") == "integer"
        if not isinstance(each, click.Option) or not whole or ELSEWHERE & {name, (command, name)}:
            continue
        for number in ("-1",) if name in FROM_ZERO else ("-1", "0"):
            with pytest.raises(ConfigError, match=f"^{name} must be at least [012][^,]*, not {number}$"):
                parsed([*command.split(), f"{name}={number}"])


@pytest.mark.parametrize(
    "line",
    [
        "power --request-icc 1",
        "power --sensitivity 2 0",
        "power --text-sd nan",
        "run af-organism/null --temperature -1",
        "plan af-organism/null --price 1 -1",
        "steering pairs write m --out p --oversample .5",
        "steering pairs ic x --out p --held-out-share -1",
        "steering pairs ic x --out p --high nan",
        "sdf build x.jsonl --tokenizer characters --out c --near-duplicate 0",
    ],
)
def test_a_number_out_of_bounds_is_named_with_its_option(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 1
    option = next(word for word in reversed(line.split()) if word.startswith("--"))
    assert option in capsys.readouterr().err
