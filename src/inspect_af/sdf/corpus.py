"""Building corpora: filter, count, match sizes, split, write, report.

Memory holds the clean documents: 60 MB for 10 M tokens. Everything is written beside the output and put in
place when it is complete.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inspect_af import __version__
from inspect_af.config import Frozen, complete_directory, write_whole
from inspect_af.errors import ConfigError
from inspect_af.format import one_line, plural
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
    log_documents,
    splits_digest,
)
from inspect_af.sdf.filters import DocumentFilter, FilterResult, OmittedFilter

TOLERANCE = 0.01  # matched corpora differ in tokens by at most this share
_BATCH = 256  # documents that are tokenized at a time


class CorpusPart(NamedTuple):
    """What one corpus is built from. `origin` says where the documents came from, once they are read."""

    documents: Iterable[SourceDocument]
    filter: DocumentFilter
    origin: Callable[[], Sequence[CorpusSource]]
    universe: Universe | None = None
    directness: str | None = None
    simulated: bool = False

    @property
    def name(self) -> str:
        return self.universe.code if self.universe else "documents"


class CorpusReport(Frozen):
    """What became of the documents on their way into one corpus.

    Clean documents and tokens are those of both splits; `cut_documents` were left out to meet the size
    `target_tokens` of the training split, which is None where it was not cut.
    """

    universe: str | None
    tokenizer: str
    documents_in: int
    filters: tuple[FilterResult, ...]
    omitted: tuple[OmittedFilter, ...]
    clean_documents: int
    clean_tokens: int
    cut_documents: int
    train_documents: int
    train_tokens: int
    held_out_documents: int
    held_out_tokens: int
    target_tokens: int | None

    @property
    def removed(self) -> dict[str, int]:
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

    JSON Lines files do not say what they are about: `universe` (a code or a file, which also stands in for a
    universe of that code in logs) and `directness` do. `make_filter` makes the filter for a universe, or for
    None: for documents of unknown origin.

    Raises:
        ConfigError: Logs are about a universe that the pair does not have.
    """
    named = None if universe is None else load_universe(universe, pair=pair)
    groups: dict[str | None, list[Source]] = defaultdict(list)
    for source in sources:
        unnamed = named.code if named else None
        groups[source.meta.universe if isinstance(source, DocumentLog) else unnamed].append(source)
    parts = []
    for code, members in groups.items():
        logs = [each for each in members if isinstance(each, DocumentLog)]
        about = named if named and named.code == code else None
        if about is None and code is not None:
            try:
                about = load_universe(code, pair=pair)
            except ConfigError as error:
                raise ConfigError(
                    f"the logs are about the universe {code!r}, which the pair does not have ({error}); give "
                    "its file with --universe"
                ) from error
            if {log.meta.universe_digest for log in logs} - {about.digest}:
                say(
                    f"{code}: the universe has changed since these documents were written; filters use its "
                    "present words"
                )
        levels = {each.meta.directness if isinstance(each, DocumentLog) else directness for each in members}
        counts: Counter[int] = Counter()
        parts.append(
            CorpusPart(
                each_once(_read(members, text_column, counts)),
                make_filter(about),
                partial(_origin, members, counts),
                about,
                levels.pop() if len(levels) == 1 else "mixed",
                any(map(is_simulated, members)),
            )
        )
    return parts


def _read(sources: Sequence[Source], text_column: str, counts: Counter[int]) -> Iterator[SourceDocument]:
    """The documents of some sources, counted by the source's place."""
    for place, source in enumerate(sources):
        if isinstance(source, DocumentLog):
            documents = log_documents(source)
        else:
            documents = file_documents(source, text_column)
        for document in documents:
            counts[place] += 1
            yield document


def _origin(sources: Sequence[Source], counts: Counter[int]) -> list[CorpusSource]:
    found = []
    for place, source in enumerate(sources):
        log = source if isinstance(source, DocumentLog) else None
        location = log.location if log else str(source)
        found.append(
            CorpusSource(
                name=location.replace("\\", "/").rpartition("/")[2],
                digest=LogFile(location).digest(),
                model=log.model if log else None,
                eval_id=log.eval_id if log else None,
                documents=counts[place],
            )
        )
    return found


def build_corpora(
    parts: Sequence[CorpusPart],
    settings: CorpusSettings,
    counter: TokenCounter,
    out: Path,
    *,
    pair: Pair,
    allow_shortfall: bool = False,
    licence: str = LICENCE,
) -> list[Built]:
    """Builds one corpus per part, all with training splits of the same size in tokens.

    Several get a directory each below `out`, named by their universes; `out` must not exist, or be empty.
    `allow_shortfall` builds with what there is where it is less than asked for.

    Raises:
        ConfigError: `out` is taken; no clean document is left; fewer tokens than asked for; or documents so
            long that sizes cannot be matched within 1 %.
    """
    if out.exists():
        if not out.is_dir() or any(out.iterdir()):
            raise ConfigError(f"{out} exists; give another --out, or remove it")
        out.rmdir()
    splits = []
    for part in parts:
        splits.append(_split(_clean(part, counter), settings.held_out, settings.seed))
        if not splits[-1][0]:
            removed = ", ".join(f"{r.name} {r.removed}" for r in part.filter.results if r.removed)
            raise ConfigError(
                f"{part.name}: none of {part.filter.seen} documents is left "
                f"({removed or 'there were none'}); look at the documents, or skip a filter with --skip"
            )
    available = {part.name: _tokens(train) for part, (train, _) in zip(parts, splits, strict=True)}
    target = _target(available, settings.tokens, allow_shortfall)
    built = []
    with complete_directory(out) as folder:
        for part, (clean, held_out) in zip(parts, splits, strict=True):
            place = part.name if len(parts) > 1 else ""
            directory = folder / place
            directory.mkdir(exist_ok=True)
            train = clean if target is None else _cut(part.name, clean, target)
            for name, rows in ((TRAIN, train), (HELD_OUT, held_out)):
                write_whole(directory / name, map(_line, rows))
            report = CorpusReport(
                universe=part.universe.code if part.universe else None,
                tokenizer=counter.name,
                documents_in=part.filter.seen,
                filters=part.filter.results,
                omitted=part.filter.omitted,
                clean_documents=len(clean) + len(held_out),
                clean_tokens=_tokens(clean) + _tokens(held_out),
                cut_documents=len(clean) - len(train),
                train_documents=len(train),
                train_tokens=_tokens(train),
                held_out_documents=len(held_out),
                held_out_tokens=_tokens(held_out),
                target_tokens=target,
            )
            universe = part.universe
            manifest = CorpusManifest(
                digest=splits_digest(directory),
                universe=report.universe,
                universe_digest=universe.digest if universe else None,
                intervention=universe.intervention if universe else None,
                pair=pair.name if universe else None,
                pair_digest=pair.digest if universe else None,
                directness=part.directness,
                tokens=report.train_tokens,
                held_out_tokens=report.held_out_tokens,
                tokenizer=report.tokenizer,
                documents=report.train_documents,
                held_out_documents=report.held_out_documents,
                sources=tuple(part.origin()),
                simulated=part.simulated,
                removed={name: count for name, count in report.removed.items() if count},
                settings=settings.model_copy(update={"tokens": report.target_tokens}),
                licence=licence,
                canary=universe.canary if universe else None,
                package=__version__,
            )
            for name, text in {
                MANIFEST: manifest.model_dump_json(indent=1),
                REPORT: report.model_dump_json(indent=1),
                "report.txt": report_text(report),
            }.items():
                (directory / name).write_text(f"{text}\n", encoding="utf-8")
            built.append(Built(out / place, manifest, report))
    return built


def _clean(part: CorpusPart, counter: TokenCounter) -> list[SourceDocument]:
    rows: list[SourceDocument] = []
    documents = part.filter(part.documents)
    while batch := list(islice(documents, _BATCH)):
        counts = counter.count([document.text for document in batch])
        rows += [document._replace(tokens=n) for document, n in zip(batch, counts, strict=True)]
    return rows


def _line(row: SourceDocument) -> str:
    """As JSON with ASCII escapes: no text of a model can then end the line or break the encoding."""
    line = {"id": row.id, "text": row.text, "group": row.group, "tokens": row.tokens}
    return json.dumps(line if row.kind is None else {**line, "kind": row.kind}) + "\n"


def _split(
    rows: Sequence[SourceDocument], share: float, seed: int
) -> tuple[list[SourceDocument], list[SourceDocument]]:
    """Documents for training and documents held out, whole groups at a time.

    The order of both is random, by `seed`, and depends on the ids alone, not on the order of the sources. At
    least one group is held out where `share` is above 0 and there are two groups.
    """
    by_group: dict[str, list[SourceDocument]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.id):
        by_group[row.group].append(row)
    rng = np.random.default_rng(seed)
    groups = [group for _, group in sorted(by_group.items())]
    order = [groups[index] for index in rng.permutation(len(groups))]
    held_out: list[SourceDocument] = []
    while len(held_out) < share * len(rows) and len(order) > 1:
        held_out += order.pop()
    train = [row for group in order for row in group]
    return [train[index] for index in rng.permutation(len(train))], held_out


def _tokens(rows: Sequence[SourceDocument]) -> int:
    return sum(row.tokens for row in rows)


def _target(available: dict[str, int], wanted: int | None, allow_shortfall: bool) -> int | None:
    """Tokens of every training split; None to keep all documents."""
    least, several = min(available.values()), len(available) > 1
    if wanted is None:
        return least if several else None
    if least >= wanted * (1 - TOLERANCE):
        return min(wanted, least) if several else wanted
    if not allow_shortfall:
        listed = ", ".join(f"{name} {tokens:,}" for name, tokens in available.items())
        raise ConfigError(
            f"too few clean documents: {wanted:,} tokens for training were asked for, there are {listed}. "
            f"Generate more, or build all of them with --tokens {least}, or pass --allow-shortfall"
        )
    return least


def _cut(name: str, rows: Sequence[SourceDocument], target: int) -> list[SourceDocument]:
    """The documents, in order, that fit into so many tokens; one that does not fit is passed over."""
    chosen, left = [], target
    for row in rows:
        if row.tokens <= left:
            chosen.append(row)
            left -= row.tokens
    if left > target * TOLERANCE:
        raise ConfigError(
            f"{name}: whole documents fill {target - left:,} of {target:,} tokens, less than 99 %; the "
            "documents are too long for a corpus of this size. Ask for more tokens, or set --max-words"
        )
    return chosen


def report_text(report: CorpusReport) -> str:
    """The report as lines of text, examples with their passages."""
    of = f" of {report.universe}" if report.universe else ""
    lines = [f"Corpus{of}: {plural(report.documents_in, 'document')} in"]
    width = max(len(result.name) for result in report.filters)
    for result in report.filters:
        lines.append(f"  {result.name:<{width}}  {result.removed:>7,} removed  {result.removes}")
        lines += [
            f"  {'':<{width}}    {each.id}: {one_line(each.passage, longest=160)}" for each in result.examples
        ]
    lines += [f"  {each.name:<{width}}  not applied: {each.why}" for each in report.omitted]
    unit = "tokens (estimated)" if report.tokenizer == CHARACTERS else "tokens"
    sizes = [
        ("clean", report.clean_documents, f", {report.clean_tokens:,} {unit}"),
        ("training", report.train_documents, f", {report.train_tokens:,} {unit}"),
        ("held out", report.held_out_documents, f", {report.held_out_tokens:,} {unit}"),
    ]
    if report.target_tokens is not None:
        sizes.insert(1, ("cut", report.cut_documents, f" to meet {report.target_tokens:,} {unit}"))
    return "\n".join([*lines, *(f"  {name:<9} {plural(n, 'document')}{rest}" for name, n, rest in sizes)])
