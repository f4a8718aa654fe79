"""The provider's arguments, and adapters as they are served; no server is started."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.local_models import save_vector

from inspect_af.errors import ConfigError, TreatmentError
from inspect_af.providers.settings import read_vllm_settings
from inspect_af.providers.vllm_server import (
    max_rank,
    rank,
    served,
    served_name,
    zero_adapter,
)
from inspect_af.sdf.adapters import Adapter, load_adapter
from inspect_af.types import Steer

safetensors = pytest.importorskip("safetensors.numpy")


def adapter(directory: Path, rank: int = 8, seed: int = 0, **config: Any) -> Adapter:
    rng = np.random.default_rng(seed)
    directory.mkdir(parents=True)
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    arrays = {
        f"{prefix}.lora_A.weight": rng.standard_normal((rank, 16)).astype(np.float32),
        f"{prefix}.lora_B.weight": rng.standard_normal((16, rank)).astype(np.float32),
    }
    safetensors.save_file(arrays, directory / "adapter_model.safetensors")
    described = {"peft_type": "LORA", "r": rank, "lora_alpha": 16, "target_modules": ["q_proj"], **config}
    (directory / "adapter_config.json").write_text(json.dumps(described), encoding="utf-8")
    return load_adapter(directory, role="organism")


def test_whatever_is_not_ours_becomes_an_option_of_vllm() -> None:
    launch = read_vllm_settings(
        "m",
        {
            "tensor_parallel_size": 4,
            "enforce_eager": True,
            "enable_prefix_caching": False,
            "rope_scaling": {"b": 1, "a": 2},
            "thinking": True,
            "port": 8001,
        },
    ).launch
    assert launch.options == (
        ("enforce-eager", ""),
        ("no-enable-prefix-caching", ""),
        ("rope-scaling", '{"a": 2, "b": 1}'),
        ("tensor-parallel-size", "4"),
    )
    assert launch.port == 8001 and launch.python == sys.executable


def test_the_subject_is_named_by_options_that_change_what_it_says() -> None:
    settings = read_vllm_settings("m", {"quantization": "fp8", "tensor_parallel_size": 4, "start_timeout": 9})
    assert settings.identity == {"quantization": "fp8"}


def test_conditions_differ_in_treatment_and_share_the_launch(tmp_path: Path) -> None:
    adapter(tmp_path / "a")
    plain = read_vllm_settings("m", {"dtype": "float32"})
    treated = read_vllm_settings(
        "m", {"dtype": "float32", "adapter": str(tmp_path / "a"), "adapter_role": "organism"}
    )
    assert plain.launch == treated.launch
    assert plain.applied.key != treated.applied.key


@pytest.mark.parametrize(
    "name",
    [
        *(
            "host",
            "api_key",
            "additional_config",
            "trust_remote_code",
            "served-model-name",
            "uds",
            "hf_token",
        ),
        "reasoning_parser",
    ],
)
def test_what_would_open_the_server_or_break_the_plugin_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is not an argument of af-vllm"):
        read_vllm_settings("m", {name: "x"})


@pytest.mark.parametrize(
    "name", ["trust_remote_cod", "api_ke", "additional_confi", "tensor_parallel_siz", "logits_processors"]
)
def test_abbreviations_and_options_of_unknown_effect_are_refused_since_vllm_would_take_them(
    name: str,
) -> None:
    with pytest.raises(ConfigError, match="unknown argument of af-vllm"):
        read_vllm_settings("m", {name: "x"})


@pytest.mark.parametrize(
    "arguments",
    [
        {"port": 80},
        {"port": "8000"},
        {"start_timeout": 0},
        {"request_timeout": "soon"},
        {"thinking": "maybe"},
        {"multiplier": 2},
    ],
)
def test_a_malformed_argument_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        read_vllm_settings("m", arguments)


def test_the_zero_adapter_has_the_shapes_of_another_and_no_number_in_it(tmp_path: Path) -> None:
    like = adapter(tmp_path / "a")
    found = zero_adapter(like, tmp_path)
    arrays = safetensors.load_file(found / "adapter_model.safetensors")
    shapes = {
        name: array.shape
        for name, array in safetensors.load_file(like.path / "adapter_model.safetensors").items()
    }
    assert {name: array.shape for name, array in arrays.items()} == shapes
    assert not any(array.any() for array in arrays.values())
    assert zero_adapter(like, tmp_path) == found


def test_one_adapter_is_served_as_it_is_and_several_as_their_sum(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    first, second = adapter(tmp_path / "a"), adapter(tmp_path / "b", seed=1)
    assert served([first], tmp_path / "out") == (tmp_path / "a").resolve()
    together = served([first, second], tmp_path / "out")
    assert together.name == served_name([first, second]) == f"af-{first.digest}-{second.digest}"
    assert rank(load_adapter(together, role="organism")) == 16
    assert served([first, second], tmp_path / "out") == together


def test_an_adapter_with_patterns_is_served_with_its_own_scalings(tmp_path: Path) -> None:
    # vLLM scales every module by lora_alpha / r, whatever the patterns say.
    torch = pytest.importorskip("torch")
    uneven = {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"q_proj": 2}}
    one = adapter(tmp_path / "a", 4, **uneven, r=8)
    anew = served([one], tmp_path / "out")
    assert anew.name == served_name([one]) and anew != one.path
    config = json.loads((anew / "adapter_config.json").read_text(encoding="utf-8"))
    assert not config.get("rank_pattern") and not config.get("alpha_pattern")

    def change(folder: Path) -> Any:
        arrays = safetensors.load_file(folder / "adapter_model.safetensors")
        a, b = (next(torch.tensor(v) for k, v in arrays.items() if f"lora_{side}" in k) for side in "AB")
        return b @ a

    got = change(anew) * config["lora_alpha"] / config["r"]
    torch.testing.assert_close(got, change(one.path) * 2 / 4)


@pytest.mark.parametrize("field", [{"init_lora_weights": "pissa"}, {"use_qalora": True}, {"bias": "all"}])
def test_what_vllm_would_leave_out_of_an_adapter_is_refused_before_a_server_is_started(
    field: dict[str, Any], tmp_path: Path
) -> None:
    one = adapter(tmp_path / "a", **field)
    with pytest.raises(TreatmentError, match=next(iter(field))):
        read_vllm_settings("m", {"adapter": str(one.path), "adapter_role": "organism"})


def test_the_server_is_started_for_the_sum_of_a_conditions_ranks(tmp_path: Path) -> None:
    small, large = adapter(tmp_path / "a", 8), adapter(tmp_path / "b", 24)
    patterned = adapter(tmp_path / "c", 40, rank_pattern={"q_proj": 40}, r=8)
    assert max_rank([[small]]) == 8
    assert max_rank([[small], [small, large]]) == 32
    assert max_rank([[patterned]]) == 64
    with pytest.raises(TreatmentError, match="rank 520 together"):
        max_rank([[adapter(tmp_path / "d", 520)]])


def test_a_vector_for_one_tier_is_a_treatment_and_no_option_of_vllm(tmp_path: Path) -> None:
    file = save_vector(tmp_path / "v.safetensors")
    given = {"vector": str(file), "multiplier": 2.0, "vector_tier": "monitored"}
    settings, everywhere = (
        read_vllm_settings("m", arguments) for arguments in (given, {**given, "vector_tier": None})
    )
    assert settings.launch.options == () and settings.identity == {}
    (treatment,) = settings.applied.treatments
    assert isinstance(treatment, Steer) and treatment.tier == "monitored"
    assert settings.applied.key != everywhere.applied.key
    with pytest.raises(TreatmentError, match="this sample is of no tier"):
        settings.applied.here()
    assert everywhere.applied.here() is everywhere.applied
