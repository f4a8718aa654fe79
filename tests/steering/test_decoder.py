"""Decoder layers are found in any architecture by what they are."""

from __future__ import annotations

from typing import Any

import pytest
from tests.steering.tiny_models import tiny_llama

from inspect_af.errors import TreatmentError
from inspect_af.steering.model import d_model, decoder, decoder_layers, residual, with_residual

pytestmark = pytest.mark.local

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 40,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LlamaConfig", SMALL),
        ("Qwen2Config", SMALL),
        ("Qwen3Config", SMALL | {"head_dim": 8}),
        ("MistralConfig", SMALL),
        ("MixtralConfig", SMALL | {"num_local_experts": 3}),
        ("Gemma2Config", SMALL | {"head_dim": 8}),
        ("GPTNeoXConfig", SMALL),
        ("BloomConfig", SMALL),
        ("OPTConfig", SMALL | {"ffn_dim": 24, "word_embed_proj_dim": 16}),
        ("GPT2Config", {"n_embd": 16, "n_layer": 3, "n_head": 2, "vocab_size": 40, "eos_token_id": 2}),
    ],
)
def test_layers_run_in_order_and_give_the_residual_stream(name: str, options: dict[str, Any]) -> None:
    import torch
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**options)).eval()
    seen: list[tuple[int, torch.Tensor]] = []
    layers = decoder_layers(model)
    for at, layer in enumerate(layers):
        layer.register_forward_hook(lambda _m, _a, out, at=at: seen.append((at, residual(out))))
    ids = torch.arange(3, 13).view(2, 5)
    with torch.no_grad():
        hidden = model(ids, output_hidden_states=True).hidden_states
        seen.clear()
        decoder(model)(input_ids=ids)
    assert [at for at, _ in seen] == [0, 1, 2]
    assert d_model(model) == 16
    for at in (0, 1):  # the last one is normalised by transformers
        assert torch.equal(seen[at][1], hidden[at + 1])


def test_a_peft_wrapper_is_looked_through() -> None:
    from peft import LoraConfig, get_peft_model

    model = tiny_llama()
    layers = list(decoder_layers(model))
    wrapped: Any = get_peft_model(model, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"))
    assert list(decoder_layers(wrapped)) == layers
    assert d_model(wrapped) == 32
    assert decoder(wrapped) is model.model


def test_a_model_without_one_such_list_is_an_error_that_shows_what_was_found() -> None:
    model = tiny_llama()
    model.config.num_hidden_layers = 5
    with pytest.raises(TreatmentError, match=r"5 decoder layers: none.*model\.layers \(3\)"):
        decoder_layers(model)


def test_the_residual_stream_is_the_first_of_a_tuple_and_can_be_put_back() -> None:
    import torch

    stream, other = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    assert residual((stream, "cache")) is stream
    assert with_residual((stream, "cache"), other) == (other, "cache")
    assert with_residual(stream, other) is other
    with pytest.raises(TreatmentError, match="2 axes"):
        residual(torch.zeros(2, 3))
    with pytest.raises(TreatmentError, match="NoneType"):
        residual(None)
