"""Options that several verbs share: Inspect's own under their own names, and what is asked of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Literal, NamedTuple, TypeVar

import click
from pydantic import ValidationError

from inspect_af.cli.command import Option
from inspect_af.config import parse
from inspect_af.errors import ConfigError
from inspect_af.plan import PlannedModel

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

# Inspect's options, once.


class InspectOption(NamedTuple):
    """An option that means here what it means to `inspect eval-set`."""

    flag: str
    variable: str | None
    """Environment variable that stands for it."""
    keyword: str
    """Of Inspect's `eval_set`."""
    kind: Literal["model", "task", "generation", "running"]
    """Whether it says who is asked, what, how replies are sampled, or only how the work is done."""
    value: str
    """`text`, `integer`, `number`, `switch` (true, false, a number, or nothing), or the allowed words."""
    about: str
    several: bool = False


_LEVELS = "debug|trace|http|info|warning|error|critical|notset"
INSPECT = (
    InspectOption("--model", "INSPECT_EVAL_MODEL", "model", "model", "text", "model to evaluate", True),
    InspectOption("--model-base-url", None, "model_base_url", "model", "text", "address of the model's API"),
    InspectOption("-M", "INSPECT_EVAL_MODEL_ARGS", "model_args", "model", "text", "model argument", True),
    InspectOption(
        "--model-role",
        "INSPECT_EVAL_MODEL_ROLE",
        "model_roles",
        "model",
        "text",
        "ROLE=MODEL, such as grader=openai/gpt-4o for judges",
        True,
    ),
    InspectOption(
        "-T", "INSPECT_EVAL_TASK_ARGS", "task_args", "task", "text", "further task parameter", True
    ),
    InspectOption("--epochs", "INSPECT_EVAL_EPOCHS", "epochs", "task", "integer", "replies per sample"),
    InspectOption("--limit", "INSPECT_EVAL_LIMIT", "limit", "task", "text", "the first N samples, or N-M"),
    InspectOption(
        "--temperature", "INSPECT_EVAL_TEMPERATURE", "temperature", "generation", "number", "of sampling"
    ),
    InspectOption(
        "--max-tokens", "INSPECT_EVAL_MAX_TOKENS", "max_tokens", "generation", "integer", "of a reply"
    ),
    InspectOption(
        "--reasoning-effort",
        "INSPECT_EVAL_REASONING_EFFORT",
        "reasoning_effort",
        "generation",
        "none|minimal|low|medium|high|xhigh|max",
        "of models that reason",
    ),
    InspectOption(
        "--max-connections",
        "INSPECT_EVAL_MAX_CONNECTIONS",
        "max_connections",
        "running",
        "integer",
        "calls to the model at a time",
    ),
    InspectOption(
        "--max-samples", "INSPECT_EVAL_MAX_SAMPLES", "max_samples", "running", "integer", "samples at a time"
    ),
    InspectOption(
        "--retry-on-error",
        "INSPECT_EVAL_RETRY_ON_ERROR",
        "retry_on_error",
        "running",
        "switch",
        "repeat a sample that fails, once or so many times",
    ),
    InspectOption(
        "--fail-on-error",
        "INSPECT_EVAL_FAIL_ON_ERROR",
        "fail_on_error",
        "running",
        "switch",
        "number or share of failed samples from which the eval fails",
    ),
    InspectOption(
        "--cache", "INSPECT_EVAL_CACHE", "cache", "running", "switch", "keep replies in Inspect's cache"
    ),
    InspectOption(
        "--batch", "INSPECT_EVAL_BATCH", "batch", "running", "switch", "use the provider's batch API"
    ),
    InspectOption("--tags", "INSPECT_EVAL_TAGS", "tags", "running", "text", "words for the log, with commas"),
    InspectOption("--log-level", "INSPECT_LOG_LEVEL", "log_level", "running", _LEVELS, "of messages"),
    InspectOption("--log-format", "INSPECT_LOG_FORMAT", "log_format", "running", "eval|json", "of logs"),
    InspectOption(
        "--display",
        "INSPECT_DISPLAY",
        "display",
        "running",
        "full|conversation|rich|plain|log|none",
        "how progress is shown",
    ),
)
"""A test holds this table against `inspect eval-set --help`."""

_HEADINGS = {
    "model": "Model",
    "task": "What is asked",
    "generation": "How replies are sampled",
    "running": "How the work is done",
}


def inspect_options(*names: str) -> Callable[[Decorated], Decorated]:
    """Options of Inspect by keyword or kind; they reach the command under the keyword."""

    def add(command: Decorated) -> Decorated:
        for each in reversed(INSPECT):
            if each.keyword in names or each.kind in names:
                command = click.option(*_declared(each), cls=Option, **_settings(each))(command)
        return command

    return add


def _declared(each: InspectOption) -> tuple[str, str]:
    return each.flag, each.keyword


def _settings(each: InspectOption) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "envvar": each.variable,
        "help": each.about,
        "multiple": each.several,
        "group": _HEADINGS[each.kind],
    }
    types = {"integer": click.INT, "number": click.FLOAT, "text": click.STRING, "switch": click.STRING}
    settings["type"] = types.get(each.value) or click.Choice(each.value.split("|"))
    if each.value == "switch":
        settings["bare"] = "true"
        settings["metavar"] = "[N]"
    if each.flag in ("-M", "-T"):
        settings["metavar"] = "KEY=VALUE"
    return settings


def running_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """What `eval_set` is told about how the work is done, from the options of kind `running`.

    Raises:
        ConfigError: A value that the option does not take.
    """
    names = [each.keyword for each in INSPECT if each.kind == "running"]
    found: dict[str, Any] = {name: given[name] for name in names if given.get(name) is not None}
    if "tags" in found:
        found["tags"] = [tag.strip() for tag in found["tags"].split(",")]
    for name in ("retry_on_error", "fail_on_error", "cache", "batch"):
        if name in found:
            value = _switch(name, found.pop(name))
            if value is not None:
                found[name] = value
    at_least(found.get("max_connections"), 1, option="--max-connections")
    at_least(found.get("max_samples"), 1, option="--max-samples")
    return found


def _switch(name: str, text: str) -> Any:
    option, word = f"--{name.replace('_', '-')}", text.strip().lower()
    if word in ("false", "no"):
        return False if name == "fail_on_error" else None
    if word in ("true", "yes"):
        return 1 if name == "retry_on_error" else True
    try:
        if name == "fail_on_error":
            return float(word) or True
        if name != "cache":
            return int(word)
        from inspect_ai.model import CachePolicy

        return CachePolicy.from_string(text)
    except Exception as error:
        raise ConfigError(f"{option} {text}: give it alone, or with true, false or a number") from error


def sample_limit(text: str | None) -> dict[str, Any]:
    """`10`, or `10-20` for the tenth to the twentieth sample, as Inspect reads it.

    Raises:
        ConfigError: Neither, or nothing is left.
    """
    if text is None:
        return {}
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        at_least(_number(text), 1, option="--limit")
        raise ConfigError(f"--limit {text}: give a number of samples, or a range such as 10-20")
    at_least(int(first), 1, option="--limit")
    if not dash:
        return {"limit": int(first)}
    if int(last) < int(first):
        raise ConfigError(f"--limit {text}: the range ends before it begins")
    return {"sample_range": (int(first) - 1, int(last))}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def model_args_option(command: Decorated) -> Decorated:
    """`-M` of verbs whose model is not Inspect's alone: no environment variable stands for it."""
    return click.option(
        "-M", "model_args", multiple=True, metavar="KEY=VALUE", help="model argument (repeatable)"
    )(command)


def display_option(command: Decorated) -> Decorated:
    """`--display` of verbs that run an eval on their way; it reaches the command as `display`."""
    kinds = next(each.value for each in INSPECT if each.keyword == "display")
    return click.option("--display", type=click.Choice(kinds.split("|")), help="how progress is shown")(
        command
    )


# Values that people type.


def key_values(given: Sequence[str], *, option: str) -> dict[str, Any]:
    """`["a=1", "b=x,y"]` as `{"a": 1, "b": "x,y"}`; values are read as YAML scalars, as Inspect does.

    Raises:
        ConfigError: An item is not of the form KEY=VALUE.
    """
    values: dict[str, Any] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{option} takes KEY=VALUE, not {item!r}")
        values[key.strip().replace("-", "_")] = parse(value, "YAML", f"{option} {item!r}: the value")
    return values


def planned_model(model: str, args: Mapping[str, Any]) -> PlannedModel:
    """A model with its arguments.

    Raises:
        ConfigError: An argument is neither text nor number, true, false, nothing, a list or a mapping.
    """
    try:
        return PlannedModel(model=model, args=dict(args))
    except ValidationError as error:
        named = sorted({str(found["loc"][1]) for found in error.errors() if len(found["loc"]) > 1})
        raise ConfigError(
            f"-M {', '.join(named)}: text, a number, true, false, or a list or mapping of those is needed"
        ) from error


def model_roles(given: Sequence[str]) -> dict[str, Any]:
    """`grader=MODEL`, several models with commas, or `grader={model: MODEL, temperature: 0}`, by role."""
    roles = key_values(given, option="--model-role")
    return {
        role: value.split(",") if isinstance(value, str) and "," in value else value
        for role, value in roles.items()
    }


def at_least(value: float | None, least: float, *, option: str) -> None:
    """Refuses a number below `least` or infinite; None, an option that was not given, passes.

    Raises:
        ConfigError: The number is out of range.
    """
    if value is not None and not least <= value < inf:
        raise ConfigError(f"{option} must be at least {least:g}, not {value:g}")


def share(value: float | None, *, option: str, low: float = 0.0, high: float = 1.0) -> None:
    """Refuses what is not strictly between `low` and `high`, which are rates, not percentages.

    Raises:
        ConfigError: The number is out of range; one that looks like a percentage is named as a rate.
    """
    if value is None or low < value < high:
        return
    meant = f"; for {value:g} % write {value / 100:g}" if low < value / 100 < high else ""
    raise ConfigError(f"{option} must be above {low:g} and below {high:g}, not {value:g}{meant}")


# What is asked.


def task_options(command: Decorated) -> Decorated:
    """The main parameters of `inspect_af/alignment_faking`; `-T` brings the rest."""
    everything = "such as all, A1+,B2- or none  [default: all and the placebos of the pair]"
    options: tuple[tuple[str, dict[str, Any]], ...] = (
        ("--interventions", {"help": everything}),
        ("--strength", {"default": "standard", "help": "weak, standard, strong or all"}),
        ("--paraphrase", {"default": "1", "help": "a wording counted from 1, or all"}),
        ("--requests", {"default": "advbench", "help": "advbench, mini, or a file"}),
        ("--run-seed", {"type": int, "default": 0, "help": "seed of the generations"}),
    )
    for name, settings in reversed(options):
        group = _HEADINGS["task"]
        command = click.option(name, cls=Option, group=group, show_default=True, **settings)(command)
    return command


def task_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the task that `task_options` and `-T` ask for."""
    from inspect_af.tasks.evals import all_and_placebos

    further = key_values(given["task_args"], option="-T")
    interventions = further.pop("interventions", None) or given["interventions"]
    return {
        "interventions": interventions or all_and_placebos(further.get("pair")),
        "strength": given["strength"],
        "paraphrase": given["paraphrase"],
        "requests": given["requests"],
        "run_seed": given["run_seed"],
        **further,
    }


def check_generation(given: Mapping[str, Any]) -> None:
    """
    Raises:
        ConfigError: A number of epochs, a temperature or a number of tokens is too small.
    """
    at_least(given.get("epochs"), 1, option="--epochs")
    at_least(given.get("temperature"), 0, option="--temperature")
    at_least(given.get("max_tokens"), 1, option="--max-tokens")


def typed_options(context: click.Context, *ignored: str) -> list[str]:
    """The options that stand on the command line, defaults that were typed out included."""
    typed = (click.core.ParameterSource.COMMANDLINE,)
    return [
        each.opts[0]
        for each in context.command.params
        if isinstance(each, click.Option)
        and each.name not in ignored
        and context.get_parameter_source(str(each.name)) in typed
    ]


# What an analysis is given.

WORST_CASE = (0.5, 0.5)
"""Rates at which a gap varies most; assumed where neither rates nor a pilot are given."""


def rates_option(command: Decorated) -> Decorated:
    """`--rates`, from which `assumed_rates` takes what a study is planned with."""
    return click.option(
        "--rates",
        type=float,
        nargs=2,
        cls=Option,
        metavar="MONITORED UNMONITORED",
        help="assumed accepted rates, 0 to 1  [default: 0.5 0.5, the most variable]",
    )(command)


def assumed_rates(given: Sequence[float] | None) -> tuple[float, float]:
    """Accepted rates of the monitored and the unmonitored arm.

    Raises:
        ConfigError: A rate is outside 0 to 1, or both are 0 or 1, so that nothing could ever vary.
    """
    if not given:
        return WORST_CASE
    for rate in given:
        if not 0 <= rate <= 1:
            meant = f"; for {rate:g} % write {rate / 100:g}" if 0 <= rate / 100 <= 1 else ""
            raise ConfigError(f"--rates must lie between 0 and 1, not {rate:g}{meant}")
    monitored, unmonitored = given
    if {monitored, unmonitored} <= {0.0, 1.0}:
        raise ConfigError(
            f"--rates {monitored:g} {unmonitored:g}: replies that never vary need no study; give at least "
            "one rate above 0 and below 1, such as 0.02"
        )
    return monitored, unmonitored


def report_options(command: Decorated) -> Decorated:
    """Where the profile is written, beside the table on the terminal; paths may be remote."""
    for name, metavar, about in reversed(
        [
            ("--json", "FILE", "write the profile as JSON"),
            ("--html", "FILE", "write the profile as one HTML page"),
            ("--out", "DIR", "write the figures (SVG, PNG) and the tables (CSV) into DIR"),
        ]
    ):
        command = click.option(name, cls=Option, group="Results", metavar=metavar, help=about)(command)
    return command
