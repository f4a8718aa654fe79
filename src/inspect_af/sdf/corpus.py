"""Building corpora: filter, count, match sizes, split, write."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_af import __version__
from inspect_af.errors import ConfigError, MissingExtraError
from inspect_af.materials import Pair, Universe
from inspect_af.sdf._spool import Selection, Spool, cut_to, split
from inspect_af.sdf.dedup import Duplicates
from inspect_af.sdf.documents import SourceDocument
from inspect_af.sdf.filtering import NEAR, DocumentFilter
from inspect_af.sdf.lints import Lints
from inspect_af.sdf.manifest import (
    HELD_OUT,
    LICENCE,
    MANIFEST,
    REPORT,
    TRAIN,
    CorpusManifest,
    CorpusSettings,
    CorpusSource,
    splits_digest,
)
from inspect_af.sdf.report import CorpusReport, report_text
from inspect_af.sdf.tokens import TokenCounter

TOLERANCE = 0.01
"""Matched corpora differ in tokens by at most this share."""

Progress = Callable[[str, int], None]
"""Called with a universe's code and the number of its clean documents so far."""


class Origin(NamedTuple):
    """Where documents came from."""

    sources: tuple[CorpusSource, ...]
    simulated: bool = False
    """Whether a simulated writer wrote any of them."""


class CorpusPart(NamedTuple):
    """What one corpus is built from."""

    documents: Iterable[SourceDocument]
    lints: Lints
    origin: Callable[[], Origin]
    """Called once the documents are read."""
    universe: Universe | None = None
    directness: str | None = None

    @property
    def name(self) -> str:
        return self.universe.code if self.universe else "documents"


class Built(NamedTuple):
    """A corpus on disk."""

    directory: Path
    manifest: CorpusManifest
    report: CorpusReport


class _Filtered(NamedTuple):
    part: CorpusPart
    spool: Spool
    filtered: DocumentFilter
    train: list[int]
    held_out: list[int]


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

    Streams: the texts are held on disk, never in memory. Everything is written beside `out` and put in place
    when it is complete.

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
        filtered = [
            _filter(part, settings, counter, partial / f"{number}.spool", progress)
            for number, part in enumerate(parts)
        ]
        target = _target(filtered, settings.tokens, match, allow_shortfall)
        written = []
        for each in filtered:
            directory = partial / "corpora" / each.part.name if len(parts) > 1 else partial / "corpora"
            directory.mkdir(parents=True)
            written.append(_write(each, settings, counter, directory, target, pair, licence, parquet))
        if out.exists():
            out.rmdir()
        (partial / "corpora").rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [
        Built(out / name if len(parts) > 1 else out, manifest, report)
        for name, (manifest, report) in zip((each.part.name for each in filtered), written, strict=True)
    ]


def _filter(
    part: CorpusPart, settings: CorpusSettings, counter: TokenCounter, file: Path, progress: Progress | None
) -> _Filtered:
    near = NEAR not in settings.skip
    filtered = DocumentFilter(part.lints, Duplicates(settings.near_duplicate, near=near))
    spool = Spool(file)
    told = None if progress is None else lambda clean: progress(part.name, clean)
    spool.fill(filtered(part.documents), counter, told)
    train, held_out = split(spool, held_out=settings.held_out, seed=settings.seed)
    if not train:
        counts = ", ".join(f"{r.name} {r.removed}" for r in filtered.results if r.removed)
        raise ConfigError(
            f"{part.name}: none of {filtered.seen} documents is left ({counts or 'there were none'}); look "
            f"at the "
            "documents, or skip a filter with --skip"
        )
    return _Filtered(part, spool, filtered, train, held_out)


def _target(
    filtered: Sequence[_Filtered], asked: int | None, match: int | None, allow_shortfall: bool
) -> int | None:
    """Tokens of every training split; None to keep all documents."""
    available = {each.part.name: each.spool.size(each.train) for each in filtered}
    least = min(available, key=available.__getitem__)
    wanted = match if match is not None else asked
    if wanted is None:
        return available[least] if len(filtered) > 1 else None
    if available[least] >= wanted * (1 - TOLERANCE):
        return min(wanted, available[least]) if len(filtered) > 1 else wanted
    if not allow_shortfall:
        listed = ", ".join(f"{name} {tokens:,}" for name, tokens in available.items())
        raise ConfigError(
            f"too few clean documents: {wanted:,} tokens for training were asked for, there are {listed}. "
            f"Generate "
            f"more, or build all of them with --tokens {available[least]}, or pass --allow-shortfall"
        )
    return available[least]


def _write(
    each: _Filtered,
    settings: CorpusSettings,
    counter: TokenCounter,
    directory: Path,
    target: int | None,
    pair: Pair,
    licence: str,
    parquet: bool,
) -> tuple[CorpusManifest, CorpusReport]:
    spool, universe = each.spool, each.part.universe
    train = each.train if target is None else cut_to(spool, each.train, target)
    chosen = Selection(tuple(train), tuple(each.held_out), cut=len(each.train) - len(train))
    tokens = spool.size(chosen.train)
    if target is not None and tokens < target * (1 - TOLERANCE):
        raise ConfigError(
            f"{each.part.name}: whole documents fill {tokens:,} of {target:,} tokens, less than 99 %; the "
            f"documents are "
            "too long for a corpus of this size. Ask for more tokens, or set --max-words"
        )
    for name, positions in ((TRAIN, chosen.train), (HELD_OUT, chosen.held_out)):
        with (directory / name).open("wb") as out:
            out.writelines(spool.lines(positions))
        if parquet:
            write_parquet(directory / name, directory / name.replace(".jsonl", ".parquet"))
    report = CorpusReport(
        universe=universe.code if universe else None,
        tokenizer=counter.name,
        documents_in=each.filtered.seen,
        filters=each.filtered.results,
        omitted=each.filtered.omitted,
        clean_documents=len(spool.ids),
        clean_tokens=sum(spool.tokens),
        cut_documents=chosen.cut,
        train_documents=len(chosen.train),
        train_tokens=tokens,
        held_out_documents=len(chosen.held_out),
        held_out_tokens=spool.size(chosen.held_out),
        target_tokens=target,
    )
    origin = each.part.origin()
    manifest = CorpusManifest(
        digest=splits_digest(directory),
        universe=universe.code if universe else None,
        universe_digest=universe.digest if universe else None,
        intervention=universe.intervention if universe else None,
        pair=pair.name if universe else None,
        pair_digest=pair.digest if universe else None,
        directness=each.part.directness,
        tokens=report.train_tokens,
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
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("Parquet needs pyarrow: pip install 'inspect-af[train]'") from error
    columns = ("id", "text", "group", "tokens", "kind")
    schema = pa.schema([(name, pa.int64() if name == "tokens" else pa.string()) for name in columns])
    with file.open(encoding="utf-8") as lines, pq.ParquetWriter(parquet, schema) as writer:
        batch: list[dict[str, object]] = []
        for line in lines:
            batch.append(json.loads(line))
            if len(batch) == rows:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
