"""The file between extraction and fitting: read layer by layer, refused where it does not fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.steering.conftest import Plant

from inspect_af.errors import AnalysisError, ConfigError, MaterialsError
from inspect_af.steering.activations import ActivationsHeader, load_activations, write_activations


def test_layers_come_back_by_their_index_in_the_model(plant: Plant) -> None:
    planted = plant((3.0, 2.0, 1.0), layers=(4, 7, 9))
    loaded = load_activations(planted.activations.path)
    assert loaded.header == planted.activations.header
    assert [layer.layer for layer in loaded] == [4, 7, 9]
    assert np.array_equal(loaded.layer(7).positive, planted.positive[1])
    rows = loaded.header.rows("held-out")
    difference = planted.positive[2] - planted.negative[2]
    assert np.allclose(loaded.layer(9).differences(rows), difference[rows], atol=1e-5)
    with pytest.raises(ConfigError, match="no layer 5; it holds 4, 7, 9"):
        loaded.layer(5)


def test_reading_one_layer_leaves_the_others_on_disk(plant: Plant, tmp_path: Path) -> None:
    planted = plant((1.0,) * 40, n_pairs=200, d_model=1024)  # 33 MB a side
    code = (
        "import resource, sys; from inspect_af.steering.activations import load_activations\n"
        "a = load_activations(sys.argv[1]); a.layer(0)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for layer in a: layer.positive.sum()\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)"
    )
    path = str(planted.activations.path)
    grown = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert planted.activations.path.stat().st_size > 60 << 20
    assert float(grown.stdout) < 20


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"layers": (3, 2)}, "ascend"),
        ({"layers": (-1, 2)}, "ascend"),
        ({"mean_norms": (1.0,)}, "every layer"),
        ({"mean_norms": (1.0, 0.0)}, "positive number"),
        ({"groups": ("a",)}, "every pair has one"),
        ({"pair_ids": ("a", "a", "b")}, "repeat"),
    ],
)
def test_a_header_whose_axes_disagree_is_refused(changes: dict[str, object], complaint: str) -> None:
    good = {
        "model": "m",
        "d_model": 4,
        "layers": (0, 1),
        "locus": "span",
        "concept": "expectation",
        "source": "ic",
        "pairs_digest": "0" * 16,
        "pair_ids": ("a", "b", "c"),
        "groups": ("x", "y", "z"),
        "splits": ("train", "train", "held-out"),
        "mean_norms": (1.0, 2.0),
    }
    assert ActivationsHeader.model_validate(good).shape == (2, 3, 4)
    with pytest.raises(ValueError, match=complaint):
        ActivationsHeader.model_validate({**good, **changes})


def test_values_that_are_not_finite_are_refused_with_their_place(plant: Plant, tmp_path: Path) -> None:
    planted = plant((1.0, 1.0))
    header, broken = planted.activations.header, planted.positive.astype(np.float32)
    broken[1, 5, 0] = np.nan
    with pytest.raises(AnalysisError, match="not finite"):
        write_activations(tmp_path / "no.safetensors", header, broken, broken)
    file = tmp_path / "foreign.safetensors"
    sides = {"positive": broken, "negative": np.ascontiguousarray(planted.negative.astype(np.float32))}
    save_file(sides, file, metadata={"inspect_af": header.model_dump_json()})
    loaded = load_activations(file)
    assert loaded.layer(0).layer == 0
    with pytest.raises(MaterialsError, match=r"positive .* layer 1, first in pair 'pair-5'"):
        loaded.layer(1)


def test_files_that_do_not_fit_are_refused(plant: Plant, tmp_path: Path) -> None:
    planted = plant((1.0,))
    header = planted.activations.header
    with pytest.raises(AnalysisError, match="by the header"):
        write_activations(tmp_path / "no", header, planted.positive[:, :3], planted.negative[:, :3])  # type: ignore[arg-type]
    file = tmp_path / "odd.safetensors"
    half = planted.positive.astype(np.float16)
    save_file({"positive": half, "negative": half}, file, metadata={"inspect_af": header.model_dump_json()})
    with pytest.raises(MaterialsError, match=r"positive is F16"):
        load_activations(file)
    save_file({"positive": half}, file)
    with pytest.raises(MaterialsError, match="no inspect_af header"):
        load_activations(file)
    file.write_bytes(planted.activations.path.read_bytes()[:-1000])
    with pytest.raises(MaterialsError, match="not a safetensors file"):
        load_activations(file)
