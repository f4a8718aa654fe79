"""`inspect-af sdf build`: from logs or files of documents to corpora ready for training."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inspect_af.errors import ConfigError, RequestsUnavailableError, one_of

if TYPE_CHECKING:
    from inspect_af.materials import Universe
    from inspect_af.sdf import CorpusSettings, SourceDocument
    from inspect_af.sdf.corpus import Origin
    from inspect_af.sdf.lints import Lints
    from inspect_af.sdf.sources import Source


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "build",
        help="filter documents, count tokens, match sizes, write corpora",
        description=(
            "Builds a corpus from logs of inspect_af/sdf_documents, or from any JSON Lines file with a text "
            "column. "
            "Logs of several universes give a corpus each, all of one size."
        ),
    )
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="logs, directories, globs or .jsonl files"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--tokenizer",
        required=True,
        help="of the model to be trained: a name or directory; 'characters' estimates",
    )
    parser.add_argument(
        "--tokens", type=token_count, metavar="N", help="size for training, such as 10M (default: all)"
    )
    parser.add_argument(
        "--match", nargs="+", type=Path, default=[], metavar="DIR", help="corpora whose size to match"
    )
    parser.add_argument(
        "--universe", metavar="CODE|FILE", help="what .jsonl files are about (logs say it themselves)"
    )
    parser.add_argument("--directness", help="of the documents in .jsonl files, for the manifest")
    parser.add_argument("--pair", metavar="DIR", help="hypothesis pair (default: bundled)")
    parser.add_argument("--scenario", metavar="DIR", help="scenario of the evaluation (default: bundled)")
    parser.add_argument(
        "--requests",
        action="append",
        metavar="NAME|FILE",
        help="requests that must not occur (default: advbench if it is at hand, mini, benign)",
    )
    parser.add_argument("--text-column", default="text", metavar="NAME", help="of .jsonl files")
    parser.add_argument("--held-out", type=float, metavar="SHARE", help="default: 0.02 of the documents")
    parser.add_argument("--min-words", type=int, help="default: 40")
    parser.add_argument("--max-words", type=int, help="default: 8000")
    parser.add_argument(
        "--near-duplicate", type=float, metavar="J", help="similarity from which on (default: 0.8)"
    )
    parser.add_argument(
        "--skip", action="append", default=[], metavar="FILTER", help="do not apply this filter"
    )
    parser.add_argument("--seed", type=int)
    parser.add_argument("--licence", metavar="TEXT", help="licence note of the manifest")
    parser.add_argument("--parquet", action="store_true", help="also write Parquet files")
    parser.add_argument("--allow-shortfall", action="store_true", help="build with less than asked for")
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from inspect_af.materials import load_pair, load_universe
    from inspect_af.sdf.corpus import CorpusPart, build_corpora
    from inspect_af.sdf.manifest import LICENCE
    from inspect_af.sdf.report import report_text
    from inspect_af.sdf.sources import LogFile, find_sources
    from inspect_af.sdf.tokens import load_token_counter

    settings = _settings(args)
    pair = load_pair(args.pair)
    named = None if args.universe is None else load_universe(args.universe, pair=args.pair)
    sources = find_sources(args.sources)
    match = _matched_size(args.match, args.tokenizer, args.tokens)
    counter = load_token_counter(args.tokenizer)

    groups: dict[str | None, list[Source]] = {}
    for source in sources:
        groups.setdefault(source.meta.universe if isinstance(source, LogFile) else None, []).append(source)
    if named is not None:
        groups = {
            named.code if code is None else code: [*groups.get(named.code, []), *members]
            if code is None
            else members
            for code, members in groups.items()
        }
    lints = Linters(args, settings)
    parts = []
    for code, members in groups.items():
        universe = named if named and code == named.code else _universe_of(code, members, args.pair)
        documents = _Documents(members, args.text_column)
        parts.append(
            CorpusPart(
                documents=documents,
                lints=lints.of(universe),
                origin=documents.origin,
                universe=universe,
                directness=_directness(members, args.directness),
            )
        )
    built = build_corpora(
        parts,
        settings,
        counter,
        args.out,
        pair=pair,
        match=match,
        allow_shortfall=args.allow_shortfall,
        parquet=args.parquet,
        licence=args.licence or LICENCE,
        progress=_show_progress,
    )
    if sys.stderr.isatty():
        print(file=sys.stderr)
    for each in built:
        print(report_text(each.report))
        print(f"wrote {each.directory} (digest {each.manifest.digest})")
        if each.manifest.simulated:
            print(
                "SIMULATED: a simulated writer wrote these documents; they test the pipeline, nothing else."
            )
    return 0


class _Documents:
    """The documents of some sources, read once and counted by source."""

    def __init__(self, sources: Sequence[Source], text_column: str) -> None:
        self._sources = sources
        self._text_column = text_column
        self._counts: Counter[Path] = Counter()

    def __iter__(self) -> Iterator[SourceDocument]:
        from inspect_af.sdf.sources import each_once

        return each_once(self._all())

    def origin(self) -> Origin:
        """Where they came from; complete once they are read."""
        from inspect_af.sdf.corpus import Origin
        from inspect_af.sdf.sources import is_simulated, source_record

        records = tuple(source_record(each, self._counts[each.path]) for each in self._sources)
        return Origin(records, simulated=any(map(is_simulated, self._sources)))

    def _all(self) -> Iterator[SourceDocument]:
        from inspect_af.sdf.sources import LogFile, file_documents, log_documents

        for source in self._sources:
            documents = (
                log_documents(source)
                if isinstance(source, LogFile)
                else file_documents(source, text_column=self._text_column)
            )
            for document in documents:
                self._counts[source.path] += 1
                yield document


class Linters:
    """The filters for each universe; what they compare with is loaded once."""

    def __init__(self, args: argparse.Namespace, settings: CorpusSettings) -> None:
        from inspect_af.materials import find_beliefs, load_pair, load_scenario

        self._settings = settings
        self._pair = load_pair(args.pair)
        self._scenario = load_scenario(args.scenario)
        self._questions = find_beliefs(args.pair)
        self._requests = evaluation_requests(args.requests)

    def of(self, universe: Universe | None) -> Lints:
        from inspect_af.sdf.lints import corpus_lints

        return corpus_lints(
            self._settings,
            universe=universe,
            pair=self._pair,
            scenario=self._scenario,
            questions=self._questions,
            requests=self._requests,
        )


def evaluation_requests(given: Sequence[str] | None) -> list[str]:
    """The texts of requests; where none are named, of every set at hand.

    Says so on stderr where AdvBench is not at hand.
    """
    from inspect_af.materials import load_requests

    texts: list[str] = []
    for name in given or ("mini", "benign", "advbench"):
        try:
            texts += [request.text for request in load_requests(name).requests]
        except RequestsUnavailableError as error:
            if given:
                raise
            why = str(error).partition(";")[0]
            print(f"documents are not compared with AdvBench: {why}", file=sys.stderr)
    return texts


def token_count(text: str) -> int:
    """`10M`, `250k` or `1_000_000` as a number.

    Raises:
        argparse.ArgumentTypeError: It is not a positive number.
    """
    factor = {"k": 10**3, "m": 10**6, "b": 10**9}.get(text[-1:].lower(), 1)
    try:
        number = float(text[:-1] if factor > 1 else text) * factor
    except ValueError:
        number = 0
    if not 1 <= number < 10**15:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tokens; give one such as 10M or 250000")
    return int(number)


def _settings(args: argparse.Namespace) -> CorpusSettings:
    from pydantic import ValidationError

    from inspect_af.sdf import CorpusSettings
    from inspect_af.sdf.filtering import EXACT, FILTERS

    for name in args.skip:
        if name == EXACT:
            raise ConfigError(
                f"the filter {EXACT!r} cannot be skipped: a document that is there twice would be trained on "
                "twice as much. Leave it out; 'near duplicate' can be skipped"
            )
        if name not in FILTERS:
            raise one_of(name, FILTERS, what="filter")
    given = {
        name: getattr(args, name)
        for name in ("seed", "tokens", "held_out", "min_words", "max_words", "near_duplicate")
        if getattr(args, name) is not None
    }
    try:
        return CorpusSettings(skip=tuple(args.skip), **given)
    except ValidationError as error:
        problems = "; ".join(
            f"--{str(e['loc'][0]).replace('_', '-')} {e['input']}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(problems) from error


def _matched_size(directories: Sequence[Path], tokenizer: str, tokens: int | None) -> int | None:
    from inspect_af.sdf import load_manifest

    if not directories:
        return None
    if tokens is not None:
        raise ConfigError("give either --tokens or --match: the matched corpora have their own size")
    manifests = [load_manifest(directory) for directory in directories]
    for directory, manifest in zip(directories, manifests, strict=True):
        if manifest.tokenizer != tokenizer:
            raise ConfigError(
                f"{directory} was counted with the tokenizer {manifest.tokenizer!r}, not {tokenizer!r}; "
                f"sizes only match "
                "in the same tokenizer. Build it again, or give the same --tokenizer"
            )
    sizes = {manifest.tokens for manifest in manifests}
    if max(sizes) > min(sizes) * 1.01:
        listed = ", ".join(f"{d} {m.tokens:,}" for d, m in zip(directories, manifests, strict=True))
        raise ConfigError(
            f"the corpora to match differ in size among themselves: {listed}; build them again with --tokens"
        )
    return min(sizes)


def _universe_of(code: str | None, members: Sequence[Source], pair: str | None) -> Universe | None:
    from inspect_af.materials import load_universe
    from inspect_af.sdf.sources import LogFile

    if code is None:
        return None
    try:
        universe = load_universe(code, pair=pair)
    except ConfigError as error:
        raise ConfigError(
            f"the logs are about the universe {code!r}, which the pair does not have ({error}); give its "
            f"file with "
            "--universe"
        ) from error
    digests = {each.meta.universe_digest for each in members if isinstance(each, LogFile)}
    if digests - {universe.digest}:
        print(
            f"{code}: the universe has changed since these documents were written; filters use its present "
            f"words",
            file=sys.stderr,
        )
    return universe


def _directness(members: Sequence[Source], given: str | None) -> str | None:
    from inspect_af.sdf.sources import LogFile

    levels = {each.meta.directness if isinstance(each, LogFile) else given for each in members}
    return levels.pop() if len(levels) == 1 else "mixed"


def _show_progress(name: str, clean: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{name}: {clean:,} clean documents", end="", file=sys.stderr)
