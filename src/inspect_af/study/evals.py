"""A file of evals: tasks and models, each with arguments, that one call of Inspect's `eval_set` runs.

`inspect eval-set` takes several models, but gives all of them the same arguments; conditions of one local
model differ in nothing else.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inspect_af.errors import ConfigError
from inspect_af.plan import PlannedModel, Scalar

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog, EvalSpec
    from inspect_ai.model import Model

TaskName = Literal["alignment_faking", "beliefs", "direct_requests"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EvalTask(_Frozen):
    """One of the package's tasks and its arguments."""

    task: TaskName
    args: dict[str, Scalar | list[Scalar]] = {}


class Evals(_Frozen):
    """Every task with every model."""

    tasks: tuple[EvalTask, ...] = Field(min_length=1)
    models: tuple[PlannedModel, ...] = Field(min_length=1)
    epochs: int = Field(default=1, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    limit: int | None = Field(default=None, ge=1)
    """Only the first samples of each task."""
    grader: PlannedModel | None = None
    max_tasks: int | None = Field(default=None, ge=1)
    """How many run side by side; 1 for a local engine, whose batch holds one condition."""

    @property
    def number(self) -> int:
        return len(self.tasks) * len(self.models)

    def text(self) -> str:
        """As YAML, without what is not set."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def load_evals(file: Path) -> Evals:
    """Reads a file of evals.

    Raises:
        ConfigError: It cannot be read, or a setting is missing, unknown or out of range.
    """
    try:
        return Evals.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as YAML ({error})") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{file}: {problems}") from error


def make_task(each: EvalTask) -> Task:
    """The task with its arguments; see `named_task`."""
    return named_task(each.task, each.args)


def named_task(name: TaskName, args: Mapping[str, Any]) -> Task:
    """One of the package's tasks.

    Raises:
        ConfigError: An unknown parameter or value; others as the task raises them.
    """
    from inspect_af import tasks

    factory = getattr(tasks, name)
    try:
        made: Task = factory(**args)
    except TypeError as error:
        allowed = ", ".join(inspect.signature(factory).parameters)
        raise ConfigError(f"{error}; its parameters are {allowed}") from error
    return made


def run_evals(evals: Evals, log_dir: Path, *, display: Any = None, **options: Any) -> bool:
    """Runs what is missing; see `evaluate`.

    Returns:
        Whether every sample has finished.
    """
    graders = {} if evals.grader is None else {"grader": make_model(evals.grader)}
    settings = {
        "temperature": evals.temperature,
        "max_tokens": evals.max_tokens,
        "limit": evals.limit,
        "max_tasks": evals.max_tasks,
        "model_roles": graders or None,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    return evaluate(
        [make_task(each) for each in evals.tasks],
        [make_model(each) for each in evals.models],
        log_dir,
        epochs=evals.epochs,
        display=display,
        **given,
        **options,
    )


def make_model(planned: PlannedModel) -> Model:
    """The model with its arguments; see `named_model`."""
    return named_model(planned.model, planned.args)


def named_model(name: str, args: Mapping[str, Any]) -> Model:
    """A model by Inspect's name.

    Raises:
        ConfigError: The provider refuses it, for a missing key above all.
    """
    from inspect_ai.model import get_model

    arguments: dict[str, Any] = dict(args)
    try:
        return get_model(name, **arguments)
    except Exception as error:  # providers raise what they like
        raise ConfigError(_without_markup(str(error))) from error


def evaluate(
    tasks: Sequence[Task], models: Sequence[Model], log_dir: Path, *, display: Any = None, **options: Any
) -> bool:
    """Runs what is still missing of an eval set.

    Args:
        tasks: Each is run with each model.
        models: What is evaluated.
        log_dir: Where the logs are; finished samples in it are not run again. After a kill, Inspect takes
            the samples that it had not yet written to the log from a buffer in the user's data directory;
            where that directory does not survive (a container), up to a twentieth of the samples is lost.
        display: Inspect's display type.
        options: Further options of Inspect's `eval_set`.

    Returns:
        Whether every sample has finished.

    Raises:
        ConfigError: The directory holds the logs of something else.
    """
    from inspect_ai import eval_set

    log_dir.mkdir(parents=True, exist_ok=True)
    try:
        success, _ = eval_set(
            list(tasks), log_dir=str(log_dir), model=list(models), display=display, **options
        )
    except Exception as error:
        if type(error).__name__ != "PrerequisiteError":  # Inspect's, not public: a directory of another study
            raise
        found = _FOREIGN_LOG.search(_without_markup(str(error)))
        if found is None:
            raise ConfigError(_without_markup(str(error))) from error
        raise ConfigError(
            f"{log_dir} holds the logs of another command, such as {found[1]}, and a directory belongs to "
            "one command; choose another --log-dir, or leave it out to get a directory for this one"
        ) from error
    return success


def finished_evals(evals: Evals, log_dir: Path) -> int:
    """How many of the evals have a finished log in the directory, whoever ran them.

    A log fits where it holds as many samples and epochs of the task and model, made with the same settings
    and the same grader, and its arguments are the file's but for some that change no reply.
    """
    if not log_dir.is_dir():
        return 0
    found = [log for file in sorted(log_dir.rglob("*.eval")) if (log := _finished(file)) is not None]
    return sum(
        any(_fits(log, task, model, evals) for log in found) for task in evals.tasks for model in evals.models
    )


def _finished(file: Path) -> EvalLog | None:
    from inspect_ai.log import read_eval_log

    try:
        log = read_eval_log(str(file), header_only=True)
    except Exception:  # noqa: BLE001 - half written, or not a log: it is not a finished one
        return None
    return log if log.status == "success" else None


def _fits(log: EvalLog, task: EvalTask, model: PlannedModel, evals: Evals) -> bool:
    spec = log.eval
    return (
        spec.task.rpartition("/")[2] == task.task
        and spec.model == model.model
        and (spec.config.epochs or 1) >= evals.epochs
        and _holds_all(spec, evals.limit)
        and log.plan.config.temperature == evals.temperature
        and evals.max_tokens in (None, log.plan.config.max_tokens)
        and _has_grader(spec, task, evals.grader)
        and _includes(spec.task_args, task.args)
        and _no_other(spec.task_args_passed, task)
        and _includes(spec.model_args, model.args)
        and set(spec.model_args) - set(model.args) <= _HARMLESS
    )


def _holds_all(spec: EvalSpec, limit: int | None) -> bool:
    """Whether the log was not cut short by a `--limit` of its own."""
    ids, whole = spec.dataset.sample_ids, spec.dataset.samples
    if ids is None or whole is None:
        return spec.config.limit is None and spec.config.sample_id is None
    return len(ids) >= min(limit or whole, whole)


def _has_grader(spec: EvalSpec, task: EvalTask, grader: PlannedModel | None) -> bool:
    if grader is None or not (task.args.get("judges") or task.task == "direct_requests"):
        return True
    recorded = (spec.model_roles or {}).get("grader")
    several = recorded if isinstance(recorded, list) else [recorded]
    return [each.model for each in several if each is not None] == [grader.model]


_HARMLESS = frozenset({"device", "max_batch_tokens", "max_requests", "base_url", "latency", "port"})
"""Model arguments that a log may have beyond the file's: where and how fast, not what is run."""
_ADDITIONS = frozenset({"judges", "redact"})
"""Task arguments that a log may have beyond the file's: what is done with a reply once it is there."""


def _no_other(passed: Mapping[str, object], task: EvalTask) -> bool:
    """Whether arguments that were given beyond the file's have the values that the task has by itself."""
    from inspect_af import tasks

    usual = inspect.signature(getattr(tasks, task.task)).parameters
    more = set(passed) - set(task.args) - _ADDITIONS
    return all(name in usual and _same(passed[name], usual[name].default) for name in more)


def _includes(recorded: Mapping[str, object], given: Mapping[str, object]) -> bool:
    return all(name in recorded and _same(recorded[name], value) for name, value in given.items())


def _same(one: object, other: object) -> bool:
    return one == other or str(one) == str(other)


_FOREIGN_LOG = re.compile(r"Existing log file '([^']*)' in log_dir is not")
"""How Inspect says it; what it advises is an option that we do not have."""


def _without_markup(text: str) -> str:
    """Inspect's messages carry the markup of the terminal library that it prints them with."""
    return re.sub(r"\[/?(?:bold|italic|blue|link)[^\]]*\]", "", text)
