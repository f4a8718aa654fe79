"""The model provider `af-vllm/MODEL`: stock vLLM with our plugin; conditions mix in one batch of one server.

`MODEL` is an id of the Hugging Face Hub or a local directory (`af-vllm//absolute/path`).
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    ModelAPI,
    ModelCall,
    ModelOutput,
    ModelUsage,
    messages_to_openai,
    model_output_from_openai,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from inspect_af.digests import text_digest
from inspect_af.errors import ConfigError, MissingExtraError, TreatmentError
from inspect_af.logs.headers import subject_of
from inspect_af.providers._model_paths import check_model_path
from inspect_af.providers._vllm_http import Endpoint
from inspect_af.providers._vllm_process import ServerError
from inspect_af.providers._vllm_requests import extra_body, request_body
from inspect_af.providers._vllm_server import Server, server_for
from inspect_af.providers._vllm_settings import read_vllm_settings
from inspect_af.providers.vllm_plugin.wire import SteeringTerm, steering_text
from inspect_af.sdf.adapters import check_base, check_effect
from inspect_af.sdf.base_model import BaseFiles, base_digest, base_directory
from inspect_af.types import Subject, Treatment

if TYPE_CHECKING:
    from openai import AsyncOpenAI, BadRequestError
    from openai.types.chat import ChatCompletion

_DEFAULT_CONNECTIONS = 256


class VLLMAPI(ModelAPI):
    """A model served by vLLM behind Inspect's provider interface.

    Arguments (`-M`): `adapter`, `adapter_role`, `intervention`, `intervention_pair`, `vector`, `multiplier`
    and `layers` as for af-hf; `base_url` to use a server that runs already; `server_python`, `server_log`,
    `port`, `start_timeout`, `request_timeout`, `capture`, `thinking`. All others are vLLM's own options, such
    as `tensor_parallel_size=4`.

    No server is started before the first generation. All instances with the same model and the same options
    share one; it ends when Python does.

    Raises:
        ConfigError: An argument has a value that is not allowed, or a directory does not exist.
        TreatmentError: An adapter or a vector cannot be used.
        MissingExtraError: The openai package is not installed.
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
        directory = base_directory(model_name, settings.identity.get("revision"))
        if directory is not None and not (directory / "config.json").is_file():
            directory = None
        for adapter in settings.applied.adapters:
            if directory is not None:
                check_base(
                    adapter,
                    directory,
                    name=model_name,
                    directory=directory,
                    any_name=settings.applied.any_base,
                    override="-M adapter_base=any",
                )
                check_effect(adapter.path, BaseFiles(directory))
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
            str(settings.thinking),
            "" if attached is None else attached.url,
            base_digest(directory) if directory is not None and Path(model_name).is_dir() else "",
        )
        super().__init__(model_name, f"vllm://{identity}", None, [], config)
        subject = subject_of(
            f"af-vllm/{model_name}",
            settings.identity | ({} if settings.thinking is None else {"thinking": settings.thinking}),
        )
        self._subject = subject.model_copy(update={"organism": settings.applied.organism})
        self._client: tuple[asyncio.AbstractEventLoop, AsyncOpenAI] | None = None
        self._preparing: Future[tuple[Endpoint, str]] | None = None

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
        extra = extra_body(config, steer=self._steer(), thinking=self._settings.thinking)
        endpoint, model = await asyncio.wrap_future(self._prepared())
        body = request_body(model, config) | {"messages": await messages_to_openai(input)}
        completion = await self._complete(endpoint, body, extra)
        if isinstance(completion, ModelOutput):
            return completion, ModelCall.create(body | extra, None)
        output = await model_output_from_openai(completion)
        output.model = f"af-vllm/{self.model_name}"
        for choice in output.choices:
            choice.message.model = output.model
        _mark_full_context(output, config)
        return output, ModelCall.create(body | extra, completion.model_dump())

    def should_retry(self, ex: BaseException) -> bool:
        """Where the connection broke and the server is still there; never an error that would come again."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        if isinstance(ex, APIStatusError):
            return ex.status_code in (429, 503)
        return isinstance(ex, APIConnectionError) and not isinstance(ex, APITimeoutError)

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
            await client[1].close()

    def _prepared(self) -> Future[tuple[Endpoint, str]]:
        """Where to send a request and the name to ask for, once all is there that the condition needs.

        A start takes minutes. The thread that waits is one for all requests and not one of those that Inspect
        writes logs in; and Python, where it is interrupted meanwhile, does not wait for it at exit.
        """
        if self._preparing is None or self._preparing.done():
            found: Future[tuple[Endpoint, str]] = Future()
            found.set_running_or_notify_cancel()  # a request that is cancelled does not cancel it for others
            self._preparing = found

            def run() -> None:
                try:
                    found.set_result(self._ready())
                except BaseException as error:  # noqa: BLE001  # whatever it is, the requests get it
                    found.set_exception(error)

            threading.Thread(target=run, name="af-vllm", daemon=True).start()
        return self._preparing

    def _ready(self) -> tuple[Endpoint, str]:
        endpoint, _, _ = self._server.running()
        steered, file = self._settings.applied.steered, self._settings.vector_file
        if steered is not None and file is not None:
            self._server.vector(steered.vector.sha256, file)
        return endpoint, self._server.adapter(self._settings.applied.adapters)

    def _steer(self) -> str | None:
        steered = self._settings.applied.here().steered
        if steered is None:
            return None
        return steering_text([SteeringTerm(steered.vector.sha256, steered.multiplier, steered.layers)])

    async def _complete(
        self, endpoint: Endpoint, body: dict[str, Any], extra: dict[str, Any]
    ) -> ChatCompletion | ModelOutput:
        from openai import APIConnectionError, AuthenticationError, BadRequestError, InternalServerError

        client = self._connected(endpoint)
        try:
            found: ChatCompletion = await client.chat.completions.create(**body, extra_body=extra)
            return found
        except BadRequestError as error:
            return self._refused(error)
        except AuthenticationError as error:
            raise ConfigError(
                f"the vLLM server at {endpoint.url} refuses the key; give its own by VLLM_API_KEY"
            ) from error
        except (APIConnectionError, InternalServerError):
            # Of an engine that has died its server hears at once, and ends a little later.
            await run_sync(partial(self._server.check_alive, wait=5.0), limiter=CapacityLimiter(1))
            raise

    def _refused(self, error: BadRequestError) -> ModelOutput:
        message = error.body.get("message") if isinstance(error.body, dict) else None
        text = str(message or error)
        if "max_tokens" in text and "cannot be greater than" in text:
            # A mistake of the settings, which as a reply would make every sample one that was cut.
            raise ConfigError(
                f"the vLLM server refuses the request: {text} Give a smaller --max-tokens or a larger "
                "-M max_model_len"
            ) from error
        if "maximum context length" in text:
            output = ModelOutput.from_content(f"af-vllm/{self.model_name}", "", "model_length", text)
            output.usage = ModelUsage()
            return output
        raise TreatmentError(f"the vLLM server refuses the request: {text}") from error

    def _connected(self, endpoint: Endpoint) -> AsyncOpenAI:
        """A client of the running event loop; Inspect may run one eval after another, each with its own."""
        try:
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient
        except ImportError as error:
            raise MissingExtraError(
                "af-vllm needs the openai package; pip install 'inspect-af[vllm]'"
            ) from error
        loop = asyncio.get_running_loop()
        if self._client is None or self._client[0] is not loop:
            client = AsyncOpenAI(
                base_url=f"{endpoint.url}/v1",
                api_key=endpoint.key,
                max_retries=0,
                timeout=self._settings.request_timeout,
                # Without the environment's proxies, as `Endpoint.call` does.
                http_client=DefaultAsyncHttpxClient(mounts=dict.fromkeys(("http://", "https://"))),
            )
            self._client = (loop, client)
        return self._client[1]


__all__ = ["VLLMAPI", "ServerError"]


def _mark_full_context(output: ModelOutput, config: GenerateConfig) -> None:
    """vLLM says `length` at both limits; a reply shorter than `max_tokens` met the other one."""
    used = output.usage.output_tokens if output.usage else 0
    if len(output.choices) != 1 or output.stop_reason != "max_tokens":
        return
    if config.max_tokens is None or used < config.max_tokens:
        output.choices[0].stop_reason = "model_length"
