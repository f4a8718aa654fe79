"""`inspect-af convergence`: do prompt claims, synthetic documents and steering agree?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from inspect_af.cli.command import FILE, Verb, option
from inspect_af.errors import ConfigError
from inspect_af.logs import show_progress
from inspect_af.plan import load_plan
from inspect_af.profile.convergence import convergence_from_logs
from inspect_af.report import render_convergence_text, write_convergence


@click.command(
    cls=Verb,
    help=(
        "Reads logs of inspect_af/alignment_faking, beliefs and direct_requests, tells from them alone "
        "which serve which part, and writes one report: every method side by side, prompt against "
        "documents, vectors among random ones, controls, and whether the methods converge. Parts without "
        "logs say what to run. LOG is a log file, a directory or a glob."
    ),
)
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@option("--out", type=FILE, required=True, metavar="DIR", help="where the page, JSON, tables and figures go")
@option("--json", type=FILE, metavar="FILE", help="write the JSON here as well")
@option(
    "--name",
    multiple=True,
    metavar="MODEL=NAME",
    help="call a model by another name; models of one name count as one (repeatable)",
)
@option("--strength", help="strength of claims that counts  [default: standard where run]")
@option(
    "--plan",
    type=FILE,
    metavar="FILE",
    help="judge by this plan's thresholds, variables and strength of claims  [default: the package's]",
)
@option("--title", help="heading of the report")
def convergence(
    logs: tuple[str, ...],
    out: Path,
    json: Path | None,
    name: tuple[str, ...],
    strength: str | None,
    plan: Path | None,
    title: str | None,
) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; give a directory")
    report = convergence_from_logs(
        logs,
        names=model_names(name),
        plan=None if plan is None else load_plan(plan),
        strength=strength,
        title=title,
        progress=show_progress,
    )
    print(render_convergence_text(report))
    written = write_convergence(report, out)
    if json is not None:
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_text(report.to_json() + "\n", encoding="utf-8")
        written.append(json)
    shown = [file for file in written if file.suffix in (".html", ".json")]
    for file in shown:
        print(f"wrote {file}")
    print(f"wrote {len(written) - len(shown)} tables and figures in {out}")


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
