"""`inspect-af steering`: contrast pairs, activations, vectors, controls, sweeps and heatmaps."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_af.cli import _steering_pairs
from inspect_af.cli._options import add_model_option, key_values, planned_model
from inspect_af.errors import ConfigError, one_of
from inspect_af.format import say
from inspect_af.logs import show_progress
from inspect_af.materials import load_pair
from inspect_af.plan import PlannedModel
from inspect_af.rendering import is_option, read_template
from inspect_af.tasks.evals import Evals, EvalTask, default_log_dir, run_evals

if TYPE_CHECKING:
    from pydantic import BaseModel

    from inspect_af.steering import LoadedModel
    from inspect_af.steering.sweep import SweepRun
    from inspect_af.types import Family

_Actions = argparse._SubParsersAction
ESTIMATORS = ("mean-difference", "regression", "logistic")
ENGINES = ("transformers", "vllm")


def add_parser(verbs: _Actions[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "steering",
        help="fit steering vectors, validate them, draw random controls",
        description="Steering vectors from the activations of contrast pairs.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    parser.set_defaults(main=main)
    _steering_pairs.add_parser(actions)
    for add in (
        _add_activations,
        _add_fit,
        _add_validate,
        _add_controls,
        _add_effect,
        _add_sweep,
        _add_heatmap,
    ):
        add(actions)


def main(args: argparse.Namespace) -> int:
    """Runs the action that was parsed."""
    return int(args.action(args))


def _add_activations(actions: _Actions[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "activations",
        help="contrast pairs to activations of a local model",
        description=(
            "Runs every transcript through the model and averages the residual stream after each layer over "
            "the scratchpad, or over the annotated sentence. Interrupted or killed, the same command goes on."
        ),
    )
    parser.add_argument("pairs", help="contrast pairs (.jsonl)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".safetensors file to write")
    _add_local_model(parser)
    parser.add_argument("--layers", default="all", help="such as all (default), 12 or 20-40; counted from 0")
    loci = ["response_mean", "span"]
    parser.add_argument("--locus", choices=loci, default=loci[0], help="scratchpad (default), or sentence")
    parser.add_argument("--batch-tokens", type=int, default=8192, metavar="N", help="default: 8192")
    group = parser.add_argument_group("engine")
    group.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="default: transformers")
    group.add_argument(
        "--vllm",
        dest="vllm_options",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of the vLLM server, such as tensor_parallel_size=4; may be repeated",
    )
    group.add_argument(
        "--base-url",
        metavar="URL",
        help="vLLM server that runs already with the plugin and captures on; its key in VLLM_API_KEY",
    )
    parser.set_defaults(action=_activations)


def _add_local_model(parser: argparse.ArgumentParser) -> None:
    """Which model to load into this process, and how."""
    parser.add_argument("--model", required=True, metavar="NAME", help="directory or hub name")
    parser.add_argument("--revision", help="commit, tag or branch on the hub")
    parser.add_argument(
        "--adapter",
        dest="adapters",
        action="append",
        default=[],
        metavar="DIR",
        help="PEFT adapter to merge into the model; may be repeated, applied in order",
    )
    parser.add_argument(
        "--adapter-base",
        choices=["any"],
        help="take adapters whose own base has another name and the same dimensions",
    )
    dtypes = ["auto", "float32", "bfloat16", "float16"]
    parser.add_argument("--dtype", default="auto", choices=dtypes, help="default: as the model was saved")
    parser.add_argument("--device-map", help="as accelerate takes it (default: auto with an accelerator)")
    parser.add_argument(
        "-M",
        dest="model_args",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="model option as af-hf takes it, such as chat_template=FILE; may be repeated "
        "(docs/local_models.md)",
    )


def _add_fit(actions: _Actions[argparse.ArgumentParser]) -> None:
    fit = actions.add_parser(
        "fit",
        help="activations to a vector, cross-validated at every layer",
        description=(
            "Fits three estimators at every layer: the mean difference, the source's regression after "
            "standardisation, and a logistic regression without standardisation. Layers marked * "
            "cross-validate best; other splits are reported, never selected on."
        ),
    )
    fit.add_argument("activations", help="safetensors file of pooled activations")
    fit.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="vector to write (.safetensors); the other estimators' and .report.json go beside it",
    )
    fit.add_argument(
        "--estimator",
        choices=ESTIMATORS,
        default=ESTIMATORS[0],
        help="which goes to FILE (default: the first)",
    )
    fit.add_argument("--c", type=float, default=1.0, help="inverse penalty (default: 1; not in source)")
    fit.add_argument("--folds", type=int, default=5, help="folds of cross-validation (default: 5)")
    fit.add_argument("--seed", type=int, default=0, help="of the folds (default: 0)")
    fit.add_argument("--orthogonal-to", metavar="VECTOR", help="take its direction out, at every layer")
    fit.add_argument("--pair", default=None, help="hypothesis pair that names the concept (default: bundled)")
    fit.set_defaults(action=_fit)


def _add_validate(actions: _Actions[argparse.ArgumentParser]) -> None:
    validate = actions.add_parser(
        "validate",
        help="vectors on the pairs of any activations, and their cosine similarity",
        description=(
            "With --activations, scores the vectors on those pairs, also pairs of another concept or source. "
            "Without, shows the validation that each vector carries."
        ),
    )
    validate.add_argument("vectors", nargs="+", help="vector files")
    validate.add_argument("--activations", metavar="FILE")
    validate.add_argument("--json", type=Path, metavar="FILE", help="write the report")
    validate.set_defaults(action=_validate)


def _add_controls(actions: _Actions[argparse.ArgumentParser]) -> None:
    controls = actions.add_parser(
        "controls",
        help="random vectors at a vector's norms",
        description="Independent Gaussian directions with the vector's norm at each layer.",
    )
    controls.add_argument("vector", help="vector file")
    controls.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory to write to")
    controls.add_argument("--n", type=int, default=20, help="how many (default: 20, the least for a rank p)")
    controls.add_argument("--seed", type=int, default=0)
    controls.add_argument("--activations", metavar="FILE", help="validate them on these pairs")
    controls.set_defaults(action=_controls)


def _add_effect(actions: _Actions[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "effect",
        help="does adding a vector make its concept more probable, beyond random vectors?",
        description=(
            "Adds each vector, and random ones of its norm, at single layers in both directions. Measures "
            "the log-odds of words of the concept on benign prompts, and of the sentences of keyword-hard "
            "pairs. Needs no judge and no alignment-faking text. Choose layers and doses by it and by AUROC."
        ),
    )
    parser.add_argument("vectors", nargs="+", type=Path, help="vector files")
    _add_local_model(parser)
    parser.add_argument("--words", required=True, metavar="FILE", help="TOML, see docs/steering.md")
    parser.add_argument("--pairs", required=True, metavar="FILE", help="those behind the vectors")
    parser.add_argument("--doses", default="0.1", metavar="LIST", help="such as 0.05,0.1 (default: 0.1)")
    parser.add_argument("--layers", metavar="RANGE", help="default: the five that cross-validate best")
    parser.add_argument("--n", type=int, default=20, help="random vectors for each vector (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the random vectors (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report")
    parser.set_defaults(action=_effect)


def _add_sweep(actions: _Actions[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "sweep",
        help="dose-response of vectors against random controls",
        description=(
            "Runs inspect_af/alignment_faking without steering, then for every vector and multiplier; fixes "
            "the usable multipliers by the share of replies that parse and by nothing else; then runs the "
            "controls at those and compares. Interrupted or killed, the same command goes on."
        ),
    )
    parser.add_argument("--model", required=True, help="a model that takes vectors, such as af-hf/DIR")
    _add_vector_files(parser)
    tiers = ["monitored", "unmonitored"]
    parser.add_argument("--tier", choices=tiers, help="add vectors in this tier alone (default: in both)")
    sizes = parser.add_mutually_exclusive_group(required=True)
    sizes.add_argument("--multipliers", metavar="LIST", help="such as -4,-2,0,2,4")
    sizes.add_argument("--doses", metavar="LIST", help="||m v|| / mean ||h||, such as -0.2,-0.1,0.1,0.2")
    parser.add_argument(
        "--layers",
        nargs="+",
        default=["all"],
        metavar="RANGE",
        help="such as all (default), 12 or 20-40; each range is a sweep of its own",
    )
    parser.add_argument("--parse-floor", type=float, default=0.9, help="share that must parse (default: 0.9)")
    parser.add_argument("--requests", default="advbench", help="advbench (default), mini, or a file")
    parser.add_argument("--epochs", type=int, default=1, help="replies per sample (default: 1)")
    parser.add_argument("--limit", type=int, help="only the first N samples")
    parser.add_argument("--run-seed", type=int, default=0)
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--grader", metavar="MODEL", help="score both concepts with this judge as well")
    add_model_option(parser)
    parser.add_argument(
        "-T", dest="task_args", action="append", default=[], metavar="KEY=VALUE", help="task parameter"
    )
    parser.add_argument("--log-dir", type=Path, help="default: a directory under logs/ for this command")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    parser.add_argument("--max-connections", type=int)
    parser.add_argument("--display", choices=["full", "conversation", "rich", "plain", "log", "none"])
    parser.set_defaults(action=_sweep)


def _add_heatmap(actions: _Actions[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "heatmap",
        help="where in a transcript the residual stream points along a vector",
        description=(
            "Cosine of the residual stream with each vector at every token, at the layers that "
            "cross-validate best, beside random controls. The model runs without steering."
        ),
    )
    parser.add_argument("sources", nargs="+", help="eval logs, contrast pairs (.jsonl), raw text (.txt)")
    _add_local_model(parser)
    _add_vector_files(parser)
    parser.add_argument("--layers", metavar="RANGE", help="default: the five that cross-validate best")
    parser.add_argument(
        "--n", type=int, default=2, help="pairs, or replies per condition and tier (default: 2)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which replies of a log are drawn (default: 0)")
    parser.add_argument(
        "--show-output",
        action="store_true",
        help="show what follows the scratchpad in replies to an evaluation's requests too",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="page to write (.html)")
    parser.set_defaults(action=_heatmap)


def _add_vector_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vectors", nargs="+", type=Path, required=True, metavar="FILE", help="fitted vectors"
    )
    parser.add_argument(
        "--controls",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="random controls of these vectors: files, or directories of them (steering controls)",
    )


def _activations(args: argparse.Namespace) -> int:
    from inspect_af.providers.vllm_extraction import extract_with_vllm
    from inspect_af.steering import extract_activations, load_pairs

    if args.out.suffix != ".safetensors":
        raise ConfigError(f"--out {args.out}: activations are a .safetensors file")
    pairs = load_pairs(args.pairs)
    with _progress_bar("transcripts") as progress:
        if args.engine == "vllm":
            found = extract_with_vllm(
                args.model,
                pairs,
                out=args.out,
                layers=args.layers,
                locus=args.locus,
                base_url=args.base_url,
                api_key=os.environ.get("VLLM_API_KEY"),
                arguments=_vllm_arguments(args),
                progress=progress,
            )
        else:
            model, tokenizer = _load(args)
            found = extract_activations(
                model,
                tokenizer,
                pairs,
                out=args.out,
                layers=args.layers,
                locus=args.locus,
                max_batch_tokens=args.batch_tokens,
                name=_name(args),
                revision=args.revision,
                progress=progress,
            )
    n_layers, n_pairs, width = found.header.shape
    print(f"{n_pairs} pairs x {n_layers} layers x {width} in {args.out}.")
    return 0


def option_values(given: Sequence[str]) -> dict[str, Any]:
    """`--vllm NAME=VALUE` as a mapping; values are JSON where they can be, else words."""
    options: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--vllm {text}: give NAME=VALUE, such as tensor_parallel_size=4")
        try:
            options[name.strip()] = json.loads(value)
        except ValueError:
            options[name.strip()] = value
    return options


def _vllm_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The `-M` arguments of af-vllm that say the same."""
    options = option_values(args.vllm_options) | key_values(args.model_args, option="-M")
    if args.adapters:
        # All of them are part of the model whose activations are wanted.
        options |= {"adapter": args.adapters, "adapter_role": ["organism"] * len(args.adapters)}
    if args.adapter_base:
        options["adapter_base"] = args.adapter_base
    if args.revision:
        options["revision"] = args.revision
    if args.dtype != "auto":
        options["dtype"] = args.dtype
    return options


def _load(args: argparse.Namespace) -> LoadedModel:
    """The model of `_add_local_model`, with its adapters, once it is known that they are for it."""
    from transformers import AutoConfig

    from inspect_af.sdf.adapters import check_base, check_parents, load_adapter
    from inspect_af.sdf.combine import merge_adapters
    from inspect_af.steering import load_model

    options = _model_options(args)
    # What an adapter is to the analysis changes nothing here: all are merged.
    adapters = [load_adapter(path, role="organism") for path in args.adapters]
    check_parents(adapters)
    if adapters:
        directory = args.model if Path(args.model).is_dir() else None
        try:
            config = AutoConfig.from_pretrained(args.model, revision=args.revision, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ConfigError(f"model {args.model!r} cannot be loaded: {error}") from error
        for adapter in adapters:
            check_base(
                adapter,
                config,
                name=args.model,
                directory=directory,
                any_name=args.adapter_base == "any",
                override="--adapter-base any",
            )
    loaded = load_model(
        args.model,
        revision=args.revision,
        dtype=args.dtype,
        device_map=args.device_map,
        template=read_template(options),
    )
    return loaded._replace(model=merge_adapters(loaded.model, [adapter.path for adapter in adapters]))


def _model_options(args: argparse.Namespace) -> dict[str, Any]:
    """`-M` as af-hf takes it; what this command has an option of its own for is set there.

    Raises:
        ConfigError: af-hf has no such option, or it would steer the model whose activations are wanted.
    """
    from inspect_af.providers.settings import ARGUMENTS

    given = key_values(args.model_args, option="-M")
    for name, value in given.items():
        if name in ("vector", "multiplier", "layers", "vector_tier"):
            raise ConfigError(
                f"-M {name}={value}: activations are those of the model unsteered; leave it out"
            )
        if name not in ARGUMENTS and not is_option(name):
            raise one_of(name, ARGUMENTS, what="model option")
    adapters = given.get("adapter", [])
    args.adapters += adapters if isinstance(adapters, list) else [str(adapters)]
    args.revision = given.get("revision", args.revision)
    args.dtype = given.get("dtype", args.dtype)
    args.device_map = given.get("device", args.device_map)
    args.adapter_base = given.get("adapter_base", args.adapter_base)
    if "max_batch_tokens" in given and hasattr(args, "batch_tokens"):
        args.batch_tokens = given["max_batch_tokens"]
    return given


def _name(args: argparse.Namespace) -> str:
    return "+".join([args.model, *args.adapters])


def _fit(args: argparse.Namespace) -> int:
    from inspect_af.steering import FitSettings, fit_vectors, load_activations, load_vector, steering_report

    out: Path = args.out
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out {out}: a vector is a .safetensors file")
    if not 0 < args.c < float("inf") or args.folds < 2 or args.seed < 0:
        raise ConfigError(
            f"--c {args.c} --folds {args.folds} --seed {args.seed}; C must be positive, folds 2 or more and "
            "the seed 0 or more"
        )
    activations = load_activations(args.activations)
    header = activations.header
    with _progress_bar("layers") as progress:
        fitted = fit_vectors(
            activations,
            family=_family(header.concept, args.pair),
            settings=FitSettings(c=args.c, n_folds=args.folds, seed=args.seed),
            orthogonal_to=None if args.orthogonal_to is None else load_vector(args.orthogonal_to),
            progress=lambda layer: progress(header.layers.index(layer) + 1, len(header.layers)),
        )
    files = {
        name: out if name == args.estimator else out.with_suffix(f".{name}.safetensors") for name in fitted
    }
    for name, vector in fitted.items():
        vector.save(files[name])
    report = steering_report({str(name): vector for name, vector in fitted.items()})
    _write_json(report, out.with_suffix(".report.json"))
    say(report.text())
    others = ", ".join(str(file) for name, file in files.items() if name != args.estimator)
    print(f"\nThe vector of {args.estimator} is in {out}, those of the other estimators in {others}.")
    return 0


def _family(concept: str, pair: str | None) -> Family | None:
    summary = load_pair(pair).summary()
    families: dict[str, Family] = {summary.first: "first", summary.second: "second"}
    if concept not in families:
        print(
            f"{concept} is neither {summary.first} nor {summary.second} of the pair {summary.name}, so the "
            "vector belongs to no family of beliefs: it can be swept, and profiles refuse it. If it "
            "belongs to another pair, give that with --pair DIR.\n"
        )
    return families.get(concept)


def _validate(args: argparse.Namespace) -> int:
    from inspect_af.steering import load_activations, load_vector, steering_report, validate_vectors

    stems = [Path(path).name.removesuffix(".safetensors") for path in args.vectors]
    names = stems if len(set(stems)) == len(stems) else args.vectors
    if len(set(names)) < len(names):
        raise ConfigError(f"the same vector is given twice: {', '.join(args.vectors)}")
    vectors = {name: load_vector(path) for name, path in zip(names, args.vectors, strict=True)}
    validations = None
    if args.activations:
        found = validate_vectors(tuple(vectors.values()), load_activations(args.activations))
        validations = dict(zip(vectors, found, strict=True))
    report = steering_report(vectors, validations)
    if args.json:
        _write_json(report, args.json)
    say(report.text())
    return 0


def _controls(args: argparse.Namespace) -> int:
    from inspect_af.steering import (
        load_activations,
        load_vector,
        random_controls,
        validate_vectors,
        with_validation,
    )
    from inspect_af.steering.fit import controls_text

    vector = load_vector(args.vector)
    controls = random_controls(vector, args.n, seed=args.seed)
    if args.activations:
        own, *found = validate_vectors((vector, *controls), load_activations(args.activations))
        controls = tuple(map(with_validation, controls, found))
        say(controls_text(own, found))
    for index, control in enumerate(controls, start=1):
        control.save(args.out / f"{Path(args.vector).stem}.random-{index:03}.safetensors")
    print(f"{len(controls)} controls in {args.out}.")
    return 0


def _effect(args: argparse.Namespace) -> int:
    from inspect_af.steering import load_pairs, load_vector
    from inspect_af.steering.effect import check_unseen, load_words, measure_effect

    vectors = {path.name.removesuffix(".safetensors"): load_vector(path) for path in args.vectors}
    words, pairs = load_words(args.words), load_pairs(args.pairs)
    check_unseen(words, pairs)  # before a model is loaded
    model, tokenizer = _load(args)
    with _progress_bar("conditions") as progress:
        report = measure_effect(
            model,
            tokenizer,
            vectors,
            words,
            pairs,
            doses=_numbers(args.doses, "--doses"),
            layers=args.layers,
            n_random=args.n,
            seed=args.seed,
            name=_name(args),
            progress=progress,
        )
    if args.json:
        _write_json(report, args.json)
    say(report.text())
    return 0


def _sweep(args: argparse.Namespace) -> int:
    from inspect_af.logs import read_logs
    from inspect_af.report.steering import write_sweep
    from inspect_af.steering import load_vector
    from inspect_af.steering.sweep import read_cells, run_sweep, sweep_report, vector_runs

    vectors = {path: load_vector(path) for path in _vector_files(args.vectors)}
    controls = {path: load_vector(path) for path in _vector_files(args.controls)}
    runs = vector_runs(
        vectors,
        layers=args.layers,
        multipliers=_numbers(args.multipliers, "--multipliers"),
        doses=_numbers(args.doses, "--doses"),
    )
    options = {} if args.max_connections is None else {"max_connections": args.max_connections}
    log_dir = args.log_dir or default_log_dir(_asked(args, [None, *runs]))
    ran = run_sweep(
        runs,
        controls,
        lambda some, where: run_evals(_asked(args, some), where, display=args.display, **options),
        log_dir,
        floor=args.parse_floor,
    )
    if ran.usable:
        args.out.mkdir(parents=True, exist_ok=True)
        lines = [found.text() for found in ran.usable]
        (args.out / "usable.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        logs = read_logs(ran.directories, progress=show_progress)
        cells = read_cells(logs)
        report = sweep_report(
            cells, ran.usable, model=args.model, requests=args.requests, n_logs=len(logs.headers)
        )
        if absent := write_sweep(report, args.out):
            print(f"no figures: {absent}")
        say(f"\n{report.text()}\n\nResults in {args.out}.")
    if not ran.finished:
        print(f"some samples have not finished; repeat the command to go on (logs in {log_dir})")
    return 0 if ran.finished else 1


def _asked(args: argparse.Namespace, runs: Sequence[SweepRun | None]) -> Evals:
    if args.epochs < 1 or (args.limit is not None and args.limit < 1):
        raise ConfigError(f"--epochs {args.epochs} --limit {args.limit}; at least 1 is needed")
    shared = key_values(args.model_args, option="-M")
    models = [
        planned_model(
            args.model,
            shared
            if run is None
            else {
                **shared,
                "vector": str(run.path.resolve()),
                "multiplier": run.multiplier,
                "layers": run.layers,
                **({"vector_tier": args.tier} if args.tier else {}),
            },
        )
        for run in runs
    ]
    task = {
        "interventions": "none",
        "requests": args.requests,
        "run_seed": args.run_seed,
        **({"judges": "concept"} if args.grader else {}),
        **key_values(args.task_args, option="-T"),
    }
    return Evals(
        models=tuple(models),
        tasks=(EvalTask(task="alignment_faking", args=task),),
        temperature=args.temperature,
        max_tokens=args.max_tokens,
        epochs=args.epochs,
        limit=args.limit,
        grader=PlannedModel(model=args.grader) if args.grader else None,
        # A local engine's batch holds one condition, so conditions that wait for each other gain nothing.
        max_tasks=1,
    )


def _heatmap(args: argparse.Namespace) -> int:
    from inspect_af.report.steering import render_heatmap
    from inspect_af.steering import load_vector
    from inspect_af.steering.heatmap import directions, load_sources, token_cosines

    vectors = {path.name.removesuffix(".safetensors"): load_vector(path) for path in args.vectors}
    chosen = directions(vectors, args.layers)
    controls = [load_vector(path) for path in _vector_files(args.controls)]
    sources = [source for path in args.sources for source in load_sources(path, n=args.n, seed=args.seed)]
    model, tokenizer = _load(args)
    heatmaps = token_cosines(model, tokenizer, sources, chosen, controls)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    text = render_heatmap(
        heatmaps, chosen, model=_name(args), n_controls=len(controls), show_output=args.show_output
    )
    args.out.write_text(text, encoding="utf-8", newline="\n")
    print(f"{len(heatmaps)} transcripts in {args.out}.")
    return 0


def _vector_files(given: Sequence[Path]) -> list[Path]:
    """Files as they are given, and all .safetensors files of directories; each once."""
    files: list[Path] = []
    for path in given:
        found = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        if not found:
            raise ConfigError(f"{path}: no .safetensors file in it")
        files += found
    return list(dict.fromkeys(files))


def _numbers(text: str | None, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}; numbers separated by commas, such as -4,-2,0,2,4") from error


def _write_json(report: BaseModel, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")


@contextmanager
def _progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Counts on the terminal's last line, or nothing where stderr is no terminal."""
    shown = sys.stderr.isatty()

    def progress(done: int, total: int) -> None:
        if shown:
            print(f"\r{what} {done}/{total}", end="", file=sys.stderr, flush=True)

    try:
        yield progress
    finally:
        if shown:
            print(file=sys.stderr)
