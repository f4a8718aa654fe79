"""`inspect-af sdf`: synthetic documents, from a universe to an adapter."""

from __future__ import annotations

import argparse

from inspect_af.cli import _sdf_build, _sdf_check, _sdf_compose, _sdf_generate, _sdf_hub, _sdf_train


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "sdf",
        help="generate documents about a universe, build a corpus, train on it",
        description="Synthetic document fine-tuning.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for action in (_sdf_generate, _sdf_build, _sdf_train, _sdf_check, _sdf_compose, _sdf_hub):
        action.add_parser(actions)


def main(args: argparse.Namespace) -> int:
    """Runs the action that was parsed."""
    return int(args.action(args))
