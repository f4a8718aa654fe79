"""The few blocking calls to a vLLM server: is it up, has it the plugin, take this adapter."""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from inspect_af.errors import ConfigError, TreatmentError
from inspect_af.providers.vllm_plugin.wire import PROBE_ARGUMENT, PROBE_MARK, ServerInfo


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    """0 where nobody answered."""
    text: str

    @property
    def message(self) -> str:
        """The message of an error, as vLLM words it."""
        try:
            found = json.loads(self.text)
            return str(found.get("error", found).get("message", self.text))
        except (ValueError, AttributeError):
            return self.text


class Endpoint(NamedTuple):
    """Where a server is, and the key to it."""

    url: str
    """Without `/v1`."""
    key: str

    def call(
        self, method: Literal["GET", "POST"], path: str, body: object = None, *, timeout: float = 30.0
    ) -> Answer:
        """One request; loopback is never sent through a proxy."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=timeout) as response:
                return Answer(response.status, response.read().decode("utf-8", "replace"))
        except HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode("utf-8", "replace"))
        except (URLError, OSError) as error:
            return Answer(0, str(error))


def served_models(endpoint: Endpoint) -> tuple[str, ...]:
    """Names of the base model and the adapters that are served.

    Raises:
        ConfigError: Nobody answers, the key is wrong, or it is no such server.
    """
    answer = endpoint.call("GET", "/v1/models")
    if answer.status == 401:
        raise ConfigError(
            f"the server at {endpoint.url} refuses the key; give its own by the environment variable "
            "VLLM_API_KEY"
        )
    if answer.status != 200:
        why = answer.text if answer.status == 0 else f"status {answer.status}"
        raise ConfigError(f"no vLLM server answers at {endpoint.url} ({why}); check base_url")
    try:
        found: list[dict[str, Any]] = json.loads(answer.text)["data"]
        return tuple(str(entry["id"]) for entry in found)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"what answers at {endpoint.url} is no vLLM server ({answer.text[:100]!r}); check base_url"
        ) from error


def probe(endpoint: Endpoint, model: str) -> ServerInfo:
    """Asks a server whether it has the plugin, and what it can do.

    Raises:
        TreatmentError: It has not, or was started without asking for it.
    """
    body = {"model": model, "prompt": "x", "max_tokens": 1, "vllm_xargs": {PROBE_ARGUMENT: "1"}}
    answer = endpoint.call("POST", "/v1/completions", body, timeout=300)
    _, mark, text = answer.message.partition(PROBE_MARK)
    if answer.status == 400 and mark:
        try:
            return ServerInfo.from_coded(text.partition(":")[0])
        except ValueError as error:
            raise TreatmentError(
                f"the server at {endpoint.url} has another version of inspect_af's plugin ({error}); install "
                "the same version there and here"
            ) from error
    reason = answer.message[:300] if answer.status != 200 else "it generated, as stock vLLM does"
    raise TreatmentError(
        f"the vLLM server at {endpoint.url} does not run inspect_af's plugin ({reason}); it would ignore "
        "vectors. Install inspect-af in its environment and start it with --additional-config "
        '\'{"af": {"vectors": "DIR"}}\' and VLLM_USE_V2_MODEL_RUNNER=0, or leave base_url out'
    )


def load_adapter(endpoint: Endpoint, name: str, path: str) -> None:
    """Makes a server offer an adapter under a name; one that is there already is fine.

    Raises:
        TreatmentError: The server does not take it.
    """
    answer = endpoint.call(
        "POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path}, timeout=600
    )
    if answer.status == 200 or "already been loaded" in answer.message or "already loaded" in answer.message:
        return
    hint = "start the server with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
    raise TreatmentError(
        f"the vLLM server does not take the adapter {path} (status {answer.status}): "
        f"{hint if answer.status == 404 and 'Not Found' in answer.message else answer.message[:500]}"
    )
