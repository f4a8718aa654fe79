"""`inspect-af pair` and `inspect-af scenario`: see the words, check one's own, begin with a draft."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click

from inspect_af.cli.command import FILE, Verb, option
from inspect_af.cli.options import PAIR
from inspect_af.errors import ConfigError
from inspect_af.format import plural, say
from inspect_af.materials import Pair, load_pair, load_scenario
from inspect_af.materials.drafts import pair_problems, prompt_text, scenario_problems, write_draft
from inspect_af.types import FAMILIES, STRENGTHS, Strength, Tier

_TIERS = tuple(tier for tier in get_args(Tier) if tier != "none")
_DIRECTORY = click.argument("directory", metavar="DIR")


@click.group
def pair() -> None:
    """Hypothesis pairs: the claims, what is wrong with a pair of your own, a draft of one."""


@pair.command(cls=Verb)
@click.argument("code", required=False)
@PAIR
@option("--tier", type=click.Choice(_TIERS), help="show the prompt in this tier")
@option("--strength", type=click.Choice(STRENGTHS), help="[default: all; standard in a prompt]")
def show(code: str | None, pair: str | None, tier: Tier | None, strength: Strength | None) -> None:
    """Shows the families, variables and placebos of a pair; with CODE (A1, A1+, N2) the claims in every
    strength and wording; with --tier the prompt that a model gets.
    """
    loaded = load_pair(pair)
    if code is None:
        if tier or strength:
            raise ConfigError("--tier and --strength show a claim; give its CODE, such as A1+")
        say(_overview(loaded))
        return
    wanted = (strength,) if strength else ("standard",) if tier else STRENGTHS
    for arm in (each for each in loaded.interventions(code) if each is not None):
        claims = [each for each in loaded.claims if each.intervention == arm and each.strength in wanted]
        if tier is not None:
            say(f"{claims[0].label}\n{prompt_text(load_scenario(pair=pair), tier, claims[0].text)}\n")
            continue
        for claim in claims:
            say(f"{claim.label} ({plural(claim.words, 'word')})\n{claim.text}\n")


def _overview(pair: Pair) -> str:
    says = pair.says()
    lines = [f"{pair.name}, version {pair.version}, digest {pair.digest}"]
    for family, info in zip(FAMILIES, (pair.first, pair.second), strict=True):
        lines.append(f"\n{info.label}: {info.description}")
        for each in (variable for variable in pair.variables if variable.family == family):
            lines.append(f"  {each.code}  {each.name}{'' if each.in_all else ' (not in `all`)'}")
            lines += [f"    {each.code}{pole}  {says[f'{each.code}{pole}']}" for pole in "+-"]
    lines.append("\nplacebos: " + (", ".join(f"{p.code} ({p.name})" for p in pair.placebos) or "none"))
    return "\n".join([*lines, *(f"warning: {text}" for text in pair.warnings)])


@pair.command(cls=Verb)
@_DIRECTORY
def check(directory: str) -> int:
    """Lists everything that is wrong with a pair; exit status 1 where anything is."""
    status = _checked(directory, pair_problems(directory))
    if not status:
        say(_overview(load_pair(directory)))
    return status


@pair.command(cls=Verb)
@click.argument("directory", type=FILE, metavar="DIR")
def new(directory: Path) -> None:
    """Writes a small pair with comments, to be filled with words of your own."""
    _written("pair", write_draft("pair", directory), directory)


@click.group
def scenario() -> None:
    """Scenarios: the prompt, what is wrong with a scenario of your own, a copy to begin with."""


@scenario.command("show", cls=Verb)
@click.argument("directory", required=False, metavar="[DIR|NAME]")
@option("--tier", type=click.Choice(_TIERS), default="monitored")
def show_scenario(directory: str | None, tier: Tier) -> None:
    """Shows the prompt of a scenario, without a claim."""
    say(prompt_text(load_scenario(directory), tier))


@scenario.command("check", cls=Verb)
@_DIRECTORY
def check_scenario(directory: str) -> int:
    """Says what is wrong with a scenario; exit status 1 where anything is."""
    return _checked(directory, scenario_problems(directory))


@scenario.command("new", cls=Verb)
@click.argument("directory", type=FILE, metavar="DIR")
def new_scenario(directory: Path) -> None:
    """Writes a copy of the bundled scenario, to be changed."""
    _written("scenario", write_draft("scenario", directory), directory)


def _checked(directory: str, problems: Sequence[str]) -> int:
    for problem in problems:
        say(f"inspect-af: {problem}", err=True)
    if not problems:
        say(f"{directory}: nothing is wrong")
    return int(bool(problems))


def _written(kind: str, files: Sequence[Path], directory: Path) -> None:
    for file in files:
        say(f"wrote {file}")
    say(f"check it with: inspect-af {kind} check {directory}; use it with: -T {kind}={directory}")
