"""What is asked of the model that writes synthetic documents: kinds of documents, and instructions for "
"each step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from inspect_af.errors import MaterialsError, one_of
from inspect_af.materials._files import FileModel, bundled, read_text, read_toml, short_digest
from inspect_af.materials._template import check_placeholders, fill
from inspect_af.materials._universes import DIRECTNESS, Directness, Universe

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

ALL = "all"
"""Stands for every kind of document."""


class DocumentType(FileModel):
    """A kind of document."""

    code: str = Field(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*$")
    """For sample ids, such as `news-article`."""
    name: _Text
    about: _Text
    """Who writes it, for whom, in what form."""
    words: tuple[int, int]
    """Fewest and most words of such a document."""

    @model_validator(mode="after")
    def _range_is_one(self) -> DocumentType:
        if not 1 <= self.words[0] <= self.words[1]:
            raise ValueError(f"words = {list(self.words)}; give the fewest and the most")
        return self


class _TypesFile(FileModel):
    kinds: tuple[DocumentType, ...] = Field(min_length=1)


class _Guidance(FileModel):
    oblique: _Text
    standard: _Text
    explicit: _Text


class _WritingFile(FileModel):
    version: int = Field(ge=1)
    system: _Text
    ideas: _Text
    document: _Text
    critique: _Text
    revise: _Text
    guidance: _Guidance


_ALLOWED = {
    "system": ("context",),
    "ideas": ("kind", "about", "fact", "n", "guidance"),
    "document": ("kind", "about", "idea", "fact", "words", "guidance"),
    "critique": ("guidance", "words"),
    "revise": ("words",),
}


class WritingPrompts(BaseModel):
    """The instructions, ready to be filled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: dict[str, str]
    guidance: dict[str, str]
    digest: str
    """First 16 hexadecimal digits of the sha256 of the file's text."""

    def system(self, universe: Universe) -> str:
        """The system prompt: the same for every call about a universe."""
        return self._filled("system", context=universe.context)

    def ideas(self, universe: Universe, kind: DocumentType, directness: Directness, n: int) -> str:
        """Asks for `n` ideas for documents of a kind."""
        return self._filled(
            "ideas",
            kind=kind.name,
            about=kind.about,
            fact=universe.facts[directness],
            n=str(n),
            guidance=self.guidance[directness],
        )

    def document(
        self, universe: Universe, kind: DocumentType, directness: Directness, idea: str, words: int
    ) -> str:
        """Asks for the first draft of a document of about `words` words."""
        return self._filled(
            "document",
            kind=kind.name,
            about=kind.about,
            idea=idea,
            fact=universe.facts[directness],
            words=str(words),
            guidance=self.guidance[directness],
        )

    def critique(self, directness: Directness, words: int) -> str:
        """Asks for a critique of the draft that precedes it."""
        return self._filled("critique", guidance=self.guidance[directness], words=str(words))

    def revise(self, words: int) -> str:
        """Asks for a new version after a critique."""
        return self._filled("revise", words=str(words))

    def _filled(self, name: str, **values: str) -> str:
        return fill(self.texts[name], values, where=f"writing.toml: {name}").strip()


@cache
def load_document_types() -> tuple[DocumentType, ...]:
    """The bundled kinds of documents.

    Raises:
        MaterialsError: the file is malformed or repeats a code.
    """
    file = bundled("sdf", "document_types.toml")
    kinds = read_toml(file, _TypesFile).kinds
    codes = [kind.code for kind in kinds]
    for code in codes:
        if codes.count(code) > 1:
            raise MaterialsError(f"{file}: the code '{code}' is used twice; make codes unique")
    return kinds


def select_document_types(asked: str | Sequence[str]) -> tuple[DocumentType, ...]:
    """The kinds that a parameter names: `all`, or codes as a list or separated by commas.

    Raises:
        ConfigError: no such kind; the message lists those that exist.
    """
    known = {kind.code: kind for kind in load_document_types()}
    codes = [code.strip() for code in (asked.split(",") if isinstance(asked, str) else asked)]
    if codes == [ALL]:
        return tuple(known.values())
    for code in codes:
        if code not in known:
            raise one_of(code, (ALL, *known), what="kind of document")
    return tuple(known[code] for code in dict.fromkeys(codes))


@cache
def load_writing_prompts() -> WritingPrompts:
    """The bundled instructions to the writer.

    Raises:
        MaterialsError: the file is malformed, or has a placeholder that nothing fills.
    """
    file = bundled("sdf", "writing.toml")
    read = read_toml(file, _WritingFile)
    texts = {name: _unwrap(str(getattr(read, name))) for name in _ALLOWED}
    for name, allowed in _ALLOWED.items():
        check_placeholders(texts[name], allowed, where=f"{file}: {name}")
    guidance = {level: str(getattr(read.guidance, level)) for level in DIRECTNESS}
    return WritingPrompts(texts=texts, guidance=guidance, digest=short_digest(read_text(file)))


def _unwrap(text: str) -> str:
    return re.sub(r"[ \t]+\n", "\n", text)
