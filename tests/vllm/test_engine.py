"""One vLLM engine in this process, compiled, with a cache so small that requests are interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("vllm", reason="needs vLLM, see make test-vllm")
pytestmark = pytest.mark.vllm

from tests.vllm.tiny_models import greedy, pooled, prompts, reference, vector, write_model  # noqa: E402

from inspect_af.providers.vllm_plugin import engine  # noqa: E402
from inspect_af.providers.vllm_plugin.files import read_parts  # noqa: E402
from inspect_af.providers.vllm_plugin.wire import (  # noqa: E402
    CaptureSpec,
    SteeringTerm,
    capture_text,
    steering_text,
)

N_TOKENS = 24
VECTORS = [vector(seed) for seed in range(4)]
PROMPTS = prompts(16, shared=70)
CONDITIONS: list[tuple[SteeringTerm, ...]] = [
    (),
    (SteeringTerm(VECTORS[0].sha256, 1.0),),
    (SteeringTerm(VECTORS[0].sha256, -2.0, "1"),),
    (SteeringTerm(VECTORS[1].sha256, 3.0),),
    (SteeringTerm(VECTORS[2].sha256, 0.5, "0-1"),),
    (SteeringTerm(VECTORS[3].sha256, -1.0),),
    (SteeringTerm(VECTORS[1].sha256, 1.0, "2"), SteeringTerm(VECTORS[0].sha256, 1.5)),
    (SteeringTerm(VECTORS[2].sha256, 4.0),),
]


class Engine(NamedTuple):
    llm: Any
    model: Path
    captures: Path

    def tokens(
        self, requests: Sequence[tuple[tuple[SteeringTerm, ...], list[int]]], n: int = N_TOKENS
    ) -> list[list[int]]:
        """Greedy tokens of requests that run together."""
        from vllm import SamplingParams

        parameters = [
            SamplingParams(
                temperature=0,
                max_tokens=n,
                ignore_eos=True,
                extra_args={"af_steer": steering_text(condition)} if condition else None,
            )
            for condition, _ in requests
        ]
        inputs = [{"prompt_token_ids": prompt} for _, prompt in requests]
        found = self.llm.generate(inputs, parameters, use_tqdm=False)
        return [list(output.outputs[0].token_ids) for output in found]

    def count(self, name: str) -> int:
        return next(int(metric.value) for metric in self.llm.get_metrics() if metric.name == f"vllm:{name}")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        from vllm import LLM

        directory = tmp_path_factory.mktemp("engine")
        model, captures = write_model(directory / "model"), directory / "captures"
        for one in VECTORS:
            one.save(directory / "vectors" / f"{one.sha256}.safetensors")
        llm = LLM(
            str(model),
            dtype="float32",
            max_model_len=256,
            max_num_seqs=4,
            max_num_batched_tokens=48,
            block_size=32,
            num_gpu_blocks_override=14,
            enable_prefix_caching=True,
            enable_chunked_prefill=True,
            disable_log_stats=False,
            additional_config={"af": {"vectors": str(directory / "vectors"), "captures": str(captures)}},
        )
        yield Engine(llm, model, captures)


def expected(
    model: Path, condition: tuple[SteeringTerm, ...], prompt: list[int], n: int = N_TOKENS
) -> list[int]:
    additions: dict[int, Any] = {}
    for term in condition:
        one = next(one for one in VECTORS if one.sha256 == term.sha256)
        for layer in one.selected(term.layers):
            additions[layer] = additions.get(layer, 0) + np.float32(term.multiplier) * one.at(layer)
    return greedy(reference(model), prompt, n, additions)


def test_eight_conditions_in_one_batch_give_the_tokens_of_transformers_with_hooks(tiny: Engine) -> None:
    before = tiny.count("num_preemptions")
    requests = [(condition, prompt) for prompt in PROMPTS for condition in CONDITIONS]
    order = np.random.default_rng(0).permutation(len(requests))
    got = tiny.tokens([requests[at] for at in order])
    wanted = [expected(tiny.model, *requests[at]) for at in order]
    assert got == wanted
    assert len({tuple(tokens) for tokens in wanted}) > 100  # the conditions do differ
    assert tiny.count("num_preemptions") > before


def test_the_cache_is_shared_within_a_condition_and_never_across(tiny: Engine) -> None:
    tiny.llm.reset_prefix_cache()
    for condition in (*CONDITIONS[:3], *CONDITIONS[:3]):
        before = tiny.count("prefix_cache_hits")
        assert tiny.tokens([(condition, PROMPTS[0])] * 2) == [expected(tiny.model, condition, PROMPTS[0])] * 2
        assert tiny.count("prefix_cache_hits") > before


@pytest.mark.parametrize("steered_first", [True, False])
def test_unsteered_replies_are_the_same_before_and_after_steered_traffic(
    tiny: Engine, steered_first: bool
) -> None:
    tiny.llm.reset_prefix_cache()
    steered = [(condition, prompt) for condition in CONDITIONS[1:4] for prompt in PROMPTS[:2]]
    plain = [((), prompt) for prompt in PROMPTS[:2]]
    wanted = [expected(tiny.model, *request) for request in plain]
    if not steered_first:
        assert tiny.tokens(plain) == wanted
    assert tiny.tokens(steered) == [expected(tiny.model, *request) for request in steered]
    assert tiny.tokens(plain) == wanted


def test_without_the_salt_steered_blocks_poison_unsteered_requests(
    tiny: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.llm.reset_prefix_cache()
    monkeypatch.setattr(engine, "condition_salt", lambda steer, salt: salt)
    tiny.tokens([(CONDITIONS[3], PROMPTS[0])])
    poisoned = tiny.tokens([((), PROMPTS[0])])
    tiny.llm.reset_prefix_cache()
    assert poisoned != [expected(tiny.model, (), PROMPTS[0])]


def test_more_conditions_than_rows_take_turns(tiny: Engine) -> None:
    conditions = [(SteeringTerm(VECTORS[at % 4].sha256, 0.25 * at - 4),) for at in range(32)]
    requests = [(condition, PROMPTS[at % 16]) for at, condition in enumerate(conditions)]
    assert tiny.tokens(requests, 8) == [expected(tiny.model, *request, 8) for request in requests]


def test_after_a_thousand_requests_nothing_has_drifted(tiny: Engine) -> None:
    for _ in range(8):
        tiny.tokens([(CONDITIONS[at % 8], PROMPTS[at % 16][-20:]) for at in range(125)], 2)
    requests = [(condition, PROMPTS[3]) for condition in CONDITIONS]
    assert tiny.tokens(requests) == [expected(tiny.model, *request) for request in requests]


def test_an_unsteered_batch_after_a_larger_steered_one_receives_nothing(tiny: Engine) -> None:
    tiny.tokens([(CONDITIONS[3], prompt) for prompt in PROMPTS[:4]], 2)
    plain = [((), PROMPTS[5][-9:])]
    assert tiny.tokens(plain) == [expected(tiny.model, *plain[0])]


def test_pooled_activations_equal_those_of_transformers(tiny: Engine) -> None:
    from vllm import SamplingParams

    tiny.llm.reset_prefix_cache()
    spans = ((40, 61), (66, 71))
    keys = [f"{at:032x}" for at in range(len(PROMPTS))]
    parameters = [
        SamplingParams(
            temperature=0, max_tokens=1, extra_args={"af_capture": capture_text(CaptureSpec(key, spans))}
        )
        for key in keys
    ]
    before = tiny.count("prefix_cache_hits")
    inputs = [{"prompt_token_ids": prompt} for prompt in PROMPTS]
    outputs = tiny.llm.generate(inputs, parameters, use_tqdm=False)
    for key, prompt in zip(keys, PROMPTS, strict=True):
        found = read_parts(tiny.captures, key, 1)
        mean, norm = pooled(reference(tiny.model), prompt, spans)
        np.testing.assert_allclose(found.mean, mean, atol=3e-5)
        np.testing.assert_allclose(found.norm, norm, rtol=1e-5)
        assert found.n_tokens == 26
    # The shared start is found in the cache, but never a token that is captured.
    assert tiny.count("prefix_cache_hits") > before
    assert {output.num_cached_tokens for output in outputs} <= {0, 32}
    assert list(tiny.captures.iterdir()) == []


def test_captures_survive_interruptions_and_mix_with_steered_requests(tiny: Engine) -> None:
    from vllm import SamplingParams

    tiny.llm.reset_prefix_cache()
    before = tiny.count("num_preemptions")
    inputs, parameters, keys = [], [], []
    for at, prompt in enumerate(PROMPTS):
        keys.append(f"{100 + at:032x}")
        text = capture_text(CaptureSpec(keys[-1], ((2, len(prompt)),)))
        inputs += [{"prompt_token_ids": prompt}] * 2
        parameters += [
            SamplingParams(temperature=0, max_tokens=40, ignore_eos=True, extra_args={"af_capture": text}),
            SamplingParams(
                temperature=0,
                max_tokens=N_TOKENS,
                ignore_eos=True,
                extra_args={"af_steer": steering_text(CONDITIONS[3])},
            ),
        ]
    outputs = tiny.llm.generate(inputs, parameters, use_tqdm=False)
    for at, prompt in enumerate(PROMPTS):
        mean, _ = pooled(reference(tiny.model), prompt, [(2, len(prompt))])
        np.testing.assert_allclose(read_parts(tiny.captures, keys[at], 1).mean, mean, atol=3e-5)
        steered = list(outputs[2 * at + 1].outputs[0].token_ids)
        assert steered == expected(tiny.model, CONDITIONS[3], prompt)
    assert tiny.count("num_preemptions") > before


def test_a_seeded_sample_is_the_same_however_its_prompt_is_cut_into_parts(tiny: Engine) -> None:
    from vllm import SamplingParams

    tiny.llm.reset_prefix_cache()
    sampled = SamplingParams(temperature=1.0, seed=7, max_tokens=N_TOKENS, ignore_eos=True)
    inputs = [{"prompt_token_ids": prompt} for prompt in PROMPTS[:6]]
    alone = [tiny.llm.generate([one], sampled, use_tqdm=False)[0].outputs[0].token_ids for one in inputs]
    together = [output.outputs[0].token_ids for output in tiny.llm.generate(inputs, sampled, use_tqdm=False)]
    assert [list(one) for one in alone] == [list(one) for one in together]
    assert len({tuple(one) for one in alone}) == 6


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"af_steer": "0" * 64 + "@1"}, "no vector with sha256"),
        ({"af_steer": VECTORS[0].sha256}, "SHA256@MULTIPLIER"),
        ({"af_steer": f"{VECTORS[0].sha256}@1@9"}, "no vector for 9"),
        ({"af_capture": f"{0:032x}:0-500"}, "the prompt has"),
        ({"af_probe": 1}, "inspect_af server:"),
    ],
)
def test_a_bad_request_is_refused_and_the_engine_goes_on(
    tiny: Engine, extra: dict[str, Any], message: str
) -> None:
    from vllm.exceptions import VLLMValidationError

    from vllm import SamplingParams

    with pytest.raises(VLLMValidationError, match=message):
        tiny.llm.generate(
            [{"prompt_token_ids": PROMPTS[0]}], SamplingParams(max_tokens=1, extra_args=extra), use_tqdm=False
        )
    assert tiny.tokens([((), PROMPTS[0])]) == [expected(tiny.model, (), PROMPTS[0])]
