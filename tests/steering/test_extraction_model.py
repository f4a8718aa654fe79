"""Loading a model for extraction: its attention is the one that the model was trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.local

from tests.local_models import save_model  # noqa: E402

from inspect_af.steering.model import decoder, load_model  # noqa: E402

CAPPED: dict[str, Any] = {"attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 12, "sliding_window": 8}


def stream(model: Any) -> Any:
    ids = torch.randint(0, 512, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return decoder(model)(input_ids=ids).last_hidden_state


def test_capped_attention_logits_are_capped_and_the_cap_is_seen(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = save_model(tmp_path, kind="gemma2", **CAPPED)
    loaded = load_model(str(folder)).model
    assert loaded.config._attn_implementation == "eager"
    reference = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    expected = stream(reference)
    torch.testing.assert_close(stream(loaded), expected)
    for layer in reference.model.layers:
        layer.self_attn.attn_logit_softcapping = None
    assert (stream(reference) - expected).abs().max() > 1e-2


@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_without_a_cap_the_choice_is_that_of_transformers(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = save_model(tmp_path, kind=kind)
    chosen = AutoModelForCausalLM.from_pretrained(folder).config._attn_implementation
    assert load_model(str(folder)).model.config._attn_implementation == chosen
