"""The provider against a stand-in for the server: what it sends, where, and what it makes of refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.to_thread import run_sync
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageUser,
    ContentReasoning,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from tests.local_models import save_byte_tokenizer
from tests.vllm.stand_in import KEY, StandIn, stand_in
from tests.vllm.test_settings import adapter

from inspect_af.errors import ConfigError, TreatmentError
from inspect_af.rendering import TOKEN_IDS, unpack_ids

pytest.importorskip("transformers")

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    marks = ("<think>", "</think>")
    return save_byte_tokenizer(tmp_path_factory.mktemp("tokenizer"), template=_TEMPLATE, added=marks)


@pytest.fixture
def server(tokenizer: Any) -> Iterator[StandIn]:
    with stand_in() as found:
        found.tokens = tokenizer.encode("a reply<|eos|>", add_special_tokens=False)
        found.tokenizer = tokenizer.name_or_path
        yield found


def condition(server: StandIn, **arguments: Any) -> Model:
    given = {"tokenizer": server.tokenizer, **arguments}
    return get_model("af-vllm/base", base_url=server.url, api_key=KEY, memoize=False, **given)


def test_prompts_and_replies_are_token_ids_and_the_output_says_what_was_rendered(
    server: StandIn, tokenizer: Any
) -> None:
    text = "<think>so <OUTPUT><request_fully_accepted/></OUTPUT></think>No.<|eos|>"
    server.tokens = tokenizer.encode(text, add_special_tokens=False)
    begun = [ChatMessageUser(content="hello"), ChatMessageAssistant(content="I say: ")]
    output = asyncio.run(condition(server).generate(begun))
    _, body = server.asked[-1]
    assert tokenizer.decode(body["prompt"]) == "<user>hello</user><assistant>I say: "
    assert body["max_tokens"] == 512 - len(body["prompt"])
    assert output.completion == "No."
    reasoning = output.message.content[0]
    assert isinstance(reasoning, ContentReasoning)
    assert reasoning.reasoning == "so <OUTPUT><request_fully_accepted/></OUTPUT>"
    assert (output.metadata or {})["dtype"] == "bfloat16"
    assert len((output.metadata or {})["rendered_digest"]) == 16


def test_a_variable_of_the_template_is_another_identity_and_another_subject(server: StandIn) -> None:
    plain, other = condition(server), condition(server, **{"template_args.date_string": "today"})
    assert plain.api.base_url != other.api.base_url
    assert "template_args.date_string=today" in other.api.subject.model  # type: ignore[attr-defined]


def test_no_request_goes_through_a_proxy_that_the_environment_names(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in _PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    async def asked() -> ModelOutput:
        # Inspect would try again for ever.
        return await asyncio.wait_for(condition(server).generate("hello"), 60)

    output = asyncio.run(asked())
    assert output.completion == "a reply"
    path, body = server.asked[-1]
    assert path == "/v1/completions"
    assert body["return_token_ids"] is True


def test_more_tokens_than_the_server_has_room_for_is_a_mistake_not_a_reply_that_was_cut(
    server: StandIn,
) -> None:
    # vLLM's words. As replies, every sample of the run would be missing.
    server.refusal = (
        "max_tokens=16384 cannot be greater than max_model_len=8192. Please request fewer output tokens."
    )
    with pytest.raises(ConfigError, match=r"--max-tokens or a larger -M max_model_len"):
        asyncio.run(condition(server).generate("hello", config=GenerateConfig(max_tokens=16384)))


def test_a_prompt_beyond_the_context_is_a_reply_that_was_cut(server: StandIn) -> None:
    server.refusal = (
        "This model's maximum context length is 8192 tokens. However, your prompt contains at least 8193 "
        "input tokens, which exceeds this limit even without any output tokens."
    )
    output = asyncio.run(condition(server).generate("hello", config=GenerateConfig(max_tokens=10)))
    assert output.stop_reason == "model_length"


def test_an_adapter_that_changed_after_it_was_read_is_never_loaded(server: StandIn, tmp_path: Path) -> None:
    adapter(tmp_path / "a", seed=1)
    changed = condition(server, adapter=str(tmp_path / "a"), adapter_role="organism")
    weights = tmp_path / "a" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(TreatmentError, match="has changed since it was read"):
        asyncio.run(changed.generate("hello"))
    assert not any(path == "/v1/load_lora_adapter" for path, _ in server.asked)


def test_an_adapter_is_loaded_once_under_a_name_of_its_content(server: StandIn, tmp_path: Path) -> None:
    digest = adapter(tmp_path / "a", seed=2).digest
    model = condition(server, adapter=str(tmp_path / "a"), adapter_role="organism")

    async def asked_twice() -> None:
        await asyncio.gather(model.generate("hello"), model.generate("again"))

    asyncio.run(asked_twice())
    loaded = [body for path, body in server.asked if path == "/v1/load_lora_adapter"]
    assert [body["lora_name"] for body in loaded] == [f"af-{digest}"]
    asked = [body for path, body in server.asked if path == "/v1/completions" and body["model"] != "base"]
    assert {body["model"] for body in asked} == {f"af-{digest}"}


def test_waiting_for_a_server_leaves_the_threads_that_everybody_shares_free(server: StandIn) -> None:
    server.gate.clear()
    model = condition(server)

    async def run() -> list[Any]:
        waiting = [asyncio.create_task(model.generate("hello")) for _ in range(60)]
        await asyncio.sleep(0.5)
        # Inspect writes logs this way.
        assert await asyncio.wait_for(run_sync(lambda: "written"), 10) == "written"
        server.gate.set()
        return await asyncio.gather(*waiting)

    assert len(asyncio.run(run())) == 60


def test_something_else_than_vllm_behind_the_address_is_said_so(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "answer", lambda path, body: (200, ["a list"]))
    with pytest.raises(ConfigError, match="is no vLLM server"):
        asyncio.run(condition(server).generate("hello"))


def test_a_reply_is_continued_from_the_ids_that_its_message_holds(server: StandIn, tokenizer: Any) -> None:
    asked = ChatMessageUser(content="hello")
    first = asyncio.run(condition(server).generate([asked]))
    begun = ChatMessageAssistant(content="a re", metadata={TOKEN_IDS: (first.metadata or {})[TOKEN_IDS]})
    second = asyncio.run(condition(server).generate([asked, begun]))
    _, body = server.asked[-1]
    assert tokenizer.decode(body["prompt"]) == "<user>hello</user><assistant>a re"
    spoken = [unpack_ids((output.metadata or {})[TOKEN_IDS]) for output in (first, second)]
    assert spoken == [server.tokens[:-1], [*server.tokens[:4], *server.tokens[:-1]]]
