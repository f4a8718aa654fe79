"""`inspect-af sdf`: synthetic documents, from a universe to an adapter."""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_af.cli._options import add_model_option, key_values
from inspect_af.config import text_digest, token_count
from inspect_af.errors import ConfigError
from inspect_af.plan import known_price

if TYPE_CHECKING:
    from inspect_af.sdf.documents import CorpusSettings
    from inspect_af.sdf.generate import GenerationSettings

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(verbs: Actions) -> None:
    """Adds the verb and its actions to the command line."""
    parser = verbs.add_parser(
        "sdf",
        help="generate documents about a universe, build a corpus, train on it",
        description="Synthetic document fine-tuning.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for add in (_add_generate, _add_build, _add_train, _add_check, _add_compose, _add_hub):
        add(actions)


def _tokens(text: str) -> int:
    try:
        return token_count(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _say(line: str) -> None:
    print(line, file=sys.stderr)


# generate


def _add_generate(actions: Actions) -> None:
    parser = actions.add_parser(
        "generate",
        help="write documents about a universe with any model",
        description=(
            "Asks a model for ideas, then for a document per idea, which it drafts, criticises and revises. "
            "Everything is an eval log. Interrupted or killed, the same command goes on where it stopped; "
            "with more --tokens it adds to what is there."
        ),
    )
    add = parser.add_argument
    add("universe", metavar="UNIVERSE", help="a code such as A1+, neutral, organism, or a file")
    add("--model", required=True, help="any Inspect model; it writes everything")
    add("--tokens", type=_tokens, required=True, metavar="N", help="such as 10M")
    add("--out", type=Path, required=True, metavar="DIR")
    add("--tokenizer", help="counts the tokens; a name or directory (default: an estimate by characters)")
    add(
        "--directness",
        default="standard",
        help="how plainly documents state the fact: oblique, standard (default), explicit or mixed",
    )
    add("--kinds", default="all", help="kinds of documents (default: all)")
    add("--ideas", type=int, default=10, help="ideas per request (default: 10)")
    add("--per-idea", type=int, default=1, help="documents per idea (default: 1)")
    add("--revisions", type=int, default=1, help="rounds of critique and revision (default: 1; 0 for none)")
    add("--words", type=int, help="length of every document (default: by kind)")
    add("--run-seed", type=int, default=0)
    add("--pair", metavar="DIR", help="hypothesis pair (default: bundled)")
    add("--scenario", metavar="DIR", help="scenario of the evaluation (default: bundled)")
    add("--requests", action="append", metavar="NAME|FILE", help="see sdf build")
    add("--skip", action="append", default=[], metavar="FILTER", help="see sdf build")
    add("--min-words", type=int, help="see sdf build")
    add("--temperature", type=float)
    add("--max-tokens", type=int, help="of a reply (default: 8192)")
    add_model_option(parser)
    add("--round-size", type=int, default=1000, metavar="N", help="documents per log at most (default: 1000)")
    add("--max-connections", type=int)
    add("--batch", action="store_true", help="use the provider's batch API where it has one")
    add(
        "--price",
        type=float,
        nargs=2,
        metavar=("INPUT", "OUTPUT"),
        help="dollars per million tokens, for models whose prices Inspect does not know",
    )
    add("--estimate", action="store_true", help="print the estimated cost and stop")
    add("--allow-shortfall", action="store_true", help="end well with less than asked for")
    add("--display", choices=["full", "conversation", "rich", "plain", "log", "none"])
    parser.set_defaults(main=_generate)


def _generate(args: argparse.Namespace) -> int:
    from inspect_ai.model import get_model

    from inspect_af import tasks
    from inspect_af.materials import load_universe
    from inspect_af.materials.universes import load_writing_prompts, select_document_types
    from inspect_af.sdf.documents import load_token_counter
    from inspect_af.sdf.filters import load_evaluation
    from inspect_af.sdf.generate import Unfinished, estimate, generate

    out = args.out.expanduser().resolve()  # the logs name files in it: the same from any directory
    model_args = key_values(args.model_args, option="-M")
    settings = _generation_settings(args, model_args)
    universe = load_universe(args.universe, pair=args.pair)
    kinds = select_document_types(list(settings.kinds))
    cost = estimate(
        universe,
        load_writing_prompts(),
        kinds,
        args.tokens,
        ideas=args.ideas,
        per_idea=args.per_idea,
        revisions=args.revisions,
        words=args.words,
        price=args.price or known_price(args.model),
    )
    _say(f"{universe.code} with {args.model}: {cost.text()}")
    if args.estimate:
        return 0
    counter = load_token_counter(args.tokenizer)
    evaluation = load_evaluation(args.pair, args.scenario, args.requests)
    if evaluation.missing:
        _say(evaluation.missing)
    try:
        model = get_model(args.model, **model_args)
    except Exception as error:  # providers raise what they like, for a missing key above all
        raise ConfigError(f"the model {args.model!r} cannot be used: {error}") from error
    options = {
        "temperature": args.temperature,
        "max_tokens": args.max_tokens,
        "max_connections": args.max_connections,
        "batch": args.batch or None,
    }
    try:
        done = generate(
            out,
            settings,
            universe,
            args.tokens,
            model=model,
            make_task=lambda stage, given: getattr(tasks, f"sdf_{stage}")(**given),
            kinds=kinds,
            evaluation=evaluation,
            filters=_corpus_settings(args, "min_words"),
            counter=counter,
            round_size=args.round_size,
            allow_shortfall=args.allow_shortfall,
            options={"display": args.display, **{k: v for k, v in options.items() if v is not None}},
            say=_say,
        )
    except Unfinished:
        print(f"some samples have not finished; repeat the command to go on (logs in {out})")
        return 1
    unit = "tokens (estimated by characters)" if counter.is_estimate else f"tokens of {counter.name}"
    print(
        f"{done.documents:,} clean documents with {done.tokens:,} {unit} in {out}, of {done.asked:,} "
        f"asked for: {done.malformed:,} were malformed, {done.removed:,} would be removed by filters"
    )
    print(f"next: inspect-af sdf build {out / 'documents'} --tokens {args.tokens} --tokenizer ... --out ...")
    return 0


def _generation_settings(args: argparse.Namespace, model_args: dict[str, Any]) -> GenerationSettings:
    from inspect_af.materials import load_universe
    from inspect_af.materials.universes import load_writing_prompts, select_document_types
    from inspect_af.sdf.generate import GenerationSettings
    from inspect_af.tasks.sdf_ideas import sdf_ideas

    # Building the task checks what it is given, before anything is written.
    sdf_ideas(args.universe, args.kinds, ideas=args.ideas, directness=args.directness, pair=args.pair)
    bounds = (
        ("--revisions", args.revisions, 0, 5),
        ("--per-idea", args.per_idea, 1, 100),
        ("--round-size", args.round_size, 1, 100_000),
        ("--words", args.words if args.words is not None else 100, 10, 5000),
    )
    for option, value, low, high in bounds:
        if not low <= value <= high:
            raise ConfigError(f"{option} must be from {low} to {high}, not {value}")
    same = ("universe", "pair", "model", "directness", "ideas", "per_idea", "revisions", "words", "run_seed")
    return GenerationSettings(
        **{name: getattr(args, name) for name in (*same, "temperature", "max_tokens")},
        universe_digest=load_universe(args.universe, pair=args.pair).digest,
        words_digest=load_writing_prompts().digest,
        model_args=text_digest(repr(sorted(model_args.items()))),
        kinds=tuple(kind.code for kind in select_document_types(args.kinds)),
    )


def _corpus_settings(args: argparse.Namespace, *names: str) -> CorpusSettings:
    from pydantic import ValidationError

    from inspect_af.sdf.documents import CorpusSettings

    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    try:
        return CorpusSettings(skip=tuple(args.skip), **given)
    except ValidationError as error:
        problems = (
            f"--{str(e['loc'][0]).replace('_', '-')} {e['input']}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError("; ".join(problems)) from error


# build


def _add_build(actions: Actions) -> None:
    parser = actions.add_parser(
        "build",
        help="filter documents, count tokens, match sizes, write corpora",
        description=(
            "Builds a corpus from logs of inspect_af/sdf_documents, or from any JSON Lines file with a text "
            "column. Logs of several universes give a corpus each, all of one size."
        ),
    )
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="logs, directories, globs or .jsonl files")
    add("--out", type=Path, required=True, metavar="DIR")
    add(
        "--tokenizer",
        required=True,
        help="of the model to be trained: a name or directory; 'characters' estimates",
    )
    add("--tokens", type=_tokens, metavar="N", help="size for training, such as 10M (default: all)")
    add("--match", nargs="+", type=Path, default=[], metavar="DIR", help="corpora whose size to match")
    add("--universe", metavar="CODE|FILE", help="what .jsonl files are about (logs say it themselves)")
    add("--directness", help="of the documents in .jsonl files, for the manifest")
    add("--pair", metavar="DIR", help="hypothesis pair (default: bundled)")
    add("--scenario", metavar="DIR", help="scenario of the evaluation (default: bundled)")
    add(
        "--requests",
        action="append",
        metavar="NAME|FILE",
        help="requests that must not occur (default: advbench if it is at hand, mini, benign)",
    )
    add("--text-column", default="text", metavar="NAME", help="of .jsonl files")
    add("--held-out", type=float, metavar="SHARE", help="default: 0.02 of the documents")
    add("--min-words", type=int, help="default: 40")
    add("--max-words", type=int, help="default: 8000")
    add("--near-duplicate", type=float, metavar="J", help="similarity from which on (default: 0.8)")
    add("--skip", action="append", default=[], metavar="FILTER", help="do not apply this filter")
    add("--seed", type=int)
    add("--licence", metavar="TEXT", help="licence note of the manifest")
    add("--parquet", action="store_true", help="also write Parquet files")
    add("--allow-shortfall", action="store_true", help="build with less than asked for")
    parser.set_defaults(main=_build)


def _build(args: argparse.Namespace) -> int:
    from inspect_af.sdf.corpus import build_corpora, corpus_parts, matched_size, report_text
    from inspect_af.sdf.documents import LICENCE, find_sources, load_token_counter
    from inspect_af.sdf.filters import corpus_filter, load_evaluation

    bounds = ("seed", "tokens", "held_out", "min_words", "max_words", "near_duplicate")
    settings = _corpus_settings(args, *bounds)
    evaluation = load_evaluation(args.pair, args.scenario, args.requests)
    if evaluation.missing:
        _say(evaluation.missing)
    sources = find_sources(args.sources)
    if args.match and args.tokens is not None:
        raise ConfigError("give either --tokens or --match: the matched corpora have their own size")
    match = matched_size(args.match, args.tokenizer)
    counter = load_token_counter(args.tokenizer)
    parts = corpus_parts(
        sources,
        lambda universe: corpus_filter(settings, universe, evaluation),
        universe=args.universe,
        directness=args.directness,
        pair=args.pair,
        text_column=args.text_column,
        say=_say,
    )
    terminal = sys.stderr.isatty()

    def progress(name: str, clean: int) -> None:
        if terminal:
            print(f"\r{name}: {clean:,} clean documents", end="", file=sys.stderr)

    built = build_corpora(
        parts,
        settings,
        counter,
        args.out,
        pair=evaluation.pair,
        match=match,
        allow_shortfall=args.allow_shortfall,
        parquet=args.parquet,
        licence=args.licence or LICENCE,
        progress=progress,
    )
    if terminal:
        print(file=sys.stderr)
    for each in built:
        print(report_text(each.report))
        print(f"wrote {each.directory} (digest {each.manifest.digest})")
        if each.manifest.simulated:
            print(
                "SIMULATED: a simulated writer wrote these documents; they test the pipeline, nothing else."
            )
    return 0


# train


def _add_train(actions: Actions) -> None:
    parser = actions.add_parser(
        "train",
        help="train LoRA adapters on a corpus",
        description=(
            "Trains one adapter for each seed of the configuration and goes on after a kill. On several "
            'GPUs: accelerate launch --config_file "$(inspect-af sdf fsdp-config)" -m inspect_af.sdf.train '
            "CONFIG.yaml"
        ),
    )
    parser.add_argument("config", help="YAML file (docs/sdf_training.md)")
    parser.add_argument("--seed", type=int, action="append", help="only this seed (repeatable)")
    parser.set_defaults(main=_train)
    where = actions.add_parser(
        "fsdp-config", help="print where the configuration for several GPUs is, for accelerate launch"
    )
    where.set_defaults(main=_fsdp_config)


def _train(args: argparse.Namespace) -> int:
    from inspect_af.sdf.adapters import read_manifest
    from inspect_af.sdf.train import load_training_config, train

    for folder in train(load_training_config(args.config), args.seed):
        manifest = read_manifest(folder)
        losses = manifest.losses if manifest else None
        if losses is None:
            print(folder)
            continue
        held_out = ""
        if losses.held_out_before is not None and losses.held_out is not None:
            held_out = f", held out {losses.held_out_before:.3f} -> {losses.held_out:.3f}"
        print(f"{folder}: {losses.steps} steps, loss {losses.train:.3f}{held_out} nats per token")
    return 0


def _fsdp_config(args: argparse.Namespace) -> int:
    print(files("inspect_af.sdf").joinpath("fsdp.yaml"))
    return 0


# check


def _add_check(actions: Actions) -> None:
    parser = actions.add_parser(
        "check",
        help="how far adapters moved held-out wordings of each belief, in nats",
        description=(
            "Compares the log-probability of held-out wordings of a fact with matched wordings of its "
            "opposite, without and with each adapter. The documents never contain these wordings. Prints "
            "adapters by variables; positive is towards the amplified pole."
        ),
    )
    add = parser.add_argument
    add("adapters", nargs="+", type=Path, metavar="ADAPTER", help="PEFT directories")
    add("--base", required=True, metavar="MODEL", help="Hub name or directory")
    add("--revision", help="of the base on the Hub")
    add(
        "--organism",
        action="append",
        type=Path,
        default=[],
        metavar="DIR",
        help="adapter below all of them, before and after (repeatable, in order)",
    )
    add(
        "--wordings",
        metavar="tiny|FILE",
        help="default: those of the pair's universes; tiny: of the tiny organism",
    )
    add("--pair", metavar="DIR", help="hypothesis pair (default: bundled)")
    add("--device", help="such as cuda (default: the GPU where there is one)")
    add("--json", type=Path, metavar="FILE", help="also write everything there, pair by pair")
    parser.set_defaults(main=_check)


def _check(args: argparse.Namespace) -> int:
    from inspect_af.materials import load_wordings, universe_wordings
    from inspect_af.sdf.check import check_adapters, check_text

    check = check_adapters(
        args.base,
        args.adapters,
        load_wordings(args.wordings) if args.wordings else universe_wordings(args.pair),
        source=f"wordings {args.wordings}" if args.wordings else "wordings of the universes",
        organism=args.organism,
        revision=args.revision,
        device=args.device,
        progress=lambda what: _say(f"scoring {what}"),
    )
    print(check_text(check))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(check.model_dump_json(indent=1) + "\n", encoding="utf-8")
        print(f"wrote {args.json}")
    return 0


# compose, push, pull


def _add_compose(actions: Actions) -> None:
    parser = actions.add_parser(
        "compose",
        help="one adapter that equals applying several, for servers that apply one",
        description="Adapters of one base, in the order in which they were trained: the organism first.",
    )
    parser.add_argument("adapters", nargs="+", type=Path, metavar="ADAPTER", help="PEFT directories")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.set_defaults(main=_compose)


def _compose(args: argparse.Namespace) -> int:
    from inspect_af.sdf.adapters import adapter_config
    from inspect_af.sdf.combine import compose

    out = compose(args.adapters, args.out)
    print(f"{out}: rank {adapter_config(out)['r']} (serve with --max-lora-rank of at least that)")
    return 0


def _add_hub(actions: Actions) -> None:
    push = actions.add_parser(
        "push",
        help="upload an adapter to the Hub, privately, with a model card",
        description="Needs a login: hf auth login, or HF_TOKEN in the environment.",
    )
    push.add_argument("adapter", type=Path, help="PEFT directory")
    push.add_argument("repo", metavar="NAME/REPOSITORY")
    push.add_argument("--public", action="store_true", help="let everybody see it (default: private)")
    push.add_argument("--note", default="", help="a paragraph of your own for the card")
    push.add_argument("--role", choices=("organism", "intervention"), help="without a manifest")
    push.add_argument("--intervention", metavar="CODE", help="such as A1+, without a manifest")
    push.add_argument("--pair", metavar="DIR", help="hypothesis pair of the code (default: bundled)")
    push.set_defaults(main=_push)
    pull = actions.add_parser("pull", help="download an adapter from the Hub")
    pull.add_argument("repo", metavar="NAME/REPOSITORY")
    pull.add_argument("--out", type=Path, required=True, metavar="DIR")
    pull.add_argument("--revision", help="commit, branch or tag")
    pull.set_defaults(main=_pull)


def _push(args: argparse.Namespace) -> int:
    from inspect_af.sdf.adapters import load_adapter
    from inspect_af.sdf.hub import push

    adapter = load_adapter(args.adapter, role=args.role, intervention=args.intervention, pair=args.pair)
    print(push(adapter, args.repo, public=args.public, note=args.note))
    return 0


def _pull(args: argparse.Namespace) -> int:
    from inspect_af.sdf.hub import pull

    pulled = pull(args.repo, args.out, revision=args.revision)
    print(f"{pulled.path} at {pulled.commit or 'an unknown commit'}")
    return 0
