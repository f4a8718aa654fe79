"""`inspect-af profile`: the motivation profile of any mix of logs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from inspect_af.cli.command import Verb
from inspect_af.cli.options import report_options
from inspect_af.errors import ConfigError, OtherTasksError
from inspect_af.format import say
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


@click.command(
    cls=Verb,
    help=(
        "Reads logs (headers and sample summaries only) and takes of them what it knows: "
        "inspect_af/alignment_faking gives arms, gaps, sensitivities and the verdict, replies paired by "
        "request; inspect_af/beliefs says whether the interventions moved the beliefs that they name; "
        "inspect_af/direct_requests what is refused without the scenario."
    ),
)
@click.argument("logs", nargs=-1, metavar="[LOG]...")
@click.option("--strength", help="strength that decides the verdict  [default: standard where run]")
@click.option("--plan", type=click.Path(path_type=Path), metavar="FILE", help="compare the logs with a plan")
@report_options
def profile(
    logs: tuple[str, ...],
    strength: str | None,
    plan: Path | None,
    json: str | None,
    html: str | None,
    out: str | None,
) -> int:
    report(
        logs or [os.environ.get("INSPECT_LOG_DIR") or "logs"],
        json_file=json,
        html_file=html,
        directory=out,
        strength=strength,
        plan=None if plan is None else load_plan(plan),
    )
    return 0


def report(
    sources: Sequence[str | Path],
    *,
    json_file: str | None,
    html_file: str | None,
    directory: str | None = None,
    strength: str | None = None,
    plan: Plan | None = None,
) -> None:
    """Profiles the logs, prints a summary, or every table where no page is written, and writes files.

    Args:
        sources: Log files, directories or globs, local or remote.
        json_file: Where the profile goes as JSON, None for nowhere; local or remote, as the other two.
        html_file: Where the page goes.
        directory: Where figures and tables go.
        strength: See `profile_logs`.
        plan: See `profile_logs`.
    """
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
        found = profile_logs(
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
    if unfinished := [note for note in found.notes if note.startswith("Incomplete (")]:
        print("UNFINISHED: what follows rests on the samples that are there, and may change.")
        say("".join(f"  - {note}\n" for note in unfinished))
    if html_file is None:
        print(f"{render_table(found)}\n")
        _print_beside(found.selectivity, found.direct_requests, found.thresholds)
    else:  # the page has every number
        print(render_summary(found))
    if plan is not None:
        say(_adherence(found))

    def write_json(file: Path) -> list[Path]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found.to_json() + "\n", encoding="utf-8")
        return [file]

    def write_html(file: Path) -> list[Path]:
        write_report(found, file, excerpts=draw.read())
        return [file]

    def write_all(into: Path) -> list[Path]:
        return [*export_csv(found, into), *export_figures(found, into)]

    for place, write in ((json_file, write_json), (html_file, write_html), (directory, write_all)):
        for name in [] if place is None else written(place, write):
            print(f"wrote {name}")


def written(place: str, write: Callable[[Path], Sequence[Path]]) -> list[str]:
    """Writes to a local path, or beside it and then to a remote one.

    Args:
        place: File or directory, such as `profile.json` or `s3://bucket/profile.json`.
        write: Writes to the path that it is given and returns the files.

    Returns:
        What was written, as the user would name it.

    Raises:
        ConfigError: A remote place cannot be written to.
    """
    if "://" not in place:
        return [str(file) for file in write(Path(place))]
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # Inspect writes remote logs with it

    with TemporaryDirectory() as folder:
        local = Path(folder) / place.rstrip("/").rpartition("/")[2]
        files = write(local)
        names = [place + str(file)[len(str(local)) :].replace(os.sep, "/") for file in files]
        try:
            for file, name in zip(files, names, strict=True):
                fs, path = url_to_fs(name)
                fs.put_file(str(file), path)
        except Exception as error:  # file systems raise what they like, for missing credentials above all
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ConfigError(f"{place}: cannot be written: {type(error).__name__}: {reason}") from error
    return names


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
    say(f"No profile: none of these logs is of {ALIGNMENT_FAKING}.{notes}")


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
