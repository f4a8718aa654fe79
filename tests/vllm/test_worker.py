"""Rows, captures and layers of a worker, with a stand-in for vLLM's model runner."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.vllm.test_plugin_parts import KEY, FakeConfig, vector

torch = pytest.importorskip("torch")

from inspect_af.errors import TreatmentError  # noqa: E402
from inspect_af.providers.vllm_plugin import register  # noqa: E402
from inspect_af.providers.vllm_plugin.files import read_parts  # noqa: E402
from inspect_af.providers.vllm_plugin.layers import attach  # noqa: E402
from inspect_af.providers.vllm_plugin.wire import (  # noqa: E402
    CaptureSpec,
    PluginConfig,
    SteeringTerm,
    capture_text,
    steering_text,
)
from inspect_af.providers.vllm_plugin.worker import Additions, Captures, Runner  # noqa: E402

N_LAYERS, WIDTH = 3, 8


class Buffer:
    """vLLM's pair of tensors; a copy to the device waits until `arrive`, as one from pinned memory may."""

    def __init__(self, size: int, dtype: Any) -> None:
        self.np = np.zeros(size, dtype=np.int64)
        self.gpu = torch.zeros(size, dtype=dtype)
        self._due = 0

    def copy_to_gpu(self, n: int) -> None:
        self._due = n

    def arrive(self) -> list[int]:
        self.gpu[: self._due] = torch.from_numpy(self.np[: self._due].copy())
        self._due = 0
        return self.gpu.tolist()


class FakeRunner:
    """As much of vLLM's model runner as the plugin reads: requests, and positions of those of a step."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.requests: dict[str, Any] = {}
        self.input_batch = SimpleNamespace(req_ids=[], num_computed_tokens_cpu=np.zeros(8, dtype=np.int32))

    def _make_buffer(self, size: int, dtype: Any) -> Buffer:
        return Buffer(size, dtype)

    def add(self, name: str, **extra: str) -> None:
        self.requests[name] = SimpleNamespace(sampling_params=SimpleNamespace(extra_args=extra))

    def step(self, computed: dict[str, int]) -> None:
        """These requests run, from these positions on."""
        self.input_batch.req_ids = list(computed)
        self.input_batch.num_computed_tokens_cpu[: len(computed)] = list(computed.values())


def config(directory: Path, max_num_seqs: int = 2) -> Any:
    return SimpleNamespace(
        model_config=SimpleNamespace(
            dtype=torch.float32,
            get_hidden_size=lambda: WIDTH,
            get_total_num_hidden_layers=lambda: N_LAYERS,
        ),
        scheduler_config=SimpleNamespace(max_num_seqs=max_num_seqs, max_num_batched_tokens=16),
    )


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def additions(runner: FakeRunner, tmp_path: Path) -> Additions:
    for seed in range(4):
        vector(seed).save(tmp_path / f"{vector(seed).sha256}.safetensors")
    return Additions(runner, config(tmp_path), PluginConfig(vectors=tmp_path), (0, 1, 2))


@pytest.fixture
def captures(runner: FakeRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Captures:
    group = SimpleNamespace(rank_in_group=0, world_size=1)
    parallel = ModuleType("vllm.distributed.parallel_state")
    parallel.get_pp_group = parallel.get_tp_group = lambda: group  # type: ignore[attr-defined]
    for name in ("vllm", "vllm.distributed"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, parallel.__name__, parallel)
    return Captures(runner, config(tmp_path), PluginConfig(captures=tmp_path), (0, 1, 2))


def steer(seed: int, multiplier: float = 1.0) -> str:
    return steering_text([SteeringTerm(vector(seed).sha256, multiplier)])


def test_each_token_gets_its_requests_condition_and_none_past_the_step(
    runner: FakeRunner, additions: Additions
) -> None:
    runner.add("plain")
    runner.add("one", af_steer=steer(0, 2.0))
    runner.add("two", af_steer=steer(1))
    runner.step({"one": 0, "plain": 0, "two": 0})
    additions.fill(np.array([3, 2, 4]))
    rows = torch.tensor(additions.rows._buffer.arrive())
    added = additions.tables[1].index_select(0, rows)
    wanted = [2 * vector(0).at(1)] * 3 + [np.zeros(WIDTH)] * 2 + [vector(1).at(1)] * 4
    np.testing.assert_allclose(added[:9], np.array(wanted), rtol=1e-6)
    assert not added[9:].any()
    runner.step({"two": 4})
    additions.fill(np.array([1]))
    assert not any(additions.rows._buffer.arrive()[1:])
    runner.step({"plain": 2})
    additions.fill(np.array([1]))
    assert not additions.rows.gpu.any()


def test_a_step_without_conditions_does_not_touch_what_is_still_being_copied(
    runner: FakeRunner, additions: Additions
) -> None:
    runner.add("one", af_steer=steer(0))
    runner.step({"one": 0})
    additions.fill(np.array([3]))
    additions.rows.clear()
    # The host's numbers are what the copy of the step before will read.
    assert additions.rows._buffer.np[:3].all()


def test_rows_of_conditions_that_ended_are_taken_again(runner: FakeRunner, additions: Additions) -> None:
    for at in range(40):
        name = f"request {at}"
        runner.requests.clear()
        runner.add(name, af_steer=steer(at % 4, at + 1.0))
        runner.step({name: 0})
        additions.fill(np.array([1]))
        row = additions.rows._buffer.arrive()[0]
        np.testing.assert_allclose(additions.tables[2][row], (at + 1) * vector(at % 4).at(2), rtol=1e-6)


def test_a_condition_that_was_let_in_is_added_though_its_file_has_gone(
    runner: FakeRunner, additions: Additions, tmp_path: Path
) -> None:
    runner.add("one", af_steer=steer(0))
    runner.step({"one": 0})
    additions.fill(np.array([1]))
    (tmp_path / f"{vector(0).sha256}.safetensors").unlink()
    runner.add("again", af_steer=steer(0, 3.0))
    runner.step({"again": 0})
    additions.fill(np.array([1]))
    row = additions.rows._buffer.arrive()[0]
    np.testing.assert_allclose(additions.tables[0][row], 3 * vector(0).at(0), rtol=1e-6)


def run(captures: Captures, runner: FakeRunner, computed: dict[str, int], sizes: list[int]) -> None:
    """One step, whose token at position p has the stream (p, p, ...) at every layer."""
    runner.step(computed)
    captures.fill(np.array(sizes))
    slots = torch.tensor(captures.rows._buffer.arrive())[: sum(sizes)]
    positions = [at + i for at, size in zip(computed.values(), sizes, strict=True) for i in range(size)]
    stream = torch.tensor(positions, dtype=torch.float32)[:, None].expand(-1, WIDTH)
    for sums in captures.sums.values():
        sums.stream.index_add_(0, slots, stream)
        sums.norm.index_add_(0, slots, stream.norm(dim=1))
    captures.flush()


def test_a_capture_in_chunks_that_was_interrupted_counts_each_token_once(
    runner: FakeRunner, captures: Captures, tmp_path: Path
) -> None:
    runner.add("a", af_capture=capture_text(CaptureSpec(KEY, ((2, 9),))))
    run(captures, runner, {"a": 0}, [5])
    run(captures, runner, {"a": 0}, [4])  # preempted, and started again
    run(captures, runner, {"a": 4}, [8])
    found = read_parts(tmp_path, KEY, 1)
    np.testing.assert_allclose(found.mean, np.full((N_LAYERS, WIDTH), np.mean(range(2, 9))))
    assert found.n_tokens == 7


def test_captures_whose_clients_have_gone_leave_no_row_and_no_sum_behind(
    runner: FakeRunner, captures: Captures, tmp_path: Path
) -> None:
    for at in range(10):
        runner.add(f"{at}", af_capture=capture_text(CaptureSpec(f"{at:032x}", ((0, 9),))))
        run(captures, runner, {f"{at}": 0}, [5])
        del runner.requests[f"{at}"]  # aborted in the middle of its span
    runner.add("last", af_capture=capture_text(CaptureSpec(KEY, ((0, 4),))))
    run(captures, runner, {"last": 0}, [6])
    np.testing.assert_allclose(read_parts(tmp_path, KEY, 1).mean, np.full((N_LAYERS, WIDTH), 1.5))
    assert len(captures._progress) == 0 and len(captures._rows._free) == captures._rows.size


def test_a_dummy_batch_between_two_steps_is_summed_into_nobody(
    runner: FakeRunner, captures: Captures, tmp_path: Path
) -> None:
    for name in ("load_model", "_prepare_inputs", "execute_model", "_dummy_run"):
        setattr(runner, name, lambda: None)

    def dummy() -> None:
        slots = captures.rows.gpu[:4]
        for sums in captures.sums.values():
            sums.stream.index_add_(0, slots, torch.full((4, WIDTH), 100.0))

    runner._dummy_run = dummy  # type: ignore[attr-defined]
    Runner(runner, FakeConfig(), PluginConfig(captures=tmp_path))._captures = captures
    runner.add("a", af_capture=capture_text(CaptureSpec(KEY, ((0, 8),))))
    run(captures, runner, {"a": 0}, [4])
    runner._dummy_run()  # type: ignore[attr-defined]
    run(captures, runner, {"a": 4}, [4])
    np.testing.assert_allclose(read_parts(tmp_path, KEY, 1).mean, np.full((N_LAYERS, WIDTH), 3.5))


class LlamaDecoderLayer(torch.nn.Module):
    def forward(self, hidden: Any, residual: Any) -> Any:
        return hidden * 2, residual


def test_a_layer_adds_what_its_table_says() -> None:
    layer, table = LlamaDecoderLayer(), torch.arange(6.0).reshape(3, 2)
    rows = torch.tensor([2, 0, 1, 0])
    attach(layer, table=table, rows=rows)
    hidden, residual = torch.ones(3, 2), torch.full((3, 2), 5.0)
    got, kept = layer(hidden, residual)
    assert torch.equal(got, 2 * hidden + table[[2, 0, 1]]) and kept is residual
    assert list(layer.state_dict()) == []


def test_a_layer_whose_forward_was_replaced_is_refused_since_nothing_would_be_added() -> None:
    layer = LlamaDecoderLayer()
    layer.forward = layer.forward  # type: ignore[method-assign]  # as vLLM's offloaders do
    with pytest.raises(TreatmentError, match="nothing would be added"):
        attach(layer, table=torch.ones(2, 2), rows=torch.zeros(4, dtype=torch.int64))


@pytest.fixture
def fake_vllm(monkeypatch: pytest.MonkeyPatch) -> dict[str, type]:
    """The four classes that the plugin wraps a method of."""
    points = {
        "vllm.v1.engine.input_processor": ("InputProcessor", "process_inputs"),
        "vllm.v1.request": ("Request", "from_engine_core_request"),
        "vllm.v1.core.kv_cache_manager": ("KVCacheManager", "get_computed_blocks"),
        "vllm.v1.worker.worker_base": ("WorkerWrapperBase", "init_device"),
    }
    found = {}
    for module, (name, method) in points.items():
        stand_in = ModuleType(module)
        found[name] = type(name, (), {method: classmethod(print) if name == "Request" else lambda self: None})
        setattr(stand_in, name, found[name])
        monkeypatch.setitem(sys.modules, module, stand_in)
    return found


def test_the_plugin_wraps_each_of_its_methods_once(fake_vllm: dict[str, type]) -> None:
    register()
    wrapped = [dict(vars(owner)) for owner in fake_vllm.values()]
    register()
    assert [dict(vars(owner)) for owner in fake_vllm.values()] == wrapped
    assert fake_vllm["KVCacheManager"].get_computed_blocks._inspect_af_wrapped  # type: ignore[attr-defined]


def test_a_vllm_with_other_methods_is_left_whole_and_goes_on(
    fake_vllm: dict[str, type], caplog: pytest.LogCaptureFixture
) -> None:
    del fake_vllm["KVCacheManager"].get_computed_blocks  # type: ignore[attr-defined]
    before = [dict(vars(owner)) for owner in fake_vllm.values()]
    register()
    assert [dict(vars(owner)) for owner in fake_vllm.values()] == before
    assert "has no get_computed_blocks); nothing is attached" in caplog.text
