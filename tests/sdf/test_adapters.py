"""Adapters are recognised from their files alone, and those that do not fit are refused."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from inspect_af.errors import ConfigError, TreatmentError
from inspect_af.sdf.adapters import AdapterManifest, check_base, check_parents, load_adapter
from inspect_af.sdf.base_model import BaseShape, base_fingerprint
from inspect_af.types import Intervention, SampleMeta, Subject

A1 = Intervention(variable="A1", polarity="+", family="first")
CONFIG = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2, "vocab_size": 50}

pytestmark = pytest.mark.local


def write(folder: Path, *, width: int = 8, layer: int = 1, base: str = "org/tiny", seed: int = 0) -> Path:
    """A PEFT directory with one LoRA module."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    name = f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_"
    matrices = {
        f"{name}A.weight": rng.normal(size=(2, width)).astype(np.float32),
        f"{name}B.weight": rng.normal(size=(12, 2)).astype(np.float32),
    }
    save_file(matrices, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def with_manifest(folder: Path, **fields: Any) -> Path:
    given = {"role": "intervention", "intervention": A1, "base_model": "org/tiny", "package_version": "0"}
    manifest = AdapterManifest(**{**given, **fields})
    (folder / "inspect_af.json").write_text(manifest.model_dump_json())
    return folder


def test_a_manifest_says_what_an_adapter_is(tmp_path: Path) -> None:
    folder = with_manifest(write(tmp_path / "a"), directness="oblique", training_seed=2)
    adapter = load_adapter(folder)
    assert adapter.role == "intervention"
    assert adapter.treatment is not None
    assert adapter.treatment.intervention == A1
    assert (adapter.treatment.directness, adapter.treatment.training_seed) == ("oblique", 2)
    assert adapter.treatment.digest == adapter.digest and len(adapter.digest) == 16
    assert adapter.treatments == (adapter.treatment,) and adapter.organism == ()


def test_the_digest_follows_the_weights(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a", seed=0), write(tmp_path / "b", seed=1)
    same = write(tmp_path / "c", seed=0)
    digests = [load_adapter(p, role="organism").digest for p in (one, other, same)]
    assert digests[0] == digests[2] != digests[1]


def test_a_plain_adapter_needs_a_role_and_an_intervention_needs_its_code(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    with pytest.raises(ConfigError, match="adapter_role=organism"):
        load_adapter(folder)
    with pytest.raises(ConfigError, match="adapter_role=intervention needs intervention=CODE"):
        load_adapter(folder, role="intervention")
    with pytest.raises(ConfigError, match=r"unknown intervention 'A9\+'; one of A1\+.*neutral"):
        load_adapter(folder, role="intervention", intervention="A9+")
    found = load_adapter(folder, role="intervention", intervention="A1+")
    assert found.treatment is not None and found.treatment.intervention == A1
    neutral = load_adapter(folder, role="intervention", intervention="neutral")
    assert neutral.treatment is not None and neutral.treatment.intervention.is_placebo
    organism = load_adapter(folder, role="organism")
    assert organism.treatment is None and organism.organism == (organism.digest,)


def test_a_treatment_of_one_analysis_is_the_subject_of_another(tmp_path: Path) -> None:
    adapter = load_adapter(with_manifest(write(tmp_path / "a")), role="organism")
    assert adapter.treatments == () and adapter.organism == (adapter.digest,)


def test_a_code_that_contradicts_the_manifest_is_refused(tmp_path: Path) -> None:
    folder = with_manifest(write(tmp_path / "a"))
    assert load_adapter(folder, intervention="A1+").treatment is not None
    with pytest.raises(ConfigError, match=r"manifest says A1\+"):
        load_adapter(folder, intervention="B1+")


def test_pickled_weights_are_refused_unread(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04 never loaded")
    with pytest.raises(TreatmentError, match=r"adapter_model\.bin, a pickle"):
        load_adapter(folder, role="organism")
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(TreatmentError, match=r"has no adapter_model\.safetensors"):
        load_adapter(folder, role="organism")


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle pickle pickle", struct.pack("<Q", 2) + b"{}"])
def test_weights_that_are_damaged_or_empty_are_refused(tmp_path: Path, content: bytes) -> None:
    folder = write(tmp_path / "a")
    (folder / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(TreatmentError, match="safetensors"):
        load_adapter(folder, role="organism")


@pytest.mark.parametrize("what", ["no directory", "no config", "not lora", "bad manifest"])
def test_directories_that_hold_no_lora_adapter_are_refused(tmp_path: Path, what: str) -> None:
    folder = write(tmp_path / "a")
    if what == "no directory":
        folder = tmp_path / "nowhere"
    elif what == "no config":
        (folder / "adapter_config.json").unlink()
    elif what == "not lora":
        (folder / "adapter_config.json").write_text('{"peft_type": "IA3"}')
    else:
        (folder / "inspect_af.json").write_text('{"role": "organism", "surprise": 1}')
    with pytest.raises(TreatmentError):
        load_adapter(folder, role="organism")


@pytest.mark.parametrize("what", ["deep", "digits", "large", "pipe", "twice", "long name", "loop", "pattern"])
def test_hostile_files_of_an_adapter_are_our_errors(tmp_path: Path, what: str) -> None:
    folder = write(tmp_path / "a")
    file = folder / "adapter_config.json"
    content = {
        "deep": "[" * 200_000,
        "digits": '{"peft_type": "LORA", "r": ' + "9" * 5000 + "}",
        "large": '{"peft_type": "LORA", "x": "' + "x" * 17_000_000 + '"}',
        "twice": '{"peft_type": "LORA", "r": 8, "r": 2}',
        "pattern": '{"peft_type": "LORA", "target_modules": "(("}',
    }
    if what in content:
        file.write_text(content[what])
    elif what == "long name":
        folder = tmp_path / ("x" * 5000)
    else:
        file.unlink()
        os.mkfifo(file) if what == "pipe" else file.symlink_to(file)
    with pytest.raises(TreatmentError):
        load_adapter(folder, role="organism")


def test_a_directory_of_adapters_names_those_in_it(tmp_path: Path) -> None:
    write(tmp_path / "A1+" / "seed-0")
    with pytest.raises(TreatmentError, match=r"did you mean .*A1\+/seed-0\?"):
        load_adapter(tmp_path / "A1+")


def test_an_adapter_fits_its_own_base_and_no_other_width_or_depth(tmp_path: Path) -> None:
    plain = load_adapter(write(tmp_path / "a"), role="organism")
    check_base(plain, CONFIG, name="org/tiny")
    with pytest.raises(TreatmentError, match="width of 8, this model's is 16"):
        check_base(plain, {**CONFIG, "hidden_size": 16})
    with pytest.raises(TreatmentError, match="layer 1, this model's layers are 0-0"):
        check_base(plain, {**CONFIG, "num_hidden_layers": 1})
    known = load_adapter(
        with_manifest(write(tmp_path / "b"), base=BaseShape(d_model=8, layers=2, model_type="qwen2"))
    )
    with pytest.raises(TreatmentError, match="model_type qwen2, this model llama"):
        check_base(known, CONFIG)


def test_names_of_the_hub_must_agree_and_local_paths_are_warned_about(tmp_path: Path) -> None:
    adapter = load_adapter(write(tmp_path / "a", base="meta/Big-8B"), role="organism")
    check_base(adapter, CONFIG, name="mirror/big-8b")
    check_base(adapter, CONFIG, name="/models/Big-8B")
    with pytest.raises(TreatmentError, match="this model is meta/Big-8B-Instruct"):
        check_base(adapter, CONFIG, name="meta/Big-8B-Instruct")
    with pytest.warns(UserWarning, match="make sure that it is the same model"):
        check_base(adapter, CONFIG, name="/models/something-else")


def base_directory(folder: Path, gain: float) -> Path:
    folder.mkdir()
    weights = {"model.norm.weight": np.full(8, gain, dtype=np.float32), "model.embed": np.zeros((3, 8))}
    save_file(weights, folder / "model.safetensors")
    return folder


def test_a_fingerprint_tells_models_of_one_shape_apart(tmp_path: Path) -> None:
    own, other = base_directory(tmp_path / "own", 1.0), base_directory(tmp_path / "other", 1.01)
    fingerprint = base_fingerprint(own)
    assert fingerprint is not None and fingerprint.startswith("F32:")
    adapter = load_adapter(
        with_manifest(write(tmp_path / "a", base=str(own)), fingerprint=fingerprint, base_model=str(own))
    )
    check_base(adapter, CONFIG, name=str(own), directory=own)
    with pytest.raises(TreatmentError, match="fingerprint"):
        check_base(adapter, CONFIG, name=str(own), directory=other)
    assert base_fingerprint(tmp_path / "nowhere") is None


def test_a_child_without_its_parent_is_refused(tmp_path: Path) -> None:
    organism = load_adapter(write(tmp_path / "organism"), role="organism")
    parents = [{"digest": organism.digest, "role": "organism", "combined": "stacked"}]
    child = load_adapter(with_manifest(write(tmp_path / "child", seed=1), parents=parents))
    check_parents([organism, child])
    for wrong in ([child], [child, organism]):
        with pytest.raises(TreatmentError, match=organism.digest):
            check_parents(wrong)


def test_reading_an_adapter_does_not_load_torch() -> None:
    import subprocess
    import sys

    code = "import sys, inspect_af.sdf.adapters; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_seeds_of_one_recipe_are_told_by_the_manifest_and_not_by_a_name(tmp_path: Path) -> None:
    corpus = {"digest": "0" * 16, "documents": 3, "tokens": 30}
    made = [("x", 0, corpus), ("y", 1, corpus), ("z", 1, {**corpus, "digest": "1" * 16})]
    organism = {"role": "organism", "intervention": None}
    one, other, elsewhere = (
        load_adapter(with_manifest(write(tmp_path / name), training_seed=seed, corpus=texts, **organism))
        for name, seed, texts in made
    )
    assert one.training is not None and other.training is not None and elsewhere.training is not None
    assert (one.training.seed, other.training.seed) == (0, 1)
    assert one.training.recipe == other.training.recipe != elsewhere.training.recipe
    assert load_adapter(with_manifest(write(tmp_path / "unsaid"), **organism)).training is None
    plain = Subject(model="m", organism=(one.digest,))
    assert Subject(model="m", organism=(one.digest,), training=one.training) == plain
    meta = SampleMeta(request_id="r", cluster_id="r", tier="none", training=other.training)
    assert SampleMeta.from_metadata(meta.as_metadata()).training == other.training
