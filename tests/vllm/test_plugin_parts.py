"""The plugin's parts that need neither vLLM nor a model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspect_af.errors import ConfigError, TreatmentError
from inspect_af.providers.vllm_plugin.engine import Gate, condition_salt, salted
from inspect_af.providers.vllm_plugin.files import (
    Pooled,
    Progress,
    VectorStore,
    composed,
    read_parts,
    write_part,
)
from inspect_af.providers.vllm_plugin.wire import (
    CaptureSpec,
    PluginConfig,
    ServerInfo,
    SteeringTerm,
    capture_text,
    parse_capture,
    parse_steering,
    plugin_config,
    steering_text,
)
from inspect_af.providers.vllm_plugin.worker import Rows, check_supported, installed
from inspect_af.steering.vector import MeanDifferenceFit, SteeringVector, VectorHeader, make_vector

KEY = "0123456789abcdef" * 2


def vector(seed: int = 0, *, layers: tuple[int, ...] = (0, 1, 2), d_model: int = 8) -> SteeringVector:
    header = VectorHeader(
        model="tiny",
        d_model=d_model,
        layers=layers,
        mean_norms=(1.0,) * len(layers),
        concept="expectation",
        family="first",
        source="ooc",
        fit=MeanDifferenceFit(locus="response_mean", n_pairs=1),
        pairs_digest="0" * 16,
    )
    return make_vector(header, np.random.default_rng(seed).standard_normal((len(layers), d_model)))


@given(
    st.lists(
        st.builds(
            SteeringTerm,
            st.text("0123456789abcdef", min_size=64, max_size=64),
            st.floats(allow_nan=False, allow_infinity=False),
            st.sampled_from(["all", "3", "1-4", "1,3-5"]),
        ),
        min_size=1,
        max_size=16,
    )
)
def test_a_condition_survives_the_wire_to_the_last_bit(terms: list[SteeringTerm]) -> None:
    assert list(parse_steering(steering_text(terms))) == terms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc@1",
        f"{'a' * 64}",
        f"{'a' * 64}@nan",
        f"{'a' * 64}@1e999",
        f"{'A' * 64}@1",
        f"{'a' * 64}@1@all@2",
        3,
        None,
    ],
)
def test_a_malformed_condition_is_refused_with_the_reason(text: object) -> None:
    with pytest.raises(ConfigError, match="af_steer="):
        parse_steering(text)


def test_more_vectors_than_may_add_up_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 16"):
        parse_steering(";".join([f"{'a' * 64}@1"] * 17))


@pytest.mark.parametrize(
    "text",
    ["", KEY, f"{KEY}:", f"{KEY}:3-3", f"{KEY}:5-2", f"{KEY}:0-4,3-6", f"../{KEY[3:]}:0-1", f"{KEY}:-1-3"],
)
def test_a_malformed_capture_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="af_capture="):
        parse_capture(text)


def test_a_capture_survives_the_wire() -> None:
    spec = CaptureSpec(KEY, ((0, 4), (4, 9), (20, 21)))
    assert parse_capture(capture_text(spec)) == spec
    assert (spec.start, spec.end) == (0, 21)


def test_what_a_server_says_of_itself_survives_though_paths_are_taken_out_of_errors() -> None:
    info = ServerInfo(
        version="1",
        model="/models/a b",
        d_model=8,
        n_layers=3,
        layers=(0, 1, 2),
        vectors="/srv/vectors",
        captures=None,
        device="cpu",
        lora=False,
        max_num_seqs=4,
    )
    assert "/" not in info.coded
    assert ServerInfo.from_coded(info.coded) == info


def test_settings_of_another_plugin_are_left_alone_and_unknown_ones_of_ours_are_refused() -> None:
    assert plugin_config({"other": 1}) is None
    assert plugin_config({"af": {"vectors": "/v"}}) == PluginConfig(vectors=Path("/v"))
    with pytest.raises(ConfigError, match="it takes vectors, layers, captures"):
        plugin_config({"af": {"vector": "/v"}})


def test_a_directory_may_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PLACE", "/srv")
    given = {"af": {"vectors": "$SOME_PLACE/vectors", "captures": "/c"}}
    assert plugin_config(given) == PluginConfig(vectors=Path("/srv/vectors"), captures=Path("/c"))
    monkeypatch.delenv("SOME_PLACE")
    with pytest.raises(ConfigError, match=r"\$SOME_PLACE/vectors: the environment of this process"):
        plugin_config(given)


@given(st.lists(st.sets(st.integers(0, 12).map(str), max_size=4), max_size=40))
def test_conditions_of_one_step_never_share_a_row_and_stay_filled(steps: list[set[str]]) -> None:
    rows, filled = Rows(4), {}
    for wanted in steps:
        given_rows, new = rows.claim(sorted(wanted))
        for key in new:
            filled[given_rows[key]] = key
        assert len(set(given_rows.values())) == len(wanted)
        assert all(1 <= row <= 4 and filled[row] == key for key, row in given_rows.items())


def test_a_table_that_is_too_small_for_a_step_complains() -> None:
    with pytest.raises(ConfigError, match="3 conditions"):
        Rows(2).claim(["a", "b", "c"])


def test_the_condition_needed_longest_ago_goes_first() -> None:
    evicted: list[str] = []
    rows = Rows(2, evicted=evicted.append)
    rows.claim(["a", "b"])
    rows.claim(["a"])
    rows.claim(["c"])
    assert evicted == ["b"]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), min_size=1, max_size=4),
    st.integers(1, 7),
    st.lists(st.integers(0, 60), max_size=4),
)
def test_every_token_of_the_spans_counts_once_whatever_the_chunks_and_restarts(
    gaps: list[tuple[int, int]], chunk: int, restarts: list[int]
) -> None:
    spans, at = [], 0
    for gap, length in gaps:
        spans.append((at + gap, at + gap + length))
        at += gap + length
    progress = Progress(CaptureSpec(KEY, tuple(spans)))
    counted = np.zeros(at + 20, dtype=int)
    position, left = 0, list(restarts)
    while not progress.finished:
        counted[position : position + chunk] += progress.advance(position, position + chunk)[
            : at + 20 - position
        ]
        position += chunk
        if left and position > left[0]:
            left.pop(0)
            position = spans[0][0] // 2  # preempted: computed again from a cached block before the spans
    expected = np.zeros_like(counted)
    for start, end in spans:
        expected[start:end] = 1
    np.testing.assert_array_equal(counted, expected)
    assert progress.counted == expected.sum() and progress.broken is None


def test_tokens_that_were_skipped_break_a_capture_instead_of_thinning_it() -> None:
    progress = Progress(CaptureSpec(KEY, ((2, 10),)))
    progress.advance(0, 4)
    progress.advance(6, 12)
    assert progress.broken == "2 tokens were not computed again after an interruption"


def test_parts_of_pipeline_stages_come_together_in_the_order_of_layers(tmp_path: Path) -> None:
    progress = Progress(CaptureSpec(KEY, ((0, 3),)))
    for stage, layers in ((0, (0, 1)), (1, (2,))):
        mean = np.array([[layer, 10.0 * layer] for layer in layers], dtype=np.float32)
        write_part(tmp_path, progress, stage, 2, Pooled(mean, mean[:, 0], layers, 3))
    found = read_parts(tmp_path, KEY, 2)
    assert found.layers == (0, 1, 2) and found.n_tokens == 3
    np.testing.assert_array_equal(found.mean, [[0, 0], [1, 10], [2, 20]])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_and_a_broken_part_are_errors(tmp_path: Path) -> None:
    with pytest.raises(TreatmentError, match="left no"):
        read_parts(tmp_path, KEY, 1)
    progress = Progress(CaptureSpec(KEY, ((0, 3),)), broken="it was skipped")
    write_part(tmp_path, progress, 0, 1, None)
    with pytest.raises(TreatmentError, match="it was skipped; ask for it again"):
        read_parts(tmp_path, KEY, 1)


def test_vectors_add_up_layer_by_layer(tmp_path: Path) -> None:
    first, second = vector(1), vector(2, layers=(1, 2))
    for one in (first, second):
        one.save(tmp_path / f"{one.sha256}.safetensors")
    found = composed(
        VectorStore(tmp_path),
        [SteeringTerm(first.sha256, 2.0, "0-1"), SteeringTerm(second.sha256, -1.0)],
        d_model=8,
        n_layers=3,
        layers=(0, 1, 2),
        largest=1e30,
    )
    expected = [2 * first.at(0), 2 * first.at(1) - second.at(1), -second.at(2)]
    np.testing.assert_allclose(found, np.array(expected), rtol=1e-6)


def test_a_vector_is_found_by_content_whatever_its_file_is_called(tmp_path: Path) -> None:
    (tmp_path / "notes.safetensors").write_bytes(b"not a vector")
    vector(1).save(tmp_path / "some name.safetensors")
    assert VectorStore(tmp_path).get(vector(1).sha256).digest == vector(1).digest


def test_a_file_that_was_tampered_with_is_not_used_under_its_old_digest(tmp_path: Path) -> None:
    store, one = VectorStore(tmp_path), vector(1)
    file = tmp_path / f"{one.sha256}.safetensors"
    one.save(file)
    store.get(one.sha256)
    vector(2).save(file)
    with pytest.raises(TreatmentError, match="it is not the vector that its name says"):
        store.get(one.sha256)
    unnamed = VectorStore(tmp_path / "other")
    unnamed.directory.mkdir()
    one.save(unnamed.directory / "a.safetensors")
    unnamed.get(one.sha256)
    vector(2).save(unnamed.directory / "a.safetensors")
    with pytest.raises(TreatmentError, match="no vector with sha256"):
        unnamed.get(one.sha256)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": 16}, "width"),
        ({"n_layers": 2}, "touch nothing at layers 2"),
        ({"layers": (0, 1)}, "adds at layers 0-1 only"),
        ({"largest": 0.01}, "beyond 0.01"),
    ],
)
def test_a_vector_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    one = vector(1)
    one.save(tmp_path / "a.safetensors")
    settings: dict[str, Any] = {"d_model": 8, "n_layers": 3, "layers": (0, 1, 2), "largest": 1e30} | changes
    with pytest.raises(TreatmentError, match=message):
        composed(VectorStore(tmp_path), [SteeringTerm(one.sha256, 1.0)], **settings)


def test_conditions_and_clients_have_salts_of_their_own() -> None:
    salts = {condition_salt(steer, salt) for steer in ("a@1", "a@2") for salt in (None, "x")}
    assert len(salts) == 4


def test_only_steered_requests_are_salted() -> None:
    wrapped = salted(lambda cls, request: request.cache_salt)
    plain = SimpleNamespace(sampling_params=SimpleNamespace(extra_args=None), cache_salt="client's")
    steered = SimpleNamespace(
        sampling_params=SimpleNamespace(extra_args={"af_steer": "a@1"}), cache_salt=None
    )
    assert wrapped(None, plain) == "client's"
    assert wrapped(None, steered) == condition_salt("a@1", None)


@dataclasses.dataclass
class FakeConfig:
    """As much of vLLM's configuration as the checks read."""

    parallel_config: Any = dataclasses.field(default_factory=SimpleNamespace)
    scheduler_config: Any = dataclasses.field(default_factory=SimpleNamespace)
    compilation_config: Any = dataclasses.field(default_factory=SimpleNamespace)
    model_config: Any = dataclasses.field(default_factory=SimpleNamespace)
    speculative_config: Any = None
    kv_transfer_config: Any = None
    additional_config: Any = None
    use_v2_model_runner: bool = False


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"use_v2_model_runner": True}, "VLLM_USE_V2_MODEL_RUNNER=0"),
        (
            {"compilation_config": SimpleNamespace(pass_config=SimpleNamespace(enable_sp=True))},
            "sequence parallelism",
        ),
        ({"parallel_config": SimpleNamespace(use_ubatching=True)}, "micro-batching"),
        ({"parallel_config": SimpleNamespace(prefill_context_parallel_size=2)}, "prefill context"),
        ({"speculative_config": object()}, "speculative decoding"),
        ({"kv_transfer_config": object()}, "KV transfer"),
    ],
)
def test_modes_under_which_additions_would_be_wrong_are_refused_with_the_reason(
    changes: dict[str, Any], reason: str
) -> None:
    check_supported(FakeConfig())
    with pytest.raises(ConfigError, match=reason):
        check_supported(FakeConfig(**changes))


def test_a_worker_that_was_not_asked_keeps_its_runner_as_it_is() -> None:
    class Worker:
        vllm_config = FakeConfig(additional_config={})
        model_runner = SimpleNamespace(load_model=1)

    worker = SimpleNamespace(vllm_config=Worker.vllm_config, worker=Worker())
    assert installed(lambda self: "done")(worker) == "done"
    assert vars(Worker.model_runner) == {"load_model": 1}


def gate(tmp_path: Path, **changes: Any) -> Gate:
    info: dict[str, Any] = {
        "version": "1",
        "model": "m",
        "d_model": 8,
        "n_layers": 3,
        "layers": (0, 1, 2),
        "vectors": str(tmp_path),
        "captures": None,
        "device": "cuda",
        "lora": False,
        "max_num_seqs": 4,
    }
    return Gate(PluginConfig(vectors=tmp_path, captures=tmp_path), ServerInfo(**info | changes), largest=1e30)


def test_on_cpu_a_request_without_adapter_beside_adapters_is_refused(tmp_path: Path) -> None:
    request = SimpleNamespace(lora_request=None)
    gate(tmp_path, lora=True, device="cuda").check(request, SimpleNamespace())
    with pytest.raises(ConfigError, match="adapter that is all zeros"):
        gate(tmp_path, lora=True, device="cpu").check(request, SimpleNamespace())


def test_a_capture_beyond_the_prompt_or_of_several_replies_is_refused(tmp_path: Path) -> None:
    text = capture_text(CaptureSpec(KEY, ((0, 5),)))

    def check(prompt: list[int], n: int) -> None:
        params = SimpleNamespace(extra_args={"af_capture": text}, n=n)
        gate(tmp_path).check(SimpleNamespace(lora_request=None, prompt_token_ids=prompt), params)

    check([1] * 5, 1)
    with pytest.raises(ConfigError, match="the prompt has 4 tokens"):
        check([1] * 4, 1)
    with pytest.raises(ConfigError, match="n=2"):
        check([1] * 5, 2)


def test_the_gate_refuses_a_vector_once_its_file_has_changed(tmp_path: Path) -> None:
    one, opened = vector(1), gate(tmp_path)
    one.save(tmp_path / f"{one.sha256}.safetensors")
    params = SimpleNamespace(extra_args={"af_steer": steering_text([SteeringTerm(one.sha256, 1.0)])})
    request = SimpleNamespace(lora_request=None)
    opened.check(request, params)
    vector(2).save(tmp_path / f"{one.sha256}.safetensors")
    with pytest.raises(TreatmentError, match="not the vector that its name says"):
        opened.check(request, params)
