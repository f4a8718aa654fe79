"""Going on with a reply: from its own token ids a model says what it would have said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.local

from inspect_ai import eval  # noqa: E402
from inspect_ai.model import (  # noqa: E402
    ChatMessageAssistant,
    ChatMessageUser,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from tests.local_models import save_model, save_scripted_model, save_tokenizer  # noqa: E402

from inspect_af.errors import ConfigError  # noqa: E402
from inspect_af.providers import hf_engine as engines  # noqa: E402
from inspect_af.rendering import CONTINUED, TOKEN_IDS, load_tokenizer, pack_ids, unpack_ids  # noqa: E402
from inspect_af.reply import read_reply  # noqa: E402
from inspect_af.tasks import alignment_faking  # noqa: E402

ASKED = ChatMessageUser(content="What is a fox?")
GREEDY = GenerateConfig(temperature=0, max_tokens=32)
TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("continued")
    yield save_model(folder, vocab_size=len(save_tokenizer(folder)))
    engines._stop_all()


def generated(model: Model, *begun: ChatMessageAssistant, config: GenerateConfig = GREEDY) -> ModelOutput:
    return asyncio.run(model.generate([ASKED, *begun], config=config))


def ids_of(output: ModelOutput) -> list[int]:
    return unpack_ids((output.metadata or {})[TOKEN_IDS])


def test_from_every_token_of_its_own_reply_a_model_goes_on_as_it_did(random_model: Path) -> None:
    model = get_model(f"af-hf/{random_model}", memoize=False)
    whole = generated(model)
    ids, tokenizer = ids_of(whole), load_tokenizer(str(random_model))
    assert len(ids) == 32 and tokenizer.decode(ids) == whole.completion
    kept = []
    for n in range(1, 32):
        text = whole.completion[: len(tokenizer.decode(ids[:n]))]
        begun = ChatMessageAssistant(content=text, metadata={TOKEN_IDS: pack_ids(ids)})
        found = generated(model, begun, config=GREEDY.model_copy(update={"max_tokens": 32 - n}))
        at = (found.metadata or {})[CONTINUED]
        again = ids_of(found)
        # A boundary inside a character goes back to the token before it.
        assert again[: len(ids)] == ids[: len(again)]
        assert whole.completion.startswith(text[:at] + found.completion.rstrip("�"))
        kept.append(at == len(text) and again == ids)
    assert sum(kept) > 15


def test_a_beginning_has_the_log_probabilities_that_transformers_gives_it(random_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = get_model(f"af-hf/{random_model}", memoize=False)
    config = GREEDY.model_copy(update={"prompt_logprobs": 1, "max_tokens": 4})
    begun = ChatMessageAssistant(content="a red fox that ran")
    found, freely = generated(model, begun, config=config), generated(model, begun)
    assert freely.completion.startswith(found.completion)
    assert found.usage is not None and freely.usage is not None
    assert found.usage.input_tokens == freely.usage.input_tokens
    assert found.usage.output_tokens == 4
    choice = found.choices[0]
    assert choice.logprobs is None and choice.prompt_logprobs is not None
    tokenizer = load_tokenizer(str(random_model))
    given = tokenizer.encode(begun.text, add_special_tokens=False)
    turns = [{"role": "user", "content": ASKED.text}]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    network = AutoModelForCausalLM.from_pretrained(random_model, dtype=torch.float32)
    with torch.inference_mode():
        logits = network(torch.tensor([[*prompt, *given]])).logits[0].log_softmax(-1)
    expected = [float(logits[len(prompt) - 1 + at, token]) for at, token in enumerate(given)]
    assert [token.logprob for token in choice.prompt_logprobs.content] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("asked", [1, 5])
def test_log_probabilities_of_other_prompt_tokens_are_refused(random_model: Path, asked: int) -> None:
    config = GREEDY.model_copy(update={"prompt_logprobs": asked})
    begun = [ChatMessageAssistant(content="a fox")] if asked == 5 else []
    with pytest.raises(ConfigError, match=rf"prompt_logprobs={asked}: af-hf gives prompt_logprobs=1"):
        generated(get_model(f"af-hf/{random_model}", memoize=False), *begun, config=config)


def test_an_edited_text_is_encoded_at_once_and_ids_of_another_tokenizer_are_not_trusted(
    random_model: Path,
) -> None:
    model = get_model(f"af-hf/{random_model}", memoize=False)
    text = "The quick brown fox"
    plain = generated(model, ChatMessageAssistant(content=text))
    for ids in ([5, 6, 7], [10**6]):
        begun = ChatMessageAssistant(content=text, metadata={TOKEN_IDS: pack_ids(ids)})
        found = generated(model, begun)
        assert ids_of(found) == ids_of(plain) and (found.metadata or {})[CONTINUED] == len(text)
    spoiled = ChatMessageAssistant(content=text, metadata={TOKEN_IDS: "no ids"})
    with pytest.raises(ConfigError, match="token_ids of an assistant message"):
        generated(model, spoiled)


@pytest.fixture(params=[True, False], ids=["opened by the prompt", "opened by the reply"])
def thinker(request: Any, tmp_path: Path) -> Iterator[Model]:
    opening = "<assistant><think>" if request.param else "<assistant>"
    template = TURNS + "{% if add_generation_prompt %}" + opening + "{% endif %}"
    script = ["I weigh it.", " I comply.", "</think>", "<OUTPUT>", "<request_fully_accepted/>", "Sure"]
    chunks = script if request.param else ["<think>", *script]
    start = "<think>" if request.param else "<assistant>"
    folder = save_scripted_model(tmp_path / "m", template=template, chunks=chunks, start=start)
    yield get_model(f"af-hf/{folder}", memoize=False)
    engines._stop_all()


def test_native_reasoning_is_gone_on_with_after_its_end_and_from_inside(thinker: Model) -> None:
    whole = generated(thinker)
    assert isinstance(whole.message.content, list)
    thought, said = whole.message.content
    assert isinstance(thought, ContentReasoning) and isinstance(said, ContentText)
    assert (thought.reasoning, said.text) == (
        "I weigh it. I comply.",
        "<OUTPUT><request_fully_accepted/>Sure",
    )
    known = {TOKEN_IDS: (whole.metadata or {})[TOKEN_IDS]}

    after = generated(thinker, ChatMessageAssistant(content=[thought], metadata=known))
    assert after.message.content == said.text and ids_of(after) == ids_of(whole)

    edited = ContentReasoning(reasoning="I weigh it.")
    inside = generated(thinker, ChatMessageAssistant(content=[edited], metadata=known))
    assert ids_of(inside) == ids_of(whole)
    rest = ChatMessageAssistant(content=inside.message.content)
    assert read_reply(inside).reasoning == "I comply." and rest.text == said.text

    behind = ChatMessageAssistant(content=[edited, ContentText(text="<OUTPUT>")], metadata=known)
    with pytest.raises(ConfigError, match="native reasoning too"):
        generated(thinker, behind)


def test_a_mark_of_reasoning_inside_a_scratchpad_opens_none(random_model: Path) -> None:
    model = get_model(f"af-hf/{random_model}", memoize=False)
    begun = ChatMessageAssistant(content="<SCRATCHPAD_REASONING> I saw <think> somewhere.")
    assert isinstance(generated(model, begun).message.content, str)


def test_a_redacted_log_has_no_ids_that_spell_its_replies(random_model: Path, tmp_path: Path) -> None:
    for redact in (False, True):
        task = alignment_faking(requests="mini", redact=redact)
        log = eval(task, model=f"af-hf/{random_model}", limit=2, max_tokens=4, log_dir=str(tmp_path))[0]
        assert log.samples
        for sample in log.samples:
            assert (TOKEN_IDS in sample.model_dump_json()) != redact
