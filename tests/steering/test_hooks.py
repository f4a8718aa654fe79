"""Steering hooks on a real transformer: what is added, where, and that nothing stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.local

from tests.local_models import save_model, save_vector  # noqa: E402

from inspect_af.errors import ConfigError, TreatmentError  # noqa: E402
from inspect_af.steering.model import additions, decoder_layers, residual, steering  # noqa: E402
from inspect_af.steering.vector import load_vector  # noqa: E402

TOKENS = [[5, 80, 33, 200, 17, 9, 400, 61]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(save_model(tmp_path_factory.mktemp("hooks")))


@pytest.fixture
def vector(tmp_path: Path) -> Any:
    return load_vector(save_vector(tmp_path / "v.safetensors"))


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model(torch.tensor(TOKENS)).logits


def hooks(model: Any) -> int:
    return sum(len(layer._forward_hooks) for layer in decoder_layers(model))


def test_a_multiplier_of_zero_leaves_every_bit_of_the_logits(model: Any, vector: Any) -> None:
    plain = logits(model)
    with steering(model, additions(vector, 0.0, "all", model)):
        assert torch.equal(logits(model), plain)
    with steering(model, additions(vector, 0.5, "all", model)):
        assert not torch.allclose(logits(model), plain, atol=0.1)


def test_a_multiplier_and_its_opposite_cancel(model: Any, vector: Any) -> None:
    plain = logits(model)
    with (
        steering(model, additions(vector, 3.0, "0-1", model)),
        steering(model, additions(vector, -3.0, "0-1", model)),
    ):
        torch.testing.assert_close(logits(model), plain, atol=1e-4, rtol=1e-4)


def test_exactly_the_scaled_vector_is_added_at_every_token_of_the_selected_layer(
    model: Any, vector: Any
) -> None:
    before: list[Any] = []
    after: list[Any] = []
    layer = decoder_layers(model)[1]
    first = layer.register_forward_hook(lambda *a: before.append(residual(a[2]).clone()))
    try:
        with steering(model, additions(vector, -1.5, "1", model)):
            last = layer.register_forward_hook(lambda *a: after.append(residual(a[2]).clone()))
            try:
                logits(model)
            finally:
                last.remove()
    finally:
        first.remove()
    expected = np.broadcast_to(-1.5 * vector.at(1), (1, len(TOKENS[0]), 48))
    np.testing.assert_allclose((after[0] - before[0]).numpy(), expected, atol=1e-5)


def test_hooks_are_gone_afterwards_also_after_an_error(model: Any, vector: Any) -> None:
    plain = logits(model)
    with steering(model, additions(vector, 1.0, "all", model)):
        assert hooks(model) == 3
    assert hooks(model) == 0
    with pytest.raises(KeyError), steering(model, additions(vector, 1.0, "all", model)):
        raise KeyError
    assert hooks(model) == 0
    assert torch.equal(logits(model), plain)


def test_what_would_touch_nothing_or_not_fit_raises_and_leaves_no_hook(model: Any) -> None:
    width = torch.zeros(48)
    for wrong, message in (
        ({}, "touch nothing"),
        ({1: width, 3: width}, "layers are 0-2"),
        ({-1: width}, "layers are 0-2"),
        ({0: width, 1: torch.zeros(47)}, r"this model's is \(48,\)"),
    ):
        with pytest.raises(TreatmentError, match=message), steering(model, wrong):
            pytest.fail("the context was entered")
        assert hooks(model) == 0


def test_a_vector_of_another_model_is_refused(model: Any, tmp_path: Path) -> None:
    wide = load_vector(save_vector(tmp_path / "wide.safetensors", d_model=64))
    with pytest.raises(TreatmentError, match="width 64"):
        additions(wide, 1.0, "all", model)
    deep = load_vector(save_vector(tmp_path / "deep.safetensors", layers=(1, 2, 5)))
    with pytest.raises(TreatmentError, match="layers 5"):
        additions(deep, 1.0, "all", model)
    assert set(additions(deep, 1.0, "1-2", model)) == {1, 2}
    with pytest.raises(ConfigError, match="finite number"):
        additions(deep, float("nan"), "1", model)
