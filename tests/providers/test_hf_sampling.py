"""Drawing tokens: against transformers' own filters, and against the distribution that is meant."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.local

from inspect_af.providers.hf_sampling import Sampling, Uniforms, _filtered, choose  # noqa: E402


def some_logits(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor(2 * np.random.default_rng(seed).normal(size=(rows, 50)), dtype=torch.float32)


def test_a_temperature_of_zero_takes_the_likeliest_token_and_uses_no_random_number() -> None:
    logits, numbers = some_logits(4), [Uniforms(1) for _ in range(4)]
    assert choose(logits, [Sampling(0.0)] * 4, numbers).tokens == logits.argmax(-1).tolist()
    assert numbers[0].next() == Uniforms(1).next()


@pytest.mark.parametrize(("top_k", "top_p"), [(5, 1.0), (0, 0.7), (8, 0.5), (1, 1.0), (0, 0.01), (500, 0.9)])
def test_the_tokens_left_by_top_k_and_top_p_are_those_of_transformers(top_k: int, top_p: float) -> None:
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    logits = some_logits(20)
    expected = logits
    if top_k:
        expected = TopKLogitsWarper(min(top_k, 50))(None, expected)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(None, expected)
    got = _filtered(logits, [Sampling(top_k=top_k, top_p=top_p)] * 20)
    assert torch.equal(got.isinf(), expected.isinf())
    assert torch.equal(got[~got.isinf()], logits[~got.isinf()])


def test_rows_with_different_settings_are_filtered_each_by_its_own() -> None:
    logits = some_logits(3)
    rows = [Sampling(top_k=3), Sampling(), Sampling(top_p=0.3)]
    together = _filtered(logits, rows)
    for i, row in enumerate(rows):
        assert torch.equal(together[i], _filtered(logits[i : i + 1], [row])[0])
    assert (~together[0].isinf()).sum() == 3 and not together[1].isinf().any()


def test_draws_have_the_frequencies_of_the_tempered_distribution() -> None:
    logits = torch.tensor([[1.0, 0.0, 2.0, -1.0]])
    draws = 20_000
    numbers = [Uniforms(seed) for seed in range(draws)]
    tokens = choose(logits.expand(draws, 4), [Sampling(temperature=0.5)] * draws, numbers).tokens
    expected = torch.softmax(logits[0] / 0.5, -1).numpy()
    np.testing.assert_allclose(np.bincount(tokens, minlength=4) / draws, expected, atol=0.015)


def test_numbers_depend_on_seed_and_choice_alone() -> None:
    def first(*seed: int) -> list[float]:
        numbers = Uniforms(*seed)
        return [numbers.next() for _ in range(3)]

    assert first(1) == first(1)
    assert len({tuple(first(1)), tuple(first(2)), tuple(first(1, 1)), tuple(first(12))}) == 4
    assert Uniforms(None).next() != Uniforms(None).next()


def test_log_probabilities_are_those_before_temperature_and_filters() -> None:
    logits = some_logits(2)
    asked = Sampling(temperature=0.3, top_k=2, logprobs=True, top_logprobs=3)
    got = choose(logits, [asked, Sampling()], [Uniforms(0), Uniforms(0)])
    expected = torch.log_softmax(logits[0], -1)
    assert got.logprobs[1] is None and got.logprobs[0] is not None
    assert got.logprobs[0].logprob == pytest.approx(expected[got.tokens[0]].item(), abs=1e-6)
    values, tokens = expected.topk(3)
    assert [token for token, _ in got.logprobs[0].top] == tokens.tolist()
    np.testing.assert_allclose([value for _, value in got.logprobs[0].top], values, atol=1e-6)


def test_top_k_and_top_p_keep_what_sorting_the_whole_vocabulary_keeps() -> None:
    generator = torch.Generator().manual_seed(0)

    def number(high: float) -> float:
        return float(torch.rand(1, generator=generator)) * high

    for trial in range(60):
        size = 2 + int(number(3000))
        logits = torch.randn(5, size, generator=generator) * number(4)
        if trial % 3 == 0:
            logits = (logits * 2).round() / 2  # many are equal
        rows = [
            Sampling(top_p=number(1) if number(1) < 0.6 else 1.0, top_k=int(number(size + 3)))
            for _ in range(5)
        ]
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
        for row, (values, tokens) in enumerate(zip(ordered, order, strict=True)):
            least = rows[row].top_p if rows[row].top_p < 1 else 2.0
            k = rows[row].top_k if 0 < rows[row].top_k < size else size
            before = values[:k].softmax(-1).cumsum(-1) - values[:k].softmax(-1)
            kept = {int(token) for token, p in zip(tokens, before, strict=False) if p < least}
            kept |= {int(tokens[0])}
            found = _filtered(logits, rows)[row]
            assert set(found.isfinite().nonzero()[:, 0].tolist()) == kept
            assert torch.equal(found[sorted(kept)], logits[row][sorted(kept)])
