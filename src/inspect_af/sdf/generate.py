"""Generating documents in rounds, in a directory that remembers every decision, until there are enough.

```
generation.json              the settings; another command with other settings is refused
ideas/round-001.plan         how many requests this round makes, fixed before it starts
ideas/round-001/             logs of inspect_af/sdf_ideas
ideas/round-001.jsonl        the ideas of a finished round
documents/round-001.jsonl    the ideas that this round writes about, fixed before it starts
documents/round-001/         logs of inspect_af/sdf_documents
documents/round-001.done     the round is finished
```

Every decision is written down before it is paid for, so that the same command goes on wherever it was
stopped.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from inspect_af.config import Frozen, only_one, text_digest
from inspect_af.errors import ConfigError, LogError, MaterialsError, MissingExtraError
from inspect_af.materials import Directness, Universe, cache_dir
from inspect_af.materials.universes import DocumentType, WritingPrompts
from inspect_af.sdf._files import write_atomically
from inspect_af.sdf.documents import (
    CHARACTERS_PER_TOKEN,
    CorpusSettings,
    Idea,
    SourceDocument,
    TokenCounter,
    distinct,
    each_once,
    log_documents,
    log_samples,
    open_log,
    parse_ideas,
    read_ideas,
    write_ideas,
)
from inspect_af.sdf.filters import NEAR, DocumentFilter, Evaluation, corpus_filter

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.model import Model

SETTINGS = "generation.json"
SURPLUS = 0.05
"""Share generated on top of the target, since the builder holds documents out and cuts to size; not in
source."""
ROUND_REQUESTS = 500
"""Requests for ideas in one log at most."""
LEAST_YIELD = 0.1
"""A round that brings less than this share of what it should has failed."""

Say = Callable[[str], None]
"""Takes a remark for the user."""
Stage = Literal["ideas", "documents"]


class GenerationSettings(Frozen):
    """What shapes the documents; it cannot change within a directory. How many there are can."""

    universe: str
    """As given: a code or a file."""
    universe_digest: str
    pair: str | None
    words_digest: str
    """Of the instructions to the writer."""
    model: str
    model_args: str
    """Digest of the model's arguments, which may hold secrets."""
    directness: str
    kinds: tuple[str, ...]
    ideas: int
    """Ideas per request."""
    per_idea: int
    revisions: int
    words: int | None
    run_seed: int
    temperature: float | None = None
    max_tokens: int | None = None


class Requests(NamedTuple):
    """Which lists of ideas a round asks for, of every kind."""

    number: int
    """Per kind."""
    first: int


class Round(NamedTuple):
    """One eval of a generation."""

    stage: Stage
    number: int
    directory: Path
    """Of the stage."""

    def _file(self, ending: str) -> Path:
        return self.directory / f"round-{self.number:03}{ending}"

    @property
    def logs(self) -> Path:
        """Where the eval's logs are."""
        return self._file("")

    @property
    def plan(self) -> Path:
        """What a round of ideas asks for, as a file."""
        return self._file(".plan")

    @property
    def ideas_file(self) -> Path:
        """The ideas that came out of a round of ideas, or go into a round of documents."""
        return self._file(".jsonl")

    @property
    def requests(self) -> Requests:
        """What a round of ideas asks for."""
        number, first = self.plan.read_text(encoding="utf-8").split()
        return Requests(int(number), int(first))

    @property
    def is_finished(self) -> bool:
        """Whether the round is over, its logs complete."""
        return (self.ideas_file if self.stage == "ideas" else self._file(".done")).exists()

    def finish(self) -> None:
        """Marks a round as finished, after its logs are complete."""
        if self.stage == "ideas":
            write_ideas(log_ideas(self.logs), self.ideas_file)
        else:
            write_atomically(self._file(".done"), ["finished\n"])

    def task_arguments(self, settings: GenerationSettings) -> dict[str, Any]:
        """The parameters of the round's task, `inspect_af/sdf_ideas` or `inspect_af/sdf_documents`."""
        shared = {
            "universe": settings.universe,
            "directness": settings.directness,
            "pair": settings.pair,
            "run_seed": settings.run_seed,
        }
        if self.stage == "ideas":
            number, first = self.requests
            asked = {"requests": number, "first_request": first, "ideas": settings.ideas}
            return {**shared, "kinds": list(settings.kinds), **asked}
        written = {"revisions": settings.revisions, "words": settings.words, "per_idea": settings.per_idea}
        return {**shared, "ideas": str(self.ideas_file), **written}


class GenerationDirectory:
    """What has been generated so far, read from the files.

    Args:
        path: The directory; created if it is missing.
        settings: What is to be generated.

    Raises:
        ConfigError: The directory holds something else, or a generation with other settings.
    """

    def __init__(self, path: Path, settings: GenerationSettings) -> None:
        self.path = path
        self.settings = settings
        file = path / SETTINGS
        if file.exists():
            _check_same(file, settings)
        elif path.exists() and (not path.is_dir() or any(p.name != ".lock" for p in path.iterdir())):
            raise ConfigError(f"{path} holds something else already; give an empty directory, or a new one")
        else:
            write_atomically(file, [settings.model_dump_json(indent=1), "\n"])

    def rounds(self, stage: Stage) -> list[Round]:
        """All rounds that were started, in order."""
        directory = self.path / stage
        started = re.compile(rf"round-(\d{{3,}})\.{'plan' if stage == 'ideas' else 'jsonl'}")
        names = [entry.name for entry in directory.iterdir()] if directory.is_dir() else []
        numbers = sorted(int(match[1]) for name in names if (match := started.fullmatch(name)))
        return [Round(stage, number, directory) for number in numbers]

    def unused_ideas(self) -> list[Idea]:
        """Ideas of finished rounds that no round of documents has taken, all kinds in turn."""
        ideas = [
            idea
            for each in self.rounds("ideas")
            if each.is_finished and each.ideas_file.stat().st_size
            for idea in read_ideas(each.ideas_file)
        ]
        taken = {idea.id for each in self.rounds("documents") for idea in read_ideas(each.ideas_file)}
        places = {kind: place for place, kind in enumerate(self.settings.kinds)}
        in_turn = sorted(distinct(ideas), key=lambda i: (_number(i.id), places.get(i.kind, len(places))))
        return [idea for idea in in_turn if idea.id not in taken]

    def start_documents(self, ideas: Sequence[Idea]) -> Round:
        """Starts a round of documents by writing down what it is about."""
        started = self._next("documents")
        write_ideas(ideas, started.ideas_file)
        return started

    def start_ideas(self, requests: int) -> Round:
        """Starts a round of ideas, with requests that no round has made."""
        first = 1 + sum(each.requests.number for each in self.rounds("ideas"))
        started = self._next("ideas")
        write_atomically(started.plan, [f"{requests} {first}\n"])
        return started

    def _next(self, stage: Stage) -> Round:
        last = max((each.number for each in self.rounds(stage)), default=0)
        return Round(stage, last + 1, self.path / stage)


def _check_same(file: Path, settings: GenerationSettings) -> None:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        before = GenerationSettings.model_validate(read).model_dump(mode="json")
    except (ValueError, OSError) as error:
        raise MaterialsError(f"{file} cannot be read ({error}); give a new directory") from error
    now = settings.model_dump(mode="json")
    changed = [f"{name} {before[name]!r}, now {now[name]!r}" for name in before if before[name] != now[name]]
    if changed:
        raise ConfigError(
            f"{file.parent} was started with other settings: {'; '.join(changed)}. Repeat them, or give a "
            "new directory"
        )


def _number(id: str) -> tuple[int, int]:
    """Request and position of an idea, by which kinds take turns."""
    request, _, position = id.rpartition("/")[2].partition("-")
    try:
        return int(request), int(position)
    except ValueError:
        raise LogError(f"the idea {id!r} has no id of the form UNIVERSE/KIND/REQUEST-POSITION") from None


def log_ideas(logs: Path) -> Iterator[Idea]:
    """The well-formed ideas in the logs of a round; positions of malformed ones stay empty."""
    seen: set[str] = set()
    # The newest log first, since it has its predecessors' samples.
    for file in sorted(logs.glob("*.eval"), reverse=True):
        for sample in log_samples(open_log(file)[0]):
            if str(sample.id) in seen:
                continue
            seen.add(str(sample.id))
            kind, directness = str(sample.metadata["kind"]), str(sample.metadata["directness"])
            asked = int(sample.metadata["ideas"])
            for position, text in parse_ideas(sample.output.completion, asked).ideas:
                yield Idea(id=f"{sample.id}-{position:02}", kind=kind, directness=directness, text=text)


def round_documents(each: Round) -> Iterator[SourceDocument]:
    """The well-formed documents of a round, each once."""
    logs = [open_log(file)[0] for file in sorted(each.logs.glob("*.eval"))]
    return each_once(document for log in logs for document in log_documents(log))


class Progress(NamedTuple):
    """How far a generation is."""

    tokens: int = 0
    """Of clean documents."""
    documents: int = 0
    """Clean ones."""
    asked: int = 0
    """Documents that were asked for."""
    malformed: int = 0
    removed: int = 0
    """Well-formed ones that filters would remove."""


class Unfinished(Exception):  # noqa: N818 - not an error: the same command goes on
    """An eval has samples that did not finish."""


class Generation:
    """Runs rounds until the target is met; everything finished stays.

    Args:
        directory: Where.
        clean: Filters documents as the corpus builder will, so that the target counts what will be left.
        counter: Counts tokens.
        run: Runs what is missing of a round's eval; says whether all of it is there.
        round_size: Documents in one log at most: logs stay small, and each round corrects the estimate of the
            next.
        say: Called with a line of progress.
    """

    def __init__(
        self,
        directory: GenerationDirectory,
        clean: DocumentFilter,
        counter: TokenCounter,
        run: Callable[[Round], bool],
        round_size: int,
        say: Say,
    ) -> None:
        self._directory = directory
        self._settings = directory.settings
        self._clean = clean
        self._counter = counter
        self._run = run
        self._round_size = round_size
        self._say = say
        self._counted: set[int] = set()
        self.progress = Progress()

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
            wanted = min(math.ceil((target - self.progress.tokens) / max(mean, 1.0)), self._round_size)
            number = math.ceil(wanted / self._settings.per_idea)
            short = self._ideas_for(number)
            if (short is None or allow_shortfall) and (ideas := self._directory.unused_ideas()):
                short = self._documents(ideas[:number])
            if short is not None:
                if not allow_shortfall:
                    where = self._directory.path
                    raise ConfigError(f"{short}. Look at the logs in {where}, or pass --allow-shortfall")
                self._say(f"shortfall allowed: {short}")
                return

    def _ideas_for(self, wanted: int) -> str | None:
        """Rounds of ideas until `wanted` are unused; what is wrong if they bring too little."""
        each_request = len(self._settings.kinds) * self._settings.ideas
        failed = 0
        while (missing := wanted - (before := len(self._directory.unused_ideas()))) > 0:
            most = ROUND_REQUESTS // len(self._settings.kinds)
            requests = max(1, min(math.ceil(missing / each_request), most))
            each = self._directory.start_ideas(requests)
            self._finish(each)
            new, asked = len(self._directory.unused_ideas()) - before, requests * each_request
            self._say(f"ideas {each.number}: {new} new ideas of {asked} asked for")
            failed = failed + 1 if new < LEAST_YIELD * asked else 0
            if failed == 2:
                return f"ideas fall short: the last round gave {new} new ideas of {asked} asked for"
        return None

    def _documents(self, ideas: Sequence[Idea]) -> str | None:
        """One round of documents; what is wrong if it brings too little."""
        before = self.progress
        self._finish(self._directory.start_documents(ideas))
        self._count()
        asked = self.progress.asked - before.asked
        clean = self.progress.documents - before.documents
        if clean < LEAST_YIELD * asked:
            return f"documents fall short: the last round gave {clean} clean documents of {asked} asked for"
        return None

    def _finish(self, each: Round) -> None:
        if each.is_finished:
            return
        if not self._run(each):
            raise Unfinished
        each.finish()

    def _count(self) -> None:
        """Counts the documents of finished rounds that were not counted before."""
        for each in self._directory.rounds("documents"):
            if each.number in self._counted or not each.is_finished:
                continue
            self._counted.add(each.number)
            asked = len(read_ideas(each.ideas_file)) * self._settings.per_idea
            seen = self._clean.seen
            texts = [document.text for document in self._clean(round_documents(each))]
            well_formed = self._clean.seen - seen
            tokens = sum(self._counter.count(texts)) if texts else 0
            here = Progress(tokens, len(texts), asked, asked - well_formed, well_formed - len(texts))
            self.progress = Progress(*map(sum, zip(self.progress, here, strict=True)))
            self._say(
                f"documents {each.number}: {here.documents} clean of {asked} ({here.malformed} malformed, "
                f"{here.removed} removed by filters); {self.progress.tokens:,} tokens so far"
            )


def generate(
    out: Path,
    settings: GenerationSettings,
    universe: Universe,
    tokens: int,
    *,
    model: Model,
    make_task: Callable[[Stage, dict[str, Any]], Task],
    kinds: Sequence[DocumentType],
    evaluation: Evaluation,
    filters: CorpusSettings,
    counter: TokenCounter,
    round_size: int = 1000,
    allow_shortfall: bool = False,
    options: Mapping[str, Any],
    say: Say = lambda _: None,
) -> Progress:
    """Generates documents into a directory, or goes on with what is there, until there are enough.

    Args:
        out: The directory.
        settings: How documents are written.
        universe: What they are about.
        tokens: Target, in tokens of clean documents; 5 % more are generated.
        model: Writes everything.
        make_task: Makes the task of a stage with its parameters; tasks are in a layer above this one.
        kinds: Kinds of documents.
        evaluation: What documents are compared with.
        filters: Bounds, and filters that are not applied.
        counter: Counts tokens.
        round_size: Documents in one log at most.
        allow_shortfall: End well with less than asked for.
        options: Of Inspect's `eval_set`.
        say: Called with a line of progress.

    Raises:
        Unfinished: Calls failed, or the user interrupted; the same call goes on.
        ConfigError: The directory holds something else, or is in use, or a stage brings too little.
    """
    try:
        clean = corpus_filter(filters, universe, evaluation)
    except MissingExtraError as error:
        say(f"near duplicates are counted as clean here: {error}")
        without = filters.model_copy(update={"skip": (*filters.skip, NEAR)})
        clean = corpus_filter(without, universe, evaluation)

    def run(each: Round) -> bool:
        from inspect_ai import eval_set
        from inspect_ai.model import CachePolicy

        each.logs.mkdir(parents=True, exist_ok=True)
        with _replies_kept(each.logs) as kept:
            success, _ = eval_set(
                [make_task(each.stage, each.task_arguments(settings))],
                log_dir=str(each.logs),
                model=[model],
                continue_on_fail=True,  # one failing call must not stop calls that are paid for
                cache=CachePolicy(expiry=None),
                **options,
            )
        if success:
            shutil.rmtree(kept, ignore_errors=True)
        return success

    with only_one(out, "generating documents"):
        directory = GenerationDirectory(out, settings)
        generation = Generation(directory, clean, counter, run, round_size, say)
        expected = document_tokens(kinds, settings.words)
        generation.to(round(tokens * (1 + SURPLUS)), expected, allow_shortfall=allow_shortfall)
    return generation.progress


@contextmanager
def _replies_kept(logs: Path) -> Iterator[Path]:
    """Keeps the replies of a round in a cache of its own, for samples that a kill stops between two calls.

    In the user's cache and not beside the logs: Inspect's cache is of pickles, and a directory of documents
    is something that people give away.
    """
    directory = cache_dir() / "generation" / text_digest(str(logs))
    before = os.environ.get("INSPECT_CACHE_DIR")
    os.environ["INSPECT_CACHE_DIR"] = str(directory)
    try:
        yield directory
    finally:
        if before is None:
            del os.environ["INSPECT_CACHE_DIR"]
        else:
            os.environ["INSPECT_CACHE_DIR"] = before


# What a generation will cost, estimated from its prompts before the first call.

TOKENS_PER_WORD = 1.35
"""Rough for English prose."""
CRITIQUE_TOKENS, IDEA_TOKENS = 200, 40


class CostEstimate(NamedTuple):
    """Calls, tokens and dollars."""

    documents: int
    calls: int
    input_tokens: int
    """Without caching of the common start of the prompts, so the most that is paid for."""
    cached_tokens: int
    """How many of them repeat the setting, which providers with a prompt cache charge less for."""
    output_tokens: int
    cost_usd: float | None
    """None where the price is not known."""

    def text(self) -> str:
        """The estimate as one line."""
        cost = "unknown (give prices with --price)" if self.cost_usd is None else f"${self.cost_usd:,.2f}"
        return (
            f"about {self.documents:,} documents, {self.calls:,} calls, {self.input_tokens:,} tokens in (of "
            f"which {self.cached_tokens:,} repeat the setting and can be cached), {self.output_tokens:,} "
            f"out; cost without caching {cost}; estimated at {CHARACTERS_PER_TOKEN} characters a token, "
            "reasoning not counted"
        )


def document_tokens(kinds: Sequence[DocumentType], words: int | None) -> float:
    """Expected tokens of one document, whose length is `words` or goes by its kind."""
    middles = [sum(kind.words) / 2 for kind in kinds] if words is None else [float(words)]
    return TOKENS_PER_WORD * sum(middles) / len(middles)


def estimate(
    universe: Universe,
    prompts: WritingPrompts,
    kinds: Sequence[DocumentType],
    tokens: int,
    *,
    ideas: int,
    per_idea: int = 1,
    revisions: int,
    words: int | None,
    price: Sequence[float] | None,
) -> CostEstimate:
    """Estimates what `tokens` tokens of documents cost, with the surplus that is generated on top of them.

    Args:
        universe: What they are about.
        prompts: What is asked.
        kinds: Kinds of documents.
        tokens: Target.
        ideas: Ideas of one request.
        per_idea: Documents of one idea.
        revisions: Rounds of critique and revision.
        words: Length of a document; None where it goes by its kind.
        price: Dollars per million input and output tokens; None where they are not known.
    """
    each = document_tokens(kinds, words)
    documents = math.ceil(round(tokens * (1 + SURPLUS)) / each)
    requests = math.ceil(documents / per_idea / ideas)
    level: Directness = "standard"
    length = round(each / TOKENS_PER_WORD)

    def size(text: str) -> float:
        return len(text) / CHARACTERS_PER_TOKEN

    system = size(prompts.system(universe))
    idea = "x" * IDEA_TOKENS * CHARACTERS_PER_TOKEN
    draft = system + size(prompts.document(universe, kinds[0], level, idea, length))
    critique, revise = size(prompts.critique(level, length)), size(prompts.revise(length))
    read, written, so_far = draft, each, draft + each
    for _ in range(revisions):
        read += so_far + critique
        so_far += critique + CRITIQUE_TOKENS
        read += so_far + revise
        so_far += revise + each
        written += CRITIQUE_TOKENS + each
    asked = system + size(prompts.ideas(universe, kinds[0], level, ideas))
    calls = documents * (1 + 2 * revisions) + requests
    input_tokens = round(documents * read + requests * asked)
    output_tokens = round(documents * written + requests * ideas * IDEA_TOKENS)
    cost = None if price is None else (input_tokens * price[0] + output_tokens * price[1]) / 1e6
    return CostEstimate(documents, calls, input_tokens, round(system * calls), output_tokens, cost)
