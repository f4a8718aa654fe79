"""Docstrings in Google's style, taken apart."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import NamedTuple

_SECTION = re.compile(r"(Args|Returns|Raises|Yields|Attributes):\s*$")
_ENTRY = re.compile(r"(\*{0,2}[\w, ]+?)(?: \([^)]*\))?:\s*(.*)$")


class Docstring(NamedTuple):
    """A docstring's prose and what it says about each parameter and error."""

    summary: str
    prose: str
    """The paragraphs between summary and the first section."""
    parameters: dict[str, str]
    errors: dict[str, str]


def read_docstring(described: Callable[..., object]) -> Docstring:
    """Takes the docstring of a function or class apart.

    Raises:
        ValueError: It has none: a public name without a docstring is not documented.
    """
    text = inspect.getdoc(described) or _wrapped_docstring(described)
    if not text:
        raise ValueError(f"{described!r} has no docstring")
    sections: dict[str, list[str]] = {"": []}
    current = ""
    for line in text.splitlines():
        if found := _SECTION.match(line):
            current = found[1]
            sections[current] = []
        else:
            sections[current].append(line)
    summary, _, prose = "\n".join(sections[""]).strip().partition("\n\n")
    return Docstring(
        summary=" ".join(summary.split()),
        prose=prose.strip(),
        parameters=_entries(sections.get("Args", [])),
        errors=_entries(sections.get("Raises", [])),
    )


def _wrapped_docstring(described: Callable[..., object]) -> str | None:
    """Inspect's decorator of metrics keeps the function in a closure and drops its docstring."""
    for cell in getattr(described, "__closure__", None) or ():
        if inspect.isfunction(cell.cell_contents) and cell.cell_contents.__doc__:
            return inspect.getdoc(cell.cell_contents)
    return None


def _entries(lines: list[str]) -> dict[str, str]:
    """Text by name; several names, separated by commas, have one text."""
    entries: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        depth = len(line) - len(line.lstrip())
        found = _ENTRY.match(line.strip())
        if depth == 4 and found:
            names = found[1].split(", ")
            entries |= dict.fromkeys(names, found[2])
        elif line.strip():
            entries |= {name: f"{entries[name]} {line.strip()}" for name in names}
    return entries
