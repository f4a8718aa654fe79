"""What the concept judge found per condition, gathered while logs are counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from statistics import fmean
from typing import NamedTuple

from inspect_af.logs import LogHeader, ScoredSample
from inspect_af.types import Tier


class ConceptScore(NamedTuple):
    """How much of one concept a judge found in the replies of one condition and tier."""

    subject: str
    condition: str
    concept: str
    tier: Tier
    mean: float
    """Mean over requests of the mean over epochs, on the rubric's own scale."""
    n: int
    """Replies judged."""
    judge: str = ""
    """Model name of the judge, or several joined by `, `."""
    simulated: bool = False
    """Whether a judge was a simulated model: its scores say nothing about what a real judge would find."""
    setting: str = ""
    """Digest of the prompt template that the replies were given under."""


class _Cell(NamedTuple):
    subject: str
    setting: str
    condition: str
    concept: str
    tier: Tier


class ConceptScores:
    """Watches rows on their way to being counted, and keeps the judge's scores of each condition.

    scores = ConceptScores()
    outcomes = count_outcomes(scores.watch(read_logs(["logs"])))
    scores.means()
    """

    def __init__(self) -> None:
        self._scores: dict[_Cell, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._judges: dict[_Cell, dict[str, bool]] = defaultdict(dict)
        self._seen: set[str] = set()

    def watch(
        self, logs: Iterable[tuple[LogHeader, Iterable[ScoredSample]]]
    ) -> Iterator[tuple[LogHeader, Iterator[ScoredSample]]]:
        """The same logs with the same rows."""
        for header, rows in logs:
            yield header, self._watched(header, rows)

    def means(self) -> tuple[ConceptScore, ...]:
        """One entry per subject, prompt template, condition, concept and tier, in order of appearance."""
        return tuple(
            ConceptScore(
                **cell._asdict(),
                mean=fmean(fmean(scores) for scores in by_request.values()),
                n=sum(map(len, by_request.values())),
                judge=", ".join(self._judges[cell]),
                simulated=any(self._judges[cell].values()),
            )
            for cell, by_request in self._scores.items()
        )

    def _watched(self, header: LogHeader, rows: Iterable[ScoredSample]) -> Iterator[ScoredSample]:
        for row in rows:
            if row.judged is not None and row.uuid not in self._seen:
                self._seen.add(row.uuid)
                for concept, score in row.judged.scores:
                    cell = _Cell(
                        header.subject_of(row.meta).label,
                        header.meta.prompt_digest,
                        row.meta.condition,
                        concept,
                        row.meta.tier,
                    )
                    self._scores[cell][row.meta.request_id].append(score)
                    self._judges[cell][row.judged.judge] = row.judged.simulated
            yield row
