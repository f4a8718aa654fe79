"""LoRA adapters in the engine against PEFT's own, alone and one upon the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytestmark = pytest.mark.local

from tests.local_models import save_adapter, save_model  # noqa: E402

from inspect_af.errors import TreatmentError  # noqa: E402
from inspect_af.providers.hf_model import LocalModel, SharedPrefixCache, Span  # noqa: E402  # noqa: E402
from inspect_af.providers.settings import Applied, ModelKey  # noqa: E402
from inspect_af.sdf.adapters import load_adapter  # noqa: E402

TOKENS = np.random.default_rng(0).integers(4, 500, 20).tolist()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    base = save_model(folder / "base")
    return {
        "base": base,
        "first": save_adapter(base, folder / "first", seed=1),
        "second": save_adapter(base, folder / "second", seed=2),
    }


@pytest.fixture(scope="module")
def local(files: dict[str, Path]) -> LocalModel:
    return LocalModel(ModelKey(str(files["base"]), device="cpu"))


def ours(local: LocalModel, *adapters: Path) -> Any:
    applied = Applied(tuple(load_adapter(path, role="organism") for path in adapters))
    with torch.inference_mode(), local.applied(applied):
        return local.logits(SharedPrefixCache(), [Span(0, 0, len(TOKENS))], TOKENS, range(len(TOKENS)))


def by_peft(files: dict[str, Path], *names: str) -> Any:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(files["base"])
    for position, name in enumerate(names):
        if position == 0:
            model = PeftModel.from_pretrained(model, files[name], adapter_name=name)
        else:
            model.load_adapter(files[name], adapter_name=name)
    if names:
        model.base_model.set_adapter(list(names))
    with torch.inference_mode():
        return model.eval()(torch.tensor([TOKENS])).logits[0]


@pytest.mark.parametrize("names", [(), ("first",), ("second",), ("first", "second"), ("second", "first"), ()])
def test_adapters_give_the_logits_of_peft_whatever_ran_before(
    names: tuple[str, ...], files: dict[str, Path], local: LocalModel
) -> None:
    got = ours(local, *(files[name] for name in names))
    torch.testing.assert_close(got, by_peft(files, *names), atol=1e-3, rtol=1e-4)


def test_two_adapters_are_neither_of_them_alone(files: dict[str, Path], local: LocalModel) -> None:
    both = ours(local, files["first"], files["second"])
    for name in ("first", "second", "base"):
        alone = ours(local) if name == "base" else ours(local, files[name])
        assert (both - alone).abs().max() > 0.1


def test_without_adapters_the_logits_are_bit_for_bit_those_before_any_was_loaded(
    files: dict[str, Path],
) -> None:
    fresh = LocalModel(ModelKey(str(files["base"]), device="cpu"))
    before = ours(fresh)
    ours(fresh, files["first"])
    assert torch.equal(ours(fresh), before)


def test_an_adapter_of_another_base_is_refused(local: LocalModel, tmp_path: Path) -> None:
    wide = save_model(tmp_path / "wide", hidden_size=64, head_dim=16)
    with pytest.raises(TreatmentError, match="width of 64"):
        ours(local, save_adapter(wide, tmp_path / "adapter"))


def test_an_adapter_that_fails_halfway_leaves_no_condition_behind(
    files: dict[str, Path], tmp_path: Path
) -> None:
    # Layers that fit were loaded before the one that does not, and acted on the unsteered base from then on.
    from safetensors.torch import load_file, save_file

    broken = save_adapter(files["base"], tmp_path / "broken", seed=3)
    weights = load_file(broken / "adapter_model.safetensors")
    name = next(name for name in weights if "layers.2.self_attn.q_proj.lora_B" in name)
    weights[name] = torch.zeros(weights[name].shape[0] + 3, weights[name].shape[1])
    save_file(weights, broken / "adapter_model.safetensors")
    local = LocalModel(ModelKey(str(files["base"]), device="cpu"))
    ours(local)
    with pytest.raises(TreatmentError, match="does not fit"):
        ours(local, broken)
    for others in ((), (files["first"],)):
        with pytest.raises(TreatmentError, match="may hold part of the adapter"):
            ours(local, *others)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("bias", "all"),
        ("init_lora_weights", "pissa_niter_4"),
        ("init_lora_weights", "olora"),
        ("init_lora_weights", "lora_ga"),
        ("alora_invocation_tokens", [5, 6]),
        ("layer_replication", [[0, 2]]),
        ("kasa_config", {}),
        ("a_field_of_tomorrow", 1),
    ],
)
def test_an_adapter_that_changes_the_base_is_refused_and_the_base_stays_itself(
    setting: str, value: object, files: dict[str, Path], tmp_path: Path
) -> None:
    import json

    changing = save_adapter(files["base"], tmp_path / "changing")
    config = json.loads((changing / "adapter_config.json").read_text(encoding="utf-8"))
    (changing / "adapter_config.json").write_text(json.dumps({**config, setting: value}), encoding="utf-8")
    local = LocalModel(ModelKey(str(files["base"]), device="cpu"))
    before = ours(local)
    with pytest.raises(TreatmentError, match=f"{setting}.*cannot be taken off"):
        ours(local, changing)
    assert torch.equal(ours(local), before)


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "lm_head.weight"])
def test_a_whole_array_that_would_overwrite_the_bases_is_refused_and_a_copy_of_it_is_taken(
    name: str, files: dict[str, Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    from inspect_af.providers.settings import read_vllm_settings

    folder = save_adapter(files["base"], tmp_path / "whole")
    weights, file = load_file(files["base"] / "model.safetensors"), folder / "adapter_model.safetensors"
    own = load_file(file)
    local = LocalModel(ModelKey(str(files["base"]), device="cpu"))
    before = ours(local)
    save_file({**own, f"base_model.model.{name}": weights[name] * 1.5}, file)
    with pytest.raises(TreatmentError, match=f"{name} in place of the base's.*cannot be taken off"):
        ours(local, folder)
    with pytest.raises(TreatmentError, match=f"{name} in place of the base's"):
        read_vllm_settings(str(files["base"]), {"adapter": str(folder), "adapter_role": "organism"})
    save_file({**own, f"base_model.model.{name}": weights[name]}, file)
    assert not torch.equal(ours(local, folder), before)
    assert torch.equal(ours(local), before)


def test_an_adapter_that_peft_cannot_put_beside_another_leaves_both_models_usable(
    files: dict[str, Path], tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(files["base"])
    config = LoraConfig(r=4, target_modules=["q_proj"], trainable_token_indices=TOKENS[:4])
    wrapped = get_peft_model(base, config)
    for parameter in wrapped.parameters():
        parameter.data = parameter.data + (0.1 if parameter.requires_grad else 0.0)
    wrapped.save_pretrained(tmp_path / "tokens")
    local = LocalModel(ModelKey(str(files["base"]), device="cpu"))
    before = ours(local)
    tokens = ours(local, tmp_path / "tokens")
    with pytest.raises(TreatmentError, match="trainable_token_indices"):
        ours(local, files["first"])
    assert torch.equal(ours(local, tmp_path / "tokens"), tokens) and torch.equal(ours(local), before)
