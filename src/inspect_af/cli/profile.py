"""`inspect-af profile`: the motivation profile of any mix of logs; `convergence`: do the methods agree?"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from inspect_af.cli.command import PLACE, Verb, option
from inspect_af.cli.options import REPORT
from inspect_af.config import is_file, is_remote, write_whole, writing
from inspect_af.errors import ConfigError, OtherTasksError
from inspect_af.format import say
from inspect_af.logs import ALIGNMENT_FAKING, show_progress
from inspect_af.plan import Plan, load_plan
from inspect_af.profile import (
    Profile,
    Thresholds,
    belief_check,
    profile_logs,
    side_tables,
)
from inspect_af.profile.convergence import convergence_from_logs
from inspect_af.profile.profile import SideTables
from inspect_af.report import (
    ExcerptDraw,
    checked_variables,
    export_csv,
    export_figures,
    render_convergence_text,
    render_direct,
    render_html,
    render_scratchpads,
    render_selectivity,
    render_summary,
    render_table,
    write_convergence,
)


@click.command(cls=Verb)
@click.argument("logs", nargs=-1, metavar="[LOG]...")
@option("--strength", help="strength that decides the verdict  [default: standard where run]")
@option("--plan", type=PLACE, metavar="FILE", help="compare the logs with a plan")
@REPORT
def profile(
    logs: tuple[str, ...],
    strength: str | None,
    plan: Path | None,
    json: Path | None,
    html: Path | None,
    out: Path | None,
) -> None:
    """Reads logs (headers and sample summaries only) and takes of them what it knows:
    inspect_af/alignment_faking and value_conflict give arms, gaps, sensitivities and the verdict, replies
    paired by request, and what their judges (-T judges=) said of the reasoning; beliefs says whether the
    interventions moved the beliefs that they name; direct_requests what is refused without the scenario;
    scratchpad how much of the gap goes through the stated reasoning. LOG is a log file, a directory or a
    glob; without one, the log directory is read (INSPECT_LOG_DIR, else logs).
    """
    report(
        logs or [os.environ.get("INSPECT_LOG_DIR") or "logs"],
        json_file=json,
        html_file=html,
        directory=out,
        strength=strength,
        plan=None if plan is None else load_plan(plan),
    )


def report(
    sources: Sequence[str | Path],
    *,
    json_file: str | Path | None,
    html_file: str | Path | None,
    directory: str | Path | None = None,
    strength: str | None = None,
    plan: Plan | None = None,
) -> None:
    """Profiles the logs, prints a summary, or every table where no page is written, and writes files: the
    JSON, the page, and figures and tables into a directory. Any place may be remote, or None for nowhere."""
    draw = ExcerptDraw(seed=Thresholds().seed)
    try:
        found = profile_logs(sources, strength=strength, plan=plan, progress=show_progress, watch=draw.watch)
    except OtherTasksError as error:
        wanted = {"--plan": plan, "--json": json_file, "--html": html_file, "--out": directory}
        _without_profile(sources, error, [option for option, given in wanted.items() if given is not None])
        return
    if unfinished := [note for note in found.notes if note.startswith("Incomplete (")]:
        say("UNFINISHED: what follows rests on the samples that are there, and may change.")
        say("".join(f"  - {note}\n" for note in unfinished))
    if html_file is None:
        say(f"{render_table(found)}\n")
        _print_beside(found, found.thresholds)
    else:  # the page has every number
        say(render_summary(found))
    if plan is not None and not found.deviations:
        say(f"The logs fit the plan {found.plan_digest}.")
    elif plan is not None:
        say(f"The logs depart from the plan {found.plan_digest}:")
        say("\n".join(f"  - {deviation}" for deviation in found.deviations or ()))
    if json_file is not None:
        write_text(json_file, found.to_json() + "\n")
    if html_file is not None:
        write_text(html_file, render_html(found, draw.read()))
    if directory is not None:
        write_files(directory, lambda into: [*export_csv(found, into), *export_figures(found, into)])


def write_text(place: str | Path, text: str) -> None:
    """Writes one file, local or remote, and says so."""

    def write(file: Path) -> list[Path]:
        write_whole(file, text)
        return [file]

    write_files(place, write)


def write_files(place: str | Path, write: Callable[[Path], Sequence[Path]]) -> None:
    """Writes to a place, local or remote, and says what was written; `write` returns the files that it wrote
    to the path that it is given."""
    # A directory that is made may be a misspelt one, so it is named.
    parents = () if is_remote(place) else reversed(Path(place).parents)
    missing = [path for path in parents if not path.exists()]
    with writing(place) as path:
        files = write(path)
    for file in files:
        say(f"wrote {place}{str(file)[len(str(path)) :].replace(os.sep, '/')}")
    if missing:
        say(f"made the directory {missing[-1]}, which was not there")


def _without_profile(sources: Sequence[str | Path], error: OtherTasksError, options: Sequence[str]) -> None:
    """What logs of beliefs and direct requests say by themselves; the error again where there are none."""
    tables = side_tables(sources)
    if not (tables.selectivity or tables.direct_requests or tables.scratchpads):
        raise error
    if options:
        raise ConfigError(
            f"{', '.join(options)}: none of these logs is of {ALIGNMENT_FAKING}, so there is no profile to "
            "write or to compare; add logs of it, or leave the option out to see the tables of the others"
        )
    _print_beside(tables, Thresholds())
    notes = "".join(f"\n  - {note}" for note in tables.notes)
    say(f"No profile: none of these logs is of {ALIGNMENT_FAKING}.{notes}")


def _print_beside(found: Profile | SideTables, thresholds: Thresholds) -> None:
    variables = checked_variables(found) if isinstance(found, Profile) else {}
    for matrix in found.selectivity:
        wanted = variables.get((matrix.subject, matrix.method)) or None
        checked = belief_check(matrix, variables=wanted, thresholds=thresholds.beliefs)
        say(f"{render_selectivity(matrix, checked)}\n")
    for asked in found.direct_requests:
        say(f"{render_direct(asked)}\n")
    for edited in found.scratchpads:
        say(f"{render_scratchpads(edited)}\n")


@click.command(cls=Verb)
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@option(
    "--out", type=PLACE, metavar="DIR", help="write the page, the JSON, the tables and the figures into DIR"
)
@option("--json", type=PLACE, metavar="FILE", help="write the report as JSON")
@option(
    "--name",
    multiple=True,
    metavar="MODEL=NAME",
    help="call a model by another name; models of one name count as one",
)
@option("--strength", help="strength of claims that counts  [default: standard where run]")
@option(
    "--plan",
    type=PLACE,
    metavar="FILE",
    help="judge by this plan's thresholds, variables and strength of claims  [default: the package's]",
)
@option("--title", help="heading of the report")
def convergence(
    logs: tuple[str, ...],
    out: Path | None,
    json: Path | None,
    name: tuple[str, ...],
    strength: str | None,
    plan: Path | None,
    title: str | None,
) -> None:
    """Reads logs of inspect_af/alignment_faking, beliefs and direct_requests, tells from them alone which
    serve which part, and writes one report: every method side by side, prompt against documents, vectors
    among random ones, controls, and whether the methods converge. Parts without logs say what to run. LOG
    is a log file, a directory or a glob.
    """
    if out is not None and is_file(out):
        raise ConfigError(f"--out {out} is a file; give a directory")
    report = convergence_from_logs(
        logs,
        names=model_names(name),
        plan=None if plan is None else load_plan(plan),
        strength=strength,
        title=title,
        progress=show_progress,
    )
    say(render_convergence_text(report))
    if json is not None:
        write_text(json, report.to_json() + "\n")
    if out is None:
        return
    with writing(out) as directory:
        written = [f"{out}/{file.name}" for file in write_convergence(report, directory)]
    shown = [file for file in written if file.endswith((".html", ".json"))]
    for file in shown:
        say(f"wrote {file}")
    say(f"wrote {len(written) - len(shown)} tables and figures in {out}")


def model_names(given: Sequence[str]) -> dict[str, str]:
    """`["af-hf/./tiny=tiny"]` as `{"af-hf/./tiny": "tiny"}`."""
    names: dict[str, str] = {}
    for item in given:
        # A model's arguments hold equals signs, names do not.
        model, equals, name = item.rpartition("=")
        if not equals or not model or not name.strip():
            raise ConfigError(f"--name takes MODEL=NAME, such as af-hf/./organism=organism, not {item!r}")
        names[model] = name.strip()
    return names
