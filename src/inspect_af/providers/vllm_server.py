"""A vLLM server as conditions use it: one for all conditions of a base, with their adapters and vectors.

Its process is started under a supervisor and waited for; it listens on loopback under a random key. A server
that runs already is asked whether it has the plugin.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import httpx

from inspect_af.config import write_whole
from inspect_af.errors import ConfigError, InspectAFError, MissingExtraError, TreatmentError
from inspect_af.format import say
from inspect_af.providers import vllm_supervisor
from inspect_af.providers.settings import Launch, check_unchanged
from inspect_af.providers.vllm_plugin.wire import PROBE_ARGUMENT, PROBE_MARK, ServerInfo
from inspect_af.sdf.adapters import (
    CONFIG,
    WEIGHTS,
    Adapter,
    adapter_config,
    adapter_digest,
    check_effect,
    refuse_other_base,
)
from inspect_af.sdf.base_model import BaseFiles, base_directory

WORKSPACE_VARIABLE = "INSPECT_AF_VLLM_WORKSPACE"
"""Where the server finds its directory. The path is another at each start; among the arguments it would enter
the key of vLLM's compile cache, and every start would compile the model again."""
ZERO = "af-zero"  # Name of the adapter that changes nothing
_NAME = "af-base"
_ATTEMPTS = 3
_TAIL_LINES = 15
_MOST_ADAPTERS_IN_A_BATCH = 16
_NOT_INSTALLED = re.compile(r"No module named '?vllm'?(?![\w.])")
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # Ranks that vLLM can be started for


class ServerError(InspectAFError, RuntimeError):
    """A vLLM server did not start, or has ended."""


class Answer(NamedTuple):
    """What a server answered."""

    status: int  # 0 where nobody answered
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

    url: str  # Without `/v1`
    key: str

    @classmethod
    def attached(cls, base_url: str | None, key: str | None) -> Endpoint | None:
        """A server that runs already, as a user names it; None where none is named."""
        return None if base_url is None else cls(base_url.rstrip("/").removesuffix("/v1"), key or "none")

    def call(
        self, method: Literal["GET", "POST"], path: str, body: object = None, *, timeout: float = 30.0
    ) -> Answer:
        """One request; loopback is never sent through a proxy."""
        headers = {"Authorization": f"Bearer {self.key}"}
        # Certificates take longer to load than loopback takes to answer.
        secure = self.url.startswith("https")
        try:
            with httpx.Client(timeout=timeout, trust_env=False, verify=secure) as client:
                response = client.request(method, self.url + path, json=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Answer(0, str(error))
        return Answer(response.status_code, response.text)


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
        return tuple(str(entry["id"]) for entry in json.loads(answer.text)["data"])
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


class ServerProcess:
    """One running server. It listens on loopback, under a random key that it is given by environment."""

    def __init__(self, command: Sequence[str], port: int, log: Path, workspace: Path) -> None:
        self.endpoint = Endpoint(f"http://127.0.0.1:{port}", secrets.token_urlsafe(32))
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        address = ("--host", "127.0.0.1", "--port", str(port))
        self._process = subprocess.Popen(
            [sys.executable, vllm_supervisor.__file__, str(log), str(workspace), *command, *address],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_environment(self.endpoint.key, workspace),
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Of the supervisor, whose only child leads the server's process group."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def check_alive(self, *, wait: float = 0.0) -> None:
        """Raises where the server has ended, or does so while it is waited for, in seconds.

        Raises:
            ServerError: It has; the message has the end of its log.
            MissingExtraError: It has, since vLLM is not installed.
        """
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(wait)
        if self.is_alive:
            return
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        if any(_NOT_INSTALLED.search(line) for line in lines):
            raise MissingExtraError(
                "vLLM is not installed in that environment; pip install 'inspect-af[vllm]', or name the one "
                "that has it: server_python=ENV/bin/python"
            )
        telling = [line for line in lines if "inspect_af:" in line or "Error:" in line][-3:]
        end = "\n".join(dict.fromkeys([*telling, *lines[-_TAIL_LINES:]]))
        raise ServerError(
            f"the vLLM server has ended with status {self._process.returncode}; its log: {self.log}\n{end}"
        )

    def end(self) -> None:
        """Ends the server and all of its processes."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        # A process that was forked from this one may hold the other end of the pipe as well.
        self._process.terminate()
        try:
            self._process.wait(timeout=vllm_supervisor.GRACE_SECONDS + 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start(
    command: Sequence[str],
    *,
    name: str,
    model: str,
    port: int | None,
    log: Path,
    workspace: Path,
    timeout: float,
    given_up: threading.Event | None = None,
) -> ServerProcess:
    """Starts a server and waits until it answers.

    Args:
        command: Command line without host and port.
        name: Under which it serves its base model.
        model: What to call the model while waiting.
        port: Port to listen on; None for a free one.
        log: File for everything that it prints.
        workspace: Directory of this server, which it finds in `WORKSPACE_VARIABLE`. Removed if this process
            is killed.
        timeout: Seconds to wait.
        given_up: Set by another thread to end the start.

    Raises:
        ConfigError: The port is taken.
        ServerError: It did not start, or not in time.
        MissingExtraError: vLLM is not installed.
    """
    if port is not None:
        try:
            _free_port(port)
        except OSError:
            raise ConfigError(
                f"port {port} is taken by another process; leave port out to get a free one"
            ) from None
    for attempts_left in reversed(range(_ATTEMPTS)):
        started = ServerProcess(command, port or _free_port(), log, workspace)
        try:
            _wait(started, name, model, timeout, given_up or threading.Event())
            break
        except BaseException as error:
            started.end()
            # Between finding a free port and using it, somebody may have been faster.
            raced = isinstance(error, ServerError) and "ddress already in use" in error.message
            if not raced or port is not None or not attempts_left:
                raise
    return started


def _environment(key: str, workspace: Path) -> dict[str, str]:
    found = {
        "VLLM_USE_V2_MODEL_RUNNER": "0",
        "VLLM_NO_USAGE_STATS": "1",
        **os.environ,
        "VLLM_API_KEY": key,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        WORKSPACE_VARIABLE: str(workspace),
    }
    # Lists of the user's that would leave out the plugin, or the workspace on workers that Ray starts.
    if "VLLM_PLUGINS" in found:
        found["VLLM_PLUGINS"] = f"{found['VLLM_PLUGINS']},inspect_af".lstrip(",")
    copied = found.get("VLLM_RAY_EXTRA_ENV_VARS_TO_COPY", "")
    found["VLLM_RAY_EXTRA_ENV_VARS_TO_COPY"] = f"{copied},{WORKSPACE_VARIABLE}".lstrip(",")
    return found


def _wait(started: ServerProcess, name: str, model: str, timeout: float, given_up: threading.Event) -> None:
    began, told = time.monotonic(), 0.0
    while True:
        waited = time.monotonic() - began
        started.check_alive()
        if started.endpoint.call("GET", "/health", timeout=5).status == 200:
            # The key is ours alone, and our server ends where another one has its port.
            with suppress(ConfigError):
                if name in served_models(started.endpoint):
                    return
                raise ServerError(f"another server answers at {started.endpoint.url}: Address already in use")
        if waited > timeout:
            raise ServerError(
                f"the vLLM server was not up after {waited:.0f} s (start_timeout); its log: {started.log}"
            )
        if waited - told >= 30:
            told = waited
            say(f"af-vllm: {waited:.0f} s, starting vLLM with {model}; log: {started.log}", err=True)
        if given_up.wait(0.5):
            raise ServerError("the vLLM server was ended while it started")


def _free_port(wanted: int = 0) -> int:
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("127.0.0.1", wanted))
        return int(found.getsockname()[1])


def served_name(adapters: Sequence[Adapter]) -> str:
    """`af-DIGEST`, of several adapters their digests joined by hyphens."""
    return f"af-{'-'.join(adapter.digest for adapter in adapters)}"


def served(adapters: Sequence[Adapter], directory: Path) -> Path:
    """One adapter for a condition: its only one as it is, several composed into `directory`.

    vLLM scales all modules of an adapter alike, so one with patterns of rank or alpha is written anew too.

    Raises:
        TreatmentError: They cannot be composed.
        MissingExtraError: torch is not installed, which composing needs.
    """
    config = adapter_config(adapters[0].path)
    if len(adapters) == 1 and not (config.get("rank_pattern") or config.get("alpha_pattern")):
        return adapters[0].path.resolve()
    target = directory / served_name(adapters)
    if not target.exists():
        from inspect_af.sdf.combine import compose

        compose([adapter.path for adapter in adapters], target)
    return target


def zero_adapter(like: Adapter, directory: Path) -> Path:
    """An adapter of the same shapes whose numbers are all zero; of any dtype, without torch."""
    target = directory / ZERO
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(like.path / CONFIG, target / CONFIG)
    content = (like.path / WEIGHTS).read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    (target / WEIGHTS).write_bytes(content[:header] + bytes(len(content) - header))
    return target


def max_rank(conditions: Iterable[Sequence[Adapter]]) -> int:
    """The smallest rank that vLLM can be started for and that fits all conditions; composed ranks add up.

    Raises:
        TreatmentError: One is larger than vLLM offers.
    """
    needed = max(sum(rank(adapter) for adapter in adapters) for adapters in conditions)
    if needed > _RANKS[-1]:
        raise TreatmentError(
            f"the adapters of one condition have rank {needed} together; vLLM serves at most {_RANKS[-1]}. "
            "Merge the organism into the base"
        )
    return next(offered for offered in _RANKS if offered >= needed)


def rank(adapter: Adapter) -> int:
    """Largest rank of an adapter's modules."""
    config = adapter_config(adapter.path)
    return int(max([config.get("r", 8), *(config.get("rank_pattern") or {}).values()]))


class Server:
    """One server and what it has been given so far. Methods block; they may be called from any thread."""

    def __init__(self, launch: Launch, attached: Endpoint | None) -> None:
        self.launch = launch
        self.process: ServerProcess | None = None
        """None before the start, and for a server that was there before."""
        self._attached = attached
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._failure: str | None = None
        self._state: tuple[Endpoint, ServerInfo, str] | None = None
        self._directory: Path | None = None
        self._log = launch.log
        self._conditions: dict[str, tuple[Adapter, ...]] = {}
        """Those with adapters, by the name under which these are served."""
        self._ready: set[str] = set()

    def announce(self, adapters: tuple[Adapter, ...]) -> None:
        """Says, before the server is started, that a condition will use these adapters."""
        with self._lock:
            if adapters:
                self._conditions.setdefault(served_name(adapters), adapters)

    def running(self) -> tuple[Endpoint, ServerInfo, str]:
        """Where the server is, what it can do, and its name for the base; started or found at the first call.

        Raises:
            ServerError: It did not start, or has ended since.
            ConfigError: The port is taken, nobody answers, or the key is wrong.
            TreatmentError: The server that runs already has no plugin, or another model.
            MissingExtraError: vLLM is not installed.
        """
        with self._lock:
            if self._closing.is_set() or _exiting.is_set():
                raise ServerError("the vLLM server is being ended")
            if self._failure is not None:
                raise ServerError(self._failure)
            if self._state is None:
                self._state = self._start() if self._attached is None else self._attach(self._attached)
            elif self.process is not None:
                self.process.check_alive()
            return self._state

    def check_alive(self, *, wait: float = 0.0) -> None:
        """Raises where the server has ended, or reports that its engine has.

        Args:
            wait: Seconds in which a server whose engine has died may end by itself, so that its log is whole.

        Raises:
            ServerError: It has.
        """
        process = self.process
        endpoint = self._attached if process is None else process.endpoint
        healthy = endpoint is None or endpoint.call("GET", "/health").status == 200
        if process is not None:
            process.check_alive(wait=0.0 if healthy else wait)
        if endpoint is not None and not healthy:
            where = f"; its log: {process.log}" if process is not None else ""
            raise ServerError(f"the vLLM server at {endpoint.url} is gone, or its engine is{where}")

    def adapter(self, adapters: tuple[Adapter, ...]) -> str:
        """The name under which a condition's adapters are served, loaded where they are not yet.

        Raises:
            TreatmentError: The server does not take them.
        """
        with self._lock:
            endpoint, info, base = self.running()
            if adapters and not info.lora:
                raise TreatmentError(
                    "the vLLM server was started without adapters, since no condition with one was known "
                    "then; name all conditions in one eval-set, or give each enable_lora=true and "
                    "max_lora_rank="
                )
            if not adapters and not (info.lora and info.device == "cpu"):
                return base
            name = served_name(adapters) if adapters else ZERO
            if name not in self._ready:
                body = {"lora_name": name, "lora_path": str(self._adapter_path(adapters))}
                answer = endpoint.call("POST", "/v1/load_lora_adapter", body, timeout=600)
                if answer.status != 200 and not re.search("already (been )?loaded", answer.message):
                    why = answer.message[:500]
                    if answer.status == 404 and "Not Found" in why:
                        why = "start the server with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
                    raise TreatmentError(
                        f"the vLLM server does not take the adapter {body['lora_path']} "
                        f"(status {answer.status}): {why}"
                    )
                self._ready.add(name)
            return name

    def vector(self, sha256: str, file: Path) -> None:
        """Copies a vector file to where the server finds it, if that is a directory here.

        Raises:
            TreatmentError: The file has another content than when it was read.
        """
        with self._lock:
            _, info, _ = self.running()
            if sha256 in self._ready or info.vectors is None:
                return
            directory = Path(info.vectors)
            if directory.is_dir():
                content = file.read_bytes()
                if hashlib.sha256(content).hexdigest() != sha256:
                    raise TreatmentError(f"vector {file} has changed since it was read; start again")
                write_whole(directory / f"{sha256}.safetensors", [content])
            self._ready.add(sha256)

    def close(self) -> None:
        """Ends a server of our own; one that was there before is left alone."""
        self._closing.set()  # a thread that waits for its start, or for an adapter, lets the lock go
        with self._lock:
            process, self.process = self.process, None
            if process is not None:
                ended_well = process.is_alive
                process.end()
                if ended_well and self.launch.log is None:
                    process.log.unlink(missing_ok=True)
                    self._log = None
            if self._directory is not None:
                shutil.rmtree(self._directory, ignore_errors=True)
            self._state = self._directory = self._failure = None
            self._ready.clear()
            self._closing.clear()

    def _start(self) -> tuple[Endpoint, ServerInfo, str]:
        check_unchanged(self.launch.model, self.launch.base)
        if self._log is None:
            # Not in the workspace, which goes when the server does: after a failure somebody reads it.
            handle, path = tempfile.mkstemp(prefix="inspect-af-vllm-", suffix=".log")
            os.close(handle)
            self._log = Path(path)
        try:
            process = start(
                self._command(),
                name=_NAME,
                model=self.launch.model,
                port=self.launch.port,
                log=self._log,
                workspace=self._folder(),
                timeout=self.launch.start_timeout,
                given_up=self._closing,
            )
        except ServerError as error:
            # Each condition would try for minutes what has failed, one after another.
            self._failure = error.message
            raise
        try:
            info = probe(process.endpoint, _NAME)
        except BaseException:
            process.end()
            raise
        self.process = process
        return process.endpoint, info, _NAME

    def _attach(self, endpoint: Endpoint) -> tuple[Endpoint, ServerInfo, str]:
        names, wanted = served_models(endpoint), self.launch.model
        base = wanted if wanted in names else names[0]
        info = probe(endpoint, base)
        if wanted not in (*names, info.model) and Path(wanted).name != Path(info.model).name:
            raise TreatmentError(
                f"the vLLM server at {endpoint.url} serves {info.model}, not {wanted}; ask for "
                f"af-vllm/{info.model}"
            )
        self._ready.update(names)
        return endpoint, info, base

    def _command(self) -> list[str]:
        """Command line of a server; adapters, vectors and captures lie in the workspace."""
        folders = ("vectors", "captures") if self.launch.capture else ("vectors",)
        for name in folders:
            self._folder(name)
        settings = {"af": {name: f"${WORKSPACE_VARIABLE}/{name}" for name in folders}}
        options = {"model": self.launch.model, "served-model-name": _NAME}
        options |= {"additional-config": json.dumps(settings)} | self._dtype()
        given, adapters = dict(self.launch.options), list(self._conditions.values())
        if adapters and "no-enable-lora" not in given:
            # One place is for the adapter of zeros.
            n_batch, n_all = (f(len(adapters) + 1, _MOST_ADAPTERS_IN_A_BATCH) for f in (min, max))
            options |= {"enable-lora": "", "max-lora-rank": str(max_rank(adapters))}
            options |= {"max-loras": str(n_batch), "max-cpu-loras": str(n_all)}
        command = [self.launch.python, "-m", "vllm.entrypoints.openai.api_server"]
        for name, value in (options | given).items():
            command += [f"--{name}", *([value] if value else [])]
        return command

    def _dtype(self) -> dict[str, str]:
        """The dtype in which the checkpoint was saved, as af-hf uses it; left to itself, vLLM narrows
        float32."""
        revision = dict(self.launch.options).get("revision")
        try:
            from transformers import AutoConfig

            config = AutoConfig.from_pretrained(
                self.launch.model, revision=revision, trust_remote_code=False
            ).get_text_config()
        except (ImportError, OSError, ValueError):  # vLLM itself says what is wrong with the model
            return {}
        dtype = str(getattr(config, "dtype", None)).removeprefix("torch.")
        return {"dtype": dtype} if dtype in ("float32", "bfloat16", "float16") else {}

    def _adapter_path(self, adapters: tuple[Adapter, ...]) -> Path:
        for adapter in adapters:
            if adapter_digest(adapter.path) != adapter.digest:
                raise TreatmentError(f"adapter {adapter.path} has changed since it was read; start again")
            # A base of the Hub may have come with the start of the server.
            if directory := base_directory(self.launch.model, dict(self.launch.options).get("revision")):
                base = BaseFiles(directory)
                check_effect(adapter.path, base)
                refuse_other_base(adapter.path, base)
        if adapters:
            return served(adapters, self._folder("adapters"))
        for known in self._conditions.values():
            return zero_adapter(known[0], self._folder("adapters"))
        raise TreatmentError(
            "on CPU the base is served through an adapter of zeros beside other adapters, and none is known "
            "yet to take its shape from; name a condition with an adapter first"
        )

    def _folder(self, name: str = "") -> Path:
        """A directory in one that is readable to this user only and goes when the server does."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="inspect-af-vllm-"))
        found = self._directory / name
        found.mkdir(exist_ok=True)
        return found


_servers: dict[tuple[Launch, Endpoint | None], Server] = {}
_servers_lock = threading.Lock()
_exiting = threading.Event()


def server_for(launch: Launch, attached: Endpoint | None = None) -> Server:
    """The server that conditions with this launch share; not started yet."""
    with _servers_lock:
        return _servers.setdefault((launch, attached), Server(launch, attached))


def close_servers() -> None:
    """Ends all servers that this process has started; runs when Python exits, too."""
    with _servers_lock:
        found = list(_servers.values())
        _servers.clear()
    for server in found:
        server.close()


@atexit.register
def _at_exit() -> None:
    _exiting.set()
    close_servers()
