"""From the header of an eval log to a `LogHeader`, or to the reason why the log cannot be used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from inspect_ai.log import EvalLog, EvalSpec, read_eval_log
from pydantic import ValidationError

from inspect_af.logs.rows import LogHeader, Skipped
from inspect_af.logs.sources import LOG_SUFFIXES
from inspect_af.types import Subject, TaskMeta

SIMULATED_API = "af-organism"
"""Name of the model provider whose models are simulations."""

TREATMENT_ARGS = frozenset(
    {"adapter", "adapter_role", "intervention", "intervention_pair", "vector", "multiplier", "layers", "role"}
)
"""Model arguments that apply treatments; those are read from each sample, where they are recorded."""

SPEED_OPTIONS = frozenset(
    {
        "block_size",
        "data_parallel_size",
        "disable_log_stats",
        "distributed_executor_backend",
        "enable_chunked_prefill",
        "enable_lora",
        "enable_prefix_caching",
        "enforce_eager",
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "load_format",
        "master_addr",
        "master_port",
        "max_cpu_loras",
        "max_lora_rank",
        "max_loras",
        "max_num_batched_tokens",
        "max_num_seqs",
        "nnodes",
        "node_rank",
        "num_gpu_blocks_override",
        "pipeline_parallel_size",
        "swap_space",
        "tensor_parallel_size",
    }
)
"""vLLM's options about where and how fast a model runs, not about what it says."""

OPERATIONAL_ARGS = SPEED_OPTIONS | {
    "base_url",
    "batch_size",
    "capture",
    "device",
    "device_map",
    "host",
    "max_batch_tokens",
    "max_connections",
    "max_requests",
    "max_retries",
    "port",
    "request_timeout",
    "server_log",
    "server_python",
    "start_timeout",
    "timeout",
}
"""Model arguments about where and how fast a model runs, not about what it says."""

SAMPLING_SETTINGS = frozenset(
    {
        "effort",
        "frequency_penalty",
        "logit_bias",
        "max_tokens",
        "presence_penalty",
        "reasoning_effort",
        "reasoning_tokens",
        "stop_seqs",
        "system_message",
        "temperature",
        "top_k",
        "top_p",
        "verbosity",
    }
)
"""Inspect's generation settings that change what a model says; seeds differ by design."""

_SECRET_ENDINGS = ("api_key", "secret", "password", "_token")
_NEWEST_SCHEMA = 1


class UsableLog(NamedTuple):
    """A log whose samples can be read."""

    header: LogHeader
    has_invalidated: bool
    """Whether somebody marked samples as invalid, which sample summaries do not show."""


def read_header(location: str, task: str) -> UsableLog | Skipped:
    """Reads one header; whatever is wrong with the log becomes the reason of a `Skipped`."""
    if not location.endswith(LOG_SUFFIXES):
        return Skipped(location, "not an eval log: its name ends in neither .eval nor .json")
    try:
        log = read_eval_log(location, header_only=True)
    except Exception as error:  # noqa: BLE001 - a broken file can fail in any layer of zip, JSON and schema
        if "EOCD" in str(error):  # the end of a zip file, which is written last
            return Skipped(location, "unreadable: not a complete .eval log (truncated, or not an eval log?)")
        return Skipped(location, f"unreadable or not an eval log: {describe(error)}")
    return usable_log(log, location, task)


def usable_log(log: EvalLog, location: str, task: str) -> UsableLog | Skipped:
    """Checks that a header is of the task and says what the package needs to know."""
    spec = log.eval
    name = spec.task_registry_name or spec.task
    # Run from a source file, a packaged task has no package prefix.
    if name not in (task, task.rpartition("/")[2]):
        return Skipped(location, f"of another task: {name} (looking for {task})", other_task=name)
    raw = (spec.metadata or {}).get("inspect_af")
    if not isinstance(raw, dict):
        return Skipped(
            location, "no inspect_af metadata: the task is not this package's, or is an old version"
        )
    schema = raw.get("schema_version", _NEWEST_SCHEMA)
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
    header = LogHeader(
        location=location,
        eval_id=spec.eval_id,
        task_id=spec.task_id,
        task=name,
        status=log.status,
        created=spec.created,
        subject=subject_of(spec.model, spec.model_args),
        meta=meta,
        epochs=spec.config.epochs or 1,
        planned_samples=_planned_samples(spec),
        simulated=spec.model.partition("/")[0] == SIMULATED_API,
        generation=_generation(log),
    )
    return UsableLog(header, log.invalidated)


def subject_of(model: str, model_args: Mapping[str, Any]) -> Subject:
    """The subject as far as a header tells: model, revision, and the arguments that change behaviour.

    Arguments that are not known to be harmless count as changing behaviour, so that two different
    models never become one. Secrets never enter the name.
    """
    args = dict(model_args)
    revision = args.pop("revision", None)
    kept = [
        f"{name}={value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)}"
        for name, value in sorted(args.items())
        if value is not None
        and name not in TREATMENT_ARGS | OPERATIONAL_ARGS
        and name != "token"
        and not name.endswith(_SECRET_ENDINGS)
    ]
    return Subject(
        model=f"{model}[{','.join(kept)}]" if kept else model,
        revision=None if revision is None else str(revision),
    )


def describe(error: Exception) -> str:
    """One line about an exception: for a validation error its first entry, else its first line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']}"
    if isinstance(error, ExceptionGroup):
        return describe(error.exceptions[0])
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _generation(log: EvalLog) -> tuple[tuple[str, str], ...]:
    given: dict[str, Any] = {}
    for config in (log.eval.model_generate_config, log.plan.config):
        given |= config.model_dump(mode="json", exclude_none=True, include=set(SAMPLING_SETTINGS))
    return tuple((name, json.dumps(given[name], sort_keys=True)) for name in sorted(given))


def _planned_samples(spec: EvalSpec) -> int:
    # The ids are what is left after --limit and --sample-id; `samples` is the whole dataset.
    ids = spec.dataset.sample_ids
    return (len(ids) if ids is not None else spec.dataset.samples or 0) * (spec.config.epochs or 1)
