"""In the worker: layers are attached when the model is loaded, buffers are filled before each forward."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import numpy as np

from inspect_af.errors import ConfigError
from inspect_af.providers.vllm_plugin.files import Pooled, Progress, VectorStore, composed, write_part
from inspect_af.providers.vllm_plugin.wire import (
    CAPTURE_ARGUMENT,
    STEER_ARGUMENT,
    PluginConfig,
    argument,
    parse_capture,
    parse_steering,
    plugin_config,
)


def check_supported(vllm_config: Any) -> None:
    """Raises where the engine runs in a mode that steering and capture do not support.

    Args:
        vllm_config: vLLM's `VllmConfig`.

    Raises:
        ConfigError: All modes that are in the way, with the reason for each.
    """
    parallel, scheduling = vllm_config.parallel_config, vllm_config.scheduler_config
    passes = getattr(vllm_config.compilation_config, "pass_config", None)
    reasons = {
        "the V2 model runner (set VLLM_USE_V2_MODEL_RUNNER=0): it prepares its inputs elsewhere": getattr(
            vllm_config, "use_v2_model_runner", False
        ),
        "sequence parallelism (pass_config.enable_sp): a rank sees a part of the tokens": getattr(
            passes, "enable_sp", False
        ),
        "sequence parallel experts (expert with data and tensor parallelism): a rank sees a part of the "
        "tokens": getattr(parallel, "use_sequence_parallel_moe", False),
        "micro-batching (--enable-dbo, --ubatch-size): a forward pass sees a part of the batch": getattr(
            parallel, "use_ubatching", False
        ),
        "prefill context parallelism: a rank sees a part of the prompt": getattr(
            parallel, "prefill_context_parallel_size", 1
        )
        > 1,
        "speculative decoding: not tested with additions": vllm_config.speculative_config is not None,
        "KV transfer (--kv-transfer-config): blocks that come from elsewhere need not know the condition": (
            vllm_config.kv_transfer_config is not None
        ),
        "pooling models": getattr(vllm_config.model_config, "runner_type", "generate") != "generate",
        "encoder-decoder models": getattr(vllm_config.model_config, "is_encoder_decoder", False),
        "a custom scheduler": getattr(scheduling, "scheduler_cls", None) is not None,
    }
    if found := [mode for mode, on in reasons.items() if on]:
        raise ConfigError(
            f"inspect_af: this server cannot steer or capture with {'; '.join(found)}. Start it without"
        )


class Rows:
    """Rows 1 to `size` for keys; a full table gives up the key that was needed longest ago.

    Row 0 belongs to nobody. A table with a row for each request that may run at once never runs out,
    because one step needs at most one row a request; older conditions are computed again when they return.
    """

    def __init__(self, size: int, *, evicted: Callable[[str], object] | None = None) -> None:
        self._free = list(range(size, 0, -1))
        self._rows: OrderedDict[str, int] = OrderedDict()
        self._evicted = evicted
        self.size = size

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def claim(self, keys: Iterable[str]) -> tuple[dict[str, int], tuple[str, ...]]:
        """Rows for all keys of one step, and those keys that had none before and must be filled.

        Raises:
            ConfigError: There are more keys than rows.
        """
        wanted = dict.fromkeys(keys)
        if len(wanted) > self.size:
            raise ConfigError(f"{len(wanted)} conditions in one step, and the table has {self.size} rows")
        for key in wanted:
            if key in self._rows:
                self._rows.move_to_end(key)
        new = tuple(key for key in wanted if key not in self._rows)
        for key in new:
            self._rows[key] = self._free.pop() if self._free else self._evict()
        return {key: self._rows[key] for key in wanted}, new

    def release(self, key: str) -> None:
        """Gives a key's row back; a key without one is fine."""
        row = self._rows.pop(key, None)
        if row is not None:
            self._free.append(row)

    def _evict(self) -> int:
        key, row = self._rows.popitem(last=False)
        if self._evicted is not None:
            self._evicted(key)
        return row


_SLACK = 64
"""A buffer of exactly the largest batch lets the compiler take the batch size for a constant."""
_log = logging.getLogger("vllm.inspect_af")


def installed(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `WorkerWrapperBase.init_device`, after which the model runner exists and has no model yet."""

    def init_device(self: Any, *args: Any, **kwargs: Any) -> Any:
        config = plugin_config(self.vllm_config.additional_config)
        if config is None:
            return original(self, *args, **kwargs)
        check_supported(self.vllm_config)
        if config.vectors is None and config.captures is None:
            raise ConfigError('inspect_af: give "vectors" or "captures", or start without "af"')
        result = original(self, *args, **kwargs)
        Runner(self.worker.model_runner, self.vllm_config, config)
        return result

    return init_device


class Runner:
    """Extends one model runner: `load_model`, `_prepare_inputs`, `execute_model` and `_dummy_run`."""

    def __init__(self, runner: Any, vllm_config: Any, config: PluginConfig) -> None:
        self._runner = runner
        self._vllm_config = vllm_config
        self._config = config
        self._additions: Additions | None = None
        self._captures: Captures | None = None
        for name in ("load_model", "_prepare_inputs", "execute_model", "_dummy_run"):
            original = getattr(runner, name)
            setattr(runner, name, wraps(original)(getattr(self, name.lstrip("_"))(original)))

    def load_model(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def load_model(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            self._attach()
            return result

        return load_model

    def prepare_inputs(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def prepare_inputs(scheduler_output: Any, num_scheduled: Any, *args: Any, **kwargs: Any) -> Any:
            if self._runner.device.type == "cpu":
                from inspect_af.providers.vllm_plugin.layers import keep_generators

                keep_generators(self._runner)
            if self._additions is not None:
                self._additions.fill(num_scheduled)
            if self._captures is not None:
                self._captures.fill(num_scheduled)
            return original(scheduler_output, num_scheduled, *args, **kwargs)

        return prepare_inputs

    def execute_model(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def execute_model(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if self._captures is not None:
                self._captures.flush()
            return result

        return execute_model

    def dummy_run(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def dummy_run(*args: Any, **kwargs: Any) -> Any:
            # With data parallelism one runs beside steps of others, on tokens that belong to nobody.
            if self._additions is not None:
                self._additions.rows.clear()
            if self._captures is not None:
                self._captures.slots.clear()
            return original(*args, **kwargs)

        return dummy_run

    def _attach(self) -> None:
        from inspect_af.providers.vllm_plugin.layers import attach, decoder_layers
        from inspect_af.steering import parse_layers

        runner, model_config = self._runner, self._vllm_config.model_config
        n_layers = model_config.get_total_num_hidden_layers()
        held = decoder_layers(runner.model, n_layers)
        if self._config.vectors is not None:
            chosen = parse_layers(self._config.layers, range(n_layers))
            self._additions = Additions(
                runner, self._vllm_config, self._config, tuple(layer for layer in chosen if layer in held)
            )
        if self._config.captures is not None:
            self._captures = Captures(runner, self._vllm_config, self._config, tuple(held))
        for index, layer in held.items():
            adding, counting = self._additions, self._captures
            if adding is not None and index not in adding.tables:
                adding = None
            if adding is not None or counting is not None:
                attach(
                    layer,
                    table=None if adding is None else adding.tables[index],
                    rows=None if adding is None else adding.rows.gpu,
                    sums=None if counting is None else counting.sums[index],
                    slots=None if counting is None else counting.slots.gpu,
                )
        kind = type(next(iter(held.values()))).__name__
        _log.info("inspect_af: attached to %d layers of class %s", len(held), kind)


class _PerToken:
    """A buffer with one number a token of the batch; numbers past the batch's end are zero."""

    def __init__(self, runner: Any, size: int) -> None:
        import torch

        self._buffer = runner._make_buffer(size, dtype=torch.int64)
        self._filled = 0

    @property
    def gpu(self) -> Any:
        return self._buffer.gpu

    def set(self, values: Any) -> None:
        """Values of a step, [token]. A step before may have left more of them.

        Called where vLLM prepares its own inputs, after the copies of the step before have been made.
        """
        n = len(values)
        end = max(n, self._filled)
        self._buffer.np[:n] = values
        self._buffer.np[n:end] = 0
        self._buffer.copy_to_gpu(end)
        self._filled = n

    def clear(self) -> None:
        """Zeros only, at any time: what is still being copied to the device is not touched."""
        if self._filled:
            self.gpu[: self._filled].zero_()
            self._filled = 0


class Additions:
    """The table of conditions and the row of each token."""

    def __init__(self, runner: Any, vllm_config: Any, config: PluginConfig, layers: tuple[int, ...]) -> None:
        import torch

        if config.vectors is None:
            raise ConfigError("inspect_af: additions need a directory of vectors")
        model = vllm_config.model_config
        size = vllm_config.scheduler_config.max_num_seqs
        self._runner = runner
        self._model = model
        self._layers = layers
        # The front end looks at the files. What it let in may wait, and an error here would end the engine.
        self._store = VectorStore(config.vectors, recheck=False)
        self._conditions = Rows(size)
        n_tokens = vllm_config.scheduler_config.max_num_batched_tokens + _SLACK
        self.rows = _PerToken(runner, n_tokens)
        self.tables = {
            layer: torch.zeros(size + 1, model.get_hidden_size(), dtype=model.dtype, device=runner.device)
            for layer in layers
        }

    def fill(self, num_scheduled_tokens: Any) -> None:
        """Sets the row of each token of the step that is about to run."""
        runner = self._runner
        steers = [
            argument(runner.requests[name].sampling_params.extra_args, STEER_ARGUMENT)
            for name in runner.input_batch.req_ids
        ]
        wanted = [steer for steer in steers if steer is not None]
        if not wanted:
            self.rows.clear()
            return
        rows, new = self._conditions.claim(wanted)
        for steer in new:
            self._load(steer, rows[steer])
        of_request = np.array([0 if steer is None else rows[steer] for steer in steers], dtype=np.int64)
        self.rows.set(np.repeat(of_request, num_scheduled_tokens))

    def _load(self, steer: str, row: int) -> None:
        import torch

        values = composed(
            self._store,
            parse_steering(steer),
            d_model=self._model.get_hidden_size(),
            n_layers=self._model.get_total_num_hidden_layers(),
            layers=tuple(range(self._model.get_total_num_hidden_layers())),
            largest=float(torch.finfo(self._model.dtype).max),
        )
        for layer in self._layers:
            table = self.tables[layer]
            table[row].copy_(torch.from_numpy(values[layer]).to(table.dtype))


class Captures:
    """Running sums of the requests that are captured."""

    def __init__(self, runner: Any, vllm_config: Any, config: PluginConfig, layers: tuple[int, ...]) -> None:
        import torch

        from inspect_af.providers.vllm_plugin.layers import Sums

        if config.captures is None:
            raise ConfigError("inspect_af: captures need a directory")
        config.captures.mkdir(parents=True, exist_ok=True)
        self._directory = config.captures
        size = vllm_config.scheduler_config.max_num_seqs
        n_tokens = vllm_config.scheduler_config.max_num_batched_tokens + _SLACK
        self._runner = runner
        self._layers = layers
        self._progress: dict[str, Progress] = {}
        self._finished: list[tuple[str, int]] = []
        self._rows = Rows(size, evicted=lambda name: self._progress.pop(name, None))
        self.slots = _PerToken(runner, n_tokens)
        d_model = vllm_config.model_config.get_hidden_size()
        self.sums = {
            layer: Sums(
                torch.zeros(size + 1, d_model, device=runner.device),
                torch.zeros(size + 1, device=runner.device),
            )
            for layer in layers
        }

    def fill(self, num_scheduled_tokens: Any) -> None:
        """Sets the slot of each token of the step that is about to run."""
        runner, batch = self._runner, self._runner.input_batch
        for name in [name for name in self._progress if name not in runner.requests]:
            self._forget(name)
        specs = {}
        for index, name in enumerate(batch.req_ids):
            text = argument(runner.requests[name].sampling_params.extra_args, CAPTURE_ARGUMENT)
            if text is not None and not self._is_done(name, batch.num_computed_tokens_cpu[index], text):
                specs[name] = (index, text)
        if not specs:
            self.slots.clear()
            return
        rows, new = self._rows.claim(specs)
        for name in new:
            self._progress[name] = Progress(parse_capture(specs[name][1]))
            for sums in self.sums.values():
                sums.stream[rows[name]].zero_()
                sums.norm[rows[name]].zero_()
        ends = np.cumsum(num_scheduled_tokens)
        slots = np.zeros(int(ends[-1]), dtype=np.int64)
        for name, (index, _) in specs.items():
            stop = int(ends[index])
            start = stop - int(num_scheduled_tokens[index])
            at = int(batch.num_computed_tokens_cpu[index])
            progress = self._progress[name]
            slots[start:stop] = np.where(progress.advance(at, at + stop - start), rows[name], 0)
            if progress.finished:
                self._finished.append((name, rows[name]))
        self.slots.set(slots)

    def flush(self) -> None:
        """Leaves the results that the step has finished, before the step's tokens reach the client."""
        import torch
        from vllm.distributed.parallel_state import get_pp_group, get_tp_group

        for name, row in self._finished:
            progress = self._progress[name]
            if get_tp_group().rank_in_group == 0:
                pooled = None
                if progress.broken is None:
                    held = [self.sums[layer] for layer in self._layers]
                    pooled = Pooled(
                        (torch.stack([sums.stream[row] for sums in held]) / progress.counted).cpu().numpy(),
                        (torch.stack([sums.norm[row] for sums in held]) / progress.counted).cpu().numpy(),
                        self._layers,
                        progress.counted,
                    )
                write_part(
                    self._directory, progress, get_pp_group().rank_in_group, get_pp_group().world_size, pooled
                )
            self._forget(name)
        self._finished.clear()

    def _is_done(self, name: str, computed: int, text: str) -> bool:
        """Whether the step lies behind the capture's spans, so that the result has been left."""
        return name not in self._progress and int(computed) >= parse_capture(text).end

    def _forget(self, name: str) -> None:
        self._progress.pop(name, None)
        self._rows.release(name)
