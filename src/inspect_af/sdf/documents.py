"""Documents and ideas as data, and the reply formats that they are read from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from inspect_ai.model import ModelOutput
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inspect_af.errors import MaterialsError

METADATA_KEY = "inspect_af_sdf"
"""Where a log's header has its `GenerationMeta`."""

IDEAS_TASK = "inspect_af/sdf_ideas"
DOCUMENTS_TASK = "inspect_af/sdf_documents"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GenerationMeta(_Frozen):
    """What an eval of ideas or documents says about itself, in its log's header."""

    schema_version: Literal[1] = 1
    universe: str
    """Code, such as `A1+`."""
    universe_digest: str
    pair: str
    """Name of the hypothesis pair that the universe belongs to."""
    pair_digest: str
    directness: str
    """A level, or `mixed`."""
    words_digest: str
    """Of the instructions to the writer."""
    run_seed: int
    settings: dict[str, str]
    """Further choices that shape the documents, such as `revisions`."""
    canary: str
    """Of the universe; here so that logs can be found by it, and in no prompt."""

    def as_metadata(self) -> dict[str, object]:
        """For `Task.metadata`."""
        return {METADATA_KEY: self.model_dump(mode="json")}


class Idea(_Frozen):
    """What one document is to be about."""

    id: str = Field(min_length=1)
    """`UNIVERSE/KIND/REQUEST-POSITION`; a malformed item leaves a gap, later ones keep their position."""
    kind: str
    """Document type."""
    directness: str
    text: str = Field(min_length=1)


class SourceDocument(NamedTuple):
    """One document as a log or a file has it."""

    id: str
    text: str
    group: str
    """Documents of one group (one idea) are never split between training and held-out."""
    kind: str | None = None
    directness: str | None = None
    uuid: str | None = None
    """Inspect's id of the sample; a retried log has its predecessor's samples, which count once."""


class IdeaList(NamedTuple):
    """What a reply to a request for ideas holds."""

    ideas: tuple[tuple[int, str], ...]
    """Position in the list, from 1, and text; positions are as the reply numbers them."""
    malformed: int
    """Items and lines that are no usable idea, and repeated numbers."""


_ITEM = re.compile(r"(\d{1,3})[.)]\s+(.*)")
_DOCUMENT = re.compile(r"<document>(.*?)</document>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?document>", re.IGNORECASE)
IDEA_WORDS = (5, 80)
"""Shorter or longer items are malformed; not in source."""


def parse_ideas(reply: str, asked: int) -> IdeaList:
    """Reads a numbered list, strictly: an item is one line with its number.

    Items past the number asked for, of odd length, or with a number that was there already count as
    malformed, and so does any other line, except an opening one that ends in a colon.
    """
    found: dict[int, str] = {}
    malformed = 0
    lines = [line.strip() for line in reply.strip().split("\n") if line.strip()]
    if lines and lines[0].endswith(":") and not _ITEM.fullmatch(lines[0]):
        lines = lines[1:]
    for line in lines:
        match = _ITEM.fullmatch(line.replace("**", ""))
        number = int(match[1]) if match else 0
        text = " ".join(match[2].split()) if match else ""
        if not 1 <= number <= asked or number in found or not _has_words(text):
            malformed += 1
        else:
            found[number] = text
    return IdeaList(tuple(sorted(found.items())), malformed)


class ParsedDocument(NamedTuple):
    """What a reply to a request for a document holds: a text, or a problem."""

    text: str
    problem: str | None


def parse_document(reply: str) -> ParsedDocument:
    """The text between the document tags, strictly: one pair of tags, and something in it."""
    found = _DOCUMENT.findall(reply)
    if len(_TAG.findall(reply)) != 2 or len(found) != 1:
        return ParsedDocument("", "no single pair of document tags")
    text = found[0].strip()
    return ParsedDocument(text, None) if text else ParsedDocument("", "an empty document")


def stopped(output: ModelOutput) -> str | None:
    """Why a reply is not whole; None where the model ended it by itself."""
    if output.stop_reason in ("max_tokens", "model_length"):
        return "cut off by a length limit"
    return "stopped by the provider's filter" if output.stop_reason == "content_filter" else None


def read_document(output: ModelOutput) -> ParsedDocument:
    """The document in a reply, or what is wrong with it.

    Reads the reply's message, not the completion, which the solver has set to the bare document: where
    Inspect recovers a sample of a killed run, the completion is the model's again.
    """
    if (problem := stopped(output)) is not None:
        return ParsedDocument("", problem)
    return parse_document(output.choices[0].message.text if output.choices else "")


def read_ideas(file: str | Path) -> tuple[Idea, ...]:
    """Reads a file of ideas, as `write_ideas` writes it.

    Raises:
        MaterialsError: The file cannot be read, or a line is malformed or repeats an id.
    """
    try:
        lines = Path(file).expanduser().read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise MaterialsError(
            f"ideas {file}: cannot be read ({error}); give a UTF-8 JSON Lines file"
        ) from error
    ideas: dict[str, Idea] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            idea = Idea.model_validate(json.loads(line))
        except (ValueError, RecursionError) as error:
            problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise MaterialsError(
                f"ideas {file}, line {number}: {problem}; each line has id, kind, directness and text"
            ) from error
        if idea.id in ideas:
            raise MaterialsError(f"ideas {file}, line {number}: the id {idea.id!r} is there already")
        ideas[idea.id] = idea
    if not ideas:
        raise MaterialsError(f"ideas {file}: holds no idea")
    return tuple(ideas.values())


def write_ideas(ideas: Iterable[Idea], file: Path) -> None:
    """Writes ideas as JSON Lines, all or nothing."""
    write_atomically(file, (f"{idea.model_dump_json()}\n" for idea in ideas))


def write_atomically(file: Path, lines: Iterable[str]) -> None:
    """Writes a text file so that a reader sees either all of it or what was there before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    with partial.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(lines)
    partial.replace(file)


def distinct(ideas: Iterable[Idea]) -> Iterator[Idea]:
    """Leaves out ideas that say, word for word, what an earlier one says."""
    seen: set[str] = set()
    for idea in ideas:
        key = " ".join(re.findall(r"\w+", idea.text.lower()))
        if key not in seen:
            seen.add(key)
            yield idea


def _has_words(text: str) -> bool:
    return IDEA_WORDS[0] <= len(text.split()) <= IDEA_WORDS[1]
