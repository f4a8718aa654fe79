"""`inspect-af steering`: contrast pairs, activations, vectors, controls, sweeps and heatmaps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from inspect_af.cli.command import (
    AMOUNT,
    COUNT,
    FILE,
    FROM_ZERO,
    NAME,
    PLACE,
    Decorator,
    Number,
    Place,
    Verb,
    option,
    together,
)
from inspect_af.cli.options import (
    BATCH,
    DISPLAY,
    JSON_FILE,
    MAX_CONNECTIONS,
    MODEL_ARGS,
    PAIR,
    TASK_ARGS,
    TASK_NAME,
    TEMPERATURE,
    from_options,
    key_values,
    planned_model,
    progress,
    requests_of,
    write_json,
)
from inspect_af.config import is_directory, is_remote, write_whole, writing
from inspect_af.errors import AnalysisError, ConfigError
from inspect_af.format import plural, say, visible
from inspect_af.logs import read_logs, show_progress
from inspect_af.materials import OVERSAMPLE, PAIRS_PER_SPLIT, load_pair
from inspect_af.plan import PlannedModel
from inspect_af.providers.settings import STEERING_ARGUMENTS, read_settings
from inspect_af.providers.vllm_extraction import extract_with_vllm
from inspect_af.report.steering import render_heatmap, write_sweep
from inspect_af.sdf.adapters import check_base
from inspect_af.sdf.base_model import digest_if_local
from inspect_af.sdf.combine import merge_adapters
from inspect_af.steering.activations import extract_activations, load_activations
from inspect_af.steering.effect import check_unseen, load_words, measure_effect
from inspect_af.steering.fit import (
    ESTIMATORS,
    FitSettings,
    controls_text,
    fit_vectors,
    steering_report,
    validate_vectors,
)
from inspect_af.steering.heatmap import directions, load_sources, token_cosines
from inspect_af.steering.in_context import (
    OVERSIGHT,
    Matching,
    Thresholds,
    in_context_pairs,
    in_context_report,
    match_candidates,
    read_judged_replies,
    side_by_tier,
    sides_by_claim,
    sides_by_judge,
)
from inspect_af.steering.model import LoadedModel, load_model
from inspect_af.steering.pairs import ContrastPair, PairSource, Split, load_pairs, write_pairs
from inspect_af.steering.sweep import SweepRun, read_cells, run_sweep, sweep_report, vector_runs
from inspect_af.steering.vector import load_vector, random_controls, with_validation
from inspect_af.tasks.contrast_writing import Assembled, Writing, assemble_pairs, write_in_rounds
from inspect_af.tasks.evals import Evals, EvalTask, check_models, default_log_dir, run_evals
from inspect_af.types import Family

ENGINES = ("transformers", "vllm")


@click.group()
def steering() -> None:
    """Steering vectors from the activations of contrast pairs."""


_ADAPTER = "PEFT adapter to merge into the model, in order"
_MODEL_ARGUMENT = (
    "as af-hf takes it, such as dtype=bfloat16, device=cuda:0, revision=COMMIT, adapter_base=any or "
    "chat_template=FILE (docs/local_models.md)"
)
_LOCAL_MODEL = together(
    option("--model", group="Model", type=NAME, required=True, metavar="NAME", help="directory or hub name"),
    option("--adapter", "adapters", group="Model", type=NAME, multiple=True, metavar="DIR", help=_ADAPTER),
    option("-M", "model_args", group="Model", multiple=True, metavar="NAME=VALUE", help=_MODEL_ARGUMENT),
)
"""Which model to load into this process, and how."""
_VECTORS = together(
    option("--vectors", several=True, type=PLACE, required=True, metavar="FILE...", help="fitted vectors"),
    option(
        "--controls",
        several=True,
        type=PLACE,
        metavar="PATH...",
        help="random controls of these vectors: files, or directories of them (steering controls)",
    ),
)
_BEST_LAYERS = option("--layers", metavar="RANGE", help="[default: the five that cross-validate best]")


@steering.command(cls=Verb, short_help="contrast pairs to activations of a local model")
@click.argument("pairs_file", metavar="PAIRS")
@option(
    "--out",
    type=Place(".safetensors", remote=False),
    required=True,
    metavar="FILE",
    help=".safetensors file to write",
)
@_LOCAL_MODEL
@option("--layers", default="all", help="such as all, 12 or 20-40; counted from 0")
@option(
    "--locus",
    type=click.Choice(["response_mean", "span"]),
    default="response_mean",
    help="scratchpad, or sentence",
)
@option("--batch-tokens", type=COUNT, default=8192, metavar="N")
@option("--engine", group="Engine", type=click.Choice(ENGINES), default=ENGINES[0])
@option(
    "--vllm",
    "vllm_options",
    group="Engine",
    multiple=True,
    metavar="NAME=VALUE",
    help="option of the vLLM server, such as tensor_parallel_size=4",
)
@option(
    "--base-url",
    group="Engine",
    metavar="URL",
    help="vLLM server that runs already with the plugin and captures on; its key in VLLM_API_KEY",
)
def activations(**given: Any) -> None:
    """Runs every transcript of contrast pairs (a .jsonl file) through a local model and averages the
    residual stream after each layer over the scratchpad, or over the annotated sentence.
    """
    transcripts = load_pairs(given["pairs_file"])
    shared = {name: given[name] for name in ("out", "layers", "locus")}
    shared["progress"] = progress("transcripts")
    if given["engine"] == "vllm":
        found = extract_with_vllm(
            given["model"],
            transcripts,
            base_url=given["base_url"],
            api_key=os.environ.get("VLLM_API_KEY"),
            arguments=_arguments(given) | key_values(given["vllm_options"], option="--vllm"),
            **shared,
        )
    else:
        loaded = _load(given)
        found = extract_activations(
            loaded.model,
            loaded.tokenizer,
            transcripts,
            max_batch_tokens=given["batch_tokens"],
            name=loaded.name,
            revision=loaded.revision,
            base=digest_if_local(given["model"]),
            **shared,
        )
    n_layers, n_pairs, width = found.header.shape
    say(f"{plural(n_pairs, 'pair')} x {plural(n_layers, 'layer')} x {width} in {given['out']}.")


def _arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given of a local model, as `-M` arguments of its provider.

    Raises:
        ConfigError: One of them would steer the model.
    """
    options = key_values(given["model_args"], option="-M")
    if steering := [name for name in STEERING_ARGUMENTS if name in options]:
        raise ConfigError(f"activations are those of the model unsteered; leave -M {steering[0]} out")
    if adapters := list(given["adapters"]):
        # All of them are part of the model whose activations are wanted.
        options |= {"adapter": adapters, "adapter_role": ["organism"] * len(adapters)}
    return options


def _load(given: Mapping[str, Any]) -> LoadedModel:
    """The model without steering, with its adapters merged.

    Raises:
        ConfigError: An argument that af-hf has not, or one that would steer the model.
        TreatmentError: An adapter cannot be used.
    """
    settings = read_settings(given["model"], _arguments(given))
    key, adapters = settings.key, settings.applied.adapters
    loaded = load_model(
        key.name,
        revision=key.revision,
        dtype=key.dtype,
        device_map=None if key.device == "auto" else key.device,
        template=settings.template,
    )
    for adapter in adapters:
        check_base(
            adapter,
            loaded.model.config,
            name=key.name,
            directory=key.name if Path(key.name).is_dir() else None,
            any_name=settings.applied.any_base,
            override="-M adapter_base=any",
        )
    merged = merge_adapters(loaded.model, [adapter.path for adapter in adapters])
    name = "+".join([key.name, *(str(adapter.path) for adapter in adapters)])
    return LoadedModel(merged, loaded.tokenizer, name, key.revision)


@steering.command(cls=Verb, short_help="activations to a vector, cross-validated at every layer")
@click.argument("activations_file", type=FILE, metavar="ACTIVATIONS")
@option(
    "--out",
    type=Place(".safetensors", remote=True),
    required=True,
    metavar="FILE",
    help="vector to write (.safetensors); the other estimators' and .report.json go beside it",
)
@option("--estimator", type=click.Choice(ESTIMATORS), default=ESTIMATORS[0], help="which goes to FILE")
@option("--c", type=float, default=1.0, help="inverse penalty  [default: 1; not in source]")
@option("--folds", type=int, default=5, help="folds of cross-validation")
@option("--seed", type=FROM_ZERO, default=0, help="of the folds")
@option("--orthogonal-to", metavar="VECTOR", help="take its direction out, at every layer")
@option("--pair", help="hypothesis pair that names the concept  [default: bundled]")
def fit(**given: Any) -> None:
    """Fits three estimators at every layer of ACTIVATIONS, a safetensors file of pooled activations: the
    mean difference, the source's regression after standardisation, and a logistic regression without
    standardisation. Layers marked * cross-validate best; other splits are reported, never selected on.
    """
    out: Path = given["out"]
    c, folds, seed = given["c"], given["folds"], given["seed"]
    if not 0 < c < float("inf") or folds < 2:
        raise ConfigError(f"--c {c:g} --folds {folds}; C must be positive, and folds 2 or more")
    pooled = load_activations(given["activations_file"])
    layers, shown = pooled.header.layers, progress("layers")
    fitted = fit_vectors(
        pooled,
        family=_family(pooled.header.concept, given["pair"]),
        settings=FitSettings(c=c, n_folds=folds, seed=seed),
        orthogonal_to=None if given["orthogonal_to"] is None else load_vector(given["orthogonal_to"]),
        progress=lambda layer: shown(layers.index(layer) + 1, len(layers)),
    )
    files = {
        name: out if name == given["estimator"] else out.with_suffix(f".{name}.safetensors")
        for name in fitted
    }
    for name, vector in fitted.items():
        vector.save(files[name])
    report = steering_report({str(name): vector for name, vector in fitted.items()})
    write_json(report, out.with_suffix(".report.json"))
    say(report.text())
    others = ", ".join(str(file) for name, file in files.items() if name != given["estimator"])
    say(f"\nThe vector of {given['estimator']} is in {out}, those of the other estimators in {others}.")


def _family(concept: str, pair: str | None) -> Family | None:
    summary = load_pair(pair).summary()
    families: dict[str, Family] = {summary.first: "first", summary.second: "second"}
    if concept not in families:
        say(
            f"{concept} is neither {summary.first} nor {summary.second} of the pair {summary.name}, so the "
            "vector belongs to no family of beliefs: it can be swept, and profiles refuse it. If it "
            "belongs to another pair, give that with --pair DIR.\n"
        )
    return families.get(concept)


@steering.command(cls=Verb, short_help="vectors on the pairs of any activations, and their cosine similarity")
@click.argument("vector_files", nargs=-1, required=True, metavar="VECTOR...")
@option("--activations", type=FILE, metavar="FILE")
@JSON_FILE
def validate(vector_files: tuple[str, ...], activations: Path | None, json_file: Path | None) -> None:
    """Shows vectors (files) and their cosine similarity. With --activations, scores them on those pairs,
    also pairs of another concept or source. Without, shows the validation that each vector carries.
    """
    stems = [Path(path).name.removesuffix(".safetensors") for path in vector_files]
    names = stems if len(set(stems)) == len(stems) else list(vector_files)
    if len(set(names)) < len(names):
        raise ConfigError(f"the same vector is given twice: {', '.join(vector_files)}")
    vectors = {name: load_vector(path) for name, path in zip(names, vector_files, strict=True)}
    validations = None
    if activations:
        found = validate_vectors(tuple(vectors.values()), load_activations(activations))
        validations = dict(zip(vectors, found, strict=True))
    report = steering_report(vectors, validations)
    if json_file:
        write_json(report, json_file)
    say(report.text())


@steering.command(cls=Verb, short_help="random vectors at a vector's norms")
@click.argument("vector_file", metavar="VECTOR")
@option("--out", type=PLACE, required=True, metavar="DIR", help="directory to write to")
@option("--n", type=COUNT, default=20, help="how many  [default: 20, the least for a rank p]")
@option("--seed", type=FROM_ZERO, default=0)
@option("--activations", type=FILE, metavar="FILE", help="validate them on these pairs")
def controls(vector_file: str, out: Path, n: int, seed: int, activations: Path | None) -> None:
    """Draws independent Gaussian directions with the norm of VECTOR, a file, at each layer."""
    vector = load_vector(vector_file)
    drawn = random_controls(vector, n, seed=seed)
    if activations:
        own, *found = validate_vectors((vector, *drawn), load_activations(activations))
        drawn = tuple(map(with_validation, drawn, found))
        say(controls_text(own, found))
    for index, control in enumerate(drawn, start=1):
        control.save(out / f"{Path(vector_file).stem}.random-{index:03}.safetensors")
    say(f"{plural(len(drawn), 'control')} in {out}.")


@steering.command(
    cls=Verb, short_help="does adding a vector make its concept more probable, beyond random vectors?"
)
@click.argument("vector_files", nargs=-1, required=True, type=PLACE, metavar="VECTOR...")
@_LOCAL_MODEL
@option("--words", required=True, metavar="FILE", help="TOML, see docs/steering.md")
@option("--pairs", "pairs_file", required=True, metavar="FILE", help="those behind the vectors")
@option("--doses", default="0.1", metavar="LIST", help="such as 0.05,0.1")
@_BEST_LAYERS
@option("--n", type=COUNT, default=20, help="random vectors for each vector")
@option("--seed", type=FROM_ZERO, default=0, help="of the random vectors")
@JSON_FILE
def effect(**given: Any) -> None:
    """Does adding a vector make its concept more probable, beyond random vectors? Adds each vector, and
    random ones of its norm, at single layers in both directions. Measures the log-odds of words of the
    concept on benign prompts, and of the sentences of keyword-hard pairs. Needs no judge and no
    alignment-faking text. Choose layers and doses by it and by AUROC.
    """
    vectors = {path.name.removesuffix(".safetensors"): load_vector(path) for path in given["vector_files"]}
    words, behind = load_words(given["words"]), load_pairs(given["pairs_file"])
    check_unseen(words, behind)  # before a model is loaded
    loaded = _load(given)
    report = measure_effect(
        loaded.model,
        loaded.tokenizer,
        vectors,
        words,
        behind,
        doses=_numbers(given["doses"], "--doses"),
        layers=given["layers"],
        n_random=given["n"],
        seed=given["seed"],
        name=loaded.name,
        progress=progress("conditions"),
    )
    if given["json_file"]:
        write_json(report, given["json_file"])
    say(report.text())


@steering.command(cls=Verb, short_help="dose-response of vectors against random controls")
@option("--model", required=True, help="a model that takes vectors, such as af-hf/DIR")
@_VECTORS
@option(
    "--tier",
    type=click.Choice(["monitored", "unmonitored"]),
    help="add vectors in this tier alone  [default: in both]",
)
@option("--multipliers", metavar="LIST", help="such as -4,-2,0,2,4; or give --doses")
@option("--doses", metavar="LIST", help="||m v|| / mean ||h||, such as -0.2,-0.1,0.1,0.2")
@option(
    "--layers",
    several=True,
    default=["all"],
    metavar="RANGE...",
    help="such as all, 12 or 20-40; each range is a sweep of its own",
)
@option("--parse-floor", type=AMOUNT, default=0.9, help="share of replies that must parse")
@TASK_NAME
@option("--requests", default="advbench", help="advbench, mini, or a file")
@option("--epochs", type=COUNT, default=1, help="replies per sample")
@option("--limit", type=COUNT, help="only the first N samples")
@option("--run-seed", type=int, default=0)
@TEMPERATURE
@option("--max-tokens", type=COUNT)
@option("--grader", metavar="MODEL", help="score both concepts with this judge as well")
@MODEL_ARGS
@TASK_ARGS
@option("--log-dir", type=PLACE, metavar="DIR", help="[default: a directory under logs/ for this command]")
@option("--out", type=PLACE, required=True, metavar="DIR", help="where the results go")
@MAX_CONNECTIONS
@DISPLAY
def sweep(**given: Any) -> int:
    """The dose-response of vectors against random controls. Runs a task with tiers without steering, then
    for every vector and multiplier; fixes the usable multipliers by the share of replies that parse and
    by nothing else; then runs the controls at those and compares. Interrupted or killed, the same command
    goes on.
    """
    if (given["multipliers"] is None) == (given["doses"] is None):
        raise click.UsageError("Give either --multipliers or --doses, such as --doses -0.2,-0.1,0.1,0.2.")
    vectors, random = (
        {path: load_vector(path) for path in _vector_files(given[name])} for name in ("vectors", "controls")
    )
    runs = vector_runs(
        vectors,
        layers=given["layers"],
        multipliers=_numbers(given["multipliers"], "--multipliers"),
        doses=_numbers(given["doses"], "--doses"),
    )
    options = {} if given["max_connections"] is None else {"max_connections": given["max_connections"]}
    evals = _asked(given, [None, *runs])
    check_models(evals)
    log_dir = given["log_dir"] or default_log_dir(evals)
    finished, usable, directories = run_sweep(
        runs,
        random,
        lambda some, where: run_evals(_asked(given, some), where, display=given["display"], **options),
        log_dir,
        floor=given["parse_floor"],
    )
    if usable:
        with writing(given["out"]) as directory:
            directory.mkdir(parents=True, exist_ok=True)
            lines = [found.text() for found in usable]
            (directory / "usable.txt").write_text(visible("\n".join(lines)) + "\n", encoding="utf-8")
            logs = read_logs(directories, progress=show_progress)
            (asked,), cells = requests_of(given).values(), read_cells(logs)
            report = sweep_report(
                cells, usable, model=given["model"], requests=asked, n_logs=len(logs.headers)
            )
            if absent := write_sweep(report, directory):
                say(f"no figures: {absent}")
        say(f"\n{report.text()}\n\nResults in {given['out']}.")
    if not finished:
        say(f"some samples have not finished; repeat the command to go on (logs in {log_dir})")
    return 0 if finished else 1


def _asked(given: Mapping[str, Any], runs: Sequence[SweepRun | None]) -> Evals:
    shared = key_values(given["model_args"], option="-M")
    models = []
    for run in runs:
        args = dict(shared)
        if run is not None:
            args |= {
                "vector": str(run.path if is_remote(run.path) else run.path.resolve()),
                "multiplier": run.multiplier,
                "layers": run.layers,
            }
            args |= {"vector_tier": given["tier"]} if given["tier"] else {}
        models.append(planned_model(given["model"], args))
    task = {
        "interventions": "none",
        **requests_of(given),
        "run_seed": given["run_seed"],
        **({"judges": "concept"} if given["grader"] else {}),
        **key_values(given["task_args"], option="-T"),
    }
    return Evals(
        models=tuple(models),
        tasks=(EvalTask(task=given["task"], args=task),),
        **{name: given[name] for name in ("temperature", "max_tokens", "epochs", "limit")},
        grader=PlannedModel(model=given["grader"]) if given["grader"] else None,
        # A local engine's batch holds one condition, so conditions that wait for each other gain nothing.
        max_tasks=1,
    )


@steering.command(cls=Verb, short_help="where in a transcript the residual stream points along a vector")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@_LOCAL_MODEL
@_VECTORS
@_BEST_LAYERS
@option("--n", type=COUNT, default=2, help="pairs, or replies per condition and tier")
@option("--seed", type=FROM_ZERO, default=0, help="which replies of a log are drawn")
@option(
    "--show-output",
    is_flag=True,
    help="show what follows the scratchpad in replies to an evaluation's requests too",
)
@option("--out", type=PLACE, required=True, metavar="FILE", help="page to write (.html)")
def heatmap(**given: Any) -> None:
    """Shows where in a transcript the residual stream points along a vector: its cosine with each vector at
    every token, at the layers that cross-validate best, beside random controls. The model runs without
    steering. SOURCE is an eval log, contrast pairs (.jsonl) or raw text (.txt).
    """
    vectors = {path.name.removesuffix(".safetensors"): load_vector(path) for path in given["vectors"]}
    chosen = directions(vectors, given["layers"])
    random = [load_vector(path) for path in _vector_files(given["controls"])]
    sources = [s for path in given["sources"] for s in load_sources(path, n=given["n"], seed=given["seed"])]
    loaded = _load(given)
    heatmaps = token_cosines(loaded.model, loaded.tokenizer, sources, chosen, random)
    text = render_heatmap(
        heatmaps, chosen, model=loaded.name, n_controls=len(random), show_output=given["show_output"]
    )
    write_whole(given["out"], text)
    say(f"{len(heatmaps)} transcripts in {given['out']}.")


@steering.command(cls=Verb, short_help="a vector as a control vector for llama.cpp")
@click.argument("vector_file", metavar="VECTOR")
@option(
    "--out", type=Place(".gguf", remote=True), required=True, metavar="FILE", help="file to write (.gguf)"
)
@option("--layers", default="all", metavar="RANGE", help="such as 10-20; never 0")
def gguf(vector_file: str, out: Path, layers: str) -> None:
    """Writes VECTOR, a file, as a GGUF control vector for llama.cpp. Give llama.cpp the multiplier:
    --control-vector-scaled FILE:MULTIPLIER.
    """
    vector = load_vector(vector_file)
    vector.save_gguf(out, layers)
    say(f"vector {vector.digest} at layers {layers} in {out}.")


def _vector_files(given: Sequence[Path]) -> list[Path]:
    """Files as they are given, and all .safetensors files of directories; each once."""
    files: list[Path] = []
    for path in given:
        found = sorted(path.glob("*.safetensors")) if is_directory(path) else [path]
        if not found:
            raise ConfigError(f"{path}: no .safetensors file in it")
        files += found
    return list(dict.fromkeys(files))


def _numbers(text: str | None, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}; numbers separated by commas, such as -4,-2,0,2,4") from error


@steering.group(short_help="contrast pairs: written ones, and ones from alignment-faking logs")
def pairs() -> None:
    """Contrast pairs as JSON Lines, with a report beside them: written, or from logs."""


def _splits(*, defaults: bool) -> Decorator:
    """`--train`, `--held-out` and `--keyword-hard`: how many pairs each split is to have."""
    return together(
        *(
            option(
                f"--{split}",
                type=FROM_ZERO,
                default=n if defaults else None,
                metavar="N",
                help="pairs" if defaults else f"pairs of {split} to take  [default: all]",
            )
            for split, n in PAIRS_PER_SPLIT.items()
        )
    )


_CONCEPT = option("--concept", default="both", help="label of a family, or both")
_WRITTEN = together(
    _CONCEPT,
    option("--allow-shortfall", is_flag=True, help="write also where there are fewer"),
    PAIR,
    option(
        "--system",
        type=click.Choice(["none", "documents", "prompted"]),
        default="none",
        help="put the scenario's system prompt (without or with its facts about training) and its user "
        "turn around each task; none is out of context",
    ),
    option("--scenario", metavar="DIR", help="scenario of your own, for --system"),
)
"""What `write` and `ooc` are told about written pairs."""
_LOGS_AND_OUT = together(
    click.argument("logs", nargs=-1, required=True, metavar="LOG..."),
    option("--out", type=PLACE, required=True, metavar="FILE|DIR", help=".jsonl file, or a directory"),
)


@pairs.command(cls=Verb, short_help="let a model write pairs until there are enough")
@click.argument("model")
@option("--out", type=FILE, required=True, metavar="DIR", help="pairs, reports and logs go here")
@_splits(defaults=True)
@option(
    "--oversample",
    type=Number(click.FLOAT, 1),
    default=OVERSAMPLE,
    help="dialogues per wanted pair in the first round",
)
@option("--max-rounds", type=COUNT, default=5, help="then stop")
@option("--seed", type=FROM_ZERO, default=0)
@_WRITTEN
@MODEL_ARGS
@TEMPERATURE
@option("--max-tokens", type=COUNT)
@MAX_CONNECTIONS
@BATCH
@DISPLAY
def write(**given: Any) -> int:
    """Lets a model write pairs until there are enough: any Inspect model, the one to be steered, or any
    other. Runs inspect_af/contrast_pairs with Inspect's eval_set, applies every filter, and runs further
    rounds on further dialogues until each split has its number of pairs. Interrupted or killed, the same
    command goes on where it stopped.
    """
    if given["out"].suffix == ".jsonl":
        raise ConfigError(f"--out {given['out']}: a directory is needed, for pairs, reports and logs")
    writing = from_options(
        Writing, given, model_args=key_values(given["model_args"], option="-M"), wanted=_wanted(given)
    )
    assembled = write_in_rounds(
        writing,
        given["out"],
        max_rounds=given["max_rounds"],
        display=given["display"],
        max_connections=given["max_connections"],
        batch=given["batch"] or None,
    )
    if assembled is None:
        say(f"some samples have not finished; repeat the command to go on (logs in {given['out'] / 'logs'})")
        return 1
    return _assembled(
        given,
        assembled,
        "Repeat the command with a larger --max-rounds to write more, or with --allow-shortfall.",
    )


@pairs.command(cls=Verb, short_help="written pairs, from logs of inspect_af/contrast_pairs")
@_LOGS_AND_OUT
@_splits(defaults=False)
@_WRITTEN
def ooc(**given: Any) -> int:
    """Takes written pairs from logs of inspect_af/contrast_pairs. Applies every filter to what a model
    wrote, leaves out duplicates and takes as many pairs as are wanted. LOG is a log, a directory or a
    glob.
    """
    _check_out(given["out"], given["concept"])
    assembled = assemble_pairs(
        given["logs"],
        wanted=_wanted(given),
        **{name: given[name] for name in ("concept", "pair", "system", "scenario")},
    )
    advice = (
        "Give logs of further dialogues (`steering pairs write` tops up by itself), or --allow-shortfall."
    )
    return _assembled(given, assembled, advice)


def _wanted(given: Mapping[str, Any]) -> dict[Split, int | None]:
    return {split: given[split.replace("-", "_")] for split in PAIRS_PER_SPLIT}


def _assembled(given: Mapping[str, Any], assembled: Assembled, advice: str) -> int:
    say(assembled.report.text())
    if not given["allow_shortfall"]:
        assembled.report.require_complete(advice)
    _write_files(assembled.pairs, dict.fromkeys(assembled.pairs, assembled.report), given["out"])
    return 0


_LIMITS, _MATCHING = Thresholds(), Matching()


_SAME: dict[str, str] = {"judge": "tier", "claims": "tier,variable", "oversight": "condition"}


@pairs.command(cls=Verb, short_help="pairs of replies, from alignment-faking logs")
@_LOGS_AND_OUT
@_CONCEPT
@option(
    "--by",
    type=click.Choice(list(_SAME)),
    default="judge",
    help="what tells the sides apart; claims and oversight need no judge",
)
@option("--high", type=float, default=_LIMITS.high, help="with it: least score")
@option(
    "--other-max", type=float, default=_LIMITS.other_max, help="with it: the other concept's greatest score"
)
@option("--low", type=float, default=_LIMITS.low, help="without it: greatest score")
@option(
    "--max-length-ratio",
    type=float,
    default=_MATCHING.max_length_ratio,
    help="longer over shorter scratchpad",
)
@option(
    "--held-out-share",
    type=float,
    default=_MATCHING.held_out_share,
    help="of the pairs, by request  [default: a third]",
)
@option(
    "--same",
    help="what both sides share beside the request: tier, condition, outcome, variable (of the claim), or "
    "none  [default: tier; tier,variable by claims; condition by oversight]",
)
@option("--max-pairs", type=COUNT, default=_MATCHING.max_pairs, help="per split")
@option("--seed", type=FROM_ZERO, default=0, help="of the held-out requests")
def ic(**given: Any) -> None:
    """Makes pairs of replies from alignment-faking logs. Pairs two replies to the same request, with
    scratchpads as equally long as can be: one whose reasoning has the concept by the concept judge and
    one whose reasoning does not; or, --by claims, one under an amplifying and one under a suppressing
    claim of the family; or, --by oversight, one in the monitored and one in the unmonitored tier. No
    reply is used twice. LOG is a log, a directory or a glob.
    """
    by = given["by"]
    if by == OVERSIGHT and given["concept"] not in ("both", OVERSIGHT):
        raise ConfigError(f"--concept {given['concept']}: pairs by oversight have the concept {OVERSIGHT}")
    _check_out(given["out"], OVERSIGHT if by == OVERSIGHT else given["concept"])
    thresholds = from_options(Thresholds, given) if by == "judge" else None
    same = _SAME[by] if given["same"] is None else given["same"]
    shared = [fact.strip() for fact in same.split(",") if fact.strip() not in ("", "none")]
    matching = from_options(Matching, given, same=tuple(shared))
    replies = read_judged_replies(given["logs"], thresholds, progress=progress("logs"))
    known = (OVERSIGHT,) if by == OVERSIGHT else replies.concepts
    if given["concept"] not in ("both", *known):
        raise ConfigError(f"unknown concept {given['concept']!r}; one of both, {', '.join(known)}")
    source: PairSource = "ic" if by == "judge" else by
    found, reports = {}, {}
    for concept in known if given["concept"] == "both" else (given["concept"],):
        if thresholds:
            side = sides_by_judge(replies, concept, thresholds)
        else:
            side = side_by_tier if by == OVERSIGHT else sides_by_claim(replies, concept)
        matches = match_candidates(replies.candidates, side, matching)
        found[concept] = in_context_pairs(matches, concept, matching, source)
        reports[concept] = in_context_report(
            replies, concept, side, thresholds, matching, matches, found[concept], source
        )
        say(reports[concept].text())
    _write_files(found, reports, given["out"])


def _check_out(out: Path, concept: str) -> None:
    if out.suffix == ".jsonl" and concept == "both":
        raise ConfigError(
            f"--out {out}: one file holds one concept; choose it with --concept, or give a directory"
        )


def _write_files(
    pairs: Mapping[str, tuple[ContrastPair, ...]], reports: Mapping[str, BaseModel], out: Path
) -> None:
    """Writes each concept's pairs and its report: to FILE.jsonl, or to DIR/CONCEPT.jsonl."""

    if empty := [concept for concept, found in pairs.items() if not found]:
        raise AnalysisError(
            f"no pair for {', '.join(empty)}, so nothing is written; the report above says what was left "
            "out. Give more logs, relax the limits, or choose the other concept with --concept"
        )
    for concept, found in pairs.items():
        file = out if out.suffix == ".jsonl" else out / f"{concept}.jsonl"
        written = write_pairs(file, found)
        report = file.with_suffix(".report.json")
        write_json(reports[concept], report)
        say(
            f"{plural(len(written.pairs), 'pair')} for {concept} in {file} (digest {written.digest}), "
            f"report in {report}"
        )
