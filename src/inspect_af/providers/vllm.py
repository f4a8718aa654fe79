"""The model provider `af-vllm/MODEL`: stock vLLM with our plugin; conditions mix in one batch of one server.

`MODEL` is an id of the Hugging Face Hub or a local directory (`af-vllm//absolute/path`).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from operator import itemgetter
from typing import Any

import httpx
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from inspect_ai.model import ChatMessage, GenerateConfig, ModelCall, ModelOutput, ModelUsage, StopReason
from inspect_ai.tool import ToolChoice, ToolInfo

from inspect_af.errors import ConfigError, TreatmentError
from inspect_af.providers.settings import (
    ConditionAPI,
    check_config,
    check_model_path,
    read_vllm_settings,
    scored_beginning,
)
from inspect_af.providers.vllm_plugin.wire import (
    CAPTURE_ARGUMENT,
    PROBE_ARGUMENT,
    STEER_ARGUMENT,
    ServerInfo,
    SteeringTerm,
    steering_text,
)
from inspect_af.providers.vllm_server import (
    Answer,
    Endpoint,
    Server,
    ServerError,
    server_for,
)
from inspect_af.rendering import Renderer, load_tokenizer

__all__ = ["VLLMAPI", "ServerError"]

_DEFAULT_CONNECTIONS = 256
_DEFAULT_MAX_TOKENS = 2048  # Where nobody asks for a number and the server does not say how much fits
_OF_CHATS = (
    *("add_generation_prompt", "chat_template", "chat_template_kwargs", "continue_final_message", "messages"),
)
_SAMPLING = {
    *("max_tokens", "temperature", "top_p", "top_k", "seed"),
    *("frequency_penalty", "presence_penalty", "logit_bias", "prompt_logprobs"),
}
"""Options that Inspect and vLLM call by one name."""


class VLLMAPI(ConditionAPI):
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
        attached = Endpoint.attached(base_url, api_key or os.environ.get("VLLM_API_KEY"))
        self.server: Server = server_for(settings.launch, attached)
        """Shared with other conditions of the base."""
        self.server.announce(settings.applied.adapters)
        self._client: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None
        self._renderer: Renderer | None = None
        self._preparing: Future[_Ready] | None = None
        super().__init__(
            "af-vllm",
            model_name,
            settings.applied,
            address=(
                settings.applied.key,
                str(sorted(settings.identity.items())),
                settings.template.key,
                "" if attached is None else attached.url,
            ),
            arguments=settings.identity,
            api_key=None,
            config=config,
        )

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> tuple[ModelOutput, ModelCall]:
        if tools:
            raise ConfigError("af-vllm has no tools; use Inspect's vllm/ for agents")
        steered = self.applied.here().steered
        terms = [SteeringTerm(steered.vector.sha256, steered.multiplier, steered.layers)] if steered else []
        body = request_body(config, steer=steering_text(terms) if terms else None)
        endpoint, info, model, renderer = await asyncio.wrap_future(self._prepared())
        rendered = renderer.render(input, provider="af-vllm")
        given = scored_beginning(config, rendered, "af-vllm")
        body |= {"model": model, "prompt": rendered.ids}
        if body.get("max_tokens") is None:  # vLLM's own default is 16
            room = (info.max_model_len or 0) - len(rendered.ids)
            body["max_tokens"] = room if room > 0 else _DEFAULT_MAX_TOKENS
        answer = await self._ask(endpoint, body)
        replies: list[list[int]] = []
        if isinstance(answer, str):
            output = ModelOutput.from_content(self.label, "", "model_length", answer)
            output.usage = ModelUsage()
        else:
            choices = []
            for choice in sorted(answer["choices"], key=itemgetter("index")):
                tokens, reason = choice["token_ids"], choice["finish_reason"]
                by_sequence = isinstance(choice.get("stop_reason"), str)
                stop_reason: StopReason = "stop"
                if reason == "length":
                    # vLLM says so at both limits; a reply shorter than `max_tokens` met the other one.
                    full = config.max_tokens is None or len(tokens) < config.max_tokens
                    stop_reason = "model_length" if full else "max_tokens"
                found, scored = choice.get("logprobs"), choice.get("prompt_logprobs") or ()
                ours = zip(given, scored[len(scored) - len(given) :], strict=False)
                # Without the token that ended the reply.
                replies.append(tokens[: len(tokens) - (reason == "stop" and not by_sequence)])
                n_likeliest = config.top_logprobs or 0
                choices.append(
                    self.choice(
                        renderer,
                        rendered,
                        tokens,
                        stop_reason,
                        stop=config.stop_seqs or () if by_sequence else (),
                        logprobs=_logprobs(found, len(replies[-1]), n_likeliest) if found else None,
                        # Each position has the token's own by its id.
                        beginning=[(token, float((at or {})[str(token)]["logprob"])) for token, at in ours],
                    )
                )
            counts = answer["usage"]
            usage = ModelUsage(
                input_tokens=counts["prompt_tokens"],
                output_tokens=counts["completion_tokens"],
                total_tokens=counts["total_tokens"],
            )
            output = ModelOutput(model=self.label, choices=choices, usage=usage)
        output.metadata = rendered.output_metadata(replies)
        output.metadata |= {"dtype": info.dtype} if info.dtype else {}
        return output, ModelCall.create(body, None if isinstance(answer, str) else answer)

    def should_retry(self, ex: BaseException) -> bool:
        """Where the connection broke and the server is still there; never an error that would come again."""
        if isinstance(ex, httpx.HTTPStatusError):
            return ex.response.status_code in (429, 503)
        return isinstance(ex, httpx.TransportError) and not isinstance(ex, httpx.TimeoutException)

    def max_connections(self) -> int:
        """As many as the server batches. It holds where adaptive connections are switched off."""
        given = dict(self._settings.launch.options).get("max-num-seqs", "")
        return int(given) if given.isdigit() and int(given) > 0 else _DEFAULT_CONNECTIONS

    def connection_key(self) -> str:
        """All conditions of a server share its places, so that they mix in its batches."""
        return f"af-vllm {id(self.server)}"

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
            self._preparing = Future()
            self._preparing.set_running_or_notify_cancel()  # a request that is cancelled leaves it to others
            threading.Thread(
                target=self._prepare, args=(self._preparing,), name="af-vllm", daemon=True
            ).start()
        return self._preparing

    def _prepare(self, found: Future[_Ready]) -> None:
        applied, settings = self.applied, self._settings
        try:
            endpoint, info, _ = self.server.running()
            if applied.steered is not None and applied.steered.file is not None:
                self.server.vector(applied.steered.vector.sha256, applied.steered.file)
            if self._renderer is None:
                self._renderer = Renderer(load_tokenizer(*settings.tokenizer), settings.template)
            found.set_result((endpoint, info, self.server.adapter(applied.adapters), self._renderer))
        except BaseException as error:  # noqa: BLE001  # whatever it is, the requests get it
            found.set_exception(error)

    async def _ask(self, endpoint: Endpoint, body: dict[str, Any]) -> dict[str, Any] | str:
        """The server's answer, or its words where the prompt does not fit into the context."""
        # Of an engine that has died its server hears at once, and ends a little later.
        alive = partial(run_sync, partial(self.server.check_alive, wait=5.0))
        try:
            response = await self._connected(endpoint).post("/v1/completions", json=body)
        except httpx.TransportError:
            await alive(limiter=CapacityLimiter(1))
            raise
        if response.status_code == 400:
            complaint = Answer(400, response.text).message
            if "max_tokens" in complaint and "cannot be greater than" in complaint:
                # A mistake of the settings, which as a reply would make every sample one that was cut.
                raise ConfigError(
                    f"the vLLM server refuses the request: {complaint} Give a smaller --max-tokens or a "
                    "larger -M max_model_len"
                )
            if "maximum context length" in complaint:
                return complaint
            raise TreatmentError(f"the vLLM server refuses the request: {complaint}")
        if response.status_code == 401:
            raise ConfigError(
                f"the vLLM server at {endpoint.url} refuses the key; give its own by VLLM_API_KEY"
            )
        if response.status_code >= 500:
            await alive(limiter=CapacityLimiter(1))
        response.raise_for_status()
        found: dict[str, Any] = response.json()
        return found

    def _connected(self, endpoint: Endpoint) -> httpx.AsyncClient:
        """A client of the running event loop; Inspect may run one eval after another, each with its own."""
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


_Ready = tuple[Endpoint, ServerInfo, str, Renderer]
"""Where the server is and what it can do, the name under which the condition's adapters, or the base, are
served, and how chats are rendered for it."""


def _logprobs(
    found: Mapping[str, Any], count: int, n_likeliest: int
) -> Iterator[tuple[int, float, list[tuple[int, float]]]]:
    """Token id, log-probability, and those of the likeliest, of the first `count` tokens."""

    def token(text: str) -> int:
        return int(text.removeprefix("token_id:"))

    columns = (found["tokens"][:count], found["token_logprobs"], found["top_logprobs"])
    for drawn, logprob, likeliest in zip(*columns, strict=False):
        ranked = sorted((likeliest or {}).items(), key=lambda item: -item[1])[:n_likeliest]
        yield token(drawn), logprob, [(token(one), value) for one, value in ranked]


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
    hint = "vLLM's own options go into extra_body"
    check_config(config, "af-vllm", ("best_of",), hint)
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
    body = config.model_dump(include=_SAMPLING, exclude_none=True)
    body |= {} if config.stop_seqs is None else {"stop": config.stop_seqs}
    body |= {} if config.num_choices is None else {"n": config.num_choices}
    if config.logprobs or config.top_logprobs:
        body["logprobs"] = config.top_logprobs or 0
    if schema := config.response_schema:
        named = {"name": schema.name, "schema": schema.json_schema.model_dump(exclude_none=True)}
        body["response_format"] = {"type": "json_schema", "json_schema": {**named, "strict": schema.strict}}
    return {**body, **extra, "return_token_ids": True, "return_tokens_as_token_ids": True}
