"""Building corpora: filter, count, match sizes, split, write, report.

Memory holds one line of numbers per document; the texts stay on disk. Everything is written beside the
output and put in place when it is complete.
"""

from __future__ import annotations

import json
import shutil
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inspect_af import __version__
from inspect_af.config import Frozen, require
from inspect_af.errors import ConfigError
from inspect_af.logs import LogFile
from inspect_af.materials import Pair, Universe, load_universe
from inspect_af.sdf.documents import (
    CHARACTERS,
    HELD_OUT,
    LICENCE,
    MANIFEST,
    REPORT,
    TRAIN,
    CorpusManifest,
    CorpusSettings,
    CorpusSource,
    DocumentLog,
    Source,
    SourceDocument,
    TokenCounter,
    each_once,
    file_documents,
    is_simulated,
    load_manifest,
    log_documents,
    splits_digest,
)
from inspect_af.sdf.filters import DocumentFilter, FilterResult, OmittedFilter

TOLERANCE = 0.01
"""Matched corpora differ in tokens by at most this share."""
_BATCH = 256
"""Documents that are tokenized at a time."""

Progress = Callable[[str, int], None]
"""Called with a universe's code and the number of its clean documents so far."""


class Origin(NamedTuple):
    """Where documents came from."""

    sources: tuple[CorpusSource, ...]
    simulated: bool = False
    """Whether a simulated writer wrote any of them."""


class Gathered:
    """The documents of some sources, read once and counted by source.

    Args:
        sources: Logs and JSON Lines files.
        text_column: Of the JSON Lines files.
    """

    def __init__(self, sources: Sequence[Source], text_column: str = "text") -> None:
        self.sources = tuple(sources)
        self._text_column = text_column
        self._counts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[SourceDocument]:
        return each_once(self._all())

    def origin(self) -> Origin:
        """Where the documents came from; complete once they are read."""
        records = []
        for source in self.sources:
            log = source if isinstance(source, DocumentLog) else None
            records.append(
                CorpusSource(
                    name=source.location.replace("\\", "/").rpartition("/")[2],
                    digest=LogFile(source.location).digest(),
                    model=log.model if log else None,
                    eval_id=log.eval_id if log else None,
                    documents=self._counts[source.location],
                )
            )
        return Origin(tuple(records), simulated=any(map(is_simulated, self.sources)))

    def _all(self) -> Iterator[SourceDocument]:
        for source in self.sources:
            for document in (
                log_documents(source)
                if isinstance(source, DocumentLog)
                else file_documents(source, text_column=self._text_column)
            ):
                self._counts[source.location] += 1
                yield document


class CorpusPart(NamedTuple):
    """What one corpus is built from."""

    documents: Iterable[SourceDocument]
    filter: DocumentFilter
    origin: Callable[[], Origin]
    """Called once the documents are read."""
    universe: Universe | None = None
    directness: str | None = None

    @property
    def name(self) -> str:
        """The universe's code, which names the corpus's directory among several."""
        return self.universe.code if self.universe else "documents"


class CorpusReport(Frozen):
    """What became of the documents on their way into one corpus."""

    universe: str | None
    tokenizer: str
    documents_in: int
    filters: tuple[FilterResult, ...]
    omitted: tuple[OmittedFilter, ...]
    clean_documents: int
    clean_tokens: int
    """Of all clean documents, training and held-out."""
    cut_documents: int
    """Clean documents that were left out to meet the size."""
    train_documents: int
    train_tokens: int
    held_out_documents: int
    held_out_tokens: int
    target_tokens: int | None
    """What the training split was cut to, None where it was not."""

    @property
    def removed(self) -> dict[str, int]:
        """Number of documents that each filter removed."""
        return {result.name: result.removed for result in self.filters}


class Built(NamedTuple):
    """A corpus on disk."""

    directory: Path
    manifest: CorpusManifest
    report: CorpusReport


def corpus_parts(
    sources: Sequence[Source],
    make_filter: Callable[[Universe | None], DocumentFilter],
    *,
    universe: str | None = None,
    directness: str | None = None,
    pair: str | None = None,
    text_column: str = "text",
    say: Callable[[str], None] = lambda _: None,
) -> list[CorpusPart]:
    """One part for each universe that the sources are about.

    Args:
        sources: Logs, which say what they are about, and JSON Lines files, which do not.
        make_filter: Makes the filter for a universe; for None, for documents of unknown origin.
        universe: What JSON Lines files are about, a code or a file. It also stands in for a universe of that
            code in logs.
        directness: Of JSON Lines files.
        pair: Directory of the hypothesis pair whose universes are meant.
        text_column: Of JSON Lines files.
        say: Called with a remark for the user.

    Raises:
        ConfigError: Logs are about a universe that the pair does not have.
    """
    named = None if universe is None else load_universe(universe, pair=pair)
    groups: dict[str | None, list[Source]] = {}
    for source in sources:
        code = source.meta.universe if isinstance(source, DocumentLog) else named.code if named else None
        groups.setdefault(code, []).append(source)
    parts = []
    for code, members in groups.items():
        about = named if named and code == named.code else _universe_of(code, members, pair, say)
        documents = Gathered(members, text_column)
        levels = {each.meta.directness if isinstance(each, DocumentLog) else directness for each in members}
        level = levels.pop() if len(levels) == 1 else "mixed"
        parts.append(CorpusPart(documents, make_filter(about), documents.origin, about, level))
    return parts


def _universe_of(
    code: str | None, members: Sequence[Source], pair: str | None, say: Callable[[str], None]
) -> Universe | None:
    if code is None:
        return None
    try:
        universe = load_universe(code, pair=pair)
    except ConfigError as error:
        raise ConfigError(
            f"the logs are about the universe {code!r}, which the pair does not have ({error}); give its "
            "file with --universe"
        ) from error
    if {each.meta.universe_digest for each in members if isinstance(each, DocumentLog)} - {universe.digest}:
        say(
            f"{code}: the universe has changed since these documents were written; filters use its "
            "present words"
        )
    return universe


def matched_size(directories: Sequence[Path], tokenizer: str) -> int | None:
    """Tokens of existing corpora that new ones are to match; None where there are none.

    Raises:
        ConfigError: They were counted with another tokenizer, or differ in size among themselves.
        MaterialsError: A directory is no corpus.
    """
    manifests = [(directory, load_manifest(directory)) for directory in directories]
    for directory, manifest in manifests:
        if manifest.tokenizer != tokenizer:
            raise ConfigError(
                f"{directory} was counted with the tokenizer {manifest.tokenizer!r}, not {tokenizer!r}; "
                "sizes only match in the same tokenizer. Build it again, or give the same --tokenizer"
            )
    sizes = {manifest.tokens for _, manifest in manifests}
    if sizes and max(sizes) > min(sizes) * (1 + TOLERANCE):
        listed = ", ".join(f"{directory} {manifest.tokens:,}" for directory, manifest in manifests)
        raise ConfigError(
            f"the corpora to match differ in size among themselves: {listed}; build them again with --tokens"
        )
    return min(sizes, default=None)


def build_corpora(
    parts: Sequence[CorpusPart],
    settings: CorpusSettings,
    counter: TokenCounter,
    out: Path,
    *,
    pair: Pair,
    match: int | None = None,
    allow_shortfall: bool = False,
    parquet: bool = False,
    licence: str = LICENCE,
    progress: Progress | None = None,
) -> list[Built]:
    """Builds one corpus per part, all with training splits of the same size in tokens.

    Args:
        parts: The corpora; several get a directory each below `out`, named by their universes.
        settings: Bounds, size and seeds.
        counter: Of the target tokenizer.
        out: Directory to write; it must not exist, or be empty.
        pair: The hypothesis pair, for the manifest.
        match: Size in tokens of other corpora which these are to match.
        allow_shortfall: Build with what there is where it is less than asked for.
        parquet: Also write `train.parquet` and `held_out.parquet`.
        licence: The licence note of the manifest.
        progress: Called as documents come in.

    Raises:
        ConfigError: `out` is taken; no clean document is left; fewer tokens than asked for; or documents so
            long that sizes cannot be matched within 1 %.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists; give another --out, or remove it")
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        pools = [
            _Pool(part, settings, counter, partial / f"{number}.jsonl", progress)
            for number, part in enumerate(parts)
        ]
        wanted = match if match is not None else settings.tokens
        target = _target({pool.part.name: pool.size(pool.train) for pool in pools}, wanted, allow_shortfall)
        written = []
        for pool in pools:
            directory = partial / "corpora" / (pool.part.name if len(parts) > 1 else "")
            directory.mkdir(parents=True)
            written.append(_write(pool, settings, counter, directory, target, pair, licence, parquet))
        if out.exists():
            out.rmdir()
        (partial / "corpora").rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [
        Built(out / part.name if len(parts) > 1 else out, manifest, report)
        for part, (manifest, report) in zip(parts, written, strict=True)
    ]


class _Pool:
    """The clean documents of a part, in a file, each findable by its position, and their split."""

    def __init__(
        self,
        part: CorpusPart,
        settings: CorpusSettings,
        counter: TokenCounter,
        file: Path,
        progress: Progress | None,
    ) -> None:
        self.part = part
        self.ids: list[str] = []
        self.tokens = array("q")
        self._file = file
        self._groups: list[str] = []
        self._offsets = array("q")
        with file.open("wb") as out:
            clean = part.filter(part.documents)
            while batch := list(islice(clean, _BATCH)):
                counts = counter.count([document.text for document in batch])
                for document, tokens in zip(batch, counts, strict=True):
                    self._offsets.append(out.tell())
                    self.ids.append(document.id)
                    self._groups.append(document.group)
                    self.tokens.append(tokens)
                    row = {
                        "id": document.id,
                        "text": document.text,
                        "group": document.group,
                        "tokens": tokens,
                    }
                    if document.kind is not None:
                        row["kind"] = document.kind
                    # ASCII escapes: no text of a model can then end the line or break the encoding.
                    out.write(json.dumps(row).encode() + b"\n")
                if progress is not None:
                    progress(part.name, len(self.ids))
        self.train, self.held_out = self._split(settings.held_out, settings.seed)
        if not self.train:
            removed = ", ".join(f"{r.name} {r.removed}" for r in part.filter.results if r.removed)
            raise ConfigError(
                f"{part.name}: none of {part.filter.seen} documents is left "
                f"({removed or 'there were none'}); look at the documents, or skip a filter with --skip"
            )

    def _split(self, share: float, seed: int) -> tuple[list[int], list[int]]:
        """Positions for training and positions held out, whole groups at a time.

        The order of both is random, by `seed`, and depends on the ids alone, not on the order of the
        sources. At least one group is held out where `share` is above 0 and there are two groups.
        """
        by_group: dict[str, list[int]] = {}
        for position in sorted(range(len(self.ids)), key=self.ids.__getitem__):
            by_group.setdefault(self._groups[position], []).append(position)
        names = sorted(by_group)
        rng = np.random.default_rng(seed)
        order = [names[index] for index in rng.permutation(len(names))]
        held_out: list[int] = []
        while len(held_out) < share * len(self.ids) and len(order) > 1:
            held_out += by_group[order.pop()]
        train = [position for name in order for position in by_group[name]]
        return [train[index] for index in rng.permutation(len(train))], held_out

    def cut_to(self, tokens: int) -> list[int]:
        """The training documents, in order, that fit into `tokens`; one that does not fit is passed over."""
        chosen: list[int] = []
        for position in self.train:
            if self.tokens[position] <= tokens:
                chosen.append(position)
                tokens -= self.tokens[position]
        return chosen

    def size(self, positions: Sequence[int]) -> int:
        """Tokens of the documents at the positions."""
        return sum(self.tokens[position] for position in positions)

    def lines(self, positions: Sequence[int]) -> Iterator[bytes]:
        """The lines of the documents at the positions, in that order."""
        with self._file.open("rb") as lines:
            for position in positions:
                lines.seek(self._offsets[position])
                yield lines.readline()


def _target(available: dict[str, int], wanted: int | None, allow_shortfall: bool) -> int | None:
    """Tokens of every training split; None to keep all documents."""
    least = min(available.values())
    if wanted is None:
        return least if len(available) > 1 else None
    if least >= wanted * (1 - TOLERANCE):
        return min(wanted, least) if len(available) > 1 else wanted
    if not allow_shortfall:
        listed = ", ".join(f"{name} {tokens:,}" for name, tokens in available.items())
        raise ConfigError(
            f"too few clean documents: {wanted:,} tokens for training were asked for, there are {listed}. "
            f"Generate more, or build all of them with --tokens {least}, or pass --allow-shortfall"
        )
    return least


def _write(
    pool: _Pool,
    settings: CorpusSettings,
    counter: TokenCounter,
    directory: Path,
    target: int | None,
    pair: Pair,
    licence: str,
    parquet: bool,
) -> tuple[CorpusManifest, CorpusReport]:
    part, universe = pool.part, pool.part.universe
    train = pool.train if target is None else pool.cut_to(target)
    tokens = pool.size(train)
    if target is not None and tokens < target * (1 - TOLERANCE):
        raise ConfigError(
            f"{part.name}: whole documents fill {tokens:,} of {target:,} tokens, less than 99 %; the "
            "documents are too long for a corpus of this size. Ask for more tokens, or set --max-words"
        )
    for name, positions in ((TRAIN, train), (HELD_OUT, pool.held_out)):
        with (directory / name).open("wb") as out:
            out.writelines(pool.lines(positions))
        if parquet:
            write_parquet(directory / name, directory / name.replace(".jsonl", ".parquet"))
    report = CorpusReport(
        universe=universe.code if universe else None,
        tokenizer=counter.name,
        documents_in=part.filter.seen,
        filters=part.filter.results,
        omitted=part.filter.omitted,
        clean_documents=len(pool.ids),
        clean_tokens=sum(pool.tokens),
        cut_documents=len(pool.train) - len(train),
        train_documents=len(train),
        train_tokens=tokens,
        held_out_documents=len(pool.held_out),
        held_out_tokens=pool.size(pool.held_out),
        target_tokens=target,
    )
    origin = part.origin()
    manifest = CorpusManifest(
        digest=splits_digest(directory),
        universe=report.universe,
        universe_digest=universe.digest if universe else None,
        intervention=universe.intervention if universe else None,
        pair=pair.name if universe else None,
        pair_digest=pair.digest if universe else None,
        directness=part.directness,
        tokens=tokens,
        held_out_tokens=report.held_out_tokens,
        tokenizer=counter.name,
        documents=report.train_documents,
        held_out_documents=report.held_out_documents,
        sources=origin.sources,
        simulated=origin.simulated,
        removed={name: count for name, count in report.removed.items() if count},
        settings=settings.model_copy(update={"tokens": target}),
        licence=licence,
        canary=universe.canary if universe else None,
        package=__version__,
    )
    (directory / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (directory / REPORT).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (directory / "report.txt").write_text(report_text(report) + "\n", encoding="utf-8")
    return manifest, report


def write_parquet(file: Path, parquet: Path, *, rows: int = 1000) -> None:
    """Copies a split from JSON Lines to Parquet, a group of rows at a time.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    with require("train", "Parquet files"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    columns = ("id", "text", "group", "tokens", "kind")
    schema = pa.schema([(name, pa.int64() if name == "tokens" else pa.string()) for name in columns])
    with file.open(encoding="utf-8") as lines, pq.ParquetWriter(parquet, schema) as writer:
        while batch := [json.loads(line) for line in islice(lines, rows)]:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def report_text(report: CorpusReport) -> str:
    """The report as lines of text, examples with their passages."""
    of = f" of {report.universe}" if report.universe else ""
    lines = [f"Corpus{of}: {report.documents_in:,} documents in"]
    width = max(len(result.name) for result in report.filters)
    for result in report.filters:
        lines.append(f"  {result.name:<{width}}  {result.removed:>7,} removed  {result.removes}")
        lines += [f"  {'':<{width}}    {each.id}: {_plain(each.passage)}" for each in result.examples]
    lines += [f"  {each.name:<{width}}  not applied: {each.why}" for each in report.omitted]
    unit = "tokens (estimated)" if report.tokenizer == CHARACTERS else "tokens"
    lines.append(f"  clean     {report.clean_documents:,} documents, {report.clean_tokens:,} {unit}")
    if report.target_tokens is not None:
        lines.append(
            f"  cut       {report.cut_documents:,} documents to meet {report.target_tokens:,} {unit}"
        )
    lines.append(f"  training  {report.train_documents:,} documents, {report.train_tokens:,} {unit}")
    lines.append(f"  held out  {report.held_out_documents:,} documents, {report.held_out_tokens:,} {unit}")
    return "\n".join(lines)


def _plain(passage: str, limit: int = 160) -> str:
    # Text of a model goes to a terminal here: no control characters.
    shown = "".join(character if character.isprintable() else " " for character in passage)
    return shown if len(shown) <= limit else f"{shown[:limit]}..."
