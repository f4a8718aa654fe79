"""Rounds of ideas and documents until there are enough clean tokens."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from inspect_ai import Task

from inspect_af.errors import ConfigError
from inspect_af.sdf import read_ideas
from inspect_af.sdf.filtering import DocumentFilter
from inspect_af.sdf.generation import GenerationDirectory, Round, round_documents
from inspect_af.sdf.tokens import TokenCounter

RunEval = Callable[[Task, Round], bool]
"""Runs what is missing of one eval; says whether all of it is there."""

ROUND_REQUESTS = 500
"""Requests for ideas in one log at most."""
LEAST_YIELD = 0.1
"""A round that brings less than this share of what it should has failed."""


class Progress(NamedTuple):
    """How far a generation is."""

    tokens: int
    """Of clean documents."""
    documents: int
    """Clean ones."""
    asked: int
    """Documents that were asked for."""
    malformed: int
    removed: int
    """Well-formed ones that filters would remove."""


class Unfinished(Exception):  # noqa: N818 - not an error: the same command goes on
    """An eval has samples that did not finish."""


class Generation:
    """Runs rounds until the target is met; everything finished stays.

    Args:
        directory: Where.
        clean: Filters documents as the corpus builder will, so that the target counts what will be left.
        counter: Counts tokens.
        run: Runs one eval.
        round_size: Documents in one log at most: logs stay small, and each round corrects the estimate of the
            next.
    """

    def __init__(
        self,
        directory: GenerationDirectory,
        clean: DocumentFilter,
        counter: TokenCounter,
        run: RunEval,
        round_size: int,
    ) -> None:
        self._directory = directory
        self._settings = directory.settings
        self._clean = clean
        self._counter = counter
        self._run = run
        self._round_size = round_size
        self._counted: set[int] = set()
        self.progress = Progress(0, 0, 0, 0, 0)

    def to(self, target: int, expected: float, *, allow_shortfall: bool = False) -> None:
        """Generates until `target` clean tokens are there.

        Args:
            target: Tokens.
            expected: Tokens of a document, until documents are there to tell.
            allow_shortfall: End quietly where a stage brings too little.

        Raises:
            Unfinished: Calls failed, or the user interrupted; the same command goes on.
            ConfigError: A stage brings too little, round after round; the message says which.
        """
        for each in (*self._directory.rounds("ideas"), *self._directory.rounds("documents")):
            self._finish(each)
        self._count()
        while self.progress.tokens < target:
            mean = self.progress.tokens / self.progress.asked if self.progress.asked else expected
            wanted = math.ceil((target - self.progress.tokens) / max(mean, 1.0))
            short = self._ideas_for(min(wanted, self._round_size))
            if short is not None and not allow_shortfall:
                raise ConfigError(_advice(short, self._directory.path))
            if self._directory.unused_ideas():
                short = self._documents(wanted)
            if short is not None:
                if not allow_shortfall:
                    raise ConfigError(_advice(short, self._directory.path))
                _say(f"shortfall allowed: {short}")
                return

    def _ideas_for(self, documents: int) -> str | None:
        """Rounds of ideas until a round of documents can start; what is wrong if they bring too little."""
        wanted = math.ceil(documents / self._settings.per_idea)
        failed = 0
        while (missing := wanted - len(self._directory.unused_ideas())) > 0:
            kinds = len(self._settings.kinds)
            requests = math.ceil(missing / (kinds * self._settings.ideas))
            requests = max(1, min(requests, ROUND_REQUESTS // kinds))
            before = len(self._directory.unused_ideas())
            each = self._directory.start_ideas(requests)
            self._finish(each)
            found = len(self._directory.unused_ideas()) - before
            asked = requests * kinds * self._settings.ideas
            _say(f"ideas {each.number}: {found} new ideas of {asked} asked for")
            failed = failed + 1 if found < LEAST_YIELD * asked else 0
            if failed == 2:
                return f"ideas fall short: the last round gave {found} new ideas of {asked} asked for"
        return None

    def _documents(self, wanted: int) -> str | None:
        """One round of documents; what is wrong if it brings too little."""
        ideas = self._directory.unused_ideas()
        number = math.ceil(min(wanted, self._round_size) / self._settings.per_idea)
        before = self.progress
        self._finish(self._directory.start_documents(ideas[:number]))
        self._count()
        asked = self.progress.asked - before.asked
        clean = self.progress.documents - before.documents
        if clean < LEAST_YIELD * asked:
            return f"documents fall short: the last round gave {clean} clean documents of {asked} asked for"
        return None

    def _finish(self, each: Round) -> None:
        if each.is_finished:
            return
        if not self._run(self._task(each), each):
            raise Unfinished
        each.finish()

    def _task(self, each: Round) -> Task:
        from inspect_af import tasks

        settings = self._settings
        shared: Mapping[str, Any] = {
            "universe": settings.universe,
            "directness": settings.directness,
            "pair": settings.pair,
            "run_seed": settings.run_seed,
        }
        if each.stage == "ideas":
            return tasks.sdf_ideas(
                **shared,
                kinds=list(settings.kinds),
                requests=each.requests.number,
                first_request=each.requests.first,
                ideas=settings.ideas,
            )
        return tasks.sdf_documents(
            **shared,
            ideas=str(each.ideas_file),
            revisions=settings.revisions,
            words=settings.words,
            per_idea=settings.per_idea,
        )

    def _count(self) -> None:
        """Counts the documents of finished rounds that were not counted before."""
        tokens, documents, asked, malformed, removed = self.progress
        for each in self._directory.rounds("documents"):
            if each.number in self._counted or not each.is_finished:
                continue
            self._counted.add(each.number)
            here = len(read_ideas(each.ideas_file)) * self._settings.per_idea
            seen = self._clean.seen
            texts = [document.text for document in self._clean(round_documents(each))]
            well_formed = self._clean.seen - seen
            tokens += sum(self._counter.count(texts)) if texts else 0
            documents += len(texts)
            asked += here
            malformed += here - well_formed
            removed += well_formed - len(texts)
            _say(
                f"documents {each.number}: {len(texts)} clean of {here} ({here - well_formed} malformed, "
                f"{well_formed - len(texts)} removed by filters); {tokens:,} tokens so far"
            )
        self.progress = Progress(tokens, documents, asked, malformed, removed)


def _advice(short: str, path: Path) -> str:
    return f"{short}. Look at the logs in {path}, or pass --allow-shortfall"


def _say(text: str) -> None:
    print(text, file=sys.stderr)
