"""Extraction against a slow reference that keeps every token; interruption; errors."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from tests.steering.tiny_models import CHATML, TRIMMING, tea_pairs, tiny_llama, tiny_tokenizer

from inspect_af.cli import main
from inspect_af.errors import ConfigError, MaterialsError, TreatmentError
from inspect_af.steering.activations import extract_activations, load_activations, locate, plan_batches
from inspect_af.steering.pairs import pair_set, write_pairs

pytestmark = pytest.mark.local


def reference(model: Any, tokenizer: Any, transcript: Any, locus: Any) -> tuple[np.ndarray, np.ndarray]:
    """One transcript alone, every token kept: means [layer, d_model] and norms [layer, token]."""
    import torch

    bare = copy.deepcopy(model)
    bare.model.norm = torch.nn.Identity()  # transformers gives the last state after the final norm
    found = locate(tokenizer, transcript, locus)
    with torch.no_grad():
        states = bare(torch.tensor([found.ids]), output_hidden_states=True).hidden_states[1:]
    means, norms = [], []
    for state in states:
        tokens = [state[0, at].double().numpy() for at in range(found.start, found.end)]
        means.append(sum(tokens) / len(tokens))
        norms.append([float(np.sqrt((token**2).sum())) for token in tokens])
    return np.stack(means), np.array(norms)


@pytest.mark.parametrize("locus", ["response_mean", "span"])
@pytest.mark.parametrize(("template", "words"), [(CHATML, True), (TRIMMING, False)])
def test_pooled_activations_are_the_means_of_single_tokens(
    tmp_path: Path, locus: Any, template: str, words: bool
) -> None:
    model, tokenizer, pairs = tiny_llama(), tiny_tokenizer(template, words=words), tea_pairs()
    found = extract_activations(
        model, tokenizer, pairs, out=tmp_path / "a.safetensors", locus=locus, max_batch_tokens=700
    )
    assert found.header.layers == (0, 1, 2)
    assert found.header.splits == ("train",) * 7 + ("held-out",) * 2
    all_norms: list[np.ndarray] = []
    for at, pair in enumerate(pairs.pairs):
        for name, transcript in (("positive", pair.positive), ("negative", pair.negative)):
            means, norms = reference(model, tokenizer, transcript, locus)
            all_norms.append(norms)
            for layer in range(3):
                got = getattr(found.layer(layer), name)[at]
                assert np.allclose(got, means[layer], rtol=1e-4, atol=1e-5)
    assert np.allclose(found.header.mean_norms, np.concatenate(all_norms, axis=1).mean(axis=1), rtol=1e-5)


def test_a_selection_of_layers_gives_the_same_rows_and_runs_no_layer_behind_it(tmp_path: Path) -> None:
    model, tokenizer, pairs = tiny_llama(n_layers=4), tiny_tokenizer(), tea_pairs(4)
    everything = extract_activations(model, tokenizer, pairs, out=tmp_path / "all.safetensors")
    ran: list[int] = []
    for at, layer in enumerate(model.model.layers):
        layer.register_forward_hook(lambda *_, at=at: ran.append(at))
    some = extract_activations(model, tokenizer, pairs, out=tmp_path / "some.safetensors", layers="0,2")
    assert set(ran) == {0, 1, 2}
    assert np.array_equal(some.layer(2).positive, everything.layer(2).positive)
    assert some.header.mean_norms == (everything.header.mean_norms[0], everything.header.mean_norms[2])


def test_hooks_are_gone_afterwards_also_after_an_error(tmp_path: Path) -> None:
    model, tokenizer, pairs = tiny_llama(), tiny_tokenizer(), tea_pairs(2)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_activations(model, tokenizer, pairs, out=tmp_path / "a.safetensors", progress=stop)
    extract_activations(model, tokenizer, pairs, out=tmp_path / "b.safetensors")
    assert not any(layer._forward_hooks for layer in model.model.layers)


def test_an_interrupted_extraction_goes_on_without_doing_anything_twice(tmp_path: Path) -> None:
    tokenizer, pairs = tiny_tokenizer(), tea_pairs()
    out, whole = tmp_path / "a.safetensors", tmp_path / "whole.safetensors"
    options: dict[str, Any] = {"max_batch_tokens": 300}
    extract_activations(tiny_llama(), tokenizer, pairs, out=whole, **options)

    def stop(done: int, total: int) -> None:
        if done >= 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_activations(tiny_llama(), tokenizer, pairs, out=out, progress=stop, **options)
    assert not out.exists()
    partial = tmp_path / "a.safetensors.partial"
    counts = np.memmap(partial / "tokens.i64", dtype=np.int64, mode="r+")
    counts[np.flatnonzero(counts)[0]] = 0  # killed before it was noted
    counts.flush()
    model = tiny_llama()
    rows = 0

    def count(_module: Any, _args: Any, out: Any) -> None:
        nonlocal rows
        rows += (out[0] if isinstance(out, tuple) else out).shape[0]

    model.model.layers[0].register_forward_hook(count)
    steps: list[int] = []
    extract_activations(
        model, tokenizer, pairs, out=out, progress=lambda done, total: steps.append(done), **options
    )
    assert steps[0] >= 6
    assert rows == 18 - steps[0]
    assert out.read_bytes() == whole.read_bytes()
    assert not partial.exists()

    before = rows
    again = extract_activations(model, tokenizer, pairs, out=out, **options)
    assert rows == before  # it was there
    assert again.header == load_activations(whole).header


def test_another_model_neither_goes_on_nor_takes_the_file_for_its_own(tmp_path: Path) -> None:
    tokenizer, pairs, out = tiny_tokenizer(), tea_pairs(3), tmp_path / "a.safetensors"

    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_activations(
            tiny_llama(), tokenizer, pairs, out=out, max_batch_tokens=100, progress=stop, name="llama"
        )
    retrained = tiny_llama(seed=1)
    with pytest.raises(ConfigError, match="another model"):
        extract_activations(retrained, tokenizer, pairs, out=out, name="llama")
    first = extract_activations(tiny_llama(), tokenizer, pairs, out=out, name="llama").layer(0).positive
    second = extract_activations(retrained, tokenizer, pairs, out=out, name="llama").layer(0).positive
    assert not np.allclose(first, second, atol=1e-2)


def test_half_precision_is_accumulated_in_float32(tmp_path: Path) -> None:
    import torch

    model, tokenizer, pairs = tiny_llama().to(torch.bfloat16), tiny_tokenizer(), tea_pairs(4)
    found = extract_activations(model, tokenizer, pairs, out=tmp_path / "a.safetensors")
    # bfloat16 keeps 8 bits: a mean that went through it would be on its grid.
    rounded = torch.from_numpy(found.layer(1).positive.copy()).to(torch.bfloat16).float().numpy()
    assert (rounded != found.layer(1).positive).mean() > 0.9
    exact = [reference(model, tokenizer, pair.positive, "response_mean")[0][1] for pair in pairs.pairs]
    relative = np.abs(found.layer(1).positive - np.stack(exact)).max() / np.abs(exact).max()
    assert relative < 0.03  # rows of a batch round differently from rows alone


def test_the_file_is_what_safetensors_would_write(tmp_path: Path) -> None:
    found = extract_activations(tiny_llama(), tiny_tokenizer(), tea_pairs(3), out=tmp_path / "a.safetensors")
    arrays = {name: np.stack([getattr(layer, name) for layer in found]) for name in ("positive", "negative")}
    written = safetensors.numpy.save(arrays, metadata={"inspect_af": found.header.model_dump_json()})
    assert found.path.read_bytes() == written


def test_values_that_are_not_finite_name_the_pair_and_the_layer(tmp_path: Path) -> None:
    import torch

    model = tiny_llama()
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.fill_(float("inf"))
    with pytest.raises(MaterialsError, match=r"pair 'tea-\d', \w+: values after layer 1 .* wider dtype"):
        extract_activations(model, tiny_tokenizer(), tea_pairs(2), out=tmp_path / "a.safetensors")


def test_errors_name_the_pair(tmp_path: Path) -> None:
    model, tokenizer, pairs = tiny_llama(), tiny_tokenizer(), tea_pairs(3)
    out = tmp_path / "a.safetensors"
    unannotated = [
        pair.model_copy(
            update={
                "positive": pair.positive.model_copy(update={"sentence": None}),
                "negative": pair.negative.model_copy(update={"sentence": None}),
            }
        )
        for pair in pairs.pairs
    ]
    with pytest.raises(MaterialsError, match="'tea-0', positive: no sentence is annotated"):
        extract_activations(model, tokenizer, pair_set(unannotated), out=out, locus="span")
    model.config.max_position_embeddings = 60
    with pytest.raises(MaterialsError, match=r"'tea-\d', \w+: \d+ tokens, .* context holds 60"):
        extract_activations(model, tokenizer, pairs, out=out)
    with pytest.raises(TreatmentError, match="layers '3': the layers of this model are 0-2"):
        extract_activations(model, tokenizer, pairs, out=out, layers="3")


def test_batches_hold_the_budget_and_every_row_once() -> None:
    rng = np.random.default_rng(0)
    lengths = [int(n) for n in rng.integers(1, 90, size=200)] + [500]
    batches = plan_batches(lengths, 256)
    assert sorted(at for batch in batches for at in batch) == list(range(201))
    assert batches[0] == [200]
    assert all(len(batch) * max(lengths[at] for at in batch) <= 256 for batch in batches[1:])
    padded = sum(len(batch) * max(lengths[at] for at in batch) for batch in batches)
    assert padded < 1.05 * sum(lengths)


def test_a_row_past_the_first_context_does_not_change_how_its_neighbours_positions_are_rotated(
    tmp_path: Path,
) -> None:
    # longrope takes the factors of the batch's longest row for all of its rows.
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM

    torch.manual_seed(0)
    original = 125
    model = Phi3ForCausalLM(
        Phi3Config(
            vocab_size=420,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            original_max_position_embeddings=original,
            initializer_range=0.2,
            pad_token_id=0,
            rope_parameters={
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0] * 4,
                "long_factor": [4.0] * 4,
                "original_max_position_embeddings": original,
            },
        )
    ).eval()
    tokenizer, pairs = tiny_tokenizer(), tea_pairs()
    lengths = {
        len(locate(tokenizer, side, "response_mean").ids)
        for pair in pairs.pairs
        for side in (pair.positive, pair.negative)
    }
    assert min(lengths) <= original < max(lengths)
    found = extract_activations(
        model, tokenizer, pairs, out=tmp_path / "a.safetensors", max_batch_tokens=100_000
    )
    for at, pair in enumerate(pairs.pairs):
        alone, _ = reference(model, tokenizer, pair.positive, "response_mean")
        for layer in range(3):
            assert np.allclose(found.layer(layer).positive[at], alone[layer], rtol=1e-3, atol=1e-4)


def test_the_command_reads_a_saved_model_and_writes_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, tokenizer, pairs = tiny_llama(), tiny_tokenizer(), tea_pairs(3)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    write_pairs(tmp_path / "pairs.jsonl", pairs.pairs)
    command = ["steering", "activations", str(tmp_path / "pairs.jsonl"), "--model", str(tmp_path / "model")]
    assert main([*command, "--out", str(tmp_path / "a.safetensors"), "--layers", "1-2"]) == 0
    assert "3 pairs x 2 layers x 32" in capsys.readouterr().out
    direct = extract_activations(model, tokenizer, pairs, out=tmp_path / "b.safetensors", layers="1-2")
    written = load_activations(tmp_path / "a.safetensors")
    assert np.array_equal(written.layer(2).negative, direct.layer(2).negative)
    assert main([*command, "--out", str(tmp_path / "a.bin")]) == 1
    assert main([*command[:-1], str(tmp_path / "none"), "--out", str(tmp_path / "c.safetensors")]) == 1
    assert "cannot be loaded" in capsys.readouterr().err


def test_the_command_merges_adapters_of_this_model_and_refuses_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("peft")
    import torch
    from safetensors.torch import load_file
    from tests.local_models import save_adapter, save_model

    base = save_model(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter")
    write_pairs(tmp_path / "pairs.jsonl", tea_pairs(2).pairs)
    command = ["steering", "activations", str(tmp_path / "pairs.jsonl"), "--model", str(base)]

    def run(name: str, *adapters: Path) -> int:
        options = [word for one in adapters for word in ("--adapter", str(one))]
        return main([*command, "--out", str(tmp_path / name), *options])

    assert run("plain.safetensors") == run("merged.safetensors", adapter) == 0
    plain, merged = (load_activations(tmp_path / f"{name}.safetensors") for name in ("plain", "merged"))
    assert not np.allclose(plain.layer(2).positive, merged.layer(2).positive)
    other = save_adapter(save_model(tmp_path / "other", num_hidden_layers=4), tmp_path / "deep")
    capsys.readouterr()
    assert run("other.safetensors", other) == 1
    assert "it has weights for layer 3" in capsys.readouterr().err
    weights = load_file(adapter / "adapter_model.safetensors")
    torch.save(weights, adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    assert run("pickled.safetensors", adapter) == 1
    assert "adapter_model" in capsys.readouterr().err
