"""Misspelt task parameters on Inspect's command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches

import click
from inspect_ai import Task

from inspect_af.errors import ConfigError

_LIKENESS = 0.85
"""`intervention` is this like `interventions`, `requests` is not this like `questions`."""


def refuse_misspelt(task: Callable[..., Task], name: str) -> None:
    """Stops a command whose `-T` almost names a parameter of the task.

    Inspect drops arguments that a task does not have with a warning, so that `-T intervention=A1+` would run,
    and pay for, the baseline alone. Names unlike any parameter are left to that warning, and so is a command
    for several tasks, where the argument may be meant for another one. Outside a command line nothing is
    checked: Python refuses unknown arguments by itself.

    Raises:
        ConfigError: A parameter is misspelt.
    """
    command = click.get_current_context(silent=True)
    if command is None or len(command.params.get("tasks") or ()) > 1:
        return
    parameters = list(inspect.signature(task).parameters)
    for argument in command.params.get("t") or ():
        given = str(argument).partition("=")[0].strip().replace("-", "_")
        if given not in parameters and (meant := get_close_matches(given, parameters, 1, _LIKENESS)):
            raise ConfigError(f"{name} has no parameter {given!r}; did you mean -T {meant[0]}=...?")
