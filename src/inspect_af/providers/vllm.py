"""The model provider `af-vllm/MODEL`: stock vLLM with our plugin; conditions mix in one batch of one server.

`MODEL` is an id of the Hugging Face Hub or a local directory (`af-vllm//absolute/path`).
"""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelCall,
    ModelOutput,
    ModelUsage,
    StopReason,
    TopLogprob,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from inspect_af.config import text_digest
from inspect_af.errors import ConfigError, TreatmentError
from inspect_af.logs.headers import subject_of
from inspect_af.providers.settings import check_model_path, read_vllm_settings
from inspect_af.providers.vllm_plugin.wire import (
    CAPTURE_ARGUMENT,
    PROBE_ARGUMENT,
    STEER_ARGUMENT,
    ServerInfo,
    SteeringTerm,
    steering_text,
)
from inspect_af.providers.vllm_server import Answer, Endpoint, Server, ServerError, server_for
from inspect_af.rendering import Rendered, Renderer, load_tokenizer
from inspect_af.sdf.base_model import base_digest
from inspect_af.types import Subject, Treatment

if TYPE_CHECKING:
    import httpx


_DEFAULT_CONNECTIONS = 256
_DEFAULT_MAX_TOKENS = 2048
"""Where nobody asks for a number and the server does not say how much fits."""


class VLLMAPI(ModelAPI):
    """A model served by vLLM behind Inspect's provider interface.

    Arguments (`-M`): `adapter`, `adapter_role`, `intervention`, `intervention_pair`, `vector`, `multiplier`
    and `layers` as for af-hf; `base_url` to use a server that runs already; `server_python`, `server_log`,
    `port`, `start_timeout`, `request_timeout`, `capture`; `chat_template`, `thinking`, `template_args.NAME`
    and `template_date` as for af-hf. All others are vLLM's own options, such as `tensor_parallel_size=4`.

    No server is started before the first generation. All instances with the same model and the same options
    share one; it ends when Python does.

    Raises:
        ConfigError: An argument has a value that is not allowed, or a directory does not exist.
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
        if base_url is None:  # else the path is one of the server's machine
            check_model_path(model_name, provider="af-vllm")
        settings = read_vllm_settings(model_name, model_args)
        self._settings = settings
        attached = None
        if base_url is not None:
            key = api_key or os.environ.get("VLLM_API_KEY") or "none"
            attached = Endpoint(base_url.rstrip("/").removesuffix("/v1"), key)
        self._server: Server = server_for(settings.launch, attached)
        self._server.announce(settings.applied.adapters)
        config = config or GenerateConfig()
        if config.max_connections is None and config.adaptive_connections is None:
            # Inspect would find out by and by how much a server takes; a batch is best full from the start.
            config.adaptive_connections = False
        # Inspect's response cache keys on the base URL but not on model arguments. Nobody answers there.
        identity = text_digest(
            model_name,
            settings.applied.key,
            str(sorted(settings.identity.items())),
            settings.template.key,
            "" if attached is None else attached.url,
            base_digest(model_name) if (Path(model_name) / "config.json").is_file() else "",
        )
        super().__init__(model_name, f"vllm://{identity}", None, [], config)
        subject = subject_of(f"af-vllm/{model_name}", settings.identity)
        self._subject = subject.model_copy(update={"organism": settings.applied.organism})
        self._client: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None
        self._renderer: Renderer | None = None
        self._preparing: Future[_Ready] | None = None

    @property
    def subject(self) -> Subject:
        return self._subject

    @property
    def treatments(self) -> tuple[Treatment, ...]:
        return self._settings.applied.treatments

    @property
    def server(self) -> Server:
        """The server that this condition shares with others of its base."""
        return self._server

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> tuple[ModelOutput, ModelCall]:
        if tools:
            raise ConfigError("af-vllm has no tools; use Inspect's vllm/ for agents")
        body = request_body(config, steer=self._steer())
        ready = await asyncio.wrap_future(self._prepared())
        rendered = ready.renderer.render(input, provider="af-vllm")
        body |= {"model": ready.model, "prompt": rendered.ids}
        if body.get("max_tokens") is None:  # vLLM's own default is 16
            room = (ready.info.max_model_len or 0) - len(rendered.ids)
            body["max_tokens"] = room if room > 0 else _DEFAULT_MAX_TOKENS
        answer = await self._ask(ready.endpoint, body)
        name = f"af-vllm/{self.model_name}"
        if isinstance(answer, str):
            output = ModelOutput.from_content(name, "", "model_length", answer)
            output.usage = ModelUsage()
        else:
            output = _output(name, answer, rendered, ready.renderer, config)
        replies = [] if isinstance(answer, str) else [_tokens(choice) for choice in answer["choices"]]
        output.metadata = rendered.output_metadata(replies) | (
            {"dtype": ready.info.dtype} if ready.info.dtype else {}
        )
        return output, ModelCall.create(body, None if isinstance(answer, str) else answer)

    def should_retry(self, ex: BaseException) -> bool:
        """Where the connection broke and the server is still there; never an error that would come again."""
        import httpx

        if isinstance(ex, httpx.HTTPStatusError):
            return ex.response.status_code in (429, 503)
        return isinstance(ex, httpx.TransportError) and not isinstance(ex, httpx.TimeoutException)

    def max_connections(self) -> int:
        """As many as the server batches. It holds where adaptive connections are switched off."""
        options = dict(self._settings.launch.options)
        given = options.get("max-num-seqs", "")
        return int(given) if given.isdigit() and int(given) > 0 else _DEFAULT_CONNECTIONS

    def connection_key(self) -> str:
        """All conditions of a server share its places, so that they mix in its batches."""
        return f"af-vllm {id(self._server)}"

    async def aclose(self) -> None:
        """Closes the connections; the server stays for other instances until Python exits."""
        client, self._client = self._client, None
        if client is not None:
            await client[1].aclose()

    def _prepared(self) -> Future[_Ready]:
        """Where to send a request and the name to ask for, once all is there that the condition needs.

        A start takes minutes. The thread that waits is one for all requests and not one of those that Inspect
        writes logs in; and Python, where it is interrupted meanwhile, does not wait for it at exit.
        """
        if self._preparing is None or self._preparing.done():
            found: Future[_Ready] = Future()
            found.set_running_or_notify_cancel()  # a request that is cancelled does not cancel it for others
            self._preparing = found

            def run() -> None:
                try:
                    found.set_result(self._ready())
                except BaseException as error:  # noqa: BLE001  # whatever it is, the requests get it
                    found.set_exception(error)

            threading.Thread(target=run, name="af-vllm", daemon=True).start()
        return self._preparing

    def _ready(self) -> _Ready:
        endpoint, info, _ = self._server.running()
        steered, file = self._settings.applied.steered, self._settings.vector_file
        if steered is not None and file is not None:
            self._server.vector(steered.vector.sha256, file)
        if self._renderer is None:
            self._renderer = Renderer(load_tokenizer(*self._settings.tokenizer), self._settings.template)
        return _Ready(endpoint, info, self._server.adapter(self._settings.applied.adapters), self._renderer)

    def _steer(self) -> str | None:
        steered = self._settings.applied.here().steered
        if steered is None:
            return None
        return steering_text([SteeringTerm(steered.vector.sha256, steered.multiplier, steered.layers)])

    async def _ask(self, endpoint: Endpoint, body: dict[str, Any]) -> dict[str, Any] | str:
        """The server's answer, or its words where the prompt does not fit into the context."""
        import httpx

        try:
            response = await self._connected(endpoint).post("/v1/completions", json=body)
        except httpx.TransportError:
            await self._check_alive()
            raise
        answer = Answer(response.status_code, response.text)
        if answer.status == 400:
            return _refused(answer.message)
        if answer.status == 401:
            raise ConfigError(
                f"the vLLM server at {endpoint.url} refuses the key; give its own by VLLM_API_KEY"
            )
        if answer.status >= 500:
            await self._check_alive()
        response.raise_for_status()
        found: dict[str, Any] = response.json()
        return found

    async def _check_alive(self) -> None:
        # Of an engine that has died its server hears at once, and ends a little later.
        await run_sync(partial(self._server.check_alive, wait=5.0), limiter=CapacityLimiter(1))

    def _connected(self, endpoint: Endpoint) -> httpx.AsyncClient:
        """A client of the running event loop; Inspect may run one eval after another, each with its own."""
        import httpx

        loop = asyncio.get_running_loop()
        if self._client is None or self._client[0] is not loop:
            client = httpx.AsyncClient(
                base_url=endpoint.url,
                headers={"Authorization": f"Bearer {endpoint.key}"},
                timeout=self._settings.request_timeout,
                limits=httpx.Limits(max_connections=None),
                trust_env=False,  # loopback is never sent through a proxy
            )
            self._client = (loop, client)
        return self._client[1]


class _Ready(NamedTuple):
    """What a request needs once the server runs."""

    endpoint: Endpoint
    info: ServerInfo
    model: str
    """Name under which the condition's adapters, or the base, are served."""
    renderer: Renderer


__all__ = ["VLLMAPI", "ServerError"]


def _refused(text: str) -> str:
    if "max_tokens" in text and "cannot be greater than" in text:
        # A mistake of the settings, which as a reply would make every sample one that was cut.
        raise ConfigError(
            f"the vLLM server refuses the request: {text} Give a smaller --max-tokens or a larger "
            "-M max_model_len"
        )
    if "maximum context length" in text:
        return text
    raise TreatmentError(f"the vLLM server refuses the request: {text}")


def _output(
    name: str, answer: Mapping[str, Any], rendered: Rendered, renderer: Renderer, config: GenerateConfig
) -> ModelOutput:
    """One completion of vLLM as Inspect has it; replies are read from their token ids."""
    choices = []
    for choice in sorted(answer["choices"], key=lambda one: one["index"]):
        tokens, reason, stopped_by = choice["token_ids"], choice["finish_reason"], choice.get("stop_reason")
        stop_reason: StopReason = "stop"
        if reason == "length":
            # vLLM says so at both limits; a reply shorter than `max_tokens` met the other one.
            full = config.max_tokens is None or len(tokens) < config.max_tokens
            stop_reason = "model_length" if full else "max_tokens"
        stop = config.stop_seqs or () if isinstance(stopped_by, str) else ()
        choices.append(
            ChatCompletionChoice(
                message=ChatMessageAssistant(
                    content=renderer.content(tokens, opened=rendered.opened, stop=stop),
                    model=name,
                    source="generate",
                ),
                stop_reason=stop_reason,
                logprobs=_logprobs(choice["logprobs"], renderer, config, len(_tokens(choice)))
                if choice.get("logprobs")
                else None,
            )
        )
    usage = answer["usage"]
    return ModelOutput(
        model=name,
        choices=choices,
        usage=ModelUsage(
            input_tokens=usage["prompt_tokens"],
            output_tokens=usage["completion_tokens"],
            total_tokens=usage["total_tokens"],
        ),
    )


def _tokens(choice: Mapping[str, Any]) -> list[int]:
    """The tokens before the one that ended the reply."""
    ended = choice["finish_reason"] == "stop" and not isinstance(choice.get("stop_reason"), str)
    tokens: list[int] = choice["token_ids"]
    return tokens[: len(tokens) - ended]


def _logprobs(found: Mapping[str, Any], renderer: Renderer, config: GenerateConfig, count: int) -> Logprobs:
    """Log-probabilities of the tokens before the one that ended the reply."""

    def token(text: str) -> str:
        return renderer.token(int(text.removeprefix("token_id:")))

    content = []
    for drawn, logprob, likeliest in zip(
        found["tokens"][:count], found["token_logprobs"], found["top_logprobs"], strict=False
    ):
        ranked = sorted((likeliest or {}).items(), key=lambda item: -item[1])[: config.top_logprobs or 0]
        top = [TopLogprob(token=token(one), logprob=value) for one, value in ranked]
        content.append(Logprob(token=token(drawn), logprob=logprob, top_logprobs=top or None))
    return Logprobs(content=content)


# These change what a model says, and are not passed on: an answer without them would be another experiment's.
_REFUSED = ("best_of", "prompt_logprobs")
_IGNORED = ("effort", "reasoning_effort", "reasoning_mode", "reasoning_tokens", "verbosity")
_OF_CHATS = (
    "add_generation_prompt",
    "chat_template",
    "chat_template_kwargs",
    "continue_final_message",
    "messages",
)


def request_body(config: GenerateConfig, *, steer: str | None) -> dict[str, Any]:
    """The request without model and prompt; what is not set is left to the server.

    Args:
        config: Inspect's; its `extra_body` is passed on.
        steer: The condition as the plugin reads it, None where nothing is added.

    Raises:
        ConfigError: An option that changes replies and is not offered; or `extra_body` steers or captures
            past the provider, so that no log would say so, asks for beam search, in which vLLM loses a
            request's condition, or speaks of chats, which are rendered here.
    """
    for name in _REFUSED:
        value = getattr(config, name, None)
        if value and not (name == "best_of" and value == 1):
            raise ConfigError(f"af-vllm has no {name} (given {value!r}); leave it out")
    if ignored := [name for name in _IGNORED if getattr(config, name, None) is not None]:
        warnings.warn(
            f"af-vllm ignores {', '.join(ignored)}; vLLM's own options go into extra_body", stacklevel=2
        )
    extra = dict(config.extra_body or {})
    arguments = extra.get("vllm_xargs") or {}
    if not isinstance(arguments, Mapping):
        raise ConfigError(f"extra_body vllm_xargs={arguments!r}; an object of names and values is needed")
    if own := [name for name in (STEER_ARGUMENT, CAPTURE_ARGUMENT, PROBE_ARGUMENT) if name in arguments]:
        raise ConfigError(
            f"extra_body names {own[0]}, which no log would record as a treatment; give -M vector=FILE and "
            "-M multiplier= instead"
        )
    if extra.get("use_beam_search"):
        raise ConfigError("extra_body use_beam_search: vLLM steers no beam search; leave it out")
    if chats := [name for name in _OF_CHATS if name in extra]:
        raise ConfigError(
            f"extra_body {chats[0]}: chats are rendered by af-vllm, not by the server; give "
            "-M template_args.NAME=VALUE or -M chat_template=FILE. An assistant message last is continued"
        )
    if steer is not None:
        extra["vllm_xargs"] = {**arguments, STEER_ARGUMENT: steer}
    schema = config.response_schema
    named = {
        "max_tokens": config.max_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "seed": config.seed,
        "stop": config.stop_seqs,
        "n": config.num_choices,
        "frequency_penalty": config.frequency_penalty,
        "presence_penalty": config.presence_penalty,
        "logit_bias": config.logit_bias,
        "logprobs": (config.top_logprobs or 0) if config.logprobs or config.top_logprobs else None,
        "response_format": None
        if schema is None
        else {
            "type": "json_schema",
            "json_schema": {
                "name": schema.name,
                "schema": schema.json_schema.model_dump(exclude_none=True),
                "strict": schema.strict,
            },
        },
    }
    given = {name: value for name, value in named.items() if value is not None}
    return {**given, **extra, "return_token_ids": True, "return_tokens_as_token_ids": True}
