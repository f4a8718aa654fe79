"""`inspect-af steering`: from a file of activations to vectors, controls and tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inspect_af.cli import app
from inspect_af.errors import ConfigError
from inspect_af.steering.activations import ActivationsHeader, write_activations
from inspect_af.steering.fit import SteeringReport
from inspect_af.steering.vector import load_vector


def run(*argv: object) -> int:
    return int(app.main(["steering", *map(str, argv)], standalone_mode=False) or 0)


def activations(path: Path, concept: str = "expectation", strength: float = 1.0) -> Path:
    rng = np.random.default_rng(sum(map(ord, concept)))
    n_pairs, d_model, layers = 60, 64, (2, 3)
    direction = rng.choice([-1.0, 1.0], size=d_model) * strength
    noise = rng.normal(size=(2, len(layers), n_pairs, d_model)).astype(np.float32)
    noise[0] += np.array([0.3, 1.0])[:, None, None] * direction
    header = ActivationsHeader(
        model="tiny/llama",
        d_model=d_model,
        layers=layers,
        locus="response_mean",
        concept=concept,
        source="ooc",
        pairs_digest="0" * 16,
        pair_ids=tuple(map(str, range(n_pairs))),
        groups=tuple(map(str, range(n_pairs))),
        splits=("train",) * 40 + ("held-out",) * 20,
        mean_norms=(8.0, 9.0),
    )
    return write_activations(path, header, noise[0], noise[1]).path


def test_fit_writes_vector_baseline_and_report_and_marks_the_best_layers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "vectors" / "expectation.safetensors"
    assert run("fit", activations(tmp_path / "a"), "--out", out, "--c", 0.5, "--estimator", "regression") == 0
    vector = load_vector(out)
    assert vector.header.family == "first" and vector.header.fit.model_dump()["c"] == 0.5
    other = load_vector(out.with_suffix(".mean-difference.safetensors"))
    assert other.header.fit.method == "mean-difference"
    report = SteeringReport.model_validate_json(out.with_suffix(".report.json").read_text())
    assert [curves.best_layers for curves in report.vectors] == [(3, 2)] * 3
    assert report.cosines[0].cosine[1] > 0.8
    printed = capsys.readouterr().out
    assert "40 train, 20 held-out" in printed and "best by cross-validation: 3, 2" in printed
    assert "cosine similarity" in printed and f"vector {vector.digest}" in printed


def test_validate_shows_what_a_vector_carries_or_measures_it_on_other_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    own, other = activations(tmp_path / "a"), activations(tmp_path / "b", "consequence")
    run("fit", own, "--out", first)
    run("fit", other, "--out", second)
    capsys.readouterr()
    assert run("validate", first, second) == 0
    assert "best by cross-validation" in capsys.readouterr().out
    assert run("validate", first, second, "--activations", other, "--json", tmp_path / "r.json") == 0
    printed = capsys.readouterr().out
    assert "consequence pairs (ooc, response_mean)" in printed and "first . second" in printed
    auroc = {
        curves["name"]: curves["validation"]["layers"][1]["splits"][1]["projection"]["auroc"]
        for curves in json.loads((tmp_path / "r.json").read_text())["vectors"]
    }
    assert auroc["second"] > 0.95 and auroc["first"] < 0.8


def test_controls_are_written_with_their_validation_and_compared_with_the_vector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = activations(tmp_path / "a"), tmp_path / "v.safetensors"
    run("fit", data, "--out", out)
    capsys.readouterr()
    assert run("controls", out, "--out", tmp_path / "c", "--n", 5, "--activations", data) == 0
    printed = capsys.readouterr().out
    assert "AUROC on held-out pairs" in printed and "5 controls in" in printed
    files = sorted((tmp_path / "c").iterdir())
    assert [file.name for file in files] == [f"v.random-00{i}.safetensors" for i in range(1, 6)]
    control = load_vector(files[4])
    assert control.header.validation is not None
    assert control.header.fit.model_dump()["matched_to"] == load_vector(out).digest


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--out", "v.pt"], "a .safetensors file"),
        (["--out", "v.safetensors", "--c", "0"], "C must be positive"),
        (["--out", "v.safetensors", "--folds", "1"], "folds 2 or more"),
        (["--out", "v.safetensors", "--seed", "-1"], "--seed must be at least 0, not -1"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, argv: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        run("fit", activations(tmp_path / "a"), *argv)


def test_the_mean_difference_is_the_default_and_the_other_estimators_stand_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "v.safetensors"
    assert run("fit", activations(tmp_path / "a"), "--out", out) == 0
    named = {name: out.with_suffix(f".{name}.safetensors") for name in ("regression", "logistic")}
    found = {name: load_vector(path) for name, path in {"mean-difference": out, **named}.items()}
    assert {name: vector.header.estimator for name, vector in found.items()} == {name: name for name in found}
    assert {vector.treatment(1).estimator for vector in found.values()} == set(found)


def test_a_concept_that_no_pair_names_is_fitted_without_a_family(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "v.safetensors"
    assert run("fit", activations(tmp_path / "a", "patience"), "--out", out) == 0
    vector = load_vector(out)
    assert (vector.header.concept, vector.header.family, vector.header.source) == ("patience", None, "ooc")
    shown = capsys.readouterr().out
    assert "patience is neither expectation nor consequence" in shown and "profiles refuse it" in shown
