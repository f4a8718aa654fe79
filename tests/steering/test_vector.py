"""Vector files: strict on what they load, exact about what they do, and named by their content."""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tests.steering.conftest import Plant

from inspect_af.errors import ConfigError, InspectAFError, MissingExtraError, TreatmentError
from inspect_af.steering import vector as vector_module
from inspect_af.steering.fit import fit_vectors, steering_report, validate_vectors
from inspect_af.steering.vector import (
    LogisticFit,
    RandomFit,
    SteeringVector,
    VectorHeader,
    load_vector,
    make_vector,
    parse_layers,
    random_controls,
    shown_layers,
    with_validation,
)

FIT = LogisticFit(c=1.0, locus="response_mean", n_pairs=10)
HEADER: dict[str, Any] = {
    "model": "tiny/llama",
    "d_model": 4,
    "layers": (1, 2, 5),
    "mean_norms": (2.0, 4.0, 8.0),
    "concept": "expectation",
    "family": "first",
    "source": "ooc",
    "fit": FIT,
    "pairs_digest": "0" * 16,
}
VALUES = np.array([[3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 2.0, 0.0, 0.0]])


def vector(values: Any = VALUES, **changes: Any) -> SteeringVector:
    return make_vector(VectorHeader(**{**HEADER, **changes}), values)


def test_a_vector_comes_back_as_it_was_saved_and_is_named_by_its_file(tmp_path: Path, plant: Plant) -> None:
    fitted = fit_vectors(plant((4.0, 6.0)).activations, family="first")["regression"]
    fitted.save(tmp_path / "deep" / "v.safetensors")
    content = (tmp_path / "deep" / "v.safetensors").read_bytes()
    loaded = load_vector(tmp_path / "deep" / "v.safetensors")
    assert loaded.header == fitted.header and np.array_equal(loaded.values, fitted.values)
    assert loaded.sha256 == fitted.sha256 == hashlib.sha256(content).hexdigest()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["v.safetensors"]


def test_a_file_of_an_earlier_version_keeps_its_digest_when_it_is_saved_again(tmp_path: Path) -> None:
    """Its header has none of the fields that came later."""
    saved = vector()
    text = saved.header.text()
    assert "typical_norms" not in text and json.loads(text) == json.loads(
        VectorHeader(**HEADER).model_dump_json(exclude={"typical_norms", "orthogonal_to", "base"})
    )
    saved.save(tmp_path / "v.safetensors")
    again = load_vector(tmp_path / "v.safetensors")
    again.save(tmp_path / "w.safetensors")
    assert load_vector(tmp_path / "w.safetensors").sha256 == saved.sha256


def test_the_digest_changes_with_values_and_header() -> None:
    digests = {vector().digest, vector(VALUES * 2).digest, vector(concept="other").digest}
    assert len(digests) == 3 and vector().digest in digests


def test_loaded_values_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        vector().values[0, 0] = 1


def test_doses_are_the_vectors_size_relative_to_the_stream() -> None:
    assert vector().norms == pytest.approx([5, 1, 2])
    assert vector().doses(-2.0) == pytest.approx([5, 0.5, 0.5])
    assert vector().doses(2.0, "2-2,5") == pytest.approx([0.5, 0.5])
    assert vector().multiplier_for(0.5, "2,5") == pytest.approx(2)
    assert vector().doses(vector().multiplier_for(0.3)).mean() == pytest.approx(0.3)


def test_a_dose_is_also_told_against_a_norm_that_no_large_feature_dominates() -> None:
    told = vector(typical_norms=(1.0, 0.5, 4.0)).treatment(-4, "2,5")
    assert told.dose == pytest.approx(1.0) and told.typical_dose == pytest.approx((4 / 0.5 + 8 / 4) / 2)
    assert vector().treatment(-4, "2,5").typical_dose is None


def test_what_older_logs_do_not_say_makes_no_other_condition() -> None:
    new = vector(typical_norms=(1.0, 0.5, 4.0)).treatment(-4, "2,5")
    old = type(new).model_validate(new.model_dump(exclude={"typical_dose", "estimator", "tier"}))
    assert old == new and hash(old) == hash(new) and len({old, new}) == 1
    assert new != vector(typical_norms=(1.0, 0.5, 4.0)).treatment(-4, "2,5", "monitored")
    assert new.model_dump()["estimator"] == "regression"


def test_the_recorded_treatment_says_what_was_applied() -> None:
    steer = vector().treatment(-4, "2,5")
    assert (steer.concept, steer.family, steer.source) == ("expectation", "first", "ooc")
    assert (steer.multiplier, steer.layers, steer.digest) == (-4.0, "2,5", vector().digest)
    assert steer.dose == pytest.approx(1.0)


@pytest.mark.parametrize("multiplier", [1e-12, -1e-30, 5e-324])
def test_a_multiplier_that_rounding_takes_away_is_refused_and_zero_is_the_unsteered_model(
    multiplier: float,
) -> None:
    with pytest.raises(TreatmentError, match="nothing would be steered"):
        vector().treatment(multiplier)
    assert vector().treatment(0).dose == 0


@pytest.mark.parametrize("multiplier", [1e300, -1e30])
def test_a_multiplier_beside_which_the_stream_is_lost_is_refused(multiplier: float) -> None:
    with pytest.raises(TreatmentError, match="every reply would be noise"):
        vector().treatment(multiplier)


@pytest.mark.parametrize("multiplier", [float("nan"), float("inf"), "4", None, True])
def test_a_multiplier_that_is_no_number_is_refused(multiplier: Any) -> None:
    with pytest.raises(ConfigError, match="a finite number is needed"):
        vector().treatment(multiplier)


def test_a_model_that_the_vector_does_not_fit_is_refused() -> None:
    assert vector().check_model(d_model=4, n_layers=6) == (1, 2, 5)
    assert vector().check_model(d_model=4, n_layers=3, layers="1-2") == (1, 2)
    with pytest.raises(TreatmentError, match="width 4; this model's width is 8"):
        vector().check_model(d_model=8, n_layers=6)
    with pytest.raises(TreatmentError, match="touch nothing at layers 5: this model's layers are 0-2"):
        vector().check_model(d_model=4, n_layers=3)
    with pytest.raises(TreatmentError, match="no vector for 0,3-4; there are vectors for 1-2,5"):
        vector().check_model(d_model=4, n_layers=6, layers="0-5")


def test_layer_ranges_include_both_ends() -> None:
    held = range(80)
    assert parse_layers("20-40", held) == tuple(range(20, 41))
    assert parse_layers("12", held) == (12,)
    assert parse_layers("all", (4, 2)) == (2, 4)
    assert parse_layers("3, 5,4-6", held) == (3, 4, 5, 6)


@pytest.mark.parametrize(
    "text",
    ["", "a", "1-", "-1", "1.5", "1--2", "40-20", "1,,2", "²", "all,3", "1-9999999"],
)
def test_a_malformed_layer_range_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="layers"):
        parse_layers(text, range(80))


@pytest.mark.parametrize(
    "text",
    ["0-999999", "0-999999," * 100, "0-9999," * 500, "1," * 50_000],
    ids=["one", "many", "wide", "long"],
)
def test_a_range_that_no_model_has_is_refused_before_it_is_spelt_out(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spelt: list[int] = []
    monkeypatch.setattr(
        vector_module, "range", lambda *ends: spelt.append(ends[-1] - ends[0]) or range(*ends), raising=False
    )
    with pytest.raises(ConfigError, match="layers"):
        parse_layers(text, (0, 1))
    assert sum(spelt) <= vector_module.MOST_LAYERS


@given(st.sets(st.integers(0, 90), min_size=1))
def test_any_set_of_layers_is_read_as_it_is_shown(layers: set[int]) -> None:
    assert parse_layers(shown_layers(sorted(layers)), range(91)) == tuple(sorted(layers))


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.mark.parametrize("kind", ["pickle", "npz", "npy"])
def test_files_that_can_run_code_are_refused_unread(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "vector.safetensors"
    with file.open("wb") as out:
        if kind == "pickle":
            pickle.dump(_Bomb(), out)
        elif kind == "npz":  # a zip, as torch.save writes
            np.savez(out, vector=VALUES)
        else:
            np.save(out, np.array([_Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(TreatmentError, match="can run code"):
        load_vector(file)


def test_no_length_of_the_header_is_mistaken_for_the_start_of_a_pickle(tmp_path: Path) -> None:
    # The file begins with that length, and pickles begin with the byte 0x80.
    starts = set()
    for length in range(0, 280, 8):
        saved = vector(revision="r" * length)
        saved.save(tmp_path / "v.safetensors")
        assert load_vector(tmp_path / "v.safetensors").digest == saved.digest
        starts.add((tmp_path / "v.safetensors").read_bytes()[0])
    assert 0x80 in starts


def test_a_missing_safetensors_names_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vector().save(tmp_path / "v.safetensors")
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"inspect-af\[local\]"):
        load_vector(tmp_path / "v.safetensors")


def test_files_that_are_no_vector_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "v.safetensors"
    header = VectorHeader(**HEADER).model_dump_json()

    def saved(array: Any, text: str = header, name: str = "vector") -> Path:
        save_file({name: array}, file, metadata={"inspect_af": text})
        return file

    good = VALUES.astype(np.float32)
    assert load_vector(saved(good)).header.layers == (1, 2, 5)
    broken = good.copy()
    broken[2, 1] = np.nan
    flat = good.copy()
    flat[1] = 0
    for array, text, name, complaint in [
        (broken, header, "vector", "not finite at layer 5"),
        (flat, header, "vector", "zero at layer 2"),
        (good[:2], header, "vector", r"F32 \[2, 4\]; by its header it is F32 \[3, 4\]"),
        (good.astype(np.float64), header, "vector", "is F64"),
        (good, header, "weights", "no array 'vector', only weights"),
        (good, header.replace('"layers"', '"depths"'), "vector", "layers"),
        (good, "{}", "vector", "model: Field required"),
    ]:
        with pytest.raises(TreatmentError, match=complaint):
            load_vector(saved(array, text, name))
    file.write_bytes(b"not a tensor file at all")
    with pytest.raises(TreatmentError, match="not a safetensors file"):
        load_vector(file)
    with pytest.raises(TreatmentError, match="cannot be read"):
        load_vector(tmp_path / "missing.safetensors")
    with pytest.raises(TreatmentError, match="cannot be read"):
        load_vector(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "random"},
        {"fit": RandomFit(seed=0, index=1, matched_to="0" * 16), "source": "random"},
        {"fit": RandomFit(seed=0, index=1, matched_to="0" * 16)},
        {"layers": (2, 1, 5)},
    ],
)
def test_a_header_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"go together|ascend"):
        vector(**changes)


def test_controls_have_the_vectors_norm_at_each_layer_and_no_direction_of_it() -> None:
    rng = np.random.default_rng(0)
    wide = vector(rng.normal(size=(3, 4000)) * [[1], [5], [20]], d_model=4000)
    controls = random_controls(wide, 20, seed=3)
    assert len({control.digest for control in controls}) == 20
    for control in controls:
        assert control.norms == pytest.approx(wide.norms, rel=1e-5)
        assert max(map(abs, wide.cosines(control).values())) < 0.08
        layers = control.values.astype(float) / control.norms[:, None]
        assert np.abs(layers @ layers.T - np.eye(3)).max() < 0.08
    third = controls[2].header
    assert third.fit == RandomFit(seed=3, index=3, matched_to=wide.digest)
    assert (third.concept, third.family, third.source) == ("random-expectation-3", None, "random")
    turned = make_vector(wide.header.model_copy(update={"orthogonal_to": "0" * 16}), wide.values)
    assert random_controls(turned, 1, seed=3)[0].header.orthogonal_to is None
    assert controls[0].treatment(2.0).dose == pytest.approx(wide.treatment(2.0).dose)


def test_controls_are_reproduced_by_seed_and_a_longer_series_begins_with_the_shorter() -> None:
    few, many = random_controls(vector(), 2, seed=3), random_controls(vector(), 5, seed=3)
    assert [control.sha256 for control in few] == [control.sha256 for control in many[:2]]
    assert random_controls(vector(), 1, seed=4)[0].sha256 != few[0].sha256
    other = random_controls(vector(concept="consequence", family="second"), 1, seed=3)[0]
    assert not np.allclose(other.values, few[0].values)


def test_controls_go_through_the_same_validation_and_keep_it(tmp_path: Path, plant: Plant) -> None:
    activations = plant((14.0,), d_model=2048).activations
    fitted = fit_vectors(activations, family="first")["regression"]
    controls = random_controls(fitted, 12, seed=0)
    found = validate_vectors((fitted, *controls), activations)
    own, *others = (
        next(scores.projection.auroc for scores in validation.layers[0].splits if scores.split == "held-out")
        for validation in found
    )
    assert own > 0.99 and max(others) < 0.95 and min(others) < 0.5
    validated = with_validation(controls[0], found[1])
    validated.save(tmp_path / "c.safetensors")
    assert load_vector(tmp_path / "c.safetensors").header.validation == found[1]


def test_a_control_of_a_control_is_refused() -> None:
    control = random_controls(vector(), 1, seed=0)[0]
    with pytest.raises(ConfigError, match="is a random control itself"):
        random_controls(control, 1, seed=0)
    with pytest.raises(ConfigError, match="at least one"):
        random_controls(vector(), 0, seed=0)


def test_cosines_are_compared_at_shared_layers_only() -> None:
    turned = vector(VALUES[1:] * [[1], [-3]], layers=(2, 5), mean_norms=(1.0, 1.0))
    assert vector().cosines(turned) == pytest.approx({2: 1, 5: -1})
    with pytest.raises(InspectAFError, match=r"widths \[2, 4\]"):
        steering_report({"a": vector(), "b": vector(VALUES[:, 1:3] + 1, d_model=2)})


def test_a_control_vector_for_llama_cpp_has_each_layers_direction_under_its_number(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    whole = vector()
    whole.save_gguf(tmp_path / "deep" / "v.gguf", "1-2")
    read = gguf.GGUFReader(tmp_path / "deep" / "v.gguf")
    assert read.get_field("general.architecture").contents() == "controlvector"
    assert read.get_field("controlvector.layer_count").contents() == 2
    assert read.get_field("controlvector.model_hint").contents() == "tiny/llama"
    found = {tensor.name: tensor for tensor in read.tensors}
    assert set(found) == {"direction.1", "direction.2"}
    for layer in (1, 2):
        data = found[f"direction.{layer}"].data
        assert data.dtype == np.float32 and np.array_equal(data, whole.at(layer))
    with pytest.raises(ConfigError, match="have layer 0"):
        vector(layers=(0, 2, 5)).save_gguf(tmp_path / "no.gguf")
    with pytest.raises(TreatmentError, match="3"):
        whole.save_gguf(tmp_path / "no.gguf", "3")
    assert not (tmp_path / "no.gguf").exists()


def test_a_missing_gguf_names_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtraError, match=r"inspect-af\[gguf\]"):
        vector().save_gguf(tmp_path / "v.gguf")
