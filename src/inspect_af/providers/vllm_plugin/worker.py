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

_SLACK = 64  # A buffer of exactly the largest batch lets the compiler take the batch size for a constant
_log = logging.getLogger("vllm.inspect_af")
_MODES: dict[tuple[str, object], str] = {
    ("use_v2_model_runner", False): (
        "the V2 model runner (set VLLM_USE_V2_MODEL_RUNNER=0): it prepares its inputs elsewhere"
    ),
    ("compilation_config.pass_config.enable_sp", False): (
        "sequence parallelism (pass_config.enable_sp): a rank sees a part of the tokens"
    ),
    ("parallel_config.use_sequence_parallel_moe", False): (
        "sequence parallel experts (with data and tensor parallelism): a rank sees a part of the tokens"
    ),
    ("parallel_config.use_ubatching", False): (
        "micro-batching (--enable-dbo, --ubatch-size): a forward pass sees a part of the batch"
    ),
    ("parallel_config.prefill_context_parallel_size", 1): (
        "prefill context parallelism: a rank sees a part of the prompt"
    ),
    ("speculative_config", None): "speculative decoding: not tested with additions",
    ("kv_transfer_config", None): (
        "KV transfer (--kv-transfer-config): blocks that come from elsewhere need not know the condition"
    ),
    ("model_config.runner_type", "generate"): "pooling models",
    ("model_config.is_encoder_decoder", False): "encoder-decoder models",
    ("scheduler_config.scheduler_cls", None): "a custom scheduler",
}
"""Where vLLM's configuration says that a mode is on, its value where it is off, and what is wrong with it."""


def check_supported(vllm_config: Any) -> None:
    """Raises where the engine runs in a mode that steering and capture do not support.

    Args:
        vllm_config: vLLM's `VllmConfig`.

    Raises:
        ConfigError: All modes that are in the way, with the reason for each.
    """
    found = []
    for (path, off), reason in _MODES.items():
        value = vllm_config
        for name in path.split("."):
            value = getattr(value, name, None)
        if value not in (None, off):
            found.append(reason)
    if found:
        raise ConfigError(
            f"inspect_af: this server cannot steer or capture with {'; '.join(found)}. Start it without"
        )


class Rows:
    """Rows 1 to `size` for keys; a full table gives up the key that was needed longest ago.

    Row 0 belongs to nobody. A table with a row for each request that may run at once never runs out,
    because one step needs at most one row a request; older conditions are computed again when they return.
    """

    def __init__(self, size: int, *, evicted: Callable[[str], object] = lambda key: None) -> None:
        self._free = list(range(size, 0, -1))
        self._rows: OrderedDict[str, int] = OrderedDict()
        self._evicted = evicted
        self.size = size

    def claim(self, keys: Iterable[str]) -> tuple[dict[str, int], tuple[str, ...]]:
        """Rows for all keys of one step, and those keys that had none before and must be filled.

        Raises:
            ConfigError: There are more keys than rows.
        """
        wanted = dict.fromkeys(keys)
        if len(wanted) > self.size:
            raise ConfigError(f"{len(wanted)} conditions in one step, and the table has {self.size} rows")
        new = tuple(key for key in wanted if key not in self._rows)
        for key in wanted:
            if key in self._rows:
                self._rows.move_to_end(key)
        for key in new:
            if not self._free:
                oldest, row = self._rows.popitem(last=False)
                self._free.append(row)
                self._evicted(oldest)
            self._rows[key] = self._free.pop()
        return {key: self._rows[key] for key in wanted}, new

    def release(self, key: str) -> None:
        """Gives a key's row back; a key without one is fine."""
        if key in self._rows:
            self._free.append(self._rows.pop(key))


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
        self._extend("load_model", after=self._attach)
        self._extend("_prepare_inputs", before=self._fill)
        self._extend("execute_model", after=self._flush)
        self._extend("_dummy_run", before=self._clear)

    def _extend(
        self, name: str, *, before: Callable[..., None] | None = None, after: Callable[[], None] | None = None
    ) -> None:
        original = getattr(self._runner, name)

        @wraps(original)
        def extended(*args: Any, **kwargs: Any) -> Any:
            if before is not None:
                before(*args)
            result = original(*args, **kwargs)
            if after is not None:
                after()
            return result

        setattr(self._runner, name, extended)

    def _fill(self, scheduler_output: Any, num_scheduled: Any, *_: Any) -> None:
        if self._runner.device.type == "cpu":
            from inspect_af.providers.vllm_plugin.layers import keep_generators

            keep_generators(self._runner)
        for part in (self._additions, self._captures):
            if part is not None:
                part.fill(num_scheduled)

    def _flush(self) -> None:
        if self._captures is not None:
            self._captures.flush()

    def _clear(self, *_: Any) -> None:
        # With data parallelism a dummy runs beside steps of others, on tokens that belong to nobody.
        for part in (self._additions, self._captures):
            if part is not None:
                part.rows.clear()

    def _attach(self) -> None:
        from inspect_af.providers.vllm_plugin.layers import attach, decoder_layers
        from inspect_af.steering.vector import parse_layers

        n_layers = self._vllm_config.model_config.get_total_num_hidden_layers()
        held = decoder_layers(self._runner.model, n_layers)
        given = self._runner, self._vllm_config, self._config
        if self._config.vectors is not None:
            chosen = parse_layers(self._config.layers, range(n_layers))
            self._additions = Additions(*given, tuple(layer for layer in chosen if layer in held))
        if self._config.captures is not None:
            self._captures = Captures(*given, tuple(held))
        adding, counting = self._additions, self._captures
        for index, layer in held.items():
            attach(
                layer,
                table=adding.tables.get(index) if adding else None,
                rows=adding.rows.gpu if adding else None,
                sums=counting.sums[index] if counting else None,
                slots=counting.rows.gpu if counting else None,
            )
        kind = type(next(iter(held.values()))).__name__
        _log.info("inspect_af: attached to %d layers of class %s", len(held), kind)


class _PerToken:
    """A buffer with one number a token of the batch; numbers past the batch's end are zero."""

    def __init__(self, runner: Any, vllm_config: Any) -> None:
        import torch

        size = vllm_config.scheduler_config.max_num_batched_tokens + _SLACK
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
        self._runner = runner
        self._model = vllm_config.model_config
        # The front end looks at the files. What it let in may wait, and an error here would end the engine.
        self._store = VectorStore(config.vectors, recheck=False)
        self._conditions = Rows(vllm_config.scheduler_config.max_num_seqs)
        self.rows = _PerToken(runner, vllm_config)
        shape = self._conditions.size + 1, self._model.get_hidden_size()
        self.tables = {
            layer: torch.zeros(shape, dtype=self._model.dtype, device=runner.device) for layer in layers
        }

    def fill(self, num_scheduled_tokens: Any) -> None:
        """Sets the row of each token of the step that is about to run."""
        requests, names = self._runner.requests, self._runner.input_batch.req_ids
        steers = [argument(requests[name].sampling_params, STEER_ARGUMENT) for name in names]
        rows, new = self._conditions.claim(steer for steer in steers if steer is not None)
        for steer in new:
            self._load(steer, rows[steer])
        if rows:
            of_request = np.array([rows.get(steer, 0) for steer in steers], dtype=np.int64)
            self.rows.set(np.repeat(of_request, num_scheduled_tokens))
        else:
            self.rows.clear()

    def _load(self, steer: str, row: int) -> None:
        import torch

        n_layers = self._model.get_total_num_hidden_layers()
        values = composed(
            self._store,
            parse_steering(steer),
            d_model=self._model.get_hidden_size(),
            n_layers=n_layers,
            layers=range(n_layers),
            largest=float(torch.finfo(self._model.dtype).max),
        )
        for layer, table in self.tables.items():
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
        self._runner = runner
        self._progress: dict[str, Progress] = {}
        self._finished: list[tuple[str, int]] = []
        size = vllm_config.scheduler_config.max_num_seqs
        self._rows = Rows(size, evicted=lambda name: self._progress.pop(name, None))
        self.rows = _PerToken(runner, vllm_config)
        d_model, device = vllm_config.model_config.get_hidden_size(), runner.device
        self.sums = {
            layer: Sums(torch.zeros(size + 1, d_model, device=device), torch.zeros(size + 1, device=device))
            for layer in layers
        }

    def fill(self, num_scheduled_tokens: Any) -> None:
        """Sets the row of sums of each token of the step that is about to run."""
        requests, batch = self._runner.requests, self._runner.input_batch
        for name in self._progress.keys() - requests.keys():
            self._forget(name)
        specs = {}
        for index, name in enumerate(batch.req_ids):
            text = argument(requests[name].sampling_params, CAPTURE_ARGUMENT)
            if text is not None:
                spec = parse_capture(text)
                # Behind its spans and without progress, its result has been left.
                if name in self._progress or batch.num_computed_tokens_cpu[index] < spec.end:
                    specs[name] = index, spec
        if not specs:
            self.rows.clear()
            return
        rows, new = self._rows.claim(specs)
        for name in new:
            self._progress[name] = Progress(specs[name][1])
            for sums in self.sums.values():
                sums.stream[rows[name]].zero_()
                sums.norm[rows[name]].zero_()
        ends = np.cumsum(num_scheduled_tokens)
        of_token = np.zeros(int(ends[-1]), dtype=np.int64)
        for name, (index, _) in specs.items():
            n, at = int(num_scheduled_tokens[index]), int(batch.num_computed_tokens_cpu[index])
            progress = self._progress[name]
            of_token[ends[index] - n : ends[index]] = progress.advance(at, at + n) * rows[name]
            if progress.finished:
                self._finished.append((name, rows[name]))
        self.rows.set(of_token)

    def flush(self) -> None:
        """Leaves the results that the step has finished, before the step's tokens reach the client."""
        import torch
        from vllm.distributed.parallel_state import get_pp_group, get_tp_group

        for name, row in self._finished:
            progress, pooled = self._progress[name], None
            if progress.broken is None:
                means = (
                    (torch.stack([part[row] for part in parts]) / progress.counted).cpu().numpy()
                    for parts in zip(*self.sums.values(), strict=True)
                )
                mean, norm = means
                pooled = Pooled(mean, norm, tuple(self.sums), progress.counted)
            if get_tp_group().rank_in_group == 0:
                stage = get_pp_group()
                write_part(self._directory, progress, stage.rank_in_group, stage.world_size, pooled)
            self._forget(name)
        self._finished.clear()

    def _forget(self, name: str) -> None:
        self._progress.pop(name, None)
        self._rows.release(name)
