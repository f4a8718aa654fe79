"""The roomy cache holds what transformers' own holds."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.local
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("room", [0, 3, 50])
def test_it_gives_the_logits_of_the_dynamic_cache_while_rows_are_dropped(room: int) -> None:
    from inspect_af.organisms._tiny_cache import roomy_cache

    config = transformers.LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    tokens = torch.randint(0, 40, (4, 20))
    caches = [transformers.DynamicCache(config=config), roomy_cache(2, room)]
    with torch.inference_mode():
        for start, end in ((0, 7), (7, 8), (8, 9), (9, 13), (13, 14)):
            ours, theirs = (
                model(tokens[:, start:end], past_key_values=cache, use_cache=True).logits for cache in caches
            )
            assert torch.equal(ours, theirs)
            assert caches[0].get_seq_length() == caches[1].get_seq_length() == end
            if end == 9:
                kept = torch.tensor([0, 2, 3])
                tokens = tokens[kept]
                for cache in caches:
                    cache.batch_select_indices(kept)
