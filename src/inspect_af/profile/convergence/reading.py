"""One pass over the logs: replies counted, judge scores kept per request, and which log held what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import NamedTuple

from inspect_af.logs import LogHeader, ScoredSample
from inspect_af.types import Subject, Tier, Treatment


class Place(NamedTuple):
    """Where a reply belongs: subject, prompt template and treatments."""

    subject: Subject
    prompt_digest: str
    treatments: tuple[Treatment, ...]


Scores = Mapping[str, Mapping[tuple[str, Tier], float]]
"""Mean judge score over epochs by request and tier, by concept."""


@dataclass(frozen=True)
class Trace:
    """What is known beside the counts."""

    logs_of: Mapping[Place, tuple[str, ...]] = field(default_factory=dict)
    """Locations of the logs that hold a condition's replies."""
    scores: Mapping[Place, Scores] = field(default_factory=dict)
    judges: Mapping[str, bool] = field(default_factory=dict)
    """Model name of every judge, and whether it is simulated."""

    def logs(self, places: Iterable[Place]) -> tuple[str, ...]:
        """Locations of all logs that hold any of the conditions, in the order of reading."""
        found = {location for place in places for location in self.logs_of.get(place, ())}
        order = dict.fromkeys(location for own in self.logs_of.values() for location in own)
        return tuple(location for location in order if location in found)


class TraceRecorder:
    """Watches rows on their way to being counted."""

    def __init__(self) -> None:
        self._logs: dict[Place, dict[str, None]] = defaultdict(dict)
        self._scores: dict[Place, dict[str, dict[tuple[str, Tier], list[float]]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(list))
        )
        self._judges: dict[str, bool] = {}
        self._seen: set[int] = set()

    def watch(
        self, logs: Iterable[tuple[LogHeader, Iterable[ScoredSample]]]
    ) -> Iterator[tuple[LogHeader, Iterator[ScoredSample]]]:
        """The same logs with the same rows."""
        for header, rows in logs:
            yield header, self._watched(header, rows)

    def freeze(self) -> Trace:
        return Trace(
            {place: tuple(locations) for place, locations in self._logs.items()},
            {
                place: {
                    concept: {key: fmean(values) for key, values in cells.items()}
                    for concept, cells in concepts.items()
                }
                for place, concepts in self._scores.items()
            },
            dict(self._judges),
        )

    def _watched(self, header: LogHeader, rows: Iterable[ScoredSample]) -> Iterator[ScoredSample]:
        for row in rows:
            place = Place(header.subject_of(row.meta), header.meta.prompt_digest, row.meta.treatments)
            self._logs[place][header.location] = None
            identity = hash(row.uuid)
            if row.judged is not None and identity not in self._seen:
                self._seen.add(identity)
                self._judges[row.judged.judge] = row.judged.simulated
                for concept, score in row.judged.scores:
                    self._scores[place][concept][row.meta.request_id, row.meta.tier].append(score)
            yield row


def renamed(
    logs: Iterable[tuple[LogHeader, Iterable[ScoredSample]]], names: Mapping[str, str]
) -> Iterator[tuple[LogHeader, Iterable[ScoredSample]]]:
    """The same logs with models called by other names; two models of one name become one.

    A name stands for the model alone or for the model with its arguments in brackets.
    """
    for header, rows in logs:
        yield header._replace(subject=renamed_subject(header.subject, names)), rows


def renamed_subject(subject: Subject, names: Mapping[str, str]) -> Subject:
    model, bracket, rest = subject.model.partition("[")
    name = names.get(subject.model)
    if name is None and model in names:
        name = f"{names[model]}{bracket}{rest}"
    return subject if name is None else subject.model_copy(update={"model": name})


def renamed_label(label: str, names: Mapping[str, str]) -> str:
    """A subject's label (model first, then revision, adapters and treatments) with its model renamed."""
    for model, name in sorted(names.items(), key=lambda item: -len(item[0])):
        rest = label[len(model) :]
        if label.startswith(model) and rest[:1] in ("", "@", "+", "[", " "):
            return f"{name}{rest}"
    return label
