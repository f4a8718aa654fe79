"""From chat messages to a prompt by the model's chat template, and from tokens to text."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, Logprob, Logprobs, TopLogprob

from inspect_af.errors import ConfigError
from inspect_af.providers._hf_requests import Generated

# These change what a model says, and are not there: an answer without them would be another experiment's.
_REFUSED = (
    "best_of",
    "extra_body",
    "frequency_penalty",
    "logit_bias",
    "presence_penalty",
    "prompt_logprobs",
    "response_schema",
)
_IGNORED = ("effort", "reasoning_effort", "reasoning_mode", "reasoning_tokens", "verbosity")


def prompt_text(
    messages: Sequence[ChatMessage], tokenizer: Any, template: str | None, thinking: bool | None
) -> str:
    """The messages in the model's chat template, with the opening of the reply.

    Args:
        messages: System, user and assistant messages of text, the last of them not an assistant's.
        tokenizer: The model's.
        template: A chat template in place of the tokenizer's.
        thinking: Given to the template as `enable_thinking`, where it is not None.

    Raises:
        ConfigError: A message that a template cannot hold, no template, or one that loses the system prompt.
    """
    if template is None and not tokenizer.chat_template:
        raise ConfigError(
            "the model's tokenizer has no chat template (is it a base model?); give one with "
            "-M chat_template=FILE"
        )
    turns = []
    for message in messages:
        if message.role == "tool":
            raise ConfigError("af-hf does not take tool messages; use Inspect's hf/ for agents")
        if not isinstance(message.content, str) and any(
            part.type not in ("text", "reasoning") for part in message.content
        ):
            raise ConfigError("af-hf takes text only; a message has an image, audio, video or document")
        turns.append({"role": message.role, "content": message.text})
    if not turns or turns[-1]["role"] == "assistant":
        raise ConfigError("af-hf answers a user or system message; the last message is the assistant's")
    options = {} if thinking is None else {"enable_thinking": thinking}
    try:
        text = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, chat_template=template, **options
        )
    except Exception as error:  # a template is a program of its author's, and raises what it likes
        roles = ", ".join(turn["role"] for turn in turns)
        raise ConfigError(
            f"the model's chat template refused messages of {roles}: {error}. "
            "Give another one with -M chat_template=FILE"
        ) from error
    for turn in turns:
        if turn["role"] == "system" and turn["content"].strip() not in text:
            raise ConfigError(
                "the model's chat template leaves the system prompt out; give one that holds it with "
                "-M chat_template=FILE"
            )
    return str(text)


def check_config(config: GenerateConfig) -> None:
    """Refuses options that would be dropped silently, and warns of those that mean nothing here.

    Raises:
        ConfigError: An option that changes replies and that af-hf does not have.
    """
    for name in _REFUSED:
        value = getattr(config, name, None)
        if value and not (name == "best_of" and value == 1):
            raise ConfigError(
                f"af-hf has no {name} (given {value!r}); leave it out. It has temperature, top_p, top_k, "
                "max_tokens, stop_seqs, seed, num_choices, logprobs and top_logprobs"
            )
    if ignored := [name for name in _IGNORED if getattr(config, name, None) is not None]:
        warnings.warn(f"af-hf ignores {', '.join(ignored)}", stacklevel=2)


def reply_text(generated: Generated, stop: Sequence[str], tokenizer: Any) -> str:
    """The reply without special tokens, cut before the first stop sequence."""
    text = str(
        tokenizer.decode(generated.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    )
    if generated.ending == "stop_sequence":
        text = text[: min(at for sequence in stop if (at := text.find(sequence)) >= 0)]
    return text


def reply_logprobs(generated: Generated, tokenizer: Any) -> Logprobs:
    """Log-probabilities of the tokens before the one that ended the reply."""
    last = 1 if generated.ending == "stop" else 0
    count = len(generated.tokens) - last
    content = []
    for token, found in zip(generated.tokens[:count], generated.logprobs[:count], strict=True):
        top = [TopLogprob(token=_shown(one, tokenizer), logprob=logprob) for one, logprob in found.top]
        content.append(
            Logprob(token=_shown(token, tokenizer), logprob=found.logprob, top_logprobs=top or None)
        )
    return Logprobs(content=content)


def _shown(token: int, tokenizer: Any) -> str:
    return str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
