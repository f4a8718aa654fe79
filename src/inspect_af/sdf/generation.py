"""A directory in which documents are generated round by round, and what is in it already.

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
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from inspect_af.errors import ConfigError, LogError, MaterialsError
from inspect_af.sdf.documents import (
    Idea,
    SourceDocument,
    distinct,
    parse_ideas,
    read_ideas,
    write_atomically,
    write_ideas,
)
from inspect_af.sdf.sources import each_once, log_documents, log_samples, open_log

SETTINGS = "generation.json"


class GenerationSettings(BaseModel):
    """What shapes the documents; it cannot change within a directory. How many there are can."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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


Stage = Literal["ideas", "documents"]
_STARTED = {"ideas": re.compile(r"round-(\d{3,})\.plan"), "documents": re.compile(r"round-(\d{3,})\.jsonl")}


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

    @property
    def logs(self) -> Path:
        return self.directory / f"round-{self.number:03}"

    @property
    def ideas_file(self) -> Path:
        """The ideas that came out of a round of ideas, or go into a round of documents."""
        return self.directory / f"round-{self.number:03}.jsonl"

    @property
    def requests(self) -> Requests:
        """What a round of ideas asks for."""
        number, first = self._plan.read_text(encoding="utf-8").split()
        return Requests(int(number), int(first))

    @property
    def is_finished(self) -> bool:
        return (self.ideas_file if self.stage == "ideas" else self._done).exists()

    @property
    def _plan(self) -> Path:
        return self.directory / f"round-{self.number:03}.plan"

    @property
    def _done(self) -> Path:
        return self.directory / f"round-{self.number:03}.done"

    def finish(self) -> None:
        """Marks a round as finished, after its logs are complete."""
        if self.stage == "ideas":
            ideas = list(log_ideas(self.logs))
            write_atomically(self.ideas_file, (f"{idea.model_dump_json()}\n" for idea in ideas))
        else:
            write_atomically(self._done, ["finished\n"])


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
        names = [entry.name for entry in directory.iterdir()] if directory.is_dir() else []
        numbers = sorted(int(found[1]) for name in names if (found := _STARTED[stage].fullmatch(name)))
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
        ideas = sorted(
            distinct(ideas), key=lambda idea: (_number(idea.id), places.get(idea.kind, len(places)))
        )
        return [idea for idea in ideas if idea.id not in taken]

    def start_documents(self, ideas: Sequence[Idea]) -> Round:
        """Starts a round of documents by writing down what it is about."""
        started = self._next("documents")
        write_ideas(ideas, started.ideas_file)
        return started

    def start_ideas(self, requests: int) -> Round:
        """Starts a round of ideas, with requests that no round has made."""
        first = 1 + sum(each.requests.number for each in self.rounds("ideas"))
        started = self._next("ideas")
        write_atomically(started.directory / f"round-{started.number:03}.plan", [f"{requests} {first}\n"])
        return started

    def _next(self, stage: Stage) -> Round:
        last = max((each.number for each in self.rounds(stage)), default=0)
        return Round(stage, last + 1, self.path / stage)


def log_ideas(logs: Path) -> Iterator[Idea]:
    """The well-formed ideas in the logs of a round; positions of malformed ones stay empty."""
    seen: set[str] = set()
    for file in sorted(
        logs.glob("*.eval"), reverse=True
    ):  # the newest first: it has its predecessors' samples
        log, _ = open_log(file)
        for sample in log_samples(log):
            if str(sample.id) in seen:
                continue
            seen.add(str(sample.id))
            metadata = sample.metadata
            for position, text in parse_ideas(sample.output.completion, int(metadata["ideas"])).ideas:
                yield Idea(
                    id=f"{sample.id}-{position:02}",
                    kind=str(metadata["kind"]),
                    directness=str(metadata["directness"]),
                    text=text,
                )


def round_documents(each: Round) -> Iterator[SourceDocument]:
    """The well-formed documents of a round, each once."""
    logs = [open_log(file)[0] for file in sorted(each.logs.glob("*.eval"))]
    return each_once(document for log in logs for document in log_documents(log))


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Keeps a second process out of a directory; the lock goes with the process, also when it is killed.

    Raises:
        ConfigError: Another process is at work there.
    """
    path.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # not on Windows, where starting the command twice is the user's to avoid
        yield
        return
    with (path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"another process is generating into {path}; wait for it, or stop it"
            ) from error
        yield


def _check_same(file: Path, settings: GenerationSettings) -> None:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        before = GenerationSettings.model_validate(known)
    except (ValueError, ValidationError, OSError) as error:
        raise MaterialsError(f"{file} cannot be read ({error}); give a new directory") from error
    changed = _differences(before.model_dump(mode="json"), settings.model_dump(mode="json"))
    if changed:
        raise ConfigError(
            f"{file.parent} was started with other settings: {'; '.join(changed)}. Repeat them, or give a "
            f"new directory"
        )


def _differences(before: Mapping[str, object], now: Mapping[str, object]) -> Iterable[str]:
    return [f"{name} {before[name]!r}, now {now[name]!r}" for name in before if before[name] != now.get(name)]


def _number(id: str) -> tuple[int, int]:
    """Request and position of an idea, by which kinds take turns."""
    request, _, position = id.rpartition("/")[2].partition("-")
    try:
        return int(request), int(position)
    except ValueError:
        raise LogError(f"the idea {id!r} has no id of the form UNIVERSE/KIND/REQUEST-POSITION") from None
