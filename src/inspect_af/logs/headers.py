"""What a log says before any sample is read: subject, plan, and why a log cannot be used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inspect_ai.log import EvalLog, EvalSpec
from pydantic import ValidationError

from inspect_af.errors import LogError
from inspect_af.logs.files import LogFile, describe, find_logs
from inspect_af.plan import secrets_in
from inspect_af.types import SampleMeta, Subject, TaskMeta

SIMULATED_API = "af-organism"  # name of the model provider whose models are simulations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TREATMENT_ARGS = _names(
    """
    adapter adapter_role intervention intervention_pair layers multiplier role vector vector_tier
    """
)
"""Model arguments that apply treatments; those are read from each sample, where they are recorded."""

SPEED_OPTIONS = _names(
    """
    block_size data_parallel_size disable_log_stats distributed_executor_backend enable_chunked_prefill
    enable_lora enable_prefix_caching enforce_eager gpu_memory_utilization kv_cache_memory_bytes
    load_format master_addr master_port max_cpu_loras max_lora_rank max_loras max_num_batched_tokens
    max_num_seqs nnodes node_rank num_gpu_blocks_override pipeline_parallel_size swap_space
    tensor_parallel_size
    """
)
"""vLLM's options about where and how fast a model runs, not about what it says."""

OPERATIONAL_ARGS = SPEED_OPTIONS | _names(
    """
    base_url batch_size capture device device_map host max_batch_tokens max_connections max_requests
    max_retries port request_timeout server_log server_python start_timeout timeout
    """
)
"""Model arguments about where and how fast a model runs, not about what it says."""

SAMPLING_SETTINGS = _names(
    """
    effort frequency_penalty logit_bias max_tokens presence_penalty reasoning_effort reasoning_tokens
    stop_seqs system_message temperature top_k top_p verbosity
    """
)
"""Inspect's generation settings that change what a model says; seeds differ by design."""

_NEWEST_SCHEMA = 1
UNTIL_DECIDED = "inspect_af_until_decided"
"""Key in a log's metadata, true where its run was to stop once its contrast is decided."""
FILES = "inspect_af_files"
"""Key in a log's metadata: digests of the files that model arguments named when it was made."""
CONTENTS = "inspect_af_contents"
"""Key in a log's metadata: digests of what else its task reads (rubrics, questions, replies), by name."""


class LogHeader(NamedTuple):
    """What a log says before any sample is read."""

    location: str  # path or URL of the log
    eval_id: str
    task_id: str
    """Shared by a log and the logs of its retries. A retry repeats the finished samples of the log
    before it under their old uuids, and gives new ones to those that had failed."""
    task: str  # registry name of the task, such as `inspect_af/alignment_faking`
    status: str  # `success`, `started`, `cancelled` or `error`, as Inspect records it
    created: str  # ISO 8601 time at which the eval was created
    subject: Subject  # model and revision by the header alone; a sample's recorded treatments come on top
    meta: TaskMeta
    epochs: int
    planned_samples: int  # samples times epochs that the dataset would give; a cancelled log holds fewer
    simulated: bool  # whether the model is one of the package's own simulated organisms
    generation: tuple[tuple[str, str], ...] = ()
    """How replies were sampled, (setting, value as JSON) by name: temperature, max_tokens, ...; what was
    left to the provider is not in it."""
    files: tuple[tuple[str, str], ...] = ()
    """(argument, digest) of files that belong to the subject, such as `chat_template=FILE`."""
    contents: tuple[tuple[str, str], ...] = ()  # (name, digest) of what else the task read
    until_decided: bool = False  # whether it was to stop once decided; it asks `meta.n_requests` at most

    def subject_of(self, meta: SampleMeta) -> Subject:
        """The subject with the organism adapters that a sample recorded."""
        if not meta.organism:
            return self.subject
        return self.subject.model_copy(update={"organism": meta.organism, "training": meta.training})


class Skipped(NamedTuple):
    """A log of which nothing was used."""

    location: str
    reason: str
    other_task: str | None = None  # Registry name of its task, where that alone is the reason


def read_headers(
    sources: Sequence[str | Path], tasks: tuple[str, ...]
) -> tuple[list[tuple[LogFile, LogHeader]], tuple[Skipped, ...]]:
    """The logs of some tasks among the sources with their headers, and those that cannot be used.

    Raises:
        LogError: A source does not exist.
    """
    found = [(file, read_header(file, tasks)) for file in map(LogFile, find_logs(sources))]
    usable = [(file, header) for file, header in found if isinstance(header, LogHeader)]
    return usable, tuple(header for _, header in found if isinstance(header, Skipped))


def read_header(file: LogFile, tasks: tuple[str, ...]) -> LogHeader | Skipped:
    """Checks that a log is of one of the tasks and says what the package needs to know; else the reason."""
    location = file.location
    try:
        log = file.header
    except LogError as error:
        return Skipped(location, str(error).removeprefix(f"{location}: "))
    spec = log.eval
    name = spec.task_registry_name or spec.task
    # Run from a source file, a packaged task has no package prefix.
    if not any(name in (task, task.rpartition("/")[2]) for task in tasks):
        wanted = " or ".join(tasks)
        return Skipped(location, f"of another task: {name} (looking for {wanted})", other_task=name)
    raw = (spec.metadata or {}).get("inspect_af")
    if not isinstance(raw, dict):
        return Skipped(
            location, "no inspect_af metadata: the task is not this package's, or is an old version"
        )
    schema = raw.get("schema_version")
    if isinstance(schema, int) and schema > _NEWEST_SCHEMA:
        return Skipped(
            location,
            f"written by a newer inspect_af (schema {schema}, this version reads up to {_NEWEST_SCHEMA}); "
            "upgrade inspect-af",
        )
    try:
        meta = TaskMeta.model_validate(raw)
    except ValidationError as error:
        return Skipped(location, f"malformed inspect_af metadata: {describe(error)}")
    given, contents = sampling_of(log), (spec.metadata or {}).get(CONTENTS)
    # The ids are what is left after --limit and --sample-id; `samples` is the whole dataset.
    ids, epochs = spec.dataset.sample_ids, spec.config.epochs or 1
    return LogHeader(
        location=location,
        eval_id=spec.eval_id,
        task_id=spec.task_id,
        task=name,
        status=log.status,
        created=spec.created,
        subject=subject_of(spec.model, spec.model_args),
        meta=meta,
        epochs=epochs,
        planned_samples=(spec.dataset.samples or 0 if ids is None else len(ids)) * epochs,
        simulated=spec.model.partition("/")[0] == SIMULATED_API,
        generation=tuple((name, json.dumps(given[name], sort_keys=True)) for name in sorted(given)),
        files=_subject_files(spec),
        contents=tuple(sorted((str(k), str(v)) for k, v in contents.items()))
        if isinstance(contents, Mapping)
        else (),
        until_decided=(spec.metadata or {}).get(UNTIL_DECIDED) is True,
    )


def sampling_of(log: EvalLog) -> dict[str, Any]:
    """The settings with which a log's replies were sampled; what was left to the provider is not in it."""
    given: dict[str, Any] = {}
    for config in (log.eval.model_generate_config, log.plan.config):
        given |= config.model_dump(mode="json", exclude_none=True, include=set(SAMPLING_SETTINGS))
    return given


def _subject_files(spec: EvalSpec) -> tuple[tuple[str, str], ...]:
    """The files of a log's own model; those of treatments are told apart by the treatments' digests."""
    recorded = (spec.metadata or {}).get(FILES)
    if not isinstance(recorded, Mapping):
        return ()
    own = {f"model={spec.model.partition('/')[2]}"} | {
        f"{name}={part}"
        for name, value in spec.model_args.items()
        if name not in TREATMENT_ARGS
        for part in (value if isinstance(value, list) else [value])
    }
    return tuple(sorted((name, str(digest)) for name, digest in recorded.items() if name in own))


def subject_of(model: str, model_args: Mapping[str, Any]) -> Subject:
    """The subject as far as a header tells: model, revision, and the arguments that change behaviour.

    Arguments that are not known to be harmless count as changing behaviour, so that two different
    models never become one. Secrets never enter the name.
    """
    revision = model_args.get("revision")
    ignored = TREATMENT_ARGS | OPERATIONAL_ARGS | {"revision"}
    kept = [
        f"{name}={value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)}"
        for name, value in sorted(model_args.items())
        if value is not None and name not in ignored and not any(secrets_in({name: value}))
    ]
    return Subject(
        model=f"{model}[{','.join(kept)}]" if kept else model,
        revision=None if revision is None else str(revision),
    )
