"""Checking commands without running them: do the task, its parameters, the verb and its options exist?"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import io
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from inspect_af import _registry
from inspect_af.cli import parsed
from inspect_af.providers import settings
from inspect_af.rendering import is_option

ROOT = Path(__file__).parents[2]
INSPECT_VERBS = {"eval": "eval", "eval-set": "eval-set", "score": "score", "view": "view"}
PLAIN = {
    "scout",
    "cd",
    "export",
    "sed",
    "cat",
    "mkdir",
    "cp",
    "rm",
    "echo",
    "ls",
    "openssl",
    "ray",
    "vllm",
    "hf",
    "git",
}
"""Programs that are not ours, whose arguments are not looked at."""

_KEYWORDS = {"for", "do", "done", "if", "then", "fi", "else", "while", "{", "}"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SEPARATORS = set(";&|()")


class CommandError(ValueError):
    """A command that would fail for what it says."""


def simple_commands(script: str) -> Iterator[list[str]]:
    """The commands of a bash script as lists of words; loops and assignments are looked through."""
    subject = re.sub(r"\\\n", " ", script)
    for inner in re.findall(r"\$\(([^()]*)\)", subject):
        yield from simple_commands(inner)
    subject = re.sub(r"\$\([^()]*\)", "SUBSTITUTED", subject)
    for line in subject.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words: list[str] = []
        redirected = False
        for token in [*lexer, ";"]:
            if redirected:  # the name of a file
                redirected = False
            elif set(token) <= set("<>"):
                redirected = True
            elif set(token) <= _SEPARATORS:
                yield from _command(words)
                words = []
            else:
                words.append(token)


def _command(words: list[str]) -> Iterator[list[str]]:
    while words and (words[0] in _KEYWORDS or _ASSIGNMENT.match(words[0])):
        if words[0] == "for":
            return
        words = words[1:]
    if words:
        yield words


def check_script(script: str) -> None:
    """Checks every command of a bash script.

    Raises:
        CommandError: It is not bash, or a command names what does not exist.
    """
    parsed = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    if parsed.returncode:
        raise CommandError(f"not valid bash: {parsed.stderr.strip()}")
    for words in simple_commands(script):
        check_command(words)


def check_command(words: Sequence[str]) -> None:
    """Checks one command; unknown programs are errors.

    Raises:
        CommandError: It names what does not exist.
    """
    program, rest = Path(words[0]).name, list(words[1:])
    match program:
        case "inspect-af":
            parse_verb(rest)
        case "inspect":
            _check_inspect(rest)
        case "make":
            _check_targets(rest)
        case "pip":
            _check_pip(rest)
        case "python" | "accelerate" | "bash":
            _check_python(rest)
        case _ if program not in PLAIN:
            raise CommandError(f"{shlex.join(words)}: {program} is not a program that is known here")


def parse_verb(arguments: Sequence[str]) -> None:
    """Parses the arguments of `inspect-af` and runs nothing."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            _, values = parsed(arguments)
    except click.exceptions.Exit:  # --help
        return
    except click.ClickException as error:
        raise CommandError(f"inspect-af {shlex.join(arguments)}: {error.format_message()}") from error
    models = [values.get(name) for name in ("model", "model_name", "models")]
    for model in (one for each in models for one in (each if isinstance(each, tuple) else [each])):
        for item in values.get("model_args") or ():
            if isinstance(model, str):
                _check_model_argument(model, item)
    if task_args := values.get("task_args"):
        _check_names(task_args, "alignment_faking", "-T")


def dry_run_option(arguments: Sequence[str]) -> str | None:
    """`--dry-run` or `--estimate`, where the verb of these arguments has it."""
    words = [word for word in arguments if not word.startswith("-")]
    for depth in (2, 1):
        shown = io.StringIO()
        with (
            contextlib.suppress(click.ClickException, click.exceptions.Exit),
            contextlib.redirect_stdout(shown),
            contextlib.redirect_stderr(shown),
        ):
            parsed([*words[:depth], "--help"])
        for option in ("--dry-run", "--estimate"):
            if re.search(rf"{option}\b", shown.getvalue()):
                return option
    return None


def _check_inspect(arguments: list[str]) -> None:
    if not arguments or arguments[0] not in INSPECT_VERBS:
        raise CommandError(f"inspect {shlex.join(arguments)}: one of {', '.join(INSPECT_VERBS)} is expected")
    verb, rest = arguments[0], arguments[1:]
    known = _inspect_options(verb)
    tasks, model, solver = [], "", "inspect_af/prompt_intervention"
    given: list[tuple[str, str]] = []
    at = 0
    while at < len(rest):
        word = rest[at]
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            tasks.append(word)
        elif name not in known:
            raise CommandError(f"inspect {verb} has no option {name}")
        elif not known[name]:
            pass
        else:
            if not equals:
                at += 1
                if at >= len(rest):
                    raise CommandError(f"inspect {verb}: {name} needs a value")
                value = rest[at]
            given.append((name, value))
            model = value if name == "--model" else model
            solver = value if name in ("--solver", "--scorer") else solver
        at += 1
    ours = [task.removeprefix("inspect_af/") for task in tasks if task.startswith("inspect_af/")]
    if verb in ("eval", "eval-set"):
        for task in tasks:
            if not task.startswith("inspect_af/") and not (ROOT / task).exists():
                raise CommandError(f"inspect {verb}: {task} is no task of this package")
    for task in ours:
        _signature(task)
    for name, value in given:
        if name == "-T":
            for task in ours:
                _check_names([value], task, name)
        elif name == "-S":
            _check_names([value], solver.removeprefix("inspect_af/"), name)
        elif name == "-M":
            _check_model_argument(model, value)
        elif name in ("--solver", "--scorer") and value.startswith("inspect_af/"):
            _signature(value.removeprefix("inspect_af/"))
        elif name == "--model" and value.startswith("af-"):
            _signature(value.partition("/")[0].replace("-", "_"))


_options_of: dict[str, dict[str, bool]] = {}


def _inspect_options(verb: str) -> dict[str, bool]:
    """Options of `inspect VERB`, and whether each takes a value; from its help."""
    if verb not in _options_of:
        shown = subprocess.run(
            [sys.executable, "-m", "inspect_ai", verb, "--help"], text=True, capture_output=True, check=True
        )
        found: dict[str, bool] = {}
        for line in shown.stdout.splitlines():
            if entry := re.match(r"\s{1,4}(-[\w-]+(?:, -[\w-]+)*(?: / -[\w-]+)?)( [A-Z<\[(]\S*)?", line):
                for name in re.split(r", | / ", entry[1]):
                    found[name] = entry[2] is not None
        _options_of[verb] = found
    return _options_of[verb]


def _check_names(given: Sequence[str], registered: str, option: str) -> None:
    known = inspect.signature(_signature(registered)).parameters
    for item in given:
        name = item.partition("=")[0].replace("-", "_")
        if name not in known:
            raise CommandError(f"{option} {item}: inspect_af/{registered} has only {', '.join(known)}")


def _signature(registered: str) -> object:
    found = getattr(_registry, registered, None)
    if found is None:
        raise CommandError(f"inspect_af has no task, solver, scorer or provider {registered!r}")
    return found


def _check_model_argument(model: str, item: str) -> None:
    name = item.partition("=")[0].replace("-", "_")
    provider = model.partition("/")[0]
    if provider == "af-hf" and name not in settings.ARGUMENTS and not is_option(name):
        raise CommandError(f"-M {item}: af-hf has only {', '.join(settings.ARGUMENTS)}")
    if provider == "af-vllm" and name in settings._REFUSED:
        raise CommandError(f"-M {item}: af-vllm refuses it")


def _check_targets(arguments: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in arguments:
        if "=" not in target and not re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE):
            raise CommandError(f"make {target}: the Makefile has no such target")


def _check_pip(arguments: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in arguments:
        if extras := re.fullmatch(r"(?:inspect-af|\.)\[([\w,-]+)\]", word):
            for extra in extras[1].split(","):
                if extra not in project["optional-dependencies"]:
                    raise CommandError(f"pip {word}: the package has no extra {extra!r}")


def _check_python(arguments: list[str]) -> None:
    if "-m" in arguments:
        module = arguments[arguments.index("-m") + 1]
        if module.startswith("inspect_af") and importlib.util.find_spec(module) is None:
            raise CommandError(f"python -m {module}: there is no such module")
    elif arguments and arguments[0].endswith((".py", ".sh")) and not (ROOT / arguments[0]).exists():
        raise CommandError(f"{arguments[0]}: there is no such file")


ELSEWHERE = ("inspect_scout",)
"""Packages that only environments of their own have; `make test-scout` runs what needs this one."""


def check_python(source: str) -> None:
    """Checks Python code without running it: it compiles, and what it imports exists.

    An import that needs a package of `ELSEWHERE` is left alone where that is not installed.

    Raises:
        CommandError: It does not.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise CommandError(f"not valid Python: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            try:
                module = importlib.import_module(node.module)
            except ModuleNotFoundError as error:
                if error.name in ELSEWHERE:
                    continue
                raise
            for alias in node.names:
                if not hasattr(module, alias.name) and not importlib.util.find_spec(
                    f"{node.module}.{alias.name}"
                ):
                    raise CommandError(f"{node.module} has no {alias.name}")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
