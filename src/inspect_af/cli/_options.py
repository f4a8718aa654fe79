"""Options that several verbs share, and how their values are read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inspect_af.cli._numbers import at_least
from inspect_af.config import parse
from inspect_af.errors import ConfigError
from inspect_af.plan import PlannedModel


def key_values(given: Sequence[str], *, option: str) -> dict[str, Any]:
    """`["a=1", "b=x,y"]` as `{"a": 1, "b": "x,y"}`; values are read as YAML scalars, as Inspect does.

    Raises:
        ConfigError: An item is not of the form KEY=VALUE.
    """
    values: dict[str, Any] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{option} takes KEY=VALUE, not {item!r}")
        values[key.strip().replace("-", "_")] = parse(value, "YAML", f"{option} {item!r}: the value")
    return values


def planned_model(model: str, args: dict[str, Any]) -> PlannedModel:
    """A model with its arguments.

    Raises:
        ConfigError: An argument is neither text nor number, true, false, nothing, a list or a mapping.
    """
    try:
        return PlannedModel(model=model, args=args)
    except ValidationError as error:
        named = sorted({str(found["loc"][1]) for found in error.errors() if len(found["loc"]) > 1})
        raise ConfigError(
            f"-M {', '.join(named)}: text, a number, true, false, or a list or mapping of those is needed"
        ) from error


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """`-M`, as Inspect has it."""
    parser.add_argument(
        "-M", dest="model_args", action="append", default=[], metavar="KEY=VALUE", help="model argument"
    )


class Typed(argparse.Action):
    """Stores a value and remembers, in `Namespace.typed`, that its option was on the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        namespace.typed = (*getattr(namespace, "typed", ()), str(option_string))


def add_task_options(parser: argparse.ArgumentParser) -> None:
    """What is asked: the main parameters of `inspect_af/alignment_faking`, and `-T` for the rest."""
    parser.add_argument(
        "--interventions",
        action=Typed,
        default="all,N",
        help="such as all, A1+,B2- or none (default: all,N, the interventions of all and the placebos)",
    )
    parser.add_argument(
        "--strength", action=Typed, default="standard", help="weak, standard (default), strong or all"
    )
    parser.add_argument(
        "--paraphrase", action=Typed, default="1", help="a wording counted from 1 (default), or all"
    )
    parser.add_argument(
        "--requests", action=Typed, default="advbench", help="advbench (default), mini, or a file"
    )
    parser.add_argument("--epochs", action=Typed, type=int, default=1, help="replies per sample (default: 1)")
    parser.add_argument(
        "--run-seed", action=Typed, type=int, default=0, help="seed of the generations (default: 0)"
    )
    add_model_option(parser)
    parser.add_argument(
        "-T",
        dest="task_args",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="further task parameter, such as setting=documents",
    )


def add_generation_options(parser: argparse.ArgumentParser) -> None:
    """How replies are sampled, beside the number of epochs."""
    parser.add_argument("--temperature", action=Typed, type=float, help="default: the provider's")
    parser.add_argument(
        "--max-tokens", action=Typed, type=int, help="of a reply (default: what the task allows)"
    )


def check_generation(args: argparse.Namespace) -> None:
    """
    Raises:
        ConfigError: A number of `add_task_options` or `add_generation_options` is too small.
    """
    at_least(args.epochs, 1, option="--epochs")
    at_least(args.temperature, 0, option="--temperature")
    at_least(args.max_tokens, 1, option="--max-tokens")


def typed_options(args: argparse.Namespace) -> list[str]:
    """The options of this module that stand on the command line, defaults that were typed out included."""
    repeated = [option for option, given in (("-M", args.model_args), ("-T", args.task_args)) if given]
    return [*dict.fromkeys(getattr(args, "typed", ())), *repeated]


def task_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The parameters of the task that the options of `add_task_options` ask for."""
    return {
        "interventions": args.interventions,
        "strength": args.strength,
        "paraphrase": args.paraphrase,
        "requests": args.requests,
        "run_seed": args.run_seed,
        **key_values(args.task_args, option="-T"),
    }


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Where the profile is written, beside the table on the terminal."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the profile as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the profile as one HTML page")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write the figures (SVG, PNG) and the tables (CSV) into DIR"
    )
