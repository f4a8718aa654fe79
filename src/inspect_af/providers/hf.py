"""The model provider `af-hf/MODEL`: transformers in this process, with adapters and steering.

`MODEL` is an id of the Hugging Face Hub or a local directory (`af-hf//absolute/path`, `af-hf/./relative`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from anyio.to_thread import run_sync
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, ModelUsage
from inspect_ai.tool import ToolChoice, ToolInfo

from inspect_af.errors import ConfigError, MissingExtraError
from inspect_af.providers.settings import (
    ConditionAPI,
    check_config,
    check_model_path,
    read_settings,
    scored_beginning,
)
from inspect_af.rendering import Renderer

try:
    from inspect_af.providers.hf_engine import Engine, Generated, Request, engine_for, release
    from inspect_af.providers.hf_model import LocalModel
    from inspect_af.providers.hf_sampling import Sampling, Uniforms
except ImportError as error:
    raise MissingExtraError(
        f"af-hf needs torch and transformers ({error}); pip install 'inspect-af[local]'"
    ) from error

_DEFAULT_MAX_TOKENS = 2048  # as Inspect's own hf/
# These change what a model says, and are not there: an answer without them would be another experiment's.
_REFUSED = (
    *("best_of", "extra_body", "frequency_penalty", "logit_bias", "presence_penalty"),
    "response_schema",
)
_OFFERED = (
    "It has temperature, top_p, top_k, max_tokens, stop_seqs, seed, num_choices, logprobs and top_logprobs"
)


class LocalAPI(ConditionAPI):
    """A transformers model behind Inspect's provider interface.

    Arguments (`-M`): see docs/local_models.md. No weights are read before the first generation. All instances
    with the same model, revision, dtype and device share one copy of the weights.

    A reply is a function of the condition, the messages and `GenerateConfig` with its seed, up to rounding:
    the last bits of logits depend on what else is in the batch. Without a seed it is drawn afresh each time.

    Raises:
        ConfigError: An unknown argument, a value that is not allowed, or a directory that does not exist.
        TreatmentError: An adapter or a vector cannot be used.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **model_args: Any,
    ) -> None:
        check_model_path(model_name, provider="af-hf")
        settings = read_settings(model_name, model_args)
        key = settings.key
        self._settings = settings
        self._engine: Engine | None = None
        self._renderer: Renderer | None = None
        super().__init__(
            "af-hf",
            model_name,
            settings.applied,
            address=(key.revision or "", key.dtype, settings.applied.key, settings.template.key),
            arguments=model_args,
            api_key=api_key,
            config=config,
        )

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        if tools:
            raise ConfigError("af-hf has no tools; use Inspect's hf/ for agents")
        check_config(config, "af-hf", _REFUSED, _OFFERED)
        if self._engine is None:
            self._engine = engine_for(self._settings.key, self._settings.limits)
        engine = self._engine
        model = await run_sync(engine.model, abandon_on_cancel=True)
        if self._renderer is None or self._renderer.tokenizer is not model.tokenizer:
            self._renderer = Renderer(model.tokenizer, self._settings.template)
        renderer = self._renderer
        rendered = renderer.render(input, provider="af-hf")
        given = scored_beginning(config, rendered, "af-hf")
        n_given, n_prompt, context = len(given), len(rendered.ids), model.context_length
        replies: list[Generated] = []
        if context is not None and n_prompt >= context:
            complaint = f"the prompt has {n_prompt} tokens, the model's context is {context}"
            output = ModelOutput.from_content(self.label, "", "model_length", complaint)
        else:
            replies = await _replies(engine, self._requests(rendered.ids, given, config, model))
            choices = []
            for reply in replies:
                found = [
                    (token, one.logprob, one.top)
                    for token, one in zip(reply.tokens, reply.logprobs, strict=False)
                ]
                choices.append(
                    self.choice(
                        renderer,
                        rendered,
                        reply.tokens[n_given:],
                        "stop" if reply.ending == "stop_sequence" else reply.ending,
                        stop=config.stop_seqs or () if reply.ending == "stop_sequence" else (),
                        logprobs=found[n_given : reply.length] if _wants_logprobs(config) else None,
                        beginning=[(token, logprob) for token, logprob, _ in found[:n_given]],
                    )
                )
            output = ModelOutput(model=self.label, choices=choices)
        n_reply = sum(len(reply.tokens) - n_given for reply in replies)
        output.usage = ModelUsage(
            input_tokens=n_prompt, output_tokens=n_reply, total_tokens=n_prompt + n_reply
        )
        output.metadata = rendered.output_metadata([one.tokens[n_given : one.length] for one in replies])
        return output

    def max_tokens(self) -> int | None:
        return _DEFAULT_MAX_TOKENS

    def max_connections(self) -> int:
        """As many as fit into a batch. It holds where adaptive connections are switched off."""
        return self._settings.limits.max_requests

    def connection_key(self) -> str:
        """Each condition has its own, so that one that runs does not take another's place in the queue."""
        return str(self.base_url)

    def close(self) -> None:
        """Gives up the weights, which stay in memory while another instance uses them."""
        engine, self._engine = self._engine, None
        if engine is not None:
            release(engine)

    def _requests(
        self, prompt: list[int], given: Sequence[int], config: GenerateConfig, model: LocalModel
    ) -> list[Request]:
        defaults = model.model.generation_config
        sampling = Sampling(
            temperature=_first(config.temperature, defaults.temperature, 1.0),
            top_p=_first(config.top_p, defaults.top_p, 1.0),
            top_k=int(_first(config.top_k, defaults.top_k, 0)),
            repetition_penalty=_first(defaults.repetition_penalty, 1.0),
            logprobs=_wants_logprobs(config) or bool(given),
            top_logprobs=config.top_logprobs or 0,
        )
        applied = self.applied.here()
        return [
            Request(
                condition=applied,
                prompt=prompt[: len(prompt) - len(given)],
                given=tuple(given),
                sampling=sampling,
                uniforms=Uniforms(config.seed, choice),
                max_tokens=config.max_tokens or _DEFAULT_MAX_TOKENS,
                stop=tuple(sequence for sequence in config.stop_seqs or () if sequence),
            )
            for choice in range(config.num_choices or 1)
        ]


async def _replies(engine: Engine, requests: list[Request]) -> list[Generated]:
    """Submits requests and waits for all of them; gives their rows up if the waiting ends before."""
    try:
        for request in requests:
            engine.submit(request)
        return await asyncio.gather(*(asyncio.wrap_future(request.reply) for request in requests))
    finally:
        for request in requests:
            request.cancelled = True


def _wants_logprobs(config: GenerateConfig) -> bool:
    return bool(config.logprobs) or bool(config.top_logprobs)


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
