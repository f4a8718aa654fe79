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

import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from inspect_af.config import Frozen, only_one, text_digest, write_whole
from inspect_af.errors import ConfigError, LogError, MaterialsError, MissingExtraError
from inspect_af.format import plural
from inspect_af.logs.files import check_log_dir
from inspect_af.materials import Universe, cache_dir
from inspect_af.materials.universes import DocumentType, WritingPrompts
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
from inspect_af.sdf.filters import NEAR, Evaluation, corpus_filter

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.model import Model

SETTINGS = "generation.json"
# Share generated on top of the target, since the builder holds documents out and cuts to size; not in source.
SURPLUS = 0.05
ROUND_REQUESTS = 500  # requests for ideas in one log at most
LEAST_YIELD = 0.1  # a round that brings less than this share of what it should has failed

Say = Callable[[str], None]
Stage = Literal["ideas", "documents"]


class GenerationSettings(Frozen):
    """What shapes the documents; it cannot change within a directory. How many there are can.

    `universe` is as given, a code or a file; `words_digest` is of the instructions to the writer,
    `model_args` the digest of the model's arguments, which may hold secrets; `ideas` are those of a request.
    """

    universe: str
    universe_digest: str
    pair: str | None = None
    words_digest: str
    model: str
    model_args: str
    directness: str
    kinds: tuple[str, ...]
    ideas: int
    per_idea: int
    revisions: int
    words: int | None = None
    run_seed: int
    temperature: float | None = None
    max_tokens: int | None = None


class Round(NamedTuple):
    """One eval of a generation, in the directory of its stage."""

    stage: Stage
    number: int
    directory: Path

    def file(self, ending: str) -> Path:
        """A file of the round by its ending, or the directory of its logs."""
        return self.directory / f"round-{self.number:03}{ending}"

    @property
    def logs(self) -> Path:
        return self.file("")

    @property
    def ideas_file(self) -> Path:
        """The ideas that came out of a round of ideas, or go into a round of documents."""
        return self.file(".jsonl")

    @property
    def requests(self) -> tuple[int, int]:
        """Which lists of ideas a round asks for, of every kind: how many, and the number of the first."""
        number, first = map(int, self.file(".plan").read_text(encoding="utf-8").split())
        return number, first

    @property
    def is_finished(self) -> bool:
        return (self.ideas_file if self.stage == "ideas" else self.file(".done")).exists()

    def finish(self) -> None:
        if self.stage == "ideas":
            write_ideas(log_ideas(self.logs), self.ideas_file)
        else:
            write_whole(self.file(".done"), ["finished\n"])

    def task_arguments(self, settings: GenerationSettings) -> dict[str, Any]:
        """The parameters of the round's task, `inspect_af/sdf_ideas` or `inspect_af/sdf_documents`."""
        given = settings.model_dump(include={"universe", "directness", "pair", "run_seed"})
        if self.stage == "documents":
            given |= settings.model_dump(include={"revisions", "words", "per_idea"})
            return {**given, "ideas": str(self.ideas_file)}
        number, first = self.requests
        asked = {"requests": number, "first_request": first, "ideas": settings.ideas}
        return {**given, **asked, "kinds": list(settings.kinds)}


class GenerationDirectory:
    """What has been generated so far, read from the files of a directory, which is created if it is missing.

    A ConfigError where it holds something else, or a generation with other settings.
    """

    def __init__(self, path: Path, settings: GenerationSettings) -> None:
        self.path = path
        self.settings = settings
        file = path / SETTINGS
        if not file.exists():
            if path.exists() and (not path.is_dir() or any(p.name != ".lock" for p in path.iterdir())):
                raise ConfigError(
                    f"{path} holds something else already; give an empty directory, or a new one"
                )
            write_whole(file, [settings.model_dump_json(indent=1), "\n"])
        try:
            before = GenerationSettings.model_validate_json(file.read_bytes())
        except (ValueError, OSError) as error:
            raise MaterialsError(f"{file} cannot be read ({error}); give a new directory") from error
        changed = [
            f"{name} {was!r}, now {now!r}"
            for (name, was), (_, now) in zip(before, settings, strict=True)
            if was != now
        ]
        if changed:
            raise ConfigError(
                f"{path} was started with other settings: {'; '.join(changed)}. Repeat them, or give a new "
                "directory"
            )

    def rounds(self, stage: Stage) -> list[Round]:
        """All rounds that were started, in order."""
        started = re.compile(rf"round-(\d{{3,}})\.{'plan' if stage == 'ideas' else 'jsonl'}")
        names = [file.name for file in (self.path / stage).glob("round-*")]
        numbers = sorted(int(match[1]) for name in names if (match := started.fullmatch(name)))
        return [Round(stage, number, self.path / stage) for number in numbers]

    def unused_ideas(self) -> list[Idea]:
        """Ideas of finished rounds that no round of documents has taken, all kinds in turn."""
        finished = [each for each in self.rounds("ideas") if each.is_finished]
        # A round may have brought none.
        files = [each.ideas_file for each in finished if each.ideas_file.stat().st_size]
        ideas = distinct(idea for file in files for idea in read_ideas(file))
        taken = {idea.id for each in self.rounds("documents") for idea in read_ideas(each.ideas_file)}
        places = {kind: place for place, kind in enumerate(self.settings.kinds)}
        in_turn = sorted(ideas, key=lambda idea: (_number(idea.id), places.get(idea.kind, len(places))))
        return [idea for idea in in_turn if idea.id not in taken]

    def start_documents(self, ideas: Sequence[Idea]) -> Round:
        """Starts a round of documents by writing down what it is about."""
        started = self._next("documents")
        write_ideas(ideas, started.ideas_file)
        return started

    def start_ideas(self, requests: int) -> Round:
        """Starts a round of ideas, with requests that no round has made."""
        first = 1 + sum(each.requests[0] for each in self.rounds("ideas"))
        started = self._next("ideas")
        write_whole(started.file(".plan"), [f"{requests} {first}\n"])
        return started

    def _next(self, stage: Stage) -> Round:
        last = max((each.number for each in self.rounds(stage)), default=0)
        return Round(stage, last + 1, self.path / stage)


def _number(id: str) -> tuple[int, int]:
    """Request and position of an idea, by which kinds take turns."""
    numbers = re.fullmatch(r".*/(\d+)-(\d+)", id)
    if numbers is None:
        raise LogError(f"the idea {id!r} has no id of the form UNIVERSE/KIND/REQUEST-POSITION")
    return int(numbers[1]), int(numbers[2])


def log_ideas(logs: Path) -> Iterator[Idea]:
    """The well-formed ideas in the logs of a round; positions of malformed ones stay empty."""
    files = sorted(logs.glob("*.eval"))
    # The newest log counts, since it has its predecessors' samples.
    samples = {str(sample.id): sample for file in files for sample in log_samples(open_log(file))}
    for id, sample in samples.items():
        kind, directness = str(sample.metadata["kind"]), str(sample.metadata["directness"])
        for position, text in parse_ideas(sample.output.completion, int(sample.metadata["ideas"])).ideas:
            yield Idea(id=f"{id}-{position:02}", kind=kind, directness=directness, text=text)


def round_documents(each: Round) -> Iterator[SourceDocument]:
    """The well-formed documents of a round, each once."""
    files = sorted(each.logs.glob("*.eval"))
    return each_once(document for file in files for document in log_documents(open_log(file)))


class Progress(NamedTuple):
    """How far a generation is: tokens and number of clean documents, how many were asked for, how many were
    malformed, and how many well-formed ones the filters would remove."""

    tokens: int = 0
    documents: int = 0
    asked: int = 0
    malformed: int = 0
    removed: int = 0


class Unfinished(Exception):  # noqa: N818 - not an error: the same command goes on
    """An eval has samples that did not finish."""


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

    5 % more than `tokens`, in clean documents, are generated. `filters` has the bounds, and the filters that
    are not applied; `round_size` bounds the documents in one log: each round corrects the estimate of the
    next. `make_task` makes the task of a stage with its parameters, since tasks are in a layer above this
    one; `options` are those of Inspect's `eval_set`.

    Raises:
        Unfinished: Calls failed, or the user interrupted; the same call goes on.
        ConfigError: The directory holds something else, or is in use, or a stage brings too little, round
            after round; the message says which.
    """
    try:
        clean = corpus_filter(filters, universe, evaluation)
    except MissingExtraError as error:
        say(f"near duplicates are counted as clean here: {error}")
        without = filters.model_copy(update={"skip": (*filters.skip, NEAR)})
        clean = corpus_filter(without, universe, evaluation)
    each_request = len(settings.kinds) * settings.ideas
    target, progress = round(tokens * (1 + SURPLUS)), Progress()

    def finish(each: Round) -> None:
        if not each.is_finished:
            if not _run(each, make_task(each.stage, each.task_arguments(settings)), model, options):
                raise Unfinished
            each.finish()

    def counted(each: Round, before: Progress) -> Progress:
        """With the documents of a finished round."""
        asked, seen = len(read_ideas(each.ideas_file)) * settings.per_idea, clean.seen
        texts = [document.text for document in clean(round_documents(each))]
        well_formed = clean.seen - seen
        written = sum(counter.count(texts)) if texts else 0
        here = Progress(written, len(texts), asked, asked - well_formed, well_formed - len(texts))
        after = Progress(*map(sum, zip(before, here, strict=True)))
        say(
            f"documents {each.number}: {here.documents} clean of {asked} ({here.malformed} malformed, "
            f"{here.removed} removed by filters); {after.tokens:,} tokens so far"
        )
        return after

    check_log_dir(out)
    with only_one(out, "generating documents"):
        directory = GenerationDirectory(out, settings)
        for each in directory.rounds("ideas"):
            finish(each)
        for each in directory.rounds("documents"):
            finish(each)
            progress = counted(each, progress)
        while progress.tokens < target:
            each_document = (
                progress.tokens / progress.asked if progress.asked else document_tokens(kinds, settings.words)
            )
            wanted = min(math.ceil((target - progress.tokens) / max(each_document, 1.0)), round_size)
            number = math.ceil(wanted / settings.per_idea)
            failed, short = 0, ""
            while failed < 2 and (missing := number - len(unused := directory.unused_ideas())) > 0:
                most = max(1, ROUND_REQUESTS // len(settings.kinds))
                requests = min(math.ceil(missing / each_request), most)
                each = directory.start_ideas(requests)
                finish(each)
                new, asked = len(directory.unused_ideas()) - len(unused), requests * each_request
                say(f"ideas {each.number}: {new} new ideas of {asked} asked for")
                failed = failed + 1 if new < LEAST_YIELD * asked else 0
                short = f"ideas fall short: the last round gave {new} new ideas of {asked} asked for"
            ideas = directory.unused_ideas()[:number]
            if ideas and (failed < 2 or allow_shortfall):
                each, before = directory.start_documents(ideas), progress
                finish(each)
                progress = counted(each, before)
                new, asked = progress.documents - before.documents, progress.asked - before.asked
                failed = 2 if new < LEAST_YIELD * asked else 0
                short = (
                    f"documents fall short: the last round gave {new} clean documents of {asked} asked for"
                )
            if failed == 2:
                if not allow_shortfall:
                    raise ConfigError(f"{short}. Look at the logs in {out}, or pass --allow-shortfall")
                say(f"shortfall allowed: {short}")
                break
    return progress


def _run(each: Round, task: Task, model: Model, options: Mapping[str, Any]) -> bool:
    """Runs what is missing of a round's eval; says whether all of it is there.

    Replies are kept in a cache of the round's own, for samples that a kill stops between two calls: in the
    user's cache and not beside the logs, since Inspect's cache is of pickles, and a directory of documents is
    something that people give away.
    """
    from inspect_ai import eval_set
    from inspect_ai.model import CachePolicy

    each.logs.mkdir(parents=True, exist_ok=True)
    kept = cache_dir() / "generation" / text_digest(str(each.logs))
    before = os.environ.get("INSPECT_CACHE_DIR")
    os.environ["INSPECT_CACHE_DIR"] = str(kept)
    try:
        success, _ = eval_set(
            [task],
            log_dir=str(each.logs),
            model=[model],
            continue_on_fail=True,  # one failing call must not stop calls that are paid for
            cache=CachePolicy(expiry=None),
            **options,
        )
    finally:
        del os.environ["INSPECT_CACHE_DIR"]
        if before is not None:
            os.environ["INSPECT_CACHE_DIR"] = before
    if success:
        shutil.rmtree(kept, ignore_errors=True)
    return success


# What a generation will cost, estimated from its prompts before the first call.

TOKENS_PER_WORD = 1.35  # rough for English prose
CRITIQUE_TOKENS, IDEA_TOKENS = 200, 40


class CostEstimate(NamedTuple):
    """Calls, tokens and dollars, which are None where the price is not known.

    `input_tokens` is without caching of the common start of the prompts, so the most that is paid for;
    `cached_tokens` of them repeat the setting, which providers with a prompt cache charge less for.
    """

    documents: int
    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: float | None

    def text(self) -> str:
        cost = "unknown (give prices with inspect-af sdf generate --price)"
        if self.cost_usd is not None:
            cost = f"${self.cost_usd:,.2f}"
        return (
            f"about {plural(self.documents, 'document')}, {plural(self.calls, 'call')}, "
            f"{self.input_tokens:,} tokens in (of which "
            f"{self.cached_tokens:,} repeat the setting and can be cached), {self.output_tokens:,} "
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

    `ideas` are those of one request; `price` is dollars per million input and output tokens, if known.
    """
    each = document_tokens(kinds, words)
    documents = math.ceil(round(tokens * (1 + SURPLUS)) / each)
    requests = math.ceil(documents / per_idea / ideas)
    length = round(each / TOKENS_PER_WORD)
    idea = "x" * IDEA_TOKENS * CHARACTERS_PER_TOKEN
    texts = (
        prompts.system(universe),
        prompts.ideas(universe, kinds[0], "standard", ideas),
        prompts.document(universe, kinds[0], "standard", idea, length),
        prompts.critique("standard", length),
        prompts.revise(length),
    )
    system, list_ideas, draft, critique, revise = (len(text) / CHARACTERS_PER_TOKEN for text in texts)
    read = system + draft
    so_far, written = read + each, each
    for _ in range(revisions):
        so_far += critique
        read += so_far
        so_far += CRITIQUE_TOKENS + revise
        read += so_far
        so_far += each
        written += CRITIQUE_TOKENS + each
    calls = documents * (1 + 2 * revisions) + requests
    input_tokens = round(documents * read + requests * (system + list_ideas))
    output_tokens = round(documents * written + requests * ideas * IDEA_TOKENS)
    cost = None if price is None else (input_tokens * price[0] + output_tokens * price[1]) / 1e6
    return CostEstimate(documents, calls, input_tokens, round(system * calls), output_tokens, cost)
