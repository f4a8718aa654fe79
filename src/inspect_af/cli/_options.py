"""What verbs that describe themselves to argparse take from `options`."""

from __future__ import annotations

import argparse

from inspect_af.cli.options import key_values, planned_model

__all__ = ["add_model_option", "key_values", "planned_model"]


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """`-M`, as Inspect has it."""
    parser.add_argument(
        "-M", dest="model_args", action="append", default=[], metavar="KEY=VALUE", help="model argument"
    )
