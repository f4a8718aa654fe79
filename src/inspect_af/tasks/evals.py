"""The one place that starts evals: tasks and models, each with arguments, in one call of `eval_set`.

`inspect eval-set` takes several models, but gives all of them the same arguments; conditions of one local
model differ in nothing else.

A directory of logs belongs to one set of evals, and the identity of a set is content, not names: what the
arguments point to (requests, pair, scenario, rubrics, vectors, adapters, chat templates, checkpoints) enters
the name of the default directory, and a log that would be used again is compared with what is there now.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Literal, NamedTuple

from inspect_ai import Task, eval_set
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, EvalSpec
from inspect_ai.model import GenerateConfig, Model, get_model
from inspect_ai.util import registry_create, registry_info
from pydantic import Field, JsonValue, ValidationError

from inspect_af import tasks
from inspect_af.config import (
    Frozen,
    as_list,
    is_directory,
    is_file,
    is_remote,
    only_one,
    path_digest,
    text_digest,
    user_path,
)
from inspect_af.errors import ConfigError, InspectAFError, LogError, check_one_of, complaints
from inspect_af.format import plural
from inspect_af.logs import LogFile, find_logs
from inspect_af.logs.files import check_log_dir, describe
from inspect_af.logs.headers import CONTENTS, FILES, OPERATIONAL_ARGS, UNTIL_DECIDED, sampling_of
from inspect_af.materials import load_pair
from inspect_af.plan import BASELINE_REPEATS, LOCAL_PROVIDERS, Plan, PlannedModel
from inspect_af.scorers.judges import GRADER, NO_GRADER
from inspect_af.types import (
    CarriesTreatment,
    ScenarioTask,
    SdfAdapter,
    Steer,
    TaskMeta,
    Treatment,
    applied_treatments,
    planned_claim,
)

TaskName = ScenarioTask | Literal["beliefs", "contrast_pairs", "direct_requests", "scratchpad"]


class EvalTask(Frozen):
    """One of the package's tasks and its arguments."""

    task: TaskName
    args: dict[str, JsonValue] = Field(default_factory=dict)


class Evals(Frozen):
    """Every task with every model."""

    tasks: tuple[EvalTask, ...] = Field(min_length=1)
    models: tuple[PlannedModel, ...] = Field(min_length=1)
    epochs: int = Field(default=1, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Further settings of Inspect's `GenerateConfig`, such as `reasoning_effort`."""
    limit: int | None = Field(default=None, ge=1)  # Only the first samples of each task
    sample_range: tuple[int, int] | None = None
    """Only the samples from the first number, counted from 0, up to but without the second."""
    grader: PlannedModel | None = None
    roles: dict[str, JsonValue] = Field(default_factory=dict)
    """Further model roles: a model's name, several, or a mapping of `model`, `model_args` and settings."""
    max_tasks: int | None = Field(default=None, ge=1)
    """How many run side by side; 1 for a local engine, whose batch holds one condition."""

    @property
    def number(self) -> int:
        return len(self.tasks) * len(self.models)


def make_task(each: EvalTask) -> Task:
    """The task with its arguments.

    Raises:
        ConfigError: An unknown parameter or value; others as the task raises them.
    """
    factory = getattr(tasks, each.task)
    for name in each.args:
        check_one_of(name, inspect.signature(factory).parameters, what=f"parameter of {each.task}")
    made: Task = factory(**each.args)
    return made


def make_model(planned: PlannedModel, **settings: Any) -> Model:
    """A model by Inspect's name, with its arguments; `settings` are further ones of Inspect's `get_model`.

    Raises:
        ConfigError: The provider refuses it, for a missing key above all.
    """
    arguments: dict[str, Any] = dict(planned.args)
    try:
        # A model that Inspect keeps from before would still have the files of then.
        return get_model(planned.model, memoize=not model_files(planned), **settings, **arguments)
    except Exception as error:  # providers raise what they like
        raise ConfigError(_without_markup(str(error))) from error


MOST_REPLIES = 10_000_000  # Inspect holds a sample for each in memory


def planned_replies(evals: Evals, made: Sequence[Task] | None = None) -> int:
    """Replies that the evals ask their models for, judges not counted.

    Args:
        evals: What is to be run.
        made: Its tasks, where they have been made.

    Raises:
        ConfigError: None, or more than `MOST_REPLIES`.
    """
    sizes = [len(task.dataset) for task in made or map(make_task, evals.tasks)]
    first, last = evals.sample_range or (0, evals.limit or max(sizes))
    replies = sum(max(0, min(n, last) - first) for n in sizes) * len(evals.models) * evals.epochs
    if replies == 0:
        raise ConfigError(f"the range begins at sample {first + 1:,}, and there are {max(sizes):,}")
    if replies > MOST_REPLIES:
        raise ConfigError(
            f"{replies:,} replies are more than {MOST_REPLIES:,}; ask fewer samples, or in fewer epochs"
        )
    return replies


def run_evals(
    evals: Evals,
    log_dir: str | Path,
    *,
    requests: Collection[str] | None = None,
    about: Mapping[str, Any] | None = None,
    display: Any = None,
    **options: Any,
) -> bool:
    """Runs what is still missing of the evals.

    Args:
        evals: What to run.
        log_dir: Where the logs are; finished samples in it are not run again. After a kill, Inspect takes
            samples that were not yet in the log from a buffer in the user's data directory, if it survives.
        requests: Ids of the requests to ask; all if None.
        about: Further metadata of the logs.
        display: Inspect's display type.
        options: Further options of Inspect's `eval_set` that do not change results.

    Returns:
        Whether every sample has finished.

    Raises:
        ConfigError: The directory holds the logs of something else, or of the same names with other content;
            another process is running evals in it; a task or a model is refused.
        KeyboardInterrupt: The run was interrupted; what is there has been written.
    """
    check_log_dir(log_dir)
    # What is refused is refused before there is a directory.
    made = [make_task(each) for each in evals.tasks]
    if requests is not None:
        for task in made:
            task.dataset = task.dataset.filter(lambda sample: _request(sample) in requests)
    planned_replies(evals, made)
    models = [make_model(each) for each in evals.models]
    roles = {role: _role(role, value) for role, value in evals.roles.items()}
    if evals.grader is not None:
        roles[GRADER] = make_model(evals.grader)
    if GRADER not in roles and any(map(is_judged, made)):
        raise ConfigError(NO_GRADER)
    with _alone(log_dir):
        refuse_changed(evals, made, log_dir, until=UNTIL_DECIDED in (about or {}))
        settings: dict[str, Any] = {
            **evals.settings,
            "temperature": evals.temperature,
            "max_tokens": evals.max_tokens,
            "limit": evals.limit or evals.sample_range,
            "max_tasks": evals.max_tasks,
            "model_roles": roles or None,
        }
        given = {name: value for name, value in settings.items() if value is not None}
        try:
            success, logs = eval_set(
                made,
                log_dir=str(log_dir),
                model=models,
                epochs=evals.epochs,
                display=display,
                metadata={FILES: _files_of(evals), **(about or {})},
                **given,
                **options,
            )
        except Exception as error:
            if is_remote(log_dir) and isinstance(error, OSError):
                raise ConfigError(f"{log_dir}: cannot be used: {describe(error)}") from error
            if type(error).__name__ != "PrerequisiteError":  # Inspect's, not public: a directory of others
                raise
            found = _FOREIGN_LOG.search(_without_markup(str(error)))
            if found is None:
                raise ConfigError(_without_markup(str(error))) from error
            raise ConfigError(
                f"{log_dir} holds the logs of another command, such as {found[1]}, and a directory belongs "
                "to one command; choose another log directory, or leave it out to get one for this command"
            ) from error
    # Inspect takes an interrupt for itself, writes what is there, and then returns success and no logs.
    if len(logs) < evals.number or any(log.status == "cancelled" for log in logs):
        raise KeyboardInterrupt("Inspect's lines above (eval-retry, all tasks completed) do not count")
    return success


FIRST_LOOK, BLOCK = 64, 32
"""Requests before the first look at a run that stops once it is decided, and between looks. Not in source."""


def run_until_decided(
    evals: Evals, log_dir: str | Path, is_decided: Callable[[list[str]], bool], **options: Any
) -> bool:
    """Runs one task with one model in blocks of requests, in a drawn order, until its contrast is decided.

    A block has all conditions and tiers of its requests, and a directory of its own in `log_dir`; every log
    says that its run was to stop. That is all that is recorded: the logs hold what the decision was made
    from. The same command goes on where a run was interrupted.

    Args:
        evals: What to run, without a limit.
        log_dir: Where the blocks are.
        is_decided: Told the directories of all blocks so far, says whether to stop.
        options: As for `run_evals`, which says what is returned and raised.

    Raises:
        ConfigError: Several tasks or models, a limit, or a family whose claims are not asked both ways.
    """
    if evals.number != 1 or evals.limit or evals.sample_range:
        raise ConfigError("a run that stops when decided has one model and no limit; leave out the others")
    whole = make_task(evals.tasks[0])
    refuse_changed(evals, [whole], log_dir, until=True)
    dataset = whole.dataset
    claims = filter(None, (planned_claim(sample.metadata or {}) for sample in dataset))
    poles = {(claim.intervention.family, claim.intervention.polarity) for claim in claims}
    if len(poles - {(None, None)}) < 4:
        raise ConfigError(
            "what decides is the difference between the families, so that both have to be asked with both "
            "poles; give --interventions such as all, or leave it out"
        )
    groups: dict[str, dict[str, None]] = {}  # Near-duplicates stay side by side
    for sample in dataset:
        cluster = str((sample.metadata or {})["cluster_id"])
        groups.setdefault(cluster, {})[_request(sample)] = None
    order = sorted(groups, key=lambda cluster: text_digest("order", cluster))
    requests = [request for cluster in order for request in groups[cluster]]
    ends = [*range(FIRST_LOOK, len(requests), BLOCK), len(requests)]
    done: list[str] = []
    for start, end in pairwise([0, *ends]):
        if done and is_decided(done):
            break
        block = f"{log_dir}/requests-{start + 1:04}-{end:04}"
        about = {UNTIL_DECIDED: True}
        if not run_evals(evals, block, requests=set(requests[start:end]), about=about, **options):
            return False
        done.append(block)
    return True


def _request(sample: Sample) -> str:
    return str((sample.metadata or {})["request_id"])


def _role(role: str, value: JsonValue) -> Any:
    """A model role as Inspect's `--model-role` has it: a model, a mapping with one, or several."""
    if isinstance(value, list) and value:
        return [_role(role, one) for one in value]
    settings: dict[str, Any] = dict(value) if isinstance(value, dict) else {"model": value}
    name, args = settings.pop("model", None), settings.pop("model_args", None) or {}
    if not isinstance(name, str) or not isinstance(args, dict):
        raise ConfigError(f"the model role {role}={value!r}: give a model, such as {{model: openai/gpt-4o}}")
    try:
        config = GenerateConfig.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(f"the model role {role}={value!r}: {complaints(error)[0]}") from error
    return make_model(PlannedModel(model=name, args=args), config=config)


def is_judged(task: Task) -> bool:
    """Whether a task of this package stops where no model has the role of the grader."""
    steps = task.setup if isinstance(task.setup, list) else [task.setup] if task.setup else []
    return any(registry_info(step).name.endswith("needs_grader") for step in steps)


def failures(log_dir: str | Path) -> list[str]:
    """Why evals in a directory failed, one line for each reason: what Inspect shows with another display."""
    reasons = [log.error.message.strip() for log in _headers(log_dir) if log.error is not None]
    return list(dict.fromkeys(reason.splitlines()[-1] for reason in reasons if reason))


def all_and_placebos(pair: str | None) -> str:
    """The interventions that `all` means, and the placebos of the pair in a directory, or the bundled one."""
    loaded = load_pair(pair)
    groups = dict.fromkeys(re.sub(r"\d+$", "", placebo.code) for placebo in loaded.placebos)
    return ",".join(["all", *groups])


def baseline_repeats(interventions: str | list[str]) -> int:
    """How often a run asks the untouched subject by itself: more often where effects are measured from it."""
    return BASELINE_REPEATS if set(as_list(interventions)) - {"none", "baseline"} else 1


def check_model(model: str, model_args: Mapping[str, Any]) -> None:
    """A ConfigError for a name without provider, an unknown provider, and what our own providers refuse.

    Other providers are not constructed: they may want a key, load weights or start a server. So their
    arguments are not checked here.
    """
    provider, slash, name = model.partition("/")
    if not (slash and provider and name):
        raise ConfigError(f"model {model!r}; a name has the form PROVIDER/MODEL, such as openai/gpt-4o")
    if provider.startswith("af-") or not _is_built_in(provider):
        try:
            get_model(model, memoize=False, **dict(model_args))
        except InspectAFError:
            raise
        except Exception as error:  # providers raise what they like
            if provider.startswith("af-") or "not recognized" in str(error):
                raise ConfigError(f"model {model!r}: {error}") from error


def check_models(evals: Evals) -> None:
    """Refuses models that cannot be asked, for want of a key above all, before anything is downloaded.

    Local ones are not made: weights and servers take their time. Raises as `check_model` and `make_model`.
    """
    for each in evals.models:
        check_model(each.model, each.args)
        if each.model.partition("/")[0] not in LOCAL_PROVIDERS:
            make_model(each)


def _is_built_in(provider: str) -> bool:
    """Whether Inspect has a provider of that name; one of another package has a longer name there."""
    if provider in LOCAL_PROVIDERS:  # whose libraries take long to import
        return True
    try:
        registry_create("modelapi", provider)
    except LookupError:
        return False
    except Exception:  # noqa: BLE001 - it was found, and cannot be made without a model's name
        return True
    return True


def nuisance_evals(
    model: PlannedModel, checks: Sequence[str], shared: Mapping[str, JsonValue], **more: Any
) -> Evals:
    """The baseline under variants of the prompt that should not matter, on the same requests.

    Args:
        model: Who is asked.
        checks: Keys of `NUISANCES`; a ConfigError for others.
        shared: Task arguments of every variant.
        more: Further fields of `Evals`.
    """
    for name in checks:
        check_one_of(name, NUISANCES, what="check")
    variants: list[dict[str, JsonValue]] = [{}, *(each for check in checks for each in NUISANCES[check])]
    tasks = tuple(EvalTask(task="alignment_faking", args={**shared, **each}) for each in variants)
    return Evals(models=(model,), tasks=tasks, **more)


NUISANCES: dict[str, tuple[dict[str, JsonValue], ...]] = {
    "identity": ({"identity": "unnamed"}, {"identity": "roleplay"}, {"identity": "own"}),
    "tier-names": ({"tier_tag": "swapped"}, {"tier_tag": "neutral"}),
    "tier-order": ({"first_tier": "unmonitored"},),
    "tag-place": ({"tag_in": "system"},),
    "rated-tier": ({"tiers": "monitored,unmonitored,rated"},),
    "published": tuple({"scenario": f"published:{name}"} for name in ("full", "noexamples", "simple")),
}
"""Per check, the task parameters that each of its variants changes. `rated-tier` adds a tier that is rated
and never trained on: a gap that is about being rated, not about being trained, shows there. `published` asks
with other people's prompts, which are downloaded: a null that is owed to our wording shows there."""
USUAL_CHECKS = tuple(name for name in NUISANCES if name != "published")  # Those that need no network

USUAL_PROMPT: dict[str, str] = {
    "scenario": "helpful_only",
    "setting": "prompted",
    "identity": "fictional",
    "reasoning": "scratchpad",
    "tiers": "monitored,unmonitored",
    "tier_tag": "free",
    "first_tier": "monitored",
    "tag_in": "user",
}
"""The prompt settings that variants are compared with: the task's own."""


def default_log_dir(evals: Evals) -> Path:
    """The same directory for the same evals of the same content, another for any other.

    It lies in Inspect's log directory, `INSPECT_LOG_DIR` or `logs`. Raises as `make_task` does.
    """
    content = [*_files_of(evals).items()]
    for each in evals.tasks:
        content += task_contents(make_task(each).metadata or {}).values()
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", evals.models[0].model).strip("-")
    digest = text_digest(repr(evals), *(f"{what} {found}" for what, found in content))
    return user_path(os.environ.get("INSPECT_LOG_DIR") or "logs") / "inspect_af" / f"{slug}-{digest[:8]}"


# Content of what arguments point to.


class Changed(NamedTuple):
    """Something that a log was made with and that has other content now."""

    what: str
    then: str  # Its digest when the log was made
    now: str

    def __str__(self) -> str:
        return f"{self.what} had digest {self.then} then and has {self.now} now"


Contents = dict[str, tuple[str, str]]  # By what it is, whatever its name: its name, and its digest


def task_contents(metadata: Mapping[str, Any]) -> Contents:
    """Names and digests of the words that a task acts with, by its metadata or those in a log's header."""
    about = metadata.get("inspect_af")
    if not isinstance(about, Mapping) or not isinstance(about.get("pair"), Mapping):
        return {}
    pair, more = about["pair"], metadata.get(CONTENTS)
    found = {
        "pair": (f"the hypothesis pair {pair.get('name')}", str(pair.get("digest"))),
        "prompt": (f"the prompt of the scenario {about.get('scenario')}", str(about.get("prompt_digest"))),
        "requests": (f"the requests {about.get('requests')}", str(about.get("requests_digest"))),
    }
    for what, digest in more.items() if isinstance(more, Mapping) else ():
        found[str(what).partition(" of ")[0]] = str(what), str(digest)
    return found


def model_files(model: PlannedModel) -> dict[str, str]:
    """Digests of the files and directories of this machine that a model's name and arguments point to."""
    places = [("model", model.model.partition("/")[2])]
    places += [
        (name, part.strip())
        for name, value in model.args.items()
        if name not in OPERATIONAL_ARGS
        for given in (value if isinstance(value, list | tuple) else [value])
        if isinstance(given, str)
        for part in ([given] if _exists(given) else given.split(","))
    ]
    found: dict[str, str] = {}
    for name, place in places:
        if is_remote(place) and name != "vector":  # nothing else is read from there
            continue
        with suppress(OSError, ConfigError):  # not for us to read
            if is_remote(place) or _exists(place):
                found[f"{name}={place}"] = path_digest(user_path(place))
    return found


def _exists(place: str) -> bool:
    if not place or is_remote(place):
        return False
    try:
        path = user_path(place)
    except ConfigError:  # `~` of nobody
        return False
    return is_file(path) or is_directory(path)


def _files_of(evals: Evals) -> dict[str, str]:
    models = [*evals.models, *_models_in_roles(evals)]
    return {name: digest for each in models for name, digest in model_files(each).items()}


def _models_in_roles(evals: Evals) -> list[PlannedModel]:
    models = [evals.grader] if evals.grader else []
    for value in evals.roles.values():
        for one in value if isinstance(value, list) else [value]:
            role = one if isinstance(one, dict) else {"model": one}
            if isinstance(role.get("model"), str):
                args = role.get("model_args")
                models.append(PlannedModel.model_validate({"model": role["model"], "args": args or {}}))
    return models


def changed_contents(
    log: EvalLog, task: Task, model: PlannedModel, judges: Sequence[PlannedModel] = ()
) -> tuple[Changed, ...]:
    """What has other content now than when a log was made, although it has the same name.

    Task, model and judges (the models with roles) are those that would be run now.
    """
    metadata = log.eval.metadata or {}
    then, now = task_contents(metadata), task_contents(task.metadata or {})
    recorded = metadata.get(FILES)
    files = {name: digest for each in (model, *judges) for name, digest in model_files(each).items()}
    if isinstance(recorded, Mapping):
        then |= _named(recorded)
        now |= _named(files)
    elif files and set(model.args) & {"adapter", "vector"}:
        then |= _named(_carried_by_samples(log))
        now |= _named(_carried(model))
    both = [(now[what][0], then[what][1], now[what][1]) for what in then if what in now]
    return tuple(Changed(what, before, after) for what, before, after in both if before != after)


def _named(digests: Mapping[Any, Any]) -> Contents:
    """Contents of which the name says what they are."""
    return {str(name): (str(name), str(digest)) for name, digest in digests.items()}


def _carried(model: PlannedModel) -> dict[str, str]:
    """What the provider applies now, for logs whose header does not say what it applied then."""
    api = make_model(model).api
    return _numbered(api.subject.organism, api.treatments) if isinstance(api, CarriesTreatment) else {}


def _carried_by_samples(log: EvalLog) -> dict[str, str]:
    for sample in LogFile(log.location).summaries()[0]:
        metadata = sample.metadata
        if "treatments" in metadata or "organism" in metadata:
            return _numbered(metadata.get("organism", ()), applied_treatments(metadata))
    return {}


def _numbered(organism: Sequence[str], treatments: Sequence[Treatment]) -> dict[str, str]:
    files = (each for each in treatments if isinstance(each, SdfAdapter | Steer))
    digests = [*organism, *(each.digest for each in files)]
    return {f"the adapter or vector {at}": digest for at, digest in enumerate(digests, start=1)}


def changed_logs(
    evals: Evals, log_dir: str | Path, tasks: Sequence[Task] | None = None
) -> Iterator[tuple[str, tuple[Changed, ...]]]:
    """Logs that would be used again although something in them has changed, each with what.

    `tasks` are those of the evals, where they have been made.
    """
    made = [make_task(each) for each in evals.tasks] if tasks is None else tasks
    judges = _models_in_roles(evals)
    for log, task, model in _own_logs(evals, made, log_dir):
        if changed := changed_contents(log, task, model, judges):
            yield log.location, changed


def _own_logs(
    evals: Evals, tasks: Sequence[Task], log_dir: str | Path
) -> Iterator[tuple[EvalLog, Task, PlannedModel]]:
    """Headers of the logs that these evals asked for, whatever their content was, with task and model."""
    for log in _headers(log_dir):
        for each, task in zip(evals.tasks, tasks, strict=True):
            for model in evals.models:
                if (
                    _is_named(log.eval, each, model)
                    and _includes(log.eval.task_args_passed, each.args)
                    and _includes(each.args, log.eval.task_args_passed)
                    and _includes(log.eval.model_args, model.args)
                ):
                    yield log, task, model


def _is_named(spec: EvalSpec, task: EvalTask, model: PlannedModel) -> bool:
    return spec.task.rpartition("/")[2] == task.task and spec.model == model.model


def refuse_changed(evals: Evals, tasks: Sequence[Task], log_dir: str | Path, *, until: bool = False) -> None:
    """Refuses a directory with logs that would be used again although something in them has changed.

    `tasks` are those of the evals, made; `until` says whether the run is to stop once it is decided.

    Raises:
        ConfigError: The first such log, with the digests of then and now; or a log of these evals whose name
            Inspect passes over, that holds other samples, or that stops by another rule.
    """
    for location, changed in changed_logs(evals, log_dir, tasks):
        raise ConfigError(
            f"{location} was made with other content under the same name: "
            f"{'; '.join(map(str, changed))}. Its replies are not what this command would give; "
            "choose another log directory, move the old logs away, or put the old content back"
        )
    for log, task, _ in _own_logs(evals, tasks, log_dir):
        name = log.location.rpartition("/")[2]
        if name.endswith(".json") and not re.match(r"\d{4}-\d\d-\d\dT", name):
            raise ConfigError(
                f"{log.location} is a log of this command under a name that Inspect does not look for, "
                f"so that all of it would be asked again; rename it to {_usual_name(log.eval)}, or move "
                "it away"
            )
        complaint = _other_samples(log, task, evals)
        if until != bool((log.eval.metadata or {}).get(UNTIL_DECIDED)):
            complaint = f"is of a run that {'does not stop' if until else 'stops'} once it is decided"
        if complaint:
            raise ConfigError(
                f"{log.location} {complaint}; it would be taken for what is asked for now, or its "
                "replies would be lost. Choose another log directory, or move the log away"
            )


def _other_samples(log: EvalLog, task: Task, evals: Evals) -> str | None:
    """What a log holds instead of what is asked for; None where what is there stays and the rest is added.

    Inspect counts samples where it should compare them, and drops from a log what is not asked for.
    """
    held, epochs = set(map(str, log.eval.dataset.sample_ids or ())), log.eval.config.epochs or 1
    first, last = evals.sample_range or (0, evals.limit)
    wanted = {str(sample.id) for sample in task.dataset[first:last]}
    finished = log.status == "success" and epochs == evals.epochs and wanted <= held
    if finished or (held <= wanted and epochs <= evals.epochs):
        return None
    return (
        f"has {plural(len(held), 'sample')} in {plural(epochs, 'epoch')}, and "
        f"{len(held & wanted)} of them are among the {len(wanted)} in {plural(evals.epochs, 'epoch')} that "
        f"are asked for now"
    )


def _usual_name(spec: EvalSpec) -> str:
    created = re.sub(r"[:+]", "-", spec.created)
    return f"{created}_{spec.task.rpartition('/')[2].replace('_', '-')}_{spec.task_id}.json"


def refuse_changed_plan(plan: Plan) -> None:
    """Refuses a plan whose pair, prompt or requests have other content now than when it was written.

    Raises:
        ConfigError: With the digests in the plan and those of now; others as `alignment_faking` raises them.
    """
    made = make_task(EvalTask(task=plan.task, args=plan.task_args()))
    meta = TaskMeta.model_validate((made.metadata or {})["inspect_af"])
    compared = (
        Changed(f"the hypothesis pair {meta.pair.name}", plan.pair_digest, meta.pair.digest),
        Changed("the prompt", plan.prompt.digest, meta.prompt_digest),
        Changed(f"the requests {plan.requests.source}", plan.requests.digest, meta.requests_digest),
    )
    if changed := [each for each in compared if each.then != each.now]:
        raise ConfigError(
            f"the plan {plan.name} was written for other content under the same name: "
            f"{'; '.join(map(str, changed))}. Put the old content back, or write another plan"
        )


def _headers(log_dir: str | Path) -> Iterator[EvalLog]:
    """Headers of all logs below a directory; files that are no readable log are left to Inspect."""
    try:
        locations = find_logs([log_dir])
    except LogError:  # no directory, or none with logs
        return
    for location in locations:
        with suppress(LogError):  # half written, or not a log
            yield LogFile(location).header


def finished_evals(evals: Evals, log_dir: Path) -> int:
    """How many of the evals have a finished log in the directory, whoever ran them.

    A log fits where it has as many samples and epochs, the same settings, grader and content, and the same
    arguments but for some that change no reply.
    """
    found = [log for log in _headers(log_dir) if log.status == "success"]
    made = cache(lambda at: make_task(evals.tasks[at]))

    def is_whole(log: EvalLog, at: int, model: PlannedModel) -> bool:
        if not _fits(log, evals.tasks[at], model, evals) or not _has_grader(log.eval, made(at), evals.grader):
            return False
        return not changed_contents(log, made(at), model, _models_in_roles(evals))

    asked = product(range(len(evals.tasks)), evals.models)
    return sum(any(is_whole(log, at, model) for log in found) for at, model in asked)


def _fits(log: EvalLog, task: EvalTask, model: PlannedModel, evals: Evals) -> bool:
    spec, sampling = log.eval, sampling_of(log)
    return (
        _is_named(spec, task, model)
        and (spec.config.epochs or 1) >= evals.epochs
        and (spec.config.limit == evals.sample_range if evals.sample_range else _holds_all(spec, evals.limit))
        and evals.max_tokens in (None, sampling.pop("max_tokens", None))
        and sampling.pop("temperature", None) == evals.temperature
        and sampling == evals.settings
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


def _has_grader(spec: EvalSpec, task: Task, grader: PlannedModel | None) -> bool:
    if grader is None or not is_judged(task):
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
    usual = inspect.signature(getattr(tasks, task.task)).parameters
    more = set(passed) - set(task.args) - _ADDITIONS
    return all(name in usual and _same(passed[name], usual[name].default) for name in more)


def _includes(recorded: Mapping[str, object], given: Mapping[str, object]) -> bool:
    return all(name in recorded and _same(recorded[name], value) for name, value in given.items())


def _same(one: object, other: object) -> bool:
    return one == other or str(one) == str(other)


def _alone(log_dir: str | Path) -> Any:
    """One process at a time in a local directory; a remote one has no locks."""
    if not is_remote(log_dir):
        return only_one(Path(log_dir), "running evals")
    is_directory(user_path(log_dir))  # complains where it cannot be reached
    return nullcontext()


_FOREIGN_LOG = re.compile(r"Existing log file '([^']*)' in log_dir is not")
"""How Inspect says it; what it advises is an option that we do not have."""


def _without_markup(text: str) -> str:
    """Inspect's messages carry the markup of the terminal library that it prints them with."""
    return re.sub(r"\[/?(?:bold|italic|blue|link)[^\]]*\]", "", text)
