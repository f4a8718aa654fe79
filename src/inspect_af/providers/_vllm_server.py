"""A vLLM server as conditions use it: one for all conditions of a base, with their adapters and vectors."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
import threading
from pathlib import Path

from inspect_af.errors import TreatmentError
from inspect_af.providers._vllm_adapters import ZERO, max_rank, served, served_name, zero_adapter
from inspect_af.providers._vllm_http import Endpoint, load_adapter, probe, served_models
from inspect_af.providers._vllm_process import WORKSPACE_VARIABLE, ServerError, ServerProcess, start
from inspect_af.providers._vllm_settings import Launch
from inspect_af.providers.vllm_plugin.wire import ServerInfo
from inspect_af.sdf.adapters import Adapter, adapter_digest, check_effect
from inspect_af.sdf.base_model import BaseFiles, base_directory

_NAME = "af-base"
_MOST_ADAPTERS_IN_A_BATCH = 16


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
        self._ready: set[str] = set()

    def announce(self, adapters: tuple[Adapter, ...]) -> None:
        """Says, before the server is started, that a condition will use these adapters."""
        with self._lock:
            self._conditions.setdefault(served_name(adapters) if adapters else "", adapters)

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
        process, attached = self.process, self._attached
        endpoint = process.endpoint if process is not None else attached
        if endpoint is None:
            return
        healthy = endpoint.call("GET", "/health").status == 200
        if process is not None:
            if not healthy:
                process.wait_for_end(wait)
            process.check_alive()
        if not healthy:
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
                load_adapter(endpoint, name, str(self._adapter_path(adapters)))
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
                partial = directory / f"{sha256}.{os.getpid()}.partial"
                partial.write_bytes(content)
                partial.replace(directory / f"{sha256}.safetensors")
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
                workspace=self._workspace(),
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
        folders = ("vectors", "captures") if self.launch.capture else ("vectors",)
        for name in folders:
            self._folder(name)
        settings = {"af": {name: f"${WORKSPACE_VARIABLE}/{name}" for name in folders}}
        command = [self.launch.python, "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", self.launch.model, "--served-model-name", _NAME]
        command += ["--additional-config", json.dumps(settings)]
        for name, value in (self._dtype() | self._options()).items():
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

    def _options(self) -> dict[str, str]:
        given = dict(self.launch.options)
        adapters = [one for one in self._conditions.values() if one]
        if not adapters or "no-enable-lora" in given:
            return given
        n_served = len(adapters) + 1
        return {
            "enable-lora": "",
            "max-lora-rank": str(max_rank(adapters)),
            "max-loras": str(min(n_served, _MOST_ADAPTERS_IN_A_BATCH)),
            "max-cpu-loras": str(max(n_served, _MOST_ADAPTERS_IN_A_BATCH)),
            **given,
        }

    def _adapter_path(self, adapters: tuple[Adapter, ...]) -> Path:
        for adapter in adapters:
            if adapter_digest(adapter.path) != adapter.digest:
                raise TreatmentError(f"adapter {adapter.path} has changed since it was read; start again")
            # A base of the Hub may have come with the start of the server.
            if directory := base_directory(self.launch.model, dict(self.launch.options).get("revision")):
                check_effect(adapter.path, BaseFiles(directory))
        if adapters:
            return served(adapters, self._folder("adapters")).path
        for known in self._conditions.values():
            if known:
                return zero_adapter(known[0], self._folder("adapters")).path
        raise TreatmentError(
            "on CPU the base is served through an adapter of zeros beside other adapters, and none is known "
            "yet to take its shape from; name a condition with an adapter first"
        )

    def _workspace(self) -> Path:
        """A directory that is readable to this user only and goes when the server does."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="inspect-af-vllm-"))
        return self._directory

    def _folder(self, name: str) -> Path:
        found = self._workspace() / name
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
