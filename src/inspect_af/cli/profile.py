"""`inspect-af profile`: the motivation profile of any mix of logs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from inspect_af.cli._options import add_report_options
from inspect_af.plan import Plan, load_plan
from inspect_af.profile import (
    Profile,
    Thresholds,
    belief_check,
    profile_logs,
    render_selectivity,
    render_table,
)


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "profile",
        help="read logs and write their motivation profile",
        description=(
            "Reads logs of inspect_af/alignment_faking (headers and sample summaries only), pairs replies by "
            "request, and prints arms, gaps, sensitivities and the verdict."
        ),
    )
    parser.add_argument("logs", nargs="+", help="log files, directories or globs")
    parser.add_argument("--strength", help="strength that decides the verdict (default: standard where run)")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="compare the logs with a plan")
    add_report_options(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    plan = None if args.plan is None else load_plan(args.plan)
    report(
        args.logs,
        json_file=args.json,
        html_file=args.html,
        directory=args.out,
        strength=args.strength,
        plan=plan,
    )
    return 0


def report(
    sources: Sequence[str | Path],
    *,
    json_file: Path | None,
    html_file: Path | None,
    directory: Path | None = None,
    strength: str | None = None,
    plan: Plan | None = None,
) -> None:
    """Profiles the logs, prints the table, writes what was asked for and names it."""
    from inspect_af.profile.report import ExcerptDraw, belief_shifts, export_csv, export_figures, write_report

    draw = ExcerptDraw(seed=Thresholds().seed)
    profile = profile_logs(
        sources,
        strength=strength,
        plan=plan,
        progress=show_progress,
        watch=draw.watch,
    )
    print(render_table(profile))
    for matrix in profile.selectivity:
        checked = belief_check(matrix, thresholds=profile.thresholds.beliefs)
        print("\n" + render_selectivity(matrix, checked))
    if plan is not None:
        print(_adherence(profile))
    shifts = [shift for matrix in profile.selectivity for shift in belief_shifts(matrix)]
    written: list[Path] = []
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(profile.to_json() + "\n", encoding="utf-8")
        written.append(json_file)
    if html_file is not None:
        write_report(
            profile,
            html_file,
            excerpts=draw.read(),
            logs=profile.logs,
            deviations=profile.deviations or (),
            beliefs=shifts,
        )
        written.append(html_file)
    if directory is not None:
        written += export_csv(profile, directory, beliefs=shifts)
        written += export_figures(profile, directory, beliefs=shifts)
    for file in written:
        print(f"wrote {file}")


def _adherence(profile: Profile) -> str:
    if not profile.deviations:
        return f"\nThe logs fit the plan {profile.plan_digest}."
    listed = "\n".join(f"  - {deviation}" for deviation in profile.deviations)
    return f"\nThe logs depart from the plan {profile.plan_digest}:\n{listed}"


def show_progress(done: int, total: int) -> None:
    """Overwrites one line of the terminal; silent where standard error is no terminal."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\rreading logs: {done} of {total}", end=end, file=sys.stderr, flush=True)
