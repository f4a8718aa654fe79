"""Applying the filters to a stream of documents, and counting what they remove."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict

from inspect_af.sdf.dedup import Duplicates
from inspect_af.sdf.documents import SourceDocument
from inspect_af.sdf.lints import LINT_NAMES, Lints

EXACT = "exact duplicate"
NEAR = "near duplicate"
FILTERS = (*LINT_NAMES, NEAR)
"""Those that can be skipped; exact duplicates always go."""
EXAMPLES = 5


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(_Frozen):
    """A document that was removed, and why."""

    id: str
    passage: str


class FilterResult(_Frozen):
    """What one filter removed."""

    name: str
    removes: str
    removed: int
    examples: tuple[Example, ...] = ()


class OmittedFilter(_Frozen):
    """A filter that was not applied."""

    name: str
    why: str


class DocumentFilter:
    """Passes on documents that are clean and new; each document is counted under the first filter that hits.

    Args:
        lints: Filters of single documents.
        duplicates: Finds repeats of documents that were passed on.
    """

    def __init__(self, lints: Lints, duplicates: Duplicates) -> None:
        self._lints = lints
        self._duplicates = duplicates
        self._removed = dict.fromkeys((*(lint.name for lint in lints.lints), EXACT, NEAR), 0)
        self._examples: dict[str, list[Example]] = {name: [] for name in self._removed}
        self.seen = 0

    def __call__(self, documents: Iterable[SourceDocument]) -> Iterator[SourceDocument]:
        for document in documents:
            self.seen += 1
            finding = self._finding(document)
            if finding is None:
                yield document
                continue
            name, passage = finding
            self._removed[name] += 1
            if len(self._examples[name]) < EXAMPLES:
                self._examples[name].append(Example(id=document.id, passage=passage))

    def _finding(self, document: SourceDocument) -> tuple[str, str] | None:
        if (found := self._lints.first_finding(document.text)) is not None:
            return found
        if (twin := self._duplicates.add(document.id, document.text)) is not None:
            return (EXACT if twin.exact else NEAR), f"repeats {twin.id}"
        return None

    @property
    def results(self) -> tuple[FilterResult, ...]:
        """What each filter removed so far, in the order of application."""
        removes = {lint.name: lint.removes for lint in self._lints.lints}
        removes |= {
            EXACT: "the words of an earlier document",
            NEAR: "most runs of five words of an earlier document",
        }
        return tuple(
            FilterResult(
                name=name, removes=removes[name], removed=count, examples=tuple(self._examples[name])
            )
            for name, count in self._removed.items()
        )

    @property
    def omitted(self) -> tuple[OmittedFilter, ...]:
        return tuple(OmittedFilter(name=each.name, why=each.why) for each in self._lints.omitted)
