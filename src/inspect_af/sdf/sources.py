"""Where documents come from: logs of `inspect_af/sdf_documents`, or any JSON Lines file with a text "
"column."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inspect_ai.log import EvalLog, EvalSample, read_eval_log, read_eval_log_samples
from pydantic import ValidationError

from inspect_af.errors import LogError, MaterialsError
from inspect_af.logs import find_logs
from inspect_af.sdf.documents import (
    DOCUMENTS_TASK,
    IDEAS_TASK,
    METADATA_KEY,
    GenerationMeta,
    SourceDocument,
    read_document,
)
from inspect_af.sdf.manifest import CorpusSource, file_digest

_HEAVY = {"messages", "events", "store", "attachments"}
SIMULATED_WRITER = "af-simulated-writer"
"""Name of the model provider whose documents test the pipeline and nothing else."""


class LogFile(NamedTuple):
    """A log of ideas or documents."""

    path: Path
    meta: GenerationMeta
    model: str
    eval_id: str
    status: str


class TextFile(NamedTuple):
    """A JSON Lines file of documents."""

    path: Path


Source = LogFile | TextFile


def find_sources(given: Sequence[str | Path]) -> list[Source]:
    """Logs and JSON Lines files that files, directories and globs name; logs of ideas are passed over.

    Raises:
        LogError: A source does not exist, is no log of documents, or a directory holds none.
        MaterialsError: A file is neither a log nor JSON Lines.
    """
    found: list[Source] = []
    for source in given:
        path = Path(source).expanduser()
        if path.is_file() and path.suffix == ".jsonl":
            found.append(TextFile(path))
            continue
        if path.is_file() and path.suffix not in (".eval", ".json"):
            raise MaterialsError(
                f"{path}: neither an eval log nor a .jsonl file; give logs of {DOCUMENTS_TASK}, directories "
                f"of "
                "them, or JSON Lines files with a text column"
            )
        logs = [open_log(Path(location)) for location in find_logs([source])]
        documents = [log for log, task in logs if task == DOCUMENTS_TASK]
        if not documents:
            tasks = ", ".join(sorted({task for _, task in logs}))
            raise LogError(
                f"{source}: no log of {DOCUMENTS_TASK} (it holds {tasks}); give the documents' logs"
            )
        found += documents
    if not found:
        raise LogError("no sources given; name logs of documents, or JSON Lines files with a text column")
    return found


def open_log(path: Path) -> tuple[LogFile, str]:
    """Reads the header of a log of ideas or documents; also returns the task's name.

    Raises:
        LogError: The log is unreadable, of another task, or lacks what the package writes into headers.
    """
    try:
        log = read_eval_log(str(path), header_only=True)
    except Exception as error:  # a broken file can fail in any layer of zip, JSON and schema
        raise LogError(
            f"{path}: unreadable or not an eval log ({error}); remove it or give another"
        ) from error
    name = log.eval.task_registry_name or log.eval.task
    task = name if "/" in name else f"inspect_af/{name}"
    if task not in (DOCUMENTS_TASK, IDEAS_TASK):
        raise LogError(f"{path}: a log of {name}; give logs of {DOCUMENTS_TASK}")
    return LogFile(path, _meta(log, path), log.eval.model, log.eval.eval_id, log.status), task


def log_samples(log: LogFile) -> Iterator[EvalSample]:
    """The finished samples of a log, one at a time, without their messages and events.

    Samples that ended in an error or were marked invalid are left out: they hold no reply.
    """
    for sample in read_eval_log_samples(str(log.path), all_samples_required=False, exclude_fields=_HEAVY):
        if sample.error is None and sample.invalidation is None and sample.scores:
            yield sample


def log_documents(log: LogFile) -> Iterator[SourceDocument]:
    """The well-formed documents of a log of `sdf_documents`."""
    for sample in log_samples(log):
        metadata = sample.metadata
        document = read_document(sample.output)
        if document.problem is not None:
            continue
        yield SourceDocument(
            id=str(sample.id) if sample.epoch == 1 else f"{sample.id}/epoch{sample.epoch}",
            text=document.text,
            group=str(metadata.get("idea_id", sample.id)),
            kind=_optional(metadata.get("kind")),
            directness=_optional(metadata.get("directness")),
            uuid=sample.uuid,
        )


def file_documents(file: TextFile, *, text_column: str = "text") -> Iterator[SourceDocument]:
    """The documents of a JSON Lines file; `id`, `group` and `kind` are used where they are there.

    Raises:
        MaterialsError: A line is not a JSON object or lacks the text column; the message names the line.
    """
    with file.path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{file.path}, line {number}"
            try:
                row: Any = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise MaterialsError(f"{where}: not valid JSON ({error}); one object a line") from error
            text = row.get(text_column) if isinstance(row, dict) else None
            if not isinstance(text, str):
                columns = ", ".join(row) if isinstance(row, dict) else type(row).__name__
                raise MaterialsError(
                    f"{where}: no text in the column {text_column!r} (it has {columns}); name it with "
                    f"--text-column"
                )
            id = str(row.get("id") or f"{file.path.stem}/{number:06}")
            yield SourceDocument(id, text, str(row.get("group") or id), _optional(row.get("kind")))


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


def source_record(source: Source, documents: int) -> CorpusSource:
    """What the manifest says about a source."""
    log = source if isinstance(source, LogFile) else None
    return CorpusSource(
        name=source.path.name,
        digest=file_digest(source.path),
        model=log.model if log else None,
        eval_id=log.eval_id if log else None,
        documents=documents,
    )


def is_simulated(source: Source) -> bool:
    """Whether a simulated writer wrote the documents."""
    return isinstance(source, LogFile) and source.model.startswith(f"{SIMULATED_WRITER}/")


def _meta(log: EvalLog, path: Path) -> GenerationMeta:
    raw = (log.eval.metadata or {}).get(METADATA_KEY)
    try:
        return GenerationMeta.model_validate(raw)
    except ValidationError as error:
        raise LogError(
            f"{path}: its header does not say which universe it is about; it is of another version of this "
            "package, or not of this package. Give it as JSON Lines instead"
        ) from error


def _optional(value: object) -> str | None:
    return None if value is None else str(value)
