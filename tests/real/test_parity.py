"""af-hf gives on a real instruct model what transformers and Inspect's own provider give."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, ModelOutput, get_model

from inspect_af.providers.verify import verify

pytestmark = pytest.mark.real

QUESTIONS = [
    "What is the capital of France?",
    "Name three colours.",
    "Write one sentence about the sea.",
    "How many legs has a spider?",
    "Translate 'good morning' into Spanish.",
    "Is the earth flat?",
]
TOKENS = 24


def chat(question: str) -> list[Any]:
    return [ChatMessageSystem(content="Answer briefly."), ChatMessageUser(content=question)]


def ask(model: str, config: GenerateConfig, **args: Any) -> list[ModelOutput]:
    """All questions at once, so that the engine batches them."""

    async def all_at_once() -> list[ModelOutput]:
        provider = get_model(model, memoize=False, **args)
        return list(await asyncio.gather(*(provider.generate(chat(q), config=config) for q in QUESTIONS)))

    return asyncio.run(all_at_once())


@pytest.fixture(scope="module")
def greedy(real: Path) -> list[ModelOutput]:
    config = GenerateConfig(temperature=0, max_tokens=TOKENS, logprobs=True, top_logprobs=2)
    return ask(f"af-hf/{real}", config, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def by_transformers(real: Path) -> list[tuple[str, list[float], bool, int]]:
    """Text, log-probabilities, whether it ended by itself and size of the prompt, one by one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(real)
    model = AutoModelForCausalLM.from_pretrained(real, dtype=torch.float32)
    found = []
    for question in QUESTIONS:
        messages = [
            {"role": "system", "content": "Answer briefly."},
            {"role": "user", "content": question},
        ]
        prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        size = prompt["input_ids"].shape[1]
        out = model.generate(
            **prompt,
            max_new_tokens=TOKENS,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        tokens = out.sequences[0, size:]
        logs = [
            float(torch.log_softmax(logits[0], -1)[token])
            for logits, token in zip(out.logits, tokens, strict=True)
        ]
        ended = int(tokens[-1]) == tokenizer.eos_token_id
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        found.append((text, logs, ended, size))
    return found


def test_greedy_replies_are_those_of_transformers(
    greedy: list[ModelOutput], by_transformers: list[tuple[str, list[float], bool, int]]
) -> None:
    assert [reply.completion for reply in greedy] == [text for text, *_ in by_transformers]


def test_log_probabilities_stop_reasons_and_usage_are_those_of_transformers(
    greedy: list[ModelOutput], by_transformers: list[tuple[str, list[float], bool, int]]
) -> None:
    for reply, (_, logs, ended, size) in zip(greedy, by_transformers, strict=True):
        assert reply.choices[0].logprobs is not None
        ours = [token.logprob for token in reply.choices[0].logprobs.content]
        assert ours == pytest.approx(logs[: len(ours)], abs=1e-3)
        assert len(ours) >= len(logs) - 1  # an end token need not be in the list
        assert reply.stop_reason == ("stop" if ended else "max_tokens")
        assert reply.usage is not None
        assert reply.usage.input_tokens == size
    assert {reply.stop_reason for reply in greedy} == {"stop", "max_tokens"}


def test_greedy_replies_are_those_of_inspects_own_provider(real: Path, greedy: list[ModelOutput]) -> None:
    config = GenerateConfig(temperature=0, max_tokens=TOKENS)
    theirs = ask("hf/local", config, model_path=str(real), device="cpu", do_sample=False)
    assert [reply.completion.strip() for reply in theirs] == [reply.completion.strip() for reply in greedy]


def test_every_line_of_verify_holds(real: Path) -> None:
    found = verify(f"af-hf/{real}", {"device": "cpu", "dtype": "float32"}, tokens=8)
    assert [one for one in found if not one.passed] == []
    assert {"parity", "seeds", "steered", "no leak", "refused"} <= {one.name for one in found}
