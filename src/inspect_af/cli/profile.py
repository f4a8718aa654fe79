"""`inspect-af profile`: the motivation profile of any mix of logs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from inspect_af.cli._options import add_report_options
from inspect_af.errors import ConfigError, OtherTasksError
from inspect_af.logs import ALIGNMENT_FAKING, show_progress
from inspect_af.plan import Plan, load_plan
from inspect_af.profile import (
    DirectReport,
    Profile,
    SelectivityMatrix,
    Thresholds,
    belief_check,
    profile_logs,
    side_tables,
)


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "profile",
        help="read logs and write their motivation profile",
        description=(
            "Reads logs (headers and sample summaries only) and takes of them what it knows: "
            "inspect_af/alignment_faking gives arms, gaps, sensitivities and the verdict, replies paired by "
            "request; inspect_af/beliefs says whether the interventions moved the beliefs that they name; "
            "inspect_af/direct_requests what is refused without the scenario."
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
    """Profiles the logs, prints a summary, or every table where no page is written, and writes files."""
    from inspect_af.report import (
        ExcerptDraw,
        export_csv,
        export_figures,
        render_summary,
        render_table,
        write_report,
    )

    draw = ExcerptDraw(seed=Thresholds().seed)
    try:
        profile = profile_logs(
            sources,
            strength=strength,
            plan=plan,
            progress=show_progress,
            watch=draw.watch,
        )
    except OtherTasksError as error:
        wanted = {"--plan": plan, "--json": json_file, "--html": html_file, "--out": directory}
        _without_profile(sources, error, [option for option, given in wanted.items() if given is not None])
        return
    if html_file is None:
        print(f"{render_table(profile)}\n")
        _print_beside(profile.selectivity, profile.direct_requests, profile.thresholds)
    else:  # the page has every number
        print(render_summary(profile))
    if plan is not None:
        print(_adherence(profile))
    written: list[Path] = []
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(profile.to_json() + "\n", encoding="utf-8")
        written.append(json_file)
    if html_file is not None:
        write_report(profile, html_file, excerpts=draw.read())
        written.append(html_file)
    if directory is not None:
        written += export_csv(profile, directory)
        written += export_figures(profile, directory)
    for file in written:
        print(f"wrote {file}")


def _without_profile(sources: Sequence[str | Path], error: OtherTasksError, options: Sequence[str]) -> None:
    """What logs of beliefs and direct requests say by themselves; the error again where there are none."""
    tables = side_tables(sources)
    if not (tables.selectivity or tables.direct_requests):
        raise error
    if options:
        raise ConfigError(
            f"{', '.join(options)}: none of these logs is of {ALIGNMENT_FAKING}, so there is no profile to "
            "write or to compare; add logs of it, or leave the option out to see the tables of the others"
        )
    _print_beside(tables.selectivity, tables.direct_requests, Thresholds())
    notes = "".join(f"\n  - {note}" for note in tables.notes)
    print(f"No profile: none of these logs is of {ALIGNMENT_FAKING}.{notes}")


def _print_beside(
    selectivity: Sequence[SelectivityMatrix], direct: Sequence[DirectReport], thresholds: Thresholds
) -> None:
    from inspect_af.report import render_direct, render_selectivity

    for matrix in selectivity:
        checked = belief_check(matrix, thresholds=thresholds.beliefs)
        print(f"{render_selectivity(matrix, checked)}\n")
    for asked in direct:
        print(f"{render_direct(asked)}\n")


def _adherence(profile: Profile) -> str:
    if not profile.deviations:
        return f"The logs fit the plan {profile.plan_digest}."
    listed = "\n".join(f"  - {deviation}" for deviation in profile.deviations)
    return f"The logs depart from the plan {profile.plan_digest}:\n{listed}"
