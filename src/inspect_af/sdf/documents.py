"""Ideas and documents: how they are read from replies, logs and files, their size, a corpus's manifest."""

from __future__ import annotations

import codecs
import hashlib
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

from inspect_af.config import Frozen, is_file, is_remote, require, user_path, write_whole
from inspect_af.errors import ConfigError, LogError, MaterialsError, problems
from inspect_af.format import one_line
from inspect_af.logs import LogFile, find_logs
from inspect_af.types import Intervention

METADATA_KEY = "inspect_af_sdf"  # where a log's header has its `GenerationMeta`
IDEAS_TASK = "inspect_af/sdf_ideas"
DOCUMENTS_TASK = "inspect_af/sdf_documents"
# Name of the model provider whose documents test the pipeline and nothing else.
SIMULATED_WRITER = "af-simulated-writer"


class GenerationMeta(Frozen):
    """What an eval of ideas or documents says about itself, in its log's header.

    `directness` is a level, or `mixed`; `words_digest` is of the instructions to the writer; `settings` are
    further choices that shape the documents, such as `revisions`. The universe's canary is there so that logs
    can be found by it, and in no prompt.
    """

    schema_version: Literal[1] = 1
    universe: str
    universe_digest: str
    pair: str
    pair_digest: str
    directness: str
    words_digest: str
    run_seed: int
    settings: dict[str, str]
    canary: str

    def as_metadata(self) -> dict[str, object]:
        return {METADATA_KEY: self.model_dump(mode="json")}


class Idea(Frozen):
    """What one document is to be about.

    The id is `UNIVERSE/KIND/REQUEST-POSITION`: a malformed item leaves a gap, later ones keep their position.
    """

    id: str = Field(min_length=1)
    kind: str
    directness: str
    text: str = Field(min_length=1)


class SourceDocument(NamedTuple):
    """One document as a log or a file has it.

    Documents of one group (one idea) are never split between training and held-out. `uuid` is Inspect's id of
    the sample: a retried log has its predecessor's samples, which count once. `tokens` are 0 until counted.
    """

    id: str
    text: str
    group: str
    kind: str | None = None
    uuid: str | None = None
    tokens: int = 0


# Replies.


class IdeaList(NamedTuple):
    """What a reply to a request for ideas holds: the ideas by their number in the reply, and how many items
    and lines are no usable idea or repeat a number."""

    ideas: tuple[tuple[int, str], ...]
    malformed: int


class ParsedDocument(NamedTuple):
    """What a reply to a request for a document holds: a text, or a problem."""

    text: str
    problem: str | None


_ITEM = re.compile(r"(\d{1,3})[.)]\s+(.*)")
_DOCUMENT = re.compile(r"<document>(.*?)</document>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?document>", re.IGNORECASE)
IDEA_WORDS = (5, 80)  # shorter or longer items are malformed; not in source


def parse_ideas(reply: str, asked: int) -> IdeaList:
    """Reads a numbered list, strictly: an item is one line with its number.

    Items past the number asked for, of odd length, or with a number that was there already count as
    malformed, and so does any other line, except an opening one that ends in a colon.
    """
    ideas: dict[int, str] = {}
    lines = [line.strip() for line in reply.strip().split("\n") if line.strip()]
    if lines and lines[0].endswith(":") and not _ITEM.fullmatch(lines[0]):
        del lines[0]
    for line in lines:
        if item := _ITEM.fullmatch(line.replace("**", "")):
            number, words = int(item[1]), item[2].split()
            if 1 <= number <= asked and number not in ideas and IDEA_WORDS[0] <= len(words) <= IDEA_WORDS[1]:
                ideas[number] = " ".join(words)
    return IdeaList(tuple(sorted(ideas.items())), len(lines) - len(ideas))


def parse_document(reply: str) -> ParsedDocument:
    """The text between the document tags, strictly: one pair of tags, and something in it."""
    between = _DOCUMENT.findall(reply)
    if len(_TAG.findall(reply)) != 2 or len(between) != 1:
        return ParsedDocument("", "no single pair of document tags")
    text = between[0].strip()
    return ParsedDocument(text, None if text else "an empty document")


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
    """Reads a file of ideas, as `write_ideas` writes it; a MaterialsError where a line is malformed or
    repeats an id."""
    form = "each line has id, kind, directness and text"
    ideas: dict[str, Idea] = {}
    for number, _, row in json_lines(user_path(file), "text", form):
        try:
            idea = Idea.model_validate(row)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise MaterialsError(f"{file}, line {number}: {problem}; {form}") from error
        if idea.id in ideas:
            raise MaterialsError(f"{file}, line {number}: the id {idea.id!r} is there already")
        ideas[idea.id] = idea
    if not ideas:
        raise MaterialsError(f"ideas {file}: holds no idea")
    return tuple(ideas.values())


def write_ideas(ideas: Iterable[Idea], file: Path) -> None:
    """Writes ideas as JSON Lines, all or nothing."""
    write_whole(file, (f"{idea.model_dump_json()}\n" for idea in ideas))


def distinct(ideas: Iterable[Idea]) -> list[Idea]:
    """Leaves out ideas that say, word for word, what an earlier one says."""
    by_words: dict[str, Idea] = {}
    for idea in ideas:
        by_words.setdefault(" ".join(re.findall(r"\w+", idea.text.lower())), idea)
    return list(by_words.values())


# Logs and files that documents come from.


class DocumentLog(NamedTuple):
    """A log of ideas or documents, at a path or URL."""

    location: str
    meta: GenerationMeta
    model: str
    eval_id: str
    task: str


Source = DocumentLog | Path  # A log of documents, or a JSON Lines file of them


def find_sources(given: Sequence[str | Path]) -> list[Source]:
    """Logs and JSON Lines files that files, directories and globs name; logs of ideas are passed over.

    Raises:
        LogError: A source does not exist, is no log of documents, or a directory holds none.
        MaterialsError: A file is neither a log nor JSON Lines.
    """
    sources: list[Source] = []
    for source in given:
        if is_remote(source) and str(source).endswith(".jsonl"):
            raise MaterialsError(f"{source}: documents are kept on this machine alone; give a path of it")
        path = user_path(source)
        named = not is_remote(source) and is_file(path)
        if named and path.suffix == ".jsonl":
            sources.append(path)
            continue
        if named and path.suffix not in (".eval", ".json"):
            raise MaterialsError(
                f"{path}: neither an eval log nor a .jsonl file; give logs of {DOCUMENTS_TASK}, directories "
                "of them, or JSON Lines files with a text column"
            )
        logs = [open_log(location) for location in find_logs([source])]
        documents = [log for log in logs if log.task == DOCUMENTS_TASK]
        if not documents:
            tasks = ", ".join(sorted({log.task for log in logs}))
            raise LogError(
                f"{source}: no log of {DOCUMENTS_TASK} (it holds {tasks}); give the documents' logs"
            )
        sources += documents
    if not sources:
        raise LogError("no sources given; name logs of documents, or JSON Lines files with a text column")
    return sources


def open_log(location: str | Path) -> DocumentLog:
    """Reads the header of a log of ideas or documents; a LogError where it is of another task, or lacks what
    the package writes into headers."""
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
    return DocumentLog(str(location), meta, log.eval.model, log.eval.eval_id, task)


def log_samples(log: DocumentLog) -> Iterator[EvalSample]:
    """The finished samples of a log, one at a time, without their messages and events.

    Samples that ended in an error or were marked invalid are left out: they hold no reply.
    """
    heavy = {"messages", "events", "store", "attachments"}
    samples = LogFile(log.location).samples(without=heavy)
    return (one for one in samples if one.error is None and one.invalidation is None and one.scores)


def log_documents(log: DocumentLog) -> Iterator[SourceDocument]:
    """The well-formed documents of a log of `sdf_documents`."""
    for sample in log_samples(log):
        document = read_document(sample.output)
        if document.problem is None:
            yield SourceDocument(
                id=str(sample.id) if sample.epoch == 1 else f"{sample.id}/epoch{sample.epoch}",
                text=document.text,
                group=str(sample.metadata.get("idea_id", sample.id)),
                kind=None if (kind := sample.metadata.get("kind")) is None else str(kind),
                uuid=sample.uuid,
            )


def json_lines(file: Path, text_column: str, advice: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Line number, text and whole row of each line of a JSON Lines file; empty lines are passed over.

    Other columns may be missing, or change their type from line to line; `advice` is how another column of
    texts is named.

    Raises:
        MaterialsError: A line is no JSON object or has no text; the message names the line.
    """
    try:
        lines = file.open("rb")
    except OSError as error:
        raise MaterialsError(f"{file}: cannot be read ({error}); give a JSON Lines file") from error
    with lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{file}, line {number}"
            try:
                row: Any = json.loads(line.removeprefix(codecs.BOM_UTF8))
            except (ValueError, RecursionError) as error:
                raise MaterialsError(
                    f"{where}: not valid JSON ({error}); JSON Lines have one object a line"
                ) from error
            text = row.get(text_column) if isinstance(row, dict) else None
            if not isinstance(text, str):
                columns = ", ".join(row) if isinstance(row, dict) else type(row).__name__
                columns = one_line(columns, longest=200)
                raise MaterialsError(
                    f"{where}: no text in the column {text_column!r} (it has {columns}); {advice}"
                )
            yield number, text, row


def file_documents(file: Path, text_column: str) -> Iterator[SourceDocument]:
    """The documents of a JSON Lines file; `id`, `group` and `kind` are used where they are there. Errors as
    of `json_lines`."""
    for number, text, row in json_lines(file, text_column, "name it with --text-column"):
        id = str(row.get("id") or f"{file.stem}/{number:06}")
        kind = row.get("kind")
        yield SourceDocument(id, text, str(row.get("group") or id), None if kind is None else str(kind))


def trainable_texts(file: Path, column: str) -> list[str]:
    """The texts of a JSON Lines file. Errors as of `json_lines`; also where a text is empty or no Unicode, or
    the file has no line."""
    texts = []
    for number, text, _ in json_lines(file, column, "set text_column"):
        where = f"{file}, line {number}"
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise MaterialsError(
                f"{where}: a character of the text is not Unicode ({error.reason}), which no tokenizer can "
                "read; build the corpus again without that document"
            ) from error
        if not text.strip():
            raise MaterialsError(f"{where}: the text is empty; build the corpus again without it")
        texts.append(text)
    if not texts:
        raise MaterialsError(f"{file}: has no documents; give a JSON Lines file with a column {column!r}")
    return texts


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
        again = ids[document.id]
        yield document._replace(id=f"{document.id}#{again}") if again > 1 else document


def is_simulated(source: Source) -> bool:
    """Whether a simulated writer wrote the documents."""
    return isinstance(source, DocumentLog) and source.model.startswith(f"{SIMULATED_WRITER}/")


# Sizes.

CHARACTERS = "characters"  # name of the estimate that needs no tokenizer
CHARACTERS_PER_TOKEN = 4  # rough for English text


@dataclass(frozen=True)
class TokenCounter:
    """Counts the tokens of each text, without special ones, by the tokenizer `name` or as `characters`."""

    name: str
    count: Callable[[Sequence[str]], list[int]]


def load_token_counter(tokenizer: str | None) -> TokenCounter:
    """The counter for a tokenizer, or the estimate.

    A model name or directory, as transformers takes it; None or `characters` for an estimate of one token per
    four characters.

    Raises:
        MissingExtraError: transformers is not installed.
        ConfigError: The tokenizer cannot be loaded.
    """
    if tokenizer is None or tokenizer == CHARACTERS:
        return TokenCounter(CHARACTERS, lambda texts: [-(-len(t) // CHARACTERS_PER_TOKEN) for t in texts])
    with require("local", "tokenizers"):
        from transformers import AutoTokenizer
    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer)
    except Exception as error:  # a missing file, a private repository, no network: all alike for the user
        raise ConfigError(
            f"the tokenizer {tokenizer!r} cannot be loaded ({error}); give a directory with one, a model's "
            "name on the Hugging Face Hub, or 'characters' for an estimate"
        ) from error

    def count(texts: Sequence[str]) -> list[int]:
        encoded = loaded(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    return TokenCounter(tokenizer, count)


# The record of a corpus: `manifest.json` beside `train.jsonl` and `held_out.jsonl`.

MANIFEST, REPORT = "manifest.json", "report.json"
TRAIN, HELD_OUT = "train.jsonl", "held_out.jsonl"
# The licence note where the builder is given none. What a provider's terms allow is not ours to say.
LICENCE = (
    "Synthetic text about a fictional world, written by the models listed under `sources`; their providers' "
    "terms may limit its use. Made for research on what models believe. Do not train a model with it that "
    "people rely on."
)


class CorpusSource(Frozen):
    """One log or file that documents came from, by its name without directory and its content's digest.

    `model` wrote the documents and `eval_id` is Inspect's id of the eval; None for a file that does not say.
    `documents` is how many it held, before any filter.
    """

    name: str
    digest: str
    model: str | None = None
    eval_id: str | None = None
    documents: int = Field(ge=0)


class CorpusSettings(Frozen):
    """What decides which documents of the sources end up in the corpus. No bound is in the source.

    `seed` is of the split and of the choice of documents where a corpus is cut to size; `tokens` the size of
    the training split, None to keep every document; `held_out` the share of the documents that is held out,
    whole groups at a time; `near_duplicate` the Jaccard similarity of 5-word shingles from which on two
    documents are duplicates; `skip` names the filters that are not applied.
    """

    seed: int = Field(default=0, ge=0)
    tokens: int | None = Field(default=None, ge=1)
    held_out: float = Field(default=0.02, ge=0, lt=1)
    min_words: int = Field(default=40, ge=1)
    max_words: int = Field(default=8000, ge=1)
    near_duplicate: float = Field(default=0.8, gt=0, le=1)
    skip: tuple[str, ...] = ()


class CorpusManifest(Frozen):
    """A corpus: which fact it teaches, how large it is, and where it came from.

    `digest` is of both splits and identifies the corpus. Universe and intervention are None for documents of
    another origin, the intervention also for the organism's; `directness` is None where unknown. Tokens are
    without special ones, `documents` those of the training split, `removed` counts by filter. `simulated`
    means that a simulated writer wrote any of it: such a corpus tests the pipeline and nothing else. The
    canary is a GUID by which people who collect training text can find the corpus; it is never in its texts.
    """

    schema_version: Literal[1] = 1
    digest: str
    universe: str | None
    universe_digest: str | None = None
    intervention: Intervention | None = None
    pair: str | None = None
    pair_digest: str | None = None
    directness: str | None
    tokens: int = Field(ge=0)
    held_out_tokens: int = Field(ge=0)
    tokenizer: str
    documents: int = Field(ge=0)
    held_out_documents: int = Field(ge=0)
    sources: tuple[CorpusSource, ...]
    simulated: bool = False
    removed: dict[str, int] = Field(default_factory=dict)
    settings: CorpusSettings
    licence: str = LICENCE
    canary: str | None = None
    package: str = ""


def verify_corpus(corpus: str | Path) -> CorpusManifest:
    """The manifest of a corpus directory, whose texts are checked to be the ones that it describes.

    Raises:
        MaterialsError: There is no manifest, it is malformed, or a split is missing or was changed since.
    """
    file = Path(corpus) / MANIFEST
    try:
        manifest = CorpusManifest.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MaterialsError(
            f"{corpus} is not a corpus: it has no {MANIFEST}; give a directory that `inspect-af sdf build` "
            "wrote"
        ) from None
    except ValidationError as error:
        raise MaterialsError(f"{file}: {problems(error)}; build the corpus again") from error
    for name in (TRAIN, HELD_OUT):
        if not (Path(corpus) / name).is_file():
            raise MaterialsError(f"{corpus} has no {name}; build the corpus again")
    digest = splits_digest(Path(corpus))
    if digest != manifest.digest:
        raise MaterialsError(
            f"{corpus}: the texts have the digest {digest}, the manifest says {manifest.digest}; they were "
            "changed after the build. Build the corpus again, or build one from the changed files"
        )
    return manifest


def splits_digest(directory: Path) -> str:
    """First 16 hexadecimal digits of the sha256 over both splits, with their names and sizes."""
    total = hashlib.sha256()
    for file in (directory / TRAIN, directory / HELD_OUT):
        total.update(f"{file.name}:{file.stat().st_size}:".encode())
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                total.update(block)
    return total.hexdigest()[:16]
