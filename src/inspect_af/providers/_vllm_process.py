"""The process of a vLLM server of our own: started under a supervisor, waited for, ended; its log is kept."""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from inspect_af.errors import ConfigError, InspectAFError, MissingExtraError
from inspect_af.providers import _vllm_supervisor
from inspect_af.providers._vllm_http import Endpoint, served_models

_ATTEMPTS = 3
_TAIL_LINES = 15
WORKSPACE_VARIABLE = "INSPECT_AF_VLLM_WORKSPACE"
"""Where the server finds its directory. The path is another at each start; among the arguments it would enter
the key of vLLM's compile cache, and every start would compile the model again."""
_NOT_INSTALLED = re.compile(r"No module named '?vllm'?(?![\w.])")


class ServerError(InspectAFError, RuntimeError):
    """A vLLM server did not start, or has ended."""


class ServerProcess:
    """One running server. It listens on loopback, under a random key that it is given by environment."""

    def __init__(self, process: subprocess.Popen[bytes], endpoint: Endpoint, log: Path) -> None:
        self.endpoint = endpoint
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """Of the supervisor, whose only child leads the server's process group."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def check_alive(self) -> None:
        """Raises where the server has ended.

        Raises:
            ServerError: It has; the message has the end of its log.
            MissingExtraError: It has, since vLLM is not installed.
        """
        status = self._process.poll()
        if status is None:
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
        shown = "\n".join(dict.fromkeys([*telling, *lines[-_TAIL_LINES:]]))
        raise ServerError(f"the vLLM server has ended with status {status}; its log: {self.log}\n{shown}")

    def wait_for_end(self, seconds: float) -> None:
        """Gives a server whose engine has died the time to end by itself."""
        deadline = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)

    def end(self) -> None:
        """Ends the server and all of its processes."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        # A process that was forked from this one may hold the other end of the pipe as well.
        self._process.terminate()
        try:
            self._process.wait(timeout=_vllm_supervisor.GRACE_SECONDS + 5)
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
    if port is not None and _is_taken(port):
        raise ConfigError(f"port {port} is taken by another process; leave port out to get a free one")
    for attempt in range(_ATTEMPTS):
        started = _start([*command, "--host", "127.0.0.1"], port or _free_port(), log, workspace)
        try:
            _wait(started, name, model, timeout, given_up or threading.Event())
            return started
        except BaseException as error:
            started.end()
            # Between finding a free port and using it, somebody may have been faster.
            raced = isinstance(error, ServerError) and "ddress already in use" in error.message
            if not raced or port is not None or attempt == _ATTEMPTS - 1:
                raise
    raise ServerError(f"no free port was found in {_ATTEMPTS} attempts; give port=")


def _start(command: Sequence[str], port: int, log: Path, workspace: Path) -> ServerProcess:
    endpoint = Endpoint(f"http://127.0.0.1:{port}", secrets.token_urlsafe(32))
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    process = subprocess.Popen(
        [sys.executable, _vllm_supervisor.__file__, str(log), str(workspace), *command, "--port", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_environment(endpoint.key, workspace),
        start_new_session=True,
    )
    return ServerProcess(process, endpoint, log)


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
            found = _models(started.endpoint)
            if name in found:
                return
            if found:
                raise ServerError(f"another server answers at {started.endpoint.url}: Address already in use")
        if waited > timeout:
            raise ServerError(
                f"the vLLM server was not up after {waited:.0f} s (start_timeout); its log: {started.log}"
            )
        if waited - told >= 30:
            told = waited
            print(f"af-vllm: {waited:.0f} s, starting vLLM with {model}; log: {started.log}", file=sys.stderr)
        if given_up.wait(0.5):
            raise ServerError("the vLLM server was ended while it started")


def _models(endpoint: Endpoint) -> tuple[str, ...]:
    """Empty for somebody else's server: the key is ours alone, and our server ends for lack of a port."""
    try:
        return served_models(endpoint)
    except ConfigError:
        return ()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _is_taken(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
