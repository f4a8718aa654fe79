"""What the server is asked for; no server is started."""

from __future__ import annotations

import pytest
from inspect_ai.model import GenerateConfig

from inspect_af.errors import ConfigError
from inspect_af.providers.vllm import request_body


def test_every_option_of_sampling_reaches_the_server() -> None:
    config = GenerateConfig(
        temperature=0.7,
        top_p=0.9,
        top_k=20,
        max_tokens=5,
        seed=3,
        stop_seqs=["."],
        num_choices=2,
        frequency_penalty=0.1,
        presence_penalty=0.2,
    )
    body = request_body(config, steer=None)
    # Token ids, never text: what a mark of reasoning is, is decided by them.
    assert (body.pop("return_token_ids"), body.pop("return_tokens_as_token_ids")) == (True, True)
    assert body == {
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 20,
        "max_tokens": 5,
        "seed": 3,
        "stop": ["."],
        "n": 2,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
    }


def test_likeliest_tokens_are_given_with_log_probabilities_only() -> None:
    assert request_body(GenerateConfig(top_logprobs=3), steer=None)["logprobs"] == 3
    assert request_body(GenerateConfig(logprobs=True), steer=None)["logprobs"] == 0
    assert "logprobs" not in request_body(GenerateConfig(), steer=None)


def test_what_would_be_dropped_silently_is_refused() -> None:
    with pytest.raises(ConfigError, match="no best_of"):
        request_body(GenerateConfig(best_of=2), steer=None)
    with pytest.raises(ConfigError, match="max_tokens=0: a number of at least 1"):
        request_body(GenerateConfig(max_tokens=0), steer=None)


def test_what_means_nothing_to_vllm_is_warned_about() -> None:
    with pytest.warns(UserWarning, match="ignores reasoning_tokens"):
        request_body(GenerateConfig(reasoning_tokens=100), steer=None)


def test_the_condition_joins_what_the_caller_gives() -> None:
    given = {"vllm_xargs": {"other": 1}, "top_k": 5}
    found = request_body(GenerateConfig(extra_body=given, top_k=9), steer="x@1")
    assert (found["vllm_xargs"], found["top_k"]) == ({"other": 1, "af_steer": "x@1"}, 5)
    assert given["vllm_xargs"] == {"other": 1}


@pytest.mark.parametrize("name", ["chat_template_kwargs", "continue_final_message", "add_generation_prompt"])
def test_chats_are_rendered_here_and_not_by_the_server(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}.*template_args"):
        request_body(GenerateConfig(extra_body={name: True}), steer=None)


@pytest.mark.parametrize("name", ["af_steer", "af_capture", "af_probe"])
def test_a_treatment_that_no_log_would_record_is_refused(name: str) -> None:
    config = GenerateConfig(extra_body={"vllm_xargs": {name: "x"}})
    with pytest.raises(ConfigError, match=f"names {name}"):
        request_body(config, steer=None)


def test_beam_search_which_loses_the_condition_is_refused() -> None:
    with pytest.raises(ConfigError, match="beam search"):
        request_body(GenerateConfig(extra_body={"use_beam_search": True}), steer="x@1")
