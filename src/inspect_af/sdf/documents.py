"""Ideas and documents: how they are read from replies, logs and files, their size, a corpus's manifest."""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from inspect_ai.log import EvalSample
from inspect_ai.model import ModelOutput
from pydantic import Field, ValidationError

from inspect_af.config import Frozen, require
from inspect_af.errors import ConfigError, LogError, MaterialsError
from inspect_af.logs import LogFile, find_logs
from inspect_af.sdf._files import file_digest, write_atomically
from inspect_af.types import Intervention

METADATA_KEY = "inspect_af_sdf"
"""Where a log's header has its `GenerationMeta`."""
IDEAS_TASK = "inspect_af/sdf_ideas"
DOCUMENTS_TASK = "inspect_af/sdf_documents"
SIMULATED_WRITER = "af-simulated-writer"
"""Name of the model provider whose documents test the pipeline and nothing else."""


class GenerationMeta(Frozen):
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


class Idea(Frozen):
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


# Replies.


class IdeaList(NamedTuple):
    """What a reply to a request for ideas holds."""

    ideas: tuple[tuple[int, str], ...]
    """Position in the list, from 1, and text; positions are as the reply numbers them."""
    malformed: int
    """Items and lines that are no usable idea, and repeated numbers."""


class ParsedDocument(NamedTuple):
    """What a reply to a request for a document holds: a text, or a problem."""

    text: str
    problem: str | None


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
    ideas: dict[int, str] = {}
    malformed = 0
    lines = [line.strip() for line in reply.strip().split("\n") if line.strip()]
    if lines and lines[0].endswith(":") and not _ITEM.fullmatch(lines[0]):
        lines = lines[1:]
    for line in lines:
        match = _ITEM.fullmatch(line.replace("**", ""))
        number = int(match[1]) if match else 0
        text = " ".join(match[2].split()) if match else ""
        has_words = IDEA_WORDS[0] <= len(text.split()) <= IDEA_WORDS[1]
        if not 1 <= number <= asked or number in ideas or not has_words:
            malformed += 1
        else:
            ideas[number] = text
    return IdeaList(tuple(sorted(ideas.items())), malformed)


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


# Ideas in a file.


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
        where = f"ideas {file}, line {number}"
        try:
            idea = Idea.model_validate(json.loads(line))
        except (ValueError, RecursionError) as error:
            problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise MaterialsError(
                f"{where}: {problem}; each line has id, kind, directness and text"
            ) from error
        if idea.id in ideas:
            raise MaterialsError(f"{where}: the id {idea.id!r} is there already")
        ideas[idea.id] = idea
    if not ideas:
        raise MaterialsError(f"ideas {file}: holds no idea")
    return tuple(ideas.values())


def write_ideas(ideas: Iterable[Idea], file: Path) -> None:
    """Writes ideas as JSON Lines, all or nothing."""
    write_atomically(file, (f"{idea.model_dump_json()}\n" for idea in ideas))


def distinct(ideas: Iterable[Idea]) -> Iterator[Idea]:
    """Leaves out ideas that say, word for word, what an earlier one says."""
    seen: set[str] = set()
    for idea in ideas:
        key = " ".join(re.findall(r"\w+", idea.text.lower()))
        if key not in seen:
            seen.add(key)
            yield idea


# Logs and files that documents come from.


class DocumentLog(NamedTuple):
    """A log of ideas or documents."""

    location: str
    """Path or URL."""
    meta: GenerationMeta
    model: str
    eval_id: str
    status: str


class TextFile(NamedTuple):
    """A JSON Lines file of documents."""

    path: Path

    @property
    def location(self) -> str:
        """The path."""
        return str(self.path)


Source = DocumentLog | TextFile


def find_sources(given: Sequence[str | Path]) -> list[Source]:
    """Logs and JSON Lines files that files, directories and globs name; logs of ideas are passed over.

    Raises:
        LogError: A source does not exist, is no log of documents, or a directory holds none.
        MaterialsError: A file is neither a log nor JSON Lines.
    """
    sources: list[Source] = []
    for source in given:
        path = Path(source).expanduser()
        if path.is_file() and path.suffix == ".jsonl":
            sources.append(TextFile(path))
            continue
        if path.is_file() and path.suffix not in (".eval", ".json"):
            raise MaterialsError(
                f"{path}: neither an eval log nor a .jsonl file; give logs of {DOCUMENTS_TASK}, directories "
                "of them, or JSON Lines files with a text column"
            )
        logs = [open_log(location) for location in find_logs([source])]
        documents = [log for log, task in logs if task == DOCUMENTS_TASK]
        if not documents:
            tasks = ", ".join(sorted({task for _, task in logs}))
            raise LogError(
                f"{source}: no log of {DOCUMENTS_TASK} (it holds {tasks}); give the documents' logs"
            )
        sources += documents
    if not sources:
        raise LogError("no sources given; name logs of documents, or JSON Lines files with a text column")
    return sources


def open_log(location: str | Path) -> tuple[DocumentLog, str]:
    """Reads the header of a log of ideas or documents; also returns the task's name.

    Raises:
        LogError: The log is unreadable, of another task, or lacks what the package writes into headers.
    """
    log = LogFile(location).header
    name = log.eval.task_registry_name or log.eval.task
    task = name if "/" in name else f"inspect_af/{name}"
    if task not in (DOCUMENTS_TASK, IDEAS_TASK):
        raise LogError(f"{location}: a log of {name}; give logs of {DOCUMENTS_TASK}")
    try:
        meta = GenerationMeta.model_validate((log.eval.metadata or {}).get(METADATA_KEY))
    except ValidationError as error:
        raise LogError(
            f"{location}: its header does not say which universe it is about; it is of another version of "
            "this package, or not of this package. Give it as JSON Lines instead"
        ) from error
    return DocumentLog(str(location), meta, log.eval.model, log.eval.eval_id, log.status), task


def log_samples(log: DocumentLog) -> Iterator[EvalSample]:
    """The finished samples of a log, one at a time, without their messages and events.

    Samples that ended in an error or were marked invalid are left out: they hold no reply.
    """
    heavy = {"messages", "events", "store", "attachments"}
    for sample in LogFile(log.location).samples(without=heavy):
        if sample.error is None and sample.invalidation is None and sample.scores:
            yield sample


def log_documents(log: DocumentLog) -> Iterator[SourceDocument]:
    """The well-formed documents of a log of `sdf_documents`."""
    for sample in log_samples(log):
        document = read_document(sample.output)
        if document.problem is None:
            yield SourceDocument(
                id=str(sample.id) if sample.epoch == 1 else f"{sample.id}/epoch{sample.epoch}",
                text=document.text,
                group=str(sample.metadata.get("idea_id", sample.id)),
                kind=_optional(sample.metadata.get("kind")),
                directness=_optional(sample.metadata.get("directness")),
                uuid=sample.uuid,
            )


def json_lines(file: Path, text_column: str, advice: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Line number, text and whole row of each line of a JSON Lines file; empty lines are passed over.

    Args:
        file: One JSON object a line.
        text_column: Where the text is. Other columns may be missing, or change their type from line to line.
        advice: How another column is named.

    Raises:
        MaterialsError: A line is no JSON object or has no text; the message names the line.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row: Any = json.loads(line.removeprefix(codecs.BOM_UTF8))
            except (ValueError, RecursionError) as error:
                message = (
                    f"{file}, line {number}: not valid JSON ({error}); JSON Lines have one object a line"
                )
                raise MaterialsError(message) from error
            text = row.get(text_column) if isinstance(row, dict) else None
            if not isinstance(text, str):
                columns = ", ".join(row) if isinstance(row, dict) else type(row).__name__
                missing = f"no text in the column {text_column!r} (it has {columns})"
                raise MaterialsError(f"{file}, line {number}: {missing}; {advice}")
            yield number, text, row


def file_documents(file: TextFile, *, text_column: str = "text") -> Iterator[SourceDocument]:
    """The documents of a JSON Lines file; `id`, `group` and `kind` are used where they are there.

    Raises:
        MaterialsError: As `json_lines`.
    """
    for number, text, row in json_lines(file.path, text_column, "name it with --text-column"):
        id = str(row.get("id") or f"{file.path.stem}/{number:06}")
        yield SourceDocument(id, text, str(row.get("group") or id), _optional(row.get("kind")))


def trainable_texts(file: str, column: str, digest: str) -> Iterator[dict[str, str]]:
    """The texts of a JSON Lines file as rows of a dataset.

    Args:
        file: One JSON object a line; columns other than `column` are not looked at.
        column: Where the text is.
        digest: Of the file's content; it names the rows in a cache and has no other use.

    Raises:
        MaterialsError: As `json_lines`; or a text is empty or no Unicode, or the file has no line.
    """
    number = 0
    for number, text, _ in json_lines(Path(file), column, "set text_column"):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise MaterialsError(
                f"{file}, line {number}: a character of the text is not Unicode ({error.reason}), which no "
                "tokenizer can read; build the corpus again without that document"
            ) from error
        if not text.strip():
            raise MaterialsError(
                f"{file}, line {number}: the text is empty; build the corpus again without it"
            )
        yield {"text": text}
    if not number:
        raise MaterialsError(f"{file}: has no documents; give a JSON Lines file with a column {column!r}")


def each_once(documents: Iterable[SourceDocument]) -> Iterator[SourceDocument]:
    """Leaves out samples that an earlier log holds too; makes ids unique by a suffix such as `#2`."""
    uuids: set[str] = set()
    ids: Counter[str] = Counter()
    for document in documents:
        if document.uuid is not None:
            if document.uuid in uuids:
                continue
            uuids.add(document.uuid)
        ids[document.id] += 1
        if (again := ids[document.id]) > 1:
            document = document._replace(id=f"{document.id}#{again}")
        yield document


def is_simulated(source: Source) -> bool:
    """Whether a simulated writer wrote the documents."""
    return isinstance(source, DocumentLog) and source.model.startswith(f"{SIMULATED_WRITER}/")


def _optional(value: object) -> str | None:
    return None if value is None else str(value)


# Sizes.

CHARACTERS = "characters"
"""Name of the estimate that needs no tokenizer."""
CHARACTERS_PER_TOKEN = 4
"""Rough for English text."""


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens without special ones."""

    name: str
    """Of the tokenizer, or `characters`."""
    count: Callable[[Sequence[str]], list[int]]
    """Takes texts, returns the number of tokens of each."""

    @property
    def is_estimate(self) -> bool:
        """Whether tokens are estimated from characters."""
        return self.name == CHARACTERS


def load_token_counter(tokenizer: str | None) -> TokenCounter:
    """The counter for a tokenizer, or the estimate.

    Args:
        tokenizer: A model name or directory, as transformers takes it; None or `characters` for an estimate
            of one token per four characters.

    Raises:
        MissingExtraError: transformers is not installed.
        ConfigError: The tokenizer cannot be loaded.
    """
    if tokenizer is None or tokenizer == CHARACTERS:
        return TokenCounter(CHARACTERS, lambda texts: [-(-len(t) // CHARACTERS_PER_TOKEN) for t in texts])
    with require("local", "tokenizers"):
        from transformers import AutoTokenizer
    _refuse_missing_directory(tokenizer)
    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer)
    except Exception as error:  # a missing file, a private repository, no network: all alike for the user
        raise ConfigError(
            f"the tokenizer {tokenizer!r} cannot be loaded ({error}); give a model name on the Hugging Face "
            "Hub or a directory with its tokenizer, or 'characters' for an estimate"
        ) from error

    def count(texts: Sequence[str]) -> list[int]:
        encoded = loaded(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    return TokenCounter(tokenizer, count)


def _refuse_missing_directory(tokenizer: str) -> None:
    """A path that is not there would be looked for on the Hub, again and again where there is no network.

    `tiny/expectation` may be either: it is a path where its folder has other directories with tokenizers.
    """
    path = Path(tokenizer).expanduser()
    if path.exists():
        return
    beside = sorted(found.parent.name for found in path.parent.glob("*/tokenizer_config.json"))
    surely = tokenizer.startswith((".", "/", "~")) or tokenizer.count("/") > 1
    if surely or ("/" in tokenizer and beside):
        there = f", only {', '.join(beside[:10])}" if beside else ""
        raise ConfigError(
            f"the tokenizer {tokenizer!r} cannot be loaded: there is no such directory{there}; give one with "
            "a tokenizer, a model name on the Hugging Face Hub, or 'characters' for an estimate"
        )


# The record of a corpus: `manifest.json` beside `train.jsonl` and `held_out.jsonl`.

MANIFEST, REPORT = "manifest.json", "report.json"
TRAIN, HELD_OUT = "train.jsonl", "held_out.jsonl"
LICENCE = (
    "Synthetic text about a fictional world, written by the models listed under `sources`; their providers' "
    "terms may limit its use. Made for research on what models believe. Do not train a model with it that "
    "people rely on."
)
"""The licence note where the builder is given none. What a provider's terms allow is not ours to say."""


class CorpusSource(Frozen):
    """One log or file that documents came from."""

    name: str
    """File name, without its directory."""
    digest: str
    """First 16 hexadecimal digits of the sha256 of its content."""
    model: str | None = None
    """Which model wrote the documents; None for a file that does not say."""
    eval_id: str | None = None
    """Inspect's id of the eval; None for a file that is no log."""
    documents: int = Field(ge=0)
    """How many documents it held, before any filter."""


class CorpusSettings(Frozen):
    """What decides which documents of the sources end up in the corpus."""

    seed: int = Field(default=0, ge=0)
    """Of the split and of the choice of documents where a corpus is cut to size."""
    tokens: int | None = Field(default=None, ge=1)
    """Size of the training split; None to keep every document."""
    held_out: float = Field(default=0.02, ge=0, lt=1)
    """Share of the documents that is held out, whole groups at a time. Not in source."""
    min_words: int = Field(default=40, ge=1)
    """Shorter documents are removed. Not in source."""
    max_words: int = Field(default=8000, ge=1)
    """Longer documents are removed. Not in source."""
    near_duplicate: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of 5-word shingles from which on two documents are duplicates. Not in source."""
    skip: tuple[str, ...] = ()
    """Names of filters that are not applied."""


class CorpusManifest(Frozen):
    """A corpus: which fact it teaches, how large it is, and where it came from."""

    schema_version: Literal[1] = 1
    digest: str
    """First 16 hexadecimal digits of the sha256 over both splits; identifies the corpus."""
    universe: str | None
    """Code of the universe, such as `A1+` or `neutral`; None for documents of another origin."""
    universe_digest: str | None = None
    intervention: Intervention | None
    """None for the neutral corpus, the organism's, and documents of another origin."""
    pair: str | None = None
    """Name of the hypothesis pair."""
    pair_digest: str | None = None
    directness: str | None
    """How directly the documents state the fact; None where unknown, `mixed` for several levels."""
    tokens: int = Field(ge=0)
    """Of the training split, with `tokenizer`, without special tokens."""
    held_out_tokens: int = Field(ge=0)
    tokenizer: str
    """Name of the tokenizer, or `characters` for an estimate at 4 characters each."""
    documents: int = Field(ge=0)
    """In the training split."""
    held_out_documents: int = Field(ge=0)
    sources: tuple[CorpusSource, ...]
    simulated: bool = False
    """Whether a simulated writer wrote any of it: such a corpus tests the pipeline and nothing else."""
    removed: dict[str, int] = Field(default_factory=dict)
    """Documents that each filter removed; `report.json` has examples."""
    settings: CorpusSettings
    licence: str = LICENCE
    canary: str | None = None
    """A GUID by which people who collect training text can find and leave out this corpus. Never in its
    texts."""
    package: str = ""
    """Version of this package."""

    @property
    def logs(self) -> tuple[str, ...]:
        """Inspect's ids of the evals that the documents came from."""
        return tuple(source.eval_id for source in self.sources if source.eval_id)


def load_manifest(corpus: str | Path) -> CorpusManifest:
    """Reads the manifest of a corpus directory.

    Raises:
        MaterialsError: The directory has none, or it is malformed.
    """
    file = Path(corpus) / MANIFEST
    try:
        return CorpusManifest.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MaterialsError(
            f"{corpus} is not a corpus: it has no {MANIFEST}; give a directory that `inspect-af sdf build` "
            "wrote"
        ) from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise MaterialsError(f"{file}: {problems}; build the corpus again") from error


def verify_corpus(corpus: str | Path) -> CorpusManifest:
    """Reads the manifest and checks that the texts are the ones that it describes.

    Raises:
        MaterialsError: As `load_manifest`; or a split is missing or was changed after the build.
    """
    manifest = load_manifest(corpus)
    directory = Path(corpus)
    for name in (TRAIN, HELD_OUT):
        if not (directory / name).is_file():
            raise MaterialsError(f"{corpus} has no {name}; build the corpus again")
    digest = splits_digest(directory)
    if digest != manifest.digest:
        raise MaterialsError(
            f"{corpus}: the texts have the digest {digest}, the manifest says {manifest.digest}; they were "
            "changed after the build. Build the corpus again, or build one from the changed files"
        )
    return manifest


def splits_digest(directory: Path) -> str:
    """First 16 hexadecimal digits of the sha256 over both splits, with their names and sizes."""
    return file_digest(directory / TRAIN, directory / HELD_OUT, named=True)
