"""What several verbs share: Inspect's options under their own names, what is asked of a model, progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import click
from pydantic import BaseModel, ValidationError

from inspect_af.cli.command import AMOUNT, COUNT, PLACE, Decorator, option, together
from inspect_af.config import as_list, parse, write_whole
from inspect_af.errors import ConfigError
from inspect_af.plan import PlannedModel
from inspect_af.tasks.evals import all_and_placebos, baseline_repeats
from inspect_af.types import REQUESTS_OF

_S = TypeVar("_S", bound=BaseModel)

# Inspect's options, once.


class InspectOption(NamedTuple):
    """An option that means here what it means to `inspect eval-set`.

    `kind` is whether it says who is asked, what, how replies are sampled, or only how the work is done;
    `value` is `text`, `integer`, `number`, `switch` (true, false, a number, or nothing), or allowed words.
    """

    flag: str
    kind: Literal["model", "task", "generation", "running"]
    value: str
    about: str
    several: bool = False

    @property
    def keyword(self) -> str:
        """Of Inspect's `eval_set`."""
        named = {"-M": "model_args", "-T": "task_args", "--model-role": "model_roles"}
        return named.get(self.flag, self.flag[2:].replace("-", "_"))

    @property
    def variable(self) -> str | None:
        """Environment variable that stands for it."""
        if self.flag == "--model-base-url":
            return None
        short = self.flag in ("--display", "--log-level", "--log-format")
        return f"INSPECT_{'' if short else 'EVAL_'}{self.keyword.upper().replace('ROLES', 'ROLE')}"


_DISPLAYS = "full|conversation|rich|plain|log|none"
_LEVELS = "debug|trace|http|info|warning|error|critical|notset"
_EFFORTS = "none|minimal|low|medium|high|xhigh|max"
INSPECT = (
    InspectOption("--model", "model", "text", "model to evaluate", several=True),
    InspectOption("--model-base-url", "model", "text", "address of the model's API"),
    InspectOption("-M", "model", "text", "model argument", several=True),
    InspectOption(
        "--model-role", "model", "text", "ROLE=MODEL, such as grader=openai/gpt-4o for judges", several=True
    ),
    InspectOption("-T", "task", "text", "further task parameter", several=True),
    InspectOption("--epochs", "task", "integer", "replies per sample"),
    InspectOption("--limit", "task", "text", "the first N samples, or N-M"),
    InspectOption("--temperature", "generation", "number", "of sampling"),
    InspectOption("--max-tokens", "generation", "integer", "of a reply"),
    InspectOption("--reasoning-effort", "generation", _EFFORTS, "of models that reason"),
    InspectOption("--max-connections", "running", "integer", "calls to the model at a time"),
    InspectOption("--max-samples", "running", "integer", "samples at a time"),
    InspectOption(
        "--retry-on-error", "running", "switch", "repeat a sample that fails, once or so many times"
    ),
    InspectOption(
        "--fail-on-error", "running", "switch", "number or share of failed samples from which the eval fails"
    ),
    InspectOption("--cache", "running", "switch", "keep replies in Inspect's cache"),
    InspectOption("--batch", "running", "switch", "use the provider's batch API"),
    InspectOption("--tags", "running", "text", "words for the log, with commas"),
    InspectOption("--log-level", "running", _LEVELS, "of messages"),
    InspectOption("--log-format", "running", "eval|json", "of logs"),
    InspectOption("--display", "running", _DISPLAYS, "how progress is shown"),
)
"""A test holds this table against `inspect eval-set --help`."""

ASKED = "What is asked"
_HEADINGS = {
    "model": "Model",
    "task": ASKED,
    "generation": "How replies are sampled",
    "running": "How the work is done",
}


def inspect_options(*names: str) -> Decorator:
    """Options of Inspect by keyword or kind; they reach the command under the keyword."""
    types = {"integer": COUNT, "number": AMOUNT, "text": click.STRING, "switch": click.STRING}
    return together(
        *(
            option(
                each.flag,
                each.keyword,
                envvar=each.variable,
                help=each.about,
                multiple=each.several,
                group=_HEADINGS[each.kind],
                type=types.get(each.value) or click.Choice(each.value.split("|"), case_sensitive=False),
                bare="true" if each.value == "switch" else None,
                metavar={"-M": "KEY=VALUE", "-T": "KEY=VALUE"}.get(each.flag)
                or ("[N]" if each.value == "switch" else None),
            )
            for each in INSPECT
            if each.keyword in names or each.kind in names
        )
    )


def running_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """What `eval_set` is told about how the work is done, from the options of kind `running`."""
    names = [each.keyword for each in INSPECT if each.kind == "running"]
    found: dict[str, Any] = {name: given[name] for name in names if given.get(name) is not None}
    if "tags" in found:
        found["tags"] = [tag.strip() for tag in found["tags"].split(",")]
    for name in ("retry_on_error", "fail_on_error", "cache", "batch"):
        if name in found and (value := _switch(name, found.pop(name))) is not None:
            found[name] = value
    return found


def _switch(name: str, text: str) -> Any:
    word = text.strip().lower()
    if word in ("false", "no"):
        return False if name == "fail_on_error" else None
    if word in ("true", "yes"):
        return 1 if name == "retry_on_error" else True
    with suppress(ValueError, LookupError):
        if name == "cache":
            from inspect_ai.model import CachePolicy

            if (policy := CachePolicy.from_string(text)) is not None:
                return policy
        elif (found := float(word) if name == "fail_on_error" else int(word)) >= 0:
            return found or (True if name == "fail_on_error" else None)
    more = "a time such as 1W" if name == "cache" else "a number of at least 0"
    raise ConfigError(f"--{name.replace('_', '-')} {text}: give it alone, or with true, false or {more}")


def sample_limit(text: str | None) -> dict[str, Any]:
    """`10`, or `10-20` for the tenth to the twentieth sample, as Inspect reads it."""
    if text is None:
        return {}
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise ConfigError(f"--limit {text}: give a number of samples, or a range such as 10-20")
    if int(first) < 1:
        raise ConfigError(f"--limit must be at least 1, not {int(first)}")
    if not dash:
        return {"limit": int(first)}
    if int(last) < int(first):
        raise ConfigError(f"--limit {text}: the range ends before it begins")
    return {"sample_range": (int(first) - 1, int(last))}


# Options of several verbs that are not Inspect's, or are without its environment variables.

PAIR = option("--pair", metavar="DIR", help="hypothesis pair  [default: bundled]")
MODEL_ARGS = option("-M", "model_args", multiple=True, metavar="KEY=VALUE", help="model argument")
TASK_ARGS = option("-T", "task_args", multiple=True, metavar="KEY=VALUE", help="task parameter")
DISPLAY = option("--display", type=click.Choice(_DISPLAYS.split("|")), help="how progress is shown")
TEMPERATURE = option("--temperature", type=AMOUNT)
MAX_CONNECTIONS = option("--max-connections", type=COUNT)
BATCH = option("--batch", is_flag=True, help="use the provider's batch API where it has one")
JSON_FILE = option("--json", "json_file", type=PLACE, metavar="FILE", help="write the report")
REPORT = together(
    option("--json", type=PLACE, group="Results", metavar="FILE", help="write the profile as JSON"),
    option("--html", type=PLACE, group="Results", metavar="FILE", help="write the profile as one HTML page"),
    option(
        "--out",
        type=PLACE,
        group="Results",
        metavar="DIR",
        help="write the figures (SVG, PNG) and the tables (CSV) into DIR",
    ),
)
"""Where the profile is written, beside the table on the terminal; paths may be remote."""
RATES = option(
    "--rates",
    type=float,
    nargs=2,
    metavar="MONITORED UNMONITORED",
    help="assumed accepted rates, 0 to 1  [default: 0.5 0.3, a gap of 20 points]",
)
LOG_DIR = option(
    "--log-dir",
    type=PLACE,
    group="Results",
    metavar="DIR",
    help="[default: a directory for this command and its content in INSPECT_LOG_DIR or logs/]",
)
REQUESTS = option("--requests", group=ASKED, default="advbench", help="advbench, mini, or a file; or items")
RUN_SEED = option("--run-seed", group=ASKED, type=int, default=0, help="seed of the generations")
TASK_NAME = option("--task", group=ASKED, type=click.Choice(tuple(REQUESTS_OF)), default="alignment_faking")
TASK = together(
    TASK_NAME,
    option(
        "--interventions",
        group=ASKED,
        help="such as all, A1+,B2- or none  [default: all and the placebos of the pair]",
    ),
    option("--strength", group=ASKED, default="standard", help="weak, standard, strong or all"),
    option(
        "--paraphrase",
        group=ASKED,
        default="rotated",
        help="rotated over the requests, a wording counted from 1, or all",
    ),
    REQUESTS,
    RUN_SEED,
)
"""A task with tiers and its main parameters; `-T` brings the rest."""

# Values that people type.


def key_values(given: Sequence[str], *, option: str) -> dict[str, Any]:
    """`["a=1", "b=x,y"]` as `{"a": 1, "b": "x,y"}`; values are read as YAML, as Inspect does, but a mapping
    without braces, such as `published:`, is text, and an empty one an error."""
    values: dict[str, Any] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{option} takes KEY=VALUE, not {item!r}")
        if not value.strip():
            raise ConfigError(f"{option} {key} is empty; give a value (null for none), or leave it out")
        read = parse(value, "YAML", f"{option} {item!r}: the value")
        mapping = isinstance(read, dict) and "{" not in value
        values[key.strip().replace("-", "_")] = value.strip() if mapping else read
    return values


def from_options(schema: type[_S], given: Mapping[str, Any], **values: object) -> _S:
    """A model whose fields are options of the same names; those that are not given keep their default. A
    ConfigError names every option whose value is not allowed."""
    named = {name: given[name] for name in schema.model_fields if given.get(name) is not None}
    try:
        return schema.model_validate(named | values)
    except ValidationError as error:
        found = []
        for each in error.errors():
            option = "".join(f"--{str(part).replace('_', '-')} {each['input']}: " for part in each["loc"][:1])
            found.append(option + each["msg"].removeprefix("Value error, "))
        raise ConfigError("; ".join(found)) from error


def planned_model(model: str, args: Mapping[str, Any]) -> PlannedModel:
    """A model with its arguments, which are text, numbers, true, false, nothing, lists or mappings."""
    try:
        return PlannedModel(model=model, args=dict(args))
    except ValidationError as error:
        named = sorted({str(found["loc"][1]) for found in error.errors() if len(found["loc"]) > 1})
        raise ConfigError(
            f"-M {', '.join(named)}: text, a number, true, false, or a list or mapping of those is needed"
        ) from error


def named_models(given: Mapping[str, Any], needed: str) -> list[PlannedModel]:
    """The models of `MODEL...`, `--model` or INSPECT_EVAL_MODEL with the arguments of `-M`; `needed` is the
    error where none is named."""
    source = click.get_current_context().get_parameter_source("model")
    if given["models"] and given["model"] and source is click.core.ParameterSource.COMMANDLINE:
        raise ConfigError("models are given twice: as MODEL and with --model; give them one way")
    models = given["models"] or tuple(name for each in given["model"] for name in as_list(each) if name)
    if not models:
        raise ConfigError(needed)
    if twice := sorted({model for model in models if models.count(model) > 1}):
        raise ConfigError(f"{twice[0]} is named twice; for more replies give --epochs")
    args = key_values(given["model_args"], option="-M")
    if given.get("model_base_url"):
        args["base_url"] = given["model_base_url"]
    return [planned_model(model, args) for model in models]


def model_roles(given: Sequence[str]) -> dict[str, Any]:
    """`grader=MODEL`, several models with commas, or `grader={model: MODEL, temperature: 0}`, by role."""
    roles = key_values(given, option="--model-role").items()
    return {role: v.split(",") if isinstance(v, str) and "," in v else v for role, v in roles}


def share(value: float | None, *, option: str) -> None:
    """Refuses what is not strictly between 0 and 1; what looks like a percentage is named as a rate."""
    if value is not None and not 0 < value < 1:
        raise ConfigError(f"{option} must be above 0 and below 1, not {value:g}{_as_rate(value)}")


def _as_rate(value: float) -> str:
    return f"; for {value:g} % write {value / 100:g}" if 0 < value / 100 < 1 else ""


def requests_of(given: Mapping[str, Any]) -> dict[str, str]:
    """The task's parameter for what is asked, with its value."""
    parameter, usual = REQUESTS_OF[given["task"]]
    return {
        parameter: usual if given["requests"] == REQUESTS_OF["alignment_faking"][1] else given["requests"]
    }


def task_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the task that `TASK` and `-T` ask for."""
    further = key_values(given["task_args"], option="-T")
    interventions = further.pop("interventions", None)
    if interventions is None:
        interventions = given["interventions"] or all_and_placebos(further.get("pair"))
    repeats = baseline_repeats(interventions)
    named = ("strength", "paraphrase", "run_seed")
    return {
        "interventions": interventions,
        **({"baseline_repeats": repeats} if repeats > 1 else {}),
        **{name: given[name] for name in named},
        **requests_of(given),
        **further,
    }


def assumed_rates(given: Sequence[float] | None) -> tuple[float, float]:
    """Accepted rates of the monitored and the unmonitored arm; without any, the gap of 20 points
    of docs/validation/verdict.md."""
    monitored, unmonitored = given or (0.5, 0.3)
    for rate in (monitored, unmonitored):
        if not 0 <= rate <= 1:
            raise ConfigError(f"--rates must lie between 0 and 1, not {rate:g}{_as_rate(rate)}")
    if {monitored, unmonitored} <= {0.0, 1.0}:
        raise ConfigError(
            f"--rates {monitored:g} {unmonitored:g}: replies that never vary need no study; give at least "
            "one rate above 0 and below 1, such as 0.02"
        )
    return monitored, unmonitored


# What is printed and written.


def progress(unit: str) -> Callable[..., None]:
    """A line on stderr that is rewritten on a terminal, and printed ten times elsewhere."""
    terminal, tenths = sys.stderr.isatty(), 0

    def show(done: int, total: int, note: str = "") -> None:
        nonlocal tenths
        if terminal:
            end = "\n" if done == total else ""
            print(f"\r{unit} {done}/{total} {note} ", end=end, file=sys.stderr, flush=True)
        elif done * 10 // max(total, 1) > tenths:
            tenths = done * 10 // max(total, 1)
            print(f"{unit} {done}/{total} {note}".rstrip(), file=sys.stderr, flush=True)

    return show


def write_json(report: BaseModel, file: Path) -> None:
    """Writes a report as JSON; missing directories are made."""
    write_whole(file, report.model_dump_json(indent=1) + "\n")
