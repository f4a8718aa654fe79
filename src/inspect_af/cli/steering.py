"""`inspect-af steering`: fit vectors to activations, validate them, draw random controls."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from inspect_af.cli import _steering_activations, _steering_heatmap, _steering_pairs, _steering_sweep
from inspect_af.errors import ConfigError
from inspect_af.materials import load_pair

if TYPE_CHECKING:
    from inspect_af.steering import Split, SteeringReport, SteeringVector
    from inspect_af.types import Family


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "steering",
        help="fit steering vectors, validate them, draw random controls",
        description="Steering vectors from the activations of contrast pairs.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    parser.set_defaults(main=main)
    _steering_activations.add_parser(actions)
    _steering_sweep.add_parser(actions)
    _steering_heatmap.add_parser(actions)
    _steering_pairs.add_parser(actions)
    _add_fit(actions)
    _add_validate(actions)
    _add_controls(actions)


def main(args: argparse.Namespace) -> int:
    """Runs the action that was parsed."""
    return int(args.action(args))


def _add_fit(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fit = actions.add_parser(
        "fit",
        help="activations to a vector, cross-validated at every layer",
        description=(
            "Fits the paired logistic regression at every layer, and the mean difference as the baseline "
            "beside it. Layers marked * cross-validate best; other splits are reported, never selected on."
        ),
    )
    fit.add_argument("activations", help="safetensors file of pooled activations")
    fit.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="vector to write (.safetensors); FILE with .mean-difference and .report.json go beside it",
    )
    fit.add_argument(
        "--c", type=float, default=1.0, help="inverse strength of the penalty (default: 1; not in source)"
    )
    fit.add_argument("--folds", type=int, default=5, help="folds of cross-validation (default: 5)")
    fit.add_argument("--seed", type=int, default=0, help="of the folds (default: 0)")
    fit.add_argument("--pair", default=None, help="hypothesis pair that names the concept (default: bundled)")
    fit.set_defaults(main=main, action=_fit)


def _add_validate(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    validate.set_defaults(main=main, action=_validate)


def _add_controls(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    controls.set_defaults(main=main, action=_controls)


def _fit(args: argparse.Namespace) -> int:
    from inspect_af.steering import FitSettings, fit_vectors, load_activations, report_text, steering_report

    out: Path = args.out
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out {out}: a vector is a .safetensors file")
    if not 0 < args.c < float("inf") or args.folds < 2 or args.seed < 0:
        raise ConfigError(
            f"--c {args.c} --folds {args.folds} --seed {args.seed}; C must be positive, folds 2 or more and "
            "the seed 0 or more"
        )
    activations = load_activations(args.activations)
    family = _family(activations.header.concept, args.pair)
    held = activations.header.layers

    def progress(layer: int) -> None:
        if sys.stderr.isatty():
            print(f"\rlayer {layer} ({held.index(layer) + 1}/{len(held)})", end="", file=sys.stderr)

    settings = FitSettings(c=args.c, n_folds=args.folds, seed=args.seed)
    fitted = fit_vectors(activations, family=family, settings=settings, progress=progress)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    baseline = out.with_suffix(".mean-difference.safetensors")
    fitted.logistic.save(out)
    fitted.mean_difference.save(baseline)
    report = steering_report({out.stem: fitted.logistic, "mean difference": fitted.mean_difference})
    _write_report(report, out.with_suffix(".report.json"))
    print(report_text(report))
    print(f"\nVector in {out}, baseline in {baseline}.")
    return 0


def _validate(args: argparse.Namespace) -> int:
    from inspect_af.steering import load_activations, report_text, steering_report, validate_vectors

    vectors = _by_name(args.vectors)
    validations = None
    if args.activations:
        found = validate_vectors(tuple(vectors.values()), load_activations(args.activations))
        validations = dict(zip(vectors, found, strict=True))
    report = steering_report(vectors, validations)
    if args.json:
        _write_report(report, args.json)
    print(report_text(report))
    return 0


def _controls(args: argparse.Namespace) -> int:
    from inspect_af.format import text_table
    from inspect_af.steering import (
        control_bands,
        load_activations,
        load_vector,
        random_controls,
        validate_vectors,
        with_validation,
    )

    vector = load_vector(args.vector)
    controls = random_controls(vector, args.n, seed=args.seed)
    if args.activations:
        found = validate_vectors((vector, *controls), load_activations(args.activations))
        controls = tuple(map(with_validation, controls, found[1:]))
        split: Split = "held-out" if found[0].n_pairs["held-out"] else "train"
        own = {
            layer.layer: scores.projection.auroc
            for layer in found[0].layers
            for scores in layer.splits
            if scores.split == split
        }
        rows = [["layer", "vector", "controls: lowest", "median", "highest"]]
        for band in control_bands(found[1:], split):
            figures = (own[band.layer], band.low, band.median, band.high)
            rows.append([str(band.layer), *(f"{figure:.3f}" for figure in figures)])
        print(f"AUROC on {split} pairs\n{text_table(rows)}")
    for index, control in enumerate(controls, start=1):
        control.save(args.out / f"{Path(args.vector).stem}.random-{index:03}.safetensors")
    print(f"{len(controls)} controls in {args.out}.")
    return 0


def _family(concept: str, pair: str | None) -> Family:
    summary = load_pair(pair).summary()
    if concept == summary.first:
        return "first"
    if concept == summary.second:
        return "second"
    raise ConfigError(
        f"the activations are of the concept {concept!r}; the pair {summary.name} has {summary.first} and "
        f"{summary.second}. Give the pair that it belongs to with --pair DIR"
    )


def _by_name(paths: list[str]) -> dict[str, SteeringVector]:
    from inspect_af.steering import load_vector

    stems = [Path(path).name.removesuffix(".safetensors") for path in paths]
    names = stems if len(set(stems)) == len(stems) else paths
    if len(set(names)) < len(names):
        raise ConfigError(f"the same vector is given twice: {', '.join(paths)}")
    return {name: load_vector(path) for name, path in zip(names, paths, strict=True)}


def _write_report(report: SteeringReport, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
