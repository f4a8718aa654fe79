"""`inspect-af convergence`: do prompt claims, synthetic documents and steering agree?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from inspect_af.errors import ConfigError
from inspect_af.logs import show_progress
from inspect_af.plan import load_plan


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "convergence",
        help="do prompt claims, documents and steering agree, model by model?",
        description=(
            "Reads logs of inspect_af/alignment_faking, beliefs and direct_requests, tells from them alone "
            "which serve which part, and writes one report: every method side by side, prompt against "
            "documents, vectors among random ones, controls, and whether the methods converge. Parts without "
            "logs say what to run."
        ),
    )
    parser.add_argument("logs", nargs="+", help="log files, directories or globs")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where the page, JSON, tables and figures go"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON here as well")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="MODEL=NAME",
        help="call a model by another name; models of one name count as one (repeatable)",
    )
    parser.add_argument("--strength", help="strength of claims that counts (default: standard where run)")
    parser.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="judge by this plan's thresholds, variables and strength of claims (default: the package's)",
    )
    parser.add_argument("--title", help="heading of the report")
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from inspect_af.profile.convergence import convergence_from_logs
    from inspect_af.report import render_convergence_text, write_convergence

    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"--out {args.out} is a file; give a directory")
    names = model_names(args.name)
    plan = None if args.plan is None else load_plan(args.plan)
    report = convergence_from_logs(
        args.logs,
        names=names,
        plan=plan,
        strength=args.strength,
        title=args.title,
        progress=show_progress,
    )
    print(render_convergence_text(report))
    written = write_convergence(report, args.out)
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(report.to_json() + "\n", encoding="utf-8")
        written.append(args.json)
    shown = [file for file in written if file.suffix in (".html", ".json")]
    for file in shown:
        print(f"wrote {file}")
    print(f"wrote {len(written) - len(shown)} tables and figures in {args.out}")
    return 0


def model_names(given: Sequence[str]) -> dict[str, str]:
    """`["af-hf/./tiny=tiny"]` as `{"af-hf/./tiny": "tiny"}`.

    Raises:
        ConfigError: An item is not of the form MODEL=NAME.
    """
    names: dict[str, str] = {}
    for item in given:
        # A model's arguments hold equals signs, names do not.
        model, equals, name = item.rpartition("=")
        if not equals or not model or not name.strip():
            raise ConfigError(f"--name takes MODEL=NAME, such as af-hf/./organism=organism, not {item!r}")
        names[model] = name.strip()
    return names
