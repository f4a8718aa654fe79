"""The code blocks of a page, and what the comment before each says about running it.

A comment stands on the line before a fence, with nothing but other such comments and blank lines between:

    <!-- no-run: REASON -->            it cannot run here; its commands are checked, see `commands`, and
                                       run with --dry-run where REASON does not end with (parsed only)
    <!-- run-with: A => B | C => D --> runs with A replaced by B: a smaller number, a simulated model
    <!-- given: NAME | NAME -->        what is put into the directory first, see `artefacts`
    <!-- file: NAME -->                the block is the content of a file, for the blocks after it
    <!-- output: REMARK -->            its lines, `...` apart, are among those that the block before prints
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

RUNNABLE = ("bash", "python")
DATA = ("toml", "yaml", "json")

_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,})(?P<language>[\w-]*) *$")
_COMMENT = re.compile(r"<!-- *(?P<key>no-run|run-with|given|file|output): *(?P<value>.*?) *-->$")
_INDENTED = re.compile(r"(?: {4,}|\t)(?:inspect|inspect-af|pip|make|python|accelerate) ")
_SEEMS_A_MARK = re.compile(r"<!-- *(no[-_ ]?run|run[-_ ]?with|given|file|output)\b", re.IGNORECASE)


class BlockError(ValueError):
    """A page is written in a way that leaves open what is to be run."""


@dataclass(frozen=True)
class Block:
    """One fenced block and its marks."""

    page: Path
    line: int
    """Of the opening fence, counted from 1."""
    language: str
    text: str
    no_run: str | None = None
    replacements: tuple[tuple[str, str], ...] = ()
    given: tuple[str, ...] = ()
    file: str | None = None
    output: bool = False

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def to_run(self) -> str:
        """The text with its replacements made.

        Raises:
            BlockError: Something to be replaced is not there, so that the comment is out of date.
        """
        text = self.text
        for old, new in self.replacements:
            if old not in text:
                raise BlockError(f"{self.place}: run-with replaces {old!r}, which the block does not have")
            text = text.replace(old, new)
        return text


def read_blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page in order.

    Raises:
        BlockError: A fence is not closed, or a mark stands before no fence, is malformed or unknown.
    """
    return list(_blocks(page, page.read_text(encoding="utf-8").splitlines()))


@dataclass
class _Marks:
    line: int = 0
    found: dict[str, str] = field(default_factory=dict)


def _blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    marks = _Marks()
    at = 0
    while at < len(lines):
        line = lines[at]
        if fence := _FENCE.match(line):
            end = _closing(lines, at, fence)
            if end is None:
                raise BlockError(f"{page}:{at + 1}: the fence is not closed")
            indent = len(fence["indent"])
            text = "\n".join(one[indent:] for one in lines[at + 1 : end]) + "\n"
            yield _block(page, at + 1, fence["language"], text, marks.found)
            marks = _Marks()
            at = end
        elif comment := _COMMENT.match(line.strip()):
            if comment["key"] in marks.found:
                raise BlockError(f"{page}:{at + 1}: {comment['key']} stands there twice")
            marks.found[comment["key"]] = comment["value"]
            marks.line = at + 1
        elif _SEEMS_A_MARK.search(line):
            raise BlockError(f"{page}:{at + 1}: not one of the comments that are read: {line.strip()}")
        elif _INDENTED.match(line):
            raise BlockError(f"{page}:{at + 1}: put commands between fences, so that they are run")
        elif line.strip() and marks.found:
            raise BlockError(f"{page}:{marks.line}: the comment has to stand right before a fence")
        at += 1
    if marks.found:
        raise BlockError(f"{page}:{marks.line}: the comment has to stand right before a fence")


def _closing(lines: list[str], at: int, fence: re.Match[str]) -> int | None:
    closing = re.compile(rf" *`{{{len(fence['ticks'])},}} *$")
    return next((k for k in range(at + 1, len(lines)) if closing.match(lines[k])), None)


def _block(page: Path, line: int, language: str, text: str, marks: dict[str, str]) -> Block:
    where = f"{page}:{line}"
    if "no-run" in marks and not marks["no-run"]:
        raise BlockError(f"{where}: no-run needs a reason")
    if {"no-run", "run-with"} <= marks.keys():
        raise BlockError(f"{where}: a block either runs with replacements or does not run")
    if language not in RUNNABLE and (marks.keys() & {"no-run", "run-with", "given"}):
        raise BlockError(f"{where}: only {' and '.join(RUNNABLE)} blocks are run")
    return Block(
        page=page,
        line=line,
        language=language,
        text=text,
        no_run=marks.get("no-run"),
        replacements=tuple(_replacement(one, where) for one in _listed(marks.get("run-with"))),
        given=tuple(_listed(marks.get("given"))),
        file=marks.get("file"),
        output="output" in marks,
    )


def _listed(value: str | None) -> list[str]:
    return [one.strip() for one in value.split(" | ")] if value else []


def _replacement(text: str, where: str) -> tuple[str, str]:
    old, arrow, new = text.partition(" =>")
    if not arrow or not old:
        raise BlockError(f"{where}: run-with takes A => B, not {text!r}")
    return old, new.strip()
