"""Every option that a message names exists on the command that says it.

The source is read, not run: from the function of each command over everything that it refers to. A text may
name options of other commands where it names them (`inspect-af plan MODEL --out`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from inspect_ai._cli.main import inspect as inspect_command
from tests.cli.test_command import commands

import inspect_af

ROOT = Path(inspect_af.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z_-]+")
COMMAND = re.compile(r"\b(inspect-af|inspect)((?: [a-z][a-z-]*)+)")
OTHER_PROGRAMS = {
    "vLLM's server": ("--enable-lora", "--additional-config", "--max-lora-rank"),
    "accelerate": ("--config_file", "--num_processes"),
    "llama.cpp": ("--control-vector-scaled",),
    "Snakemake": ("--executor",),
}
IN_A_STUDY = ("--log-dir", "study", "step")
"""The directories of a study's logs are its own, and it looks for changed content before it runs a step."""


class Place(NamedTuple):
    module: str
    name: str


def options(command: click.Command) -> set[str]:
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}


@cache
def source() -> dict[str, ast.Module]:
    files = {
        file: ".".join(file.relative_to(ROOT.parent).with_suffix("").parts) for file in ROOT.rglob("*.py")
    }
    return {name.removesuffix(".__init__"): ast.parse(file.read_text()) for file, name in files.items()}


@cache
def known(module: str) -> dict[str, Place]:
    """What a name means in a module: its own definitions, and what it imports of the package."""
    found: dict[str, Place] = {}
    for node in ast.walk(source()[module]):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("inspect_af"):
            for each in node.names:
                inner = f"{node.module}.{each.name}"
                found[each.asname or each.name] = (
                    Place(inner, "*") if inner in source() else Place(node.module, each.name)
                )
    for node in source()[module].body:
        for name in defined(node):
            found[name] = Place(module, name)
    return found


def defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
    return []


@cache
def body(place: Place) -> tuple[ast.stmt, ...]:
    return tuple(node for node in source()[place.module].body if place.name in defined(node))


@cache
def refers_to(place: Place) -> frozenset[Place]:
    names, found = known(place.module), set()
    for node in body(place):
        arguments = {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
        for each in ast.walk(node):
            owner = each.value if isinstance(each, ast.Attribute) else each
            if isinstance(owner, ast.Name) and owner.id in names.keys() - arguments:
                there = names[owner.id]
                found.add(there if owner is each else Place(there.module, each.attr))
    return frozenset(resolved(each) for each in found)


@cache
def resolved(place: Place) -> Place:
    """Where something is defined that a package's `__init__` passes on."""
    there = known(place.module).get(place.name) if place.module in source() else None
    return place if there is None or there == place else resolved(there)


@cache
def reached(command: str) -> frozenset[Place]:
    function = commands()[command].callback
    assert function is not None
    function = getattr(function, "__wrapped__", function)
    waiting, found = [Place(function.__module__, function.__name__)], set()
    while waiting:
        place = waiting.pop()
        if place not in found and place.module in source():
            found.add(place)
            waiting += refers_to(place)
    return frozenset(found)


def texts(place: Place) -> Iterator[str]:
    """The texts of a definition, f-strings as one, without docstrings."""
    for node in body(place):
        bare = {each.value for each in ast.walk(node) if isinstance(each, ast.Expr)}
        joined = [each for each in ast.walk(node) if isinstance(each, ast.JoinedStr)]
        parts = {part for each in joined for part in each.values}
        for each in joined:
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in each.values)
        for each in ast.walk(node):
            whole = isinstance(each, ast.Constant) and each not in bare | parts
            if whole and isinstance(each.value, str) and not OPTION.fullmatch(each.value):  # a declaration
                yield each.value.replace("var(--", "")  # of a style sheet


def named(text: str) -> set[str]:
    """The options of all commands that a text names."""
    found: set[str] = set()
    for program, words in COMMAND.findall(text):
        for length in range(len(words.split()), 0, -1):
            name = " ".join(words.split()[:length])
            if program == "inspect-af" and name in commands():
                found |= options(commands()[name])
                break
            if program == "inspect" and length == 1 and name in inspect_command.commands:
                found |= options(inspect_command.commands[name])
    return found


@pytest.mark.parametrize("command", commands())
def test_a_command_names_no_option_that_it_lacks(command: str) -> None:
    others = {option for several in OTHER_PROGRAMS.values() for option in several}
    others |= {IN_A_STUDY[0]} if command in IN_A_STUDY[1:] else set()
    here = commands()[command]
    said = [(f"{place.module}.{place.name}", text) for place in reached(command) for text in texts(place)]
    said += [("help", text) for each in (here, *here.params) if (text := getattr(each, "help", None))]
    wrong = {
        f"{where}: {option} in {text[:200]!r}"
        for where, text in said
        for option in set(OPTION.findall(text)) - options(commands()[command]) - others - named(text)
    }
    assert not wrong


def test_what_is_said_on_the_way_from_a_command_is_found() -> None:
    said = {text for place in reached("plan") for text in texts(place)}
    assert any("choose another --out, or --force to overwrite it" in text for text in said)
    assert any("no prices known" in text for text in said)
    assert not any("--parse-floor" in text for text in said)
