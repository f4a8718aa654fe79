"""The model provider `af-hf/MODEL`: transformers in this process, with adapters and steering.

`MODEL` is an id of the Hugging Face Hub or a local directory (`af-hf//absolute/path`, `af-hf/./relative`).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import anyio
from anyio.from_thread import BlockingPortal
from anyio.to_thread import run_sync
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
    TopLogprob,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from inspect_af.config import text_digest
from inspect_af.errors import ConfigError, MissingExtraError
from inspect_af.logs.headers import subject_of
from inspect_af.providers.settings import check_model_path, read_settings
from inspect_af.rendering import Rendered, Renderer
from inspect_af.sdf.base_model import base_digest
from inspect_af.types import Subject, Treatment

try:
    from inspect_af.providers.hf_engine import Ending, Engine, Generated, Limits, Request, engine_for, release
    from inspect_af.providers.hf_model import LocalModel, ModelKey
    from inspect_af.providers.hf_sampling import Sampling, Uniforms
except ImportError as error:
    raise MissingExtraError(
        f"af-hf needs torch and transformers ({error}); pip install 'inspect-af[local]'"
    ) from error

_DEFAULT_MAX_TOKENS = 2048  # as Inspect's own hf/
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
_STOP_REASONS: dict[Ending, StopReason] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "max_tokens": "max_tokens",
    "model_length": "model_length",
}


class LocalAPI(ModelAPI):
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
        settings = read_settings(model_args, (Limits().max_requests, Limits().max_batch_tokens))
        self._settings = settings
        self._limits = Limits(settings.max_requests, settings.max_batch_tokens)
        self._key = ModelKey(model_name, settings.revision, settings.dtype, settings.device)
        self._engine: Engine | None = None
        self._renderer: Renderer | None = None
        config = config or GenerateConfig()
        if config.max_connections is None and config.adaptive_connections is None:
            # Inspect would find out by and by how much a server takes; a batch is best full from the start.
            config.adaptive_connections = False
        # Inspect's response cache keys on the base URL but not on model arguments. Nothing is contacted.
        identity = text_digest(
            model_name,
            settings.revision or "",
            settings.dtype,
            settings.applied.key,
            settings.template.key,
            base_digest(model_name) if (Path(model_name) / "config.json").is_file() else "",
        )
        super().__init__(model_name, f"local://{identity}", api_key, [], config)
        subject = subject_of(f"af-hf/{model_name}", model_args)
        self._subject = subject.model_copy(update={"organism": settings.applied.organism})

    @property
    def subject(self) -> Subject:
        return self._subject

    @property
    def treatments(self) -> tuple[Treatment, ...]:
        return self._settings.applied.treatments

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        if tools:
            raise ConfigError("af-hf has no tools; use Inspect's hf/ for agents")
        _check_config(config)
        if self._engine is None:
            self._engine = engine_for(self._key, self._limits)
        engine = self._engine
        model = await run_sync(engine.model, abandon_on_cancel=True)
        if self._renderer is None or self._renderer.tokenizer is not model.tokenizer:
            self._renderer = Renderer(model.tokenizer, self._settings.template)
        rendered = self._renderer.render(input, provider="af-hf")
        n_prompt = len(rendered.ids)
        if model.context_length is not None and n_prompt >= model.context_length:
            return self._overflow(rendered, model.context_length)
        replies = await _replies(engine, self._requests(rendered.ids, config, model))
        return self._output(rendered, replies, config, self._renderer)

    def max_tokens(self) -> int | None:
        return _DEFAULT_MAX_TOKENS

    def max_connections(self) -> int:
        """As many as fit into a batch. It holds where adaptive connections are switched off."""
        return self._limits.max_requests

    def connection_key(self) -> str:
        """Each condition has its own, so that one that runs does not take another's place in the queue."""
        return str(self.base_url)

    def close(self) -> None:
        """Gives up the weights, which stay in memory while another instance uses them."""
        engine, self._engine = self._engine, None
        if engine is not None:
            release(engine)

    def _requests(self, prompt: list[int], config: GenerateConfig, model: LocalModel) -> list[Request]:
        defaults = model.model.generation_config
        temperature = _first(config.temperature, defaults.temperature, 1.0)
        sampling = Sampling(
            temperature=temperature,
            top_p=_first(config.top_p, defaults.top_p, 1.0),
            top_k=int(_first(config.top_k, defaults.top_k, 0)),
            repetition_penalty=_first(defaults.repetition_penalty, 1.0),
            logprobs=bool(config.logprobs) or bool(config.top_logprobs),
            top_logprobs=config.top_logprobs or 0,
        )
        applied = self._settings.applied.here()
        return [
            Request(
                condition=applied,
                prompt=prompt,
                sampling=sampling,
                uniforms=Uniforms(config.seed, choice),
                max_tokens=config.max_tokens or _DEFAULT_MAX_TOKENS,
                finish=_unheard,
                stop=tuple(sequence for sequence in config.stop_seqs or () if sequence),
            )
            for choice in range(config.num_choices or 1)
        ]

    def _output(
        self, rendered: Rendered, replies: list[Generated], config: GenerateConfig, renderer: Renderer
    ) -> ModelOutput:
        name = f"af-hf/{self.model_name}"
        choices = [
            ChatCompletionChoice(
                message=ChatMessageAssistant(
                    content=renderer.content(
                        reply.tokens,
                        opened=rendered.opened,
                        stop=config.stop_seqs or () if reply.ending == "stop_sequence" else (),
                    ),
                    model=name,
                    source="generate",
                ),
                stop_reason=_STOP_REASONS[reply.ending],
                logprobs=_reply_logprobs(reply, renderer) if reply.logprobs else None,
            )
            for reply in replies
        ]
        return ModelOutput(
            model=name,
            choices=choices,
            usage=_usage(len(rendered.ids), sum(len(r.tokens) for r in replies)),
            metadata=rendered.output_metadata([r.tokens[: _length(r)] for r in replies]),
        )

    def _overflow(self, rendered: Rendered, context: int) -> ModelOutput:
        prompt = len(rendered.ids)
        output = ModelOutput.from_content(
            f"af-hf/{self.model_name}",
            "",
            "model_length",
            f"the prompt has {prompt} tokens, the model's context is {context}",
        )
        output.usage, output.metadata = _usage(prompt, 0), rendered.metadata
        return output


async def _replies(engine: Engine, requests: list[Request]) -> list[Generated]:
    """Submits requests and waits for all of them; gives their rows up if the waiting is cancelled."""
    results: dict[int, Generated | Exception] = {}
    done = anyio.Event()
    async with BlockingPortal() as portal:

        def finisher(index: int) -> Any:
            def finish(result: Generated | Exception) -> None:
                results[index] = result
                if len(results) == len(requests) or isinstance(result, Exception):
                    _tell(portal, done)

            return finish

        try:
            for index, request in enumerate(requests):
                request.finish = finisher(index)
                engine.submit(request)
            await done.wait()
        finally:
            if len(results) < len(requests):
                for request in requests:
                    request.cancelled = True
                engine.wake()
    for result in results.values():
        if isinstance(result, Exception):
            raise result
    return [result for _, result in sorted(results.items()) if isinstance(result, Generated)]


def _check_config(config: GenerateConfig) -> None:
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


def _reply_logprobs(generated: Generated, renderer: Renderer) -> Logprobs:
    """Log-probabilities of the tokens before the one that ended the reply."""
    count = _length(generated)
    content = []
    for token, found in zip(generated.tokens[:count], generated.logprobs[:count], strict=True):
        top = [TopLogprob(token=renderer.token(one), logprob=logprob) for one, logprob in found.top]
        content.append(Logprob(token=renderer.token(token), logprob=found.logprob, top_logprobs=top or None))
    return Logprobs(content=content)


def _length(generated: Generated) -> int:
    """How many tokens there are before the one that ended the reply."""
    return len(generated.tokens) - (generated.ending == "stop")


def _tell(portal: BlockingPortal, done: anyio.Event) -> None:
    try:
        portal.start_task_soon(done.set)
    except RuntimeError:
        return  # the portal closes when the waiting is cancelled: nobody is there to be told


def _unheard(result: Generated | Exception) -> None:
    raise AssertionError("a request was finished before anybody waited for it")


def _usage(tokens_in: int, tokens_out: int) -> ModelUsage:
    return ModelUsage(input_tokens=tokens_in, output_tokens=tokens_out, total_tokens=tokens_in + tokens_out)


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
