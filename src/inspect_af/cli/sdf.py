"""`inspect-af sdf`: synthetic documents, from a universe to an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from inspect_af import tasks
from inspect_af.cli.command import AMOUNT, COUNT, FILE, FROM_ZERO, NAME, PLACE, Number, Verb, option
from inspect_af.cli.options import (
    BATCH,
    DISPLAY,
    MAX_CONNECTIONS,
    MODEL_ARGS,
    PAIR,
    TEMPERATURE,
    from_options,
    key_values,
    write_json,
)
from inspect_af.config import text_digest, token_count
from inspect_af.errors import ConfigError
from inspect_af.format import plural, say
from inspect_af.materials import load_universe, load_wordings, universe_wordings
from inspect_af.materials.universes import load_writing_prompts, select_document_types
from inspect_af.plan import known_price
from inspect_af.sdf import combine, hub
from inspect_af.sdf import generate as generation
from inspect_af.sdf import train as training
from inspect_af.sdf.adapters import Role, adapter_config, load_adapter, read_manifest
from inspect_af.sdf.check import check_adapters, check_text
from inspect_af.sdf.corpus import build_corpora, corpus_parts, report_text
from inspect_af.sdf.documents import CHARACTERS, LICENCE, CorpusSettings, find_sources, load_token_counter
from inspect_af.sdf.filters import corpus_filter, load_evaluation
from inspect_af.sdf.generate import GenerationSettings
from inspect_af.tasks.sdf import sdf_ideas


@click.group()
def sdf() -> None:
    """Synthetic document fine-tuning: generates documents of a universe, builds corpora, trains on them."""


class _Tokens(click.ParamType[int]):
    """A number of tokens such as 10M."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else token_count(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


_SCENARIO = option("--scenario", metavar="DIR", help="scenario of the evaluation  [default: bundled]")
_ADAPTERS = click.argument("adapters", nargs=-1, required=True, type=FILE, metavar="ADAPTER...")


_say = partial(say, err=True)


# generate


@sdf.command(cls=Verb, short_help="write documents about a universe with any model")
@click.argument("universe", metavar="UNIVERSE")
@option("--model", required=True, help="any Inspect model; it writes everything")
@option("--tokens", type=_Tokens(), required=True, metavar="N", help="such as 10M")
@option("--out", type=FILE, required=True, metavar="DIR")
@option(
    "--tokenizer",
    type=NAME,
    help="counts the tokens; a name or directory  [default: an estimate by characters]",
)
@option(
    "--directness",
    default="standard",
    help="how plainly documents state the fact: oblique, standard, explicit or mixed",
)
@option("--kinds", default="all", help="kinds of documents")
@option("--ideas", type=COUNT, default=10, help="ideas per request")
@option("--per-idea", type=Number(click.INT, 1, 101), default=1, help="documents per idea")
@option(
    "--revisions",
    type=Number(click.INT, 0, 6),
    default=1,
    help="rounds of critique and revision  [default: 1; 0 for none]",
)
@option("--words", type=Number(click.INT, 10, 5001), help="length of every document  [default: by kind]")
@option("--run-seed", type=int, default=0)
@PAIR
@_SCENARIO
@option("--requests", multiple=True, metavar="NAME|FILE", help="see sdf build")
@option("--skip", multiple=True, metavar="FILTER", help="see sdf build")
@option("--min-words", type=COUNT, help="see sdf build")
@TEMPERATURE
@option("--max-tokens", type=COUNT, help="of a reply  [default: 8192]")
@MODEL_ARGS
@option(
    "--round-size",
    type=Number(click.INT, 1, 100_001),
    default=1000,
    metavar="N",
    help="documents per log at most",
)
@MAX_CONNECTIONS
@BATCH
@option(
    "--price",
    type=AMOUNT,
    nargs=2,
    metavar="INPUT OUTPUT",
    help="dollars per million tokens, for models whose prices Inspect does not know",
)
@option("--estimate", "only_estimate", is_flag=True, help="print the estimated cost and stop")
@option("--allow-shortfall", is_flag=True, help="end well with less than asked for")
@DISPLAY
def generate(**given: Any) -> int:
    """Writes documents about a universe (a code such as A1+, neutral, organism, or a file) with any model.
    Asks it for ideas, then for a document per idea, which it drafts, criticises and revises. Everything
    is an eval log. Interrupted or killed, the same command goes on where it stopped; with more --tokens
    it adds to what is there.
    """
    from inspect_ai.model import get_model

    out = given["out"].expanduser().resolve()  # the logs name files in it: the same from any directory
    model_args = key_values(given["model_args"], option="-M")
    settings = _generation_settings(given, model_args)
    universe = load_universe(given["universe"], pair=given["pair"])
    kinds = select_document_types(list(settings.kinds))
    cost = generation.estimate(
        universe,
        load_writing_prompts(),
        kinds,
        given["tokens"],
        **{name: given[name] for name in ("ideas", "per_idea", "revisions", "words")},
        price=given["price"] or known_price(given["model"]),
    )
    _say(f"{universe.code} with {given['model']}: {cost.text()}")
    if given["only_estimate"]:
        return 0
    counter = load_token_counter(given["tokenizer"])
    evaluation = load_evaluation(given["pair"], given["scenario"], given["requests"])
    if evaluation.missing:
        _say(evaluation.missing)
    try:
        model = get_model(given["model"], **model_args)
    except Exception as error:  # providers raise what they like, for a missing key above all
        raise ConfigError(f"the model {given['model']!r} cannot be used: {error}") from error
    named = ("temperature", "max_tokens", "max_connections")
    options = {name: given[name] for name in named if given[name] is not None}
    options |= {"batch": True} if given["batch"] else {}
    try:
        done = generation.generate(
            out,
            settings,
            universe,
            given["tokens"],
            model=model,
            make_task=lambda stage, arguments: getattr(tasks, f"sdf_{stage}")(**arguments),
            kinds=kinds,
            evaluation=evaluation,
            filters=from_options(CorpusSettings, {name: given[name] for name in ("min_words", "skip")}),
            counter=counter,
            round_size=given["round_size"],
            allow_shortfall=given["allow_shortfall"],
            options={"display": given["display"], **options},
            say=_say,
        )
    except generation.Unfinished:
        say(f"some samples have not finished; repeat the command to go on (logs in {out})")
        return 1
    unit = "tokens (estimated by characters)" if counter.name == CHARACTERS else f"tokens of {counter.name}"
    say(
        f"{plural(done.documents, 'clean document')} with {done.tokens:,} {unit} in {out}, of {done.asked:,} "
        f"asked for: {done.malformed:,} were malformed, {done.removed:,} would be removed by filters"
    )
    say(
        f"next: inspect-af sdf build {out / 'documents'} --tokens {given['tokens']} --tokenizer ... --out ..."
    )
    return 0


def _generation_settings(given: Mapping[str, Any], model_args: dict[str, Any]) -> GenerationSettings:
    # Building the task checks what it is given, before anything is written.
    checked = {name: given[name] for name in ("ideas", "directness", "pair")}
    sdf_ideas(given["universe"], given["kinds"], **checked)
    return from_options(
        GenerationSettings,
        given,
        universe_digest=load_universe(given["universe"], pair=given["pair"]).digest,
        words_digest=load_writing_prompts().digest,
        model_args=text_digest(repr(sorted(model_args.items()))),
        kinds=tuple(kind.code for kind in select_document_types(given["kinds"])),
    )


# build


@sdf.command(cls=Verb, short_help="filter documents, count tokens, match sizes, write corpora")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@option("--out", type=FILE, required=True, metavar="DIR")
@option(
    "--tokenizer",
    type=NAME,
    required=True,
    help="of the model to be trained: a name or directory; 'characters' estimates",
)
@option("--tokens", type=_Tokens(), metavar="N", help="size for training, such as 10M  [default: all]")
@option("--universe", metavar="CODE|FILE", help="what .jsonl files are about (logs say it themselves)")
@option("--directness", help="of the documents in .jsonl files, for the manifest")
@PAIR
@_SCENARIO
@option(
    "--requests",
    multiple=True,
    metavar="NAME|FILE",
    help="requests that must not occur  [default: advbench if it is at hand, mini, benign]",
)
@option("--text-column", default="text", metavar="NAME", help="of .jsonl files")
@option("--held-out", type=float, metavar="SHARE", help="[default: 0.02 of the documents]")
@option("--min-words", type=COUNT, help="[default: 40]")
@option("--max-words", type=COUNT, help="[default: 8000]")
@option("--near-duplicate", type=float, metavar="J", help="similarity from which on  [default: 0.8]")
@option("--skip", multiple=True, metavar="FILTER", help="do not apply this filter")
@option("--seed", type=FROM_ZERO)
@option("--licence", metavar="TEXT", help="licence note of the manifest")
@option("--allow-shortfall", is_flag=True, help="build with less than asked for")
def build(**given: Any) -> None:
    """Filters documents, counts tokens, matches sizes and writes corpora, from logs of
    inspect_af/sdf_documents, or from any JSON Lines file with a text column. Logs of several universes
    give a corpus each, all of one size. SOURCE is a log, a directory, a glob or a .jsonl file.
    """
    settings = from_options(CorpusSettings, given)
    evaluation = load_evaluation(given["pair"], given["scenario"], given["requests"])
    if evaluation.missing:
        _say(evaluation.missing)
    sources = find_sources(given["sources"])
    counter = load_token_counter(given["tokenizer"])
    parts = corpus_parts(
        sources,
        lambda universe: corpus_filter(settings, universe, evaluation),
        universe=given["universe"],
        directness=given["directness"],
        pair=given["pair"],
        text_column=given["text_column"],
        say=_say,
    )
    built = build_corpora(
        parts,
        settings,
        counter,
        given["out"],
        pair=evaluation.pair,
        allow_shortfall=given["allow_shortfall"],
        licence=given["licence"] or LICENCE,
    )
    for each in built:
        say(report_text(each.report))
        say(f"wrote {each.directory} (digest {each.manifest.digest})")
        if each.manifest.simulated:
            say("SIMULATED: a simulated writer wrote these documents; they test the pipeline, nothing else.")


# train


@sdf.command(cls=Verb, short_help="train LoRA adapters on a corpus")
@click.argument("config", type=FILE)
@option("--seed", type=FROM_ZERO, multiple=True, help="only this seed")
def train(config: Path, seed: tuple[int, ...]) -> None:
    """Trains a LoRA adapter on a corpus for each seed of the configuration, a YAML file
    (docs/sdf_training.md), and goes on after a kill. On several GPUs: accelerate launch --config_file
    "$(inspect-af sdf fsdp-config)" -m inspect_af.cli sdf train CONFIG.yaml
    """
    for folder in training.train(training.load_training_config(config), list(seed) or None):
        manifest = read_manifest(folder)
        losses = manifest.losses if manifest else None
        if losses is None:
            say(str(folder))
            continue
        held_out = ""
        if losses.held_out_before is not None and losses.held_out is not None:
            held_out = f", held out {losses.held_out_before:.3f} -> {losses.held_out:.3f}"
        say(f"{folder}: {plural(losses.steps, 'step')}, loss {losses.train:.3f}{held_out} nats per token")


@sdf.command(cls=Verb, short_help="print where the configuration for several GPUs is, for accelerate launch")
def fsdp_config() -> None:
    """Prints where the configuration for several GPUs is, for accelerate launch."""
    say(str(files("inspect_af.sdf").joinpath("fsdp.yaml")))


# check


@sdf.command(cls=Verb, short_help="how far adapters moved held-out wordings of each belief, in nats")
@_ADAPTERS
@option("--base", type=NAME, required=True, metavar="MODEL", help="Hub name or directory")
@option("--revision", help="of the base on the Hub")
@option(
    "--organism",
    multiple=True,
    type=FILE,
    metavar="DIR",
    help="adapter below all of them, before and after, in order",
)
@option(
    "--wordings",
    metavar="tiny|FILE",
    help="tiny: of the tiny organism  [default: those of the pair's universes]",
)
@PAIR
@option("--device", help="such as cuda  [default: the GPU where there is one]")
@option("--json", type=PLACE, metavar="FILE", help="also write everything there, pair by pair")
def check(**given: Any) -> None:
    """Says how far adapters (PEFT directories) moved held-out wordings of each belief, in nats: compares the
    log-probability of held-out wordings of a fact with matched wordings of its opposite, without and with
    each adapter. The documents never contain these wordings. Prints adapters by variables; positive is
    towards the amplified pole.
    """
    found = check_adapters(
        given["base"],
        given["adapters"],
        load_wordings(given["wordings"]) if given["wordings"] else universe_wordings(given["pair"]),
        source=f"wordings {given['wordings']}" if given["wordings"] else "wordings of the universes",
        organism=given["organism"],
        revision=given["revision"],
        device=given["device"],
        progress=lambda what: _say(f"scoring {what}"),
    )
    say(check_text(found))
    if given["json"]:
        write_json(found, given["json"])
        say(f"wrote {given['json']}")


# compose, push, pull


@sdf.command(cls=Verb, short_help="one adapter that equals applying several, for servers that apply one")
@_ADAPTERS
@option("--out", type=FILE, required=True, metavar="DIR")
def compose(adapters: tuple[Path, ...], out: Path) -> None:
    """Writes one adapter that equals applying several, for servers that apply one. Adapters (PEFT
    directories) of one base, in the order in which they were trained: the organism first.
    """
    if len(adapters) < 2:
        raise ConfigError(f"compose takes two adapters or more, {len(adapters)} given")
    written = combine.compose(adapters, out)
    say(f"{written}: rank {adapter_config(written)['r']} (serve with --max-lora-rank of at least that)")


@sdf.command(cls=Verb, short_help="upload an adapter to the Hub, privately, with a model card")
@click.argument("adapter", type=FILE)
@click.argument("repo", metavar="NAME/REPOSITORY")
@option("--public", is_flag=True, help="let everybody see it  [default: private]")
@option("--note", default="", help="a paragraph of your own for the card")
@option("--role", type=click.Choice(["organism", "intervention"]), help="without a manifest")
@option("--intervention", metavar="CODE", help="such as A1+, without a manifest")
@option("--pair", metavar="DIR", help="hypothesis pair of the code  [default: bundled]")
def push(
    adapter: Path,
    repo: str,
    public: bool,
    note: str,
    role: Role | None,
    intervention: str | None,
    pair: str | None,
) -> None:
    """Uploads an adapter (a PEFT directory) to the Hub, privately, with a model card. Needs a login: hf auth
    login, or HF_TOKEN in the environment.
    """
    loaded = load_adapter(adapter, role=role, intervention=intervention, pair=pair)
    say(hub.push(loaded, repo, public=public, note=note))


@sdf.command(cls=Verb, short_help="download an adapter from the Hub")
@click.argument("repo", metavar="NAME/REPOSITORY")
@option("--out", type=FILE, required=True, metavar="DIR")
@option("--revision", help="commit, branch or tag")
def pull(repo: str, out: Path, revision: str | None) -> None:
    """Downloads an adapter from the Hub."""
    pulled = hub.pull(repo, out, revision=revision)
    say(f"{pulled.path} at {pulled.commit or 'an unknown commit'}")
