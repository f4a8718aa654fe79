"""`inspect-af VERB`: one file per verb, each with `add_parser` and `main`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from inspect_af import __version__
from inspect_af.cli._numbers import joined_lists
from inspect_af.errors import InspectAFError
from inspect_af.format import visible


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, with every verb and action."""
    from inspect_af.cli import (
        convergence,
        judge,
        nuisance,
        organism,
        plan,
        power,
        profile,
        run,
        sdf,
        steering,
        study,
    )

    parser = argparse.ArgumentParser(
        prog="inspect-af",
        description="Which motivation is behind a model's alignment faking?",
        epilog="Evals also run through Inspect alone: inspect eval inspect_af/alignment_faking --model ...",
    )
    parser.add_argument("--version", action="version", version=f"inspect-af {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in (
        run,
        profile,
        convergence,
        plan,
        study,
        power,
        nuisance,
        judge,
        steering,
        organism,
        sdf,
    ):
        verb.add_parser(verbs)
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """A command line as options; what stands after `--` of a study, for Snakemake, in `passed_on`."""
    at = argv.index("--") if argv[:1] == ["study"] and "--" in argv else len(argv)
    args = build_parser().parse_args(joined_lists(argv[:at]))
    args.passed_on = list(argv[at + 1 :])
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Returns:
        0, or 1 where the verb failed with one of the package's own errors or on a file, which is named, or
        2 for a malformed command line, 130 where it was interrupted, 141 where its output was cut off.
    """
    args = parse(sys.argv[1:] if argv is None else argv)
    try:
        return int(args.main(args))
    except InspectAFError as error:
        print(f"inspect-af: {visible(str(error))}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a file that was named on the command line, a full disk
        if error.filename is None:
            raise
        print(f"inspect-af: {visible(str(error.filename))}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("inspect-af: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
