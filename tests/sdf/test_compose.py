"""A composed adapter equals its parts applied one upon the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from inspect_af.cli import main
from inspect_af.errors import TreatmentError
from inspect_af.sdf.adapters import AdapterManifest, load_adapter
from inspect_af.sdf.combine import compose
from inspect_af.types import Intervention

pytestmark = pytest.mark.local


def model(layers: int = 2, width: int = 32) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = LlamaConfig(
        hidden_size=width,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=40,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(shape).eval()


def adapter(folder: Path, seed: int, **options: Any) -> Path:
    """An adapter with random matrices on both sides, so that it does something."""
    import torch
    from peft import LoraConfig, get_peft_model

    wrapped = get_peft_model(model(**options.pop("base", {})), LoraConfig(task_type="CAUSAL_LM", **options))
    torch.manual_seed(seed)
    for name, weight in wrapped.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn_like(weight) * 0.2
    wrapped.peft_config["default"].base_model_name_or_path = "org/tiny"
    wrapped.save_pretrained(folder)
    return folder


def logits(folders: Sequence[Path]) -> Any:
    """Of the base with all adapters active, as PEFT itself adds them."""
    import torch
    from peft import PeftModel

    with torch.no_grad():
        wrapped: Any = model()
        for index, folder in enumerate(folders):
            if index == 0:
                wrapped = PeftModel.from_pretrained(wrapped, folder, adapter_name="a0")
            else:
                wrapped.load_adapter(folder, adapter_name=f"a{index}")
        if folders:
            wrapped.base_model.set_adapter([f"a{index}" for index in range(len(folders))])
        return wrapped(torch.arange(20)[None]).logits


OTHERS: list[dict[str, Any]] = [
    {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"},
    {"r": 3, "lora_alpha": 7, "target_modules": ["q_proj", "down_proj"], "use_rslora": True},
    {"r": 2, "lora_alpha": 5, "target_modules": ["v_proj"], "layers_to_transform": [1]},
    {
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj", "v_proj"],
        "rank_pattern": {"q_proj": 5},
        "alpha_pattern": {"layers.0.self_attn.v_proj": 9},
    },
]


@pytest.mark.parametrize("other", OTHERS)
def test_the_logits_of_a_composed_adapter_are_those_of_both(tmp_path: Path, other: dict[str, Any]) -> None:
    first = adapter(tmp_path / "a", 1, r=4, lora_alpha=8, target_modules="all-linear")
    second = adapter(tmp_path / "b", 2, **other)
    both = logits([first, second])
    composed = logits([compose([first, second], tmp_path / "out")])
    assert (composed - both).abs().max() < 1e-5
    assert (both - logits([first])).abs().max() > 1e-2, "the second adapter must do something"
    assert (both - logits([])).abs().max() > 1e-2


def test_three_adapters_compose_in_any_grouping(tmp_path: Path) -> None:
    parts = [adapter(tmp_path / f"p{i}", i, **OTHERS[i]) for i in range(3)]
    at_once = compose(parts, tmp_path / "abc")
    grouped = compose([compose(parts[:2], tmp_path / "ab"), parts[2]], tmp_path / "ab-c")
    assert (logits([at_once]) - logits(parts)).abs().max() < 1e-5
    assert (logits([at_once]) - logits([grouped])).abs().max() < 1e-5


def test_bfloat16_matrices_stay_bfloat16_where_the_scaling_is_a_power_of_two(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folders = [
        adapter(tmp_path / n, s, r=2, lora_alpha=4, target_modules=["q_proj"])
        for n, s in (("a", 1), ("b", 2))
    ]
    for folder in folders:
        weights = folder / "adapter_model.safetensors"
        save_file({k: t.to(torch.bfloat16) for k, t in load_file(weights).items()}, weights)
    out = compose(folders, tmp_path / "out")
    stored = load_file(out / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    assert (logits([out]) - logits(folders)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "lora_only"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "embed_tokens"),
        ({"init_lora_weights": "pissa"}, "pissa"),
    ],
)
def test_an_adapter_that_does_more_than_add_matrices_is_refused(
    tmp_path: Path, options: dict[str, Any], named: str
) -> None:
    first = adapter(tmp_path / "a", 1, r=2, target_modules=["q_proj"])
    second = adapter(tmp_path / "b", 2, **{"r": 2, "target_modules": ["q_proj"], **options})
    with pytest.raises(TreatmentError, match=named):
        compose([first, second], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_adapters_of_different_bases_are_refused(tmp_path: Path) -> None:
    first = adapter(tmp_path / "a", 1, r=2, target_modules=["q_proj"])
    wide = adapter(tmp_path / "b", 2, r=2, target_modules=["q_proj"], base={"width": 64})
    with pytest.raises(TreatmentError, match="different bases"):
        compose([first, wide], tmp_path / "out")
    config = first / "adapter_config.json"
    second = adapter(tmp_path / "c", 2, r=2, target_modules=["q_proj"])
    config.write_text(config.read_text().replace("org/tiny", "org/other"))
    with pytest.raises(TreatmentError, match="org/other"):
        compose([first, second], tmp_path / "out")


def test_one_adapter_or_a_taken_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = adapter(tmp_path / "a", 1, r=2, target_modules=["q_proj"])
    assert main(["sdf", "compose", str(first), "--out", str(tmp_path / "out")]) == 1
    assert "two adapters" in capsys.readouterr().err
    with pytest.raises(TreatmentError, match="exists"):
        compose([first, first], tmp_path / "a")


def manifest(folder: Path, **fields: Any) -> AdapterManifest:
    made = AdapterManifest(base_model="org/tiny", package_version="0", **fields)
    (folder / "inspect_af.json").write_text(made.model_dump_json())
    return made


def test_composed_and_stacked_adapters_are_one_condition(tmp_path: Path) -> None:
    organism = adapter(tmp_path / "organism", 1, r=2, target_modules=["q_proj"])
    manifest(organism, role="organism")
    below = load_adapter(organism)
    on_top = adapter(tmp_path / "A1", 2, r=2, target_modules=["q_proj"])
    manifest(
        on_top,
        role="intervention",
        intervention=Intervention(variable="A1", polarity="+", family="first"),
        training_seed=3,
        parents=[{"digest": below.digest, "role": "organism", "combined": "stacked"}],
    )
    above = load_adapter(on_top)
    composed = load_adapter(compose([organism, on_top], tmp_path / "out"))
    assert composed.role == "intervention"
    assert composed.organism == (below.digest,)
    assert composed.treatments == (above.treatment,)
    assert composed.treatment == above.treatment
    assert composed.manifest is not None and not composed.manifest.parents
    with pytest.raises(TreatmentError, match="name that adapter first"):
        compose([on_top, organism], tmp_path / "wrong-order")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["r"] == config["lora_alpha"] == 4
    assert config["target_modules"] == ["q_proj"]
