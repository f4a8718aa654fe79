"""The reference pages, generated from signatures, docstrings and the command line's own help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from types import NoneType

import click
from docstrings import read_docstring

from inspect_af import _registry, columns, materials, profile, report
from inspect_af.cli import app
from inspect_af.materials import load_pair
from inspect_af.organisms.simulated import ORGANISMS
from inspect_af.providers import organism as organism
from inspect_af.providers import settings

GENERATED = "*Generated from the code when the site is built.*\n"

TASKS = (
    "alignment_faking",
    "value_conflict",
    "direct_requests",
    "beliefs",
    "sdf_ideas",
    "sdf_documents",
    "contrast_pairs",
    "judge_labels",
    "scratchpad",
)
SOLVERS = ("prompt_intervention", "scenario_prompt", "continue_reasoning")
SCORERS = (
    "compliance",
    "choice",
    "concept_judge",
    "faking_judge",
    "refusal_judge",
    "awareness_judge",
    "belief",
    "contrast_pair",
    "well_formed",
)
METRICS = ("accepted_rate", "compliance_gap", "unscored_replies", "first_option")
PROVIDERS = {
    "af_organism": "organisms.md",
    "af_hf": "local_models.md",
    "af_vllm": "vllm.md",
    "af_simulated_judge": "judges.md",
    "af_simulated_writer": "sdf_documents.md",
    "af_simulated_dialogues": "contrast_pairs.md",
}


def reference_pages() -> dict[str, str]:
    """Path and markdown of every page.

    Raises:
        ValueError: Something is registered with Inspect and on no page, or has no docstring.
    """
    listed = {*TASKS, *SOLVERS, *SCORERS, *METRICS, *PROVIDERS}
    if forgotten := sorted(set(_registry.__all__) - listed):
        raise ValueError(f"registered with Inspect but on no reference page: {', '.join(forgotten)}")
    return {
        "reference/tasks.md": _page("Tasks", "Run with `inspect eval inspect_af/NAME`.", TASKS, "-T"),
        "reference/solvers_scorers.md": _page(
            "Solvers, scorers, metrics",
            "Solvers go to `inspect eval --solver inspect_af/NAME`, "
            "scorers to `inspect score --scorer inspect_af/NAME`.",
            (*SOLVERS, *SCORERS, *METRICS),
            "-S",
        ),
        "reference/providers.md": _providers(),
        "reference/commands.md": _commands(),
        "reference/claims.md": _claims(),
        "reference/python.md": _python(),
    }


def _page(title: str, lead: str, names: Iterable[str], option: str) -> str:
    parts = [f"# {title}\n", GENERATED, f"{lead}\n"]
    for name in names:
        parts += _callable(name, getattr(_registry, name), option)
    return "\n".join(parts)


def _callable(name: str, described: Callable[..., object], option: str) -> Iterator[str]:
    doc = read_docstring(described)
    yield f"## `inspect_af/{name}`\n"
    yield f"{doc.summary}\n"
    if doc.prose:
        yield f"{doc.prose}\n"
    parameters = inspect.signature(described).parameters
    if parameters:
        yield f"| `{option}` | default | meaning |\n|---|---|---|"
        for parameter in parameters.values():
            yield (
                f"| `{parameter.name}` | {_default(parameter.default)} | "
                f"{_cell(doc.parameters.get(parameter.name, ''))} |"
            )
        yield ""
    if doc.errors:
        yield "Errors: " + " ".join(f"`{name}`: {text}" for name, text in doc.errors.items()) + "\n"


def _providers() -> str:
    parts = [
        "# Model providers\n",
        GENERATED,
        "Used as `--model NAME/MODEL`; arguments are given as `-M NAME=VALUE`.\n",
    ]
    arguments = {
        "af_organism": "",
        "af_hf": _code(settings.ARGUMENTS),
        "af_vllm": _code((*settings._TREATMENT, *settings._OWN)) + ", `base_url`, and vLLM's own",
        "af_simulated_judge": "`noise`",
        "af_simulated_writer": "`pair`, `latency`, and the rate of each fault",
        "af_simulated_dialogues": "`pair`, and the rate of each fault",
    }
    for name, page in PROVIDERS.items():
        doc = read_docstring(getattr(_registry, name))
        parts += [f"## `{name.replace('_', '-')}`\n", f"{doc.summary} More in [{page}](../{page}).\n"]
        if arguments[name]:
            parts.append(f"Arguments: {arguments[name]}.\n")
    rows = []
    for name, kind in ORGANISMS.items():
        rates = ", ".join(f"`{key}` {value:g}" for key, value in kind.defaults.items())
        rows.append(f"| `af-organism/{name}` | {rates} |")
    parts += ["### Simulated organisms\n", "| model | rates and their defaults |\n|---|---|", *rows, ""]
    parts.append(f"All of them take {_code(organism._OWN_ARGUMENTS)} too.\n")
    return "\n".join(parts)


def _commands() -> str:
    parts = ["# Commands\n", GENERATED, "`inspect-af VERB --help` says the same.\n"]
    context = click.Context(app, info_name="inspect-af")
    for name in app.list_commands(context):
        command = app.get_command(context, name)
        if command is not None:
            for path, about, rows in _leaves(f"inspect-af {name}", command):
                parts += [f"## `{path}`\n", f"{about}\n", "| argument | meaning |\n|---|---|", *rows, ""]
    return "\n".join(parts)


def _leaves(path: str, command: click.Command) -> Iterator[tuple[str, str, list[str]]]:
    """Every verb and action: its name, what it does, and a row for each argument."""
    context = click.Context(command, info_name=path)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (found := command.get_command(context, name)) is not None:
                yield from _leaves(f"{path} {name}", found)
    else:
        rows = []
        for entry in command.params:
            if isinstance(entry, click.Argument):
                rows.append(f"| `{entry.make_metavar(context)}` | |")
            elif (record := entry.get_help_record(context)) is not None:
                rows.append(f"| `{record[0]}` | {_cell(record[1])} |")
        yield path, command.help or "", rows


def _claims() -> str:
    """Every claim of the bundled pair, as a model reads it."""
    pair = load_pair()
    states = pair.says()
    parts = [
        "# The claims in full\n",
        GENERATED,
        "What `-T interventions=CODE` adds, by strength.\n",
    ]
    for intervention in pair.all_interventions:
        parts.append(f"## {intervention.code}: {states.get(intervention.code, intervention.code)}\n")
        for claim in pair.claims:
            if claim.intervention == intervention:
                parts.append(f"**{claim.strength}, wording {claim.paraphrase}**\n")
                parts.append(f"> {' '.join(claim.text.split())}\n")
    return "\n".join(parts)


def _python() -> str:
    """What a script imports: modules with their public functions and classes."""
    parts = ["# From Python\n", GENERATED, "[The report](../report.md) shows these names in use.\n"]
    for module in (profile, report, columns, materials):
        parts += [f"## `{module.__name__}`\n", f"{inspect.getdoc(module)}\n"]
        for name in getattr(module, "__all__", ()):
            described = getattr(module, name)
            if not (inspect.isroutine(described) or inspect.isclass(described)):
                continue
            doc = read_docstring(described)
            parts += [f"### `{name}`\n", f"{doc.summary}\n"]
            if inspect.isroutine(described):
                parts.append(f"```python\n{name}{inspect.signature(described)}\n```\n")
            parts += [f"{doc.prose}\n"] if doc.prose else []
            parts += [f"* `{given}`: {text}" for given, text in doc.parameters.items()]
            parts += [f"* raises `{error}`: {text}" for error, text in doc.errors.items()]
            parts.append("")
    return "\n".join(parts)


def _default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    return "" if isinstance(value, NoneType) else f"`{value}`"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
