"""The server's process, with a small stand-in for vLLM: faults at the start, and nobody left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inspect_af.errors import ConfigError, MissingExtraError, TreatmentError
from inspect_af.providers import vllm_server, vllm_supervisor
from inspect_af.providers.settings import read_vllm_settings
from inspect_af.providers.vllm_server import (
    WORKSPACE_VARIABLE,
    Endpoint,
    Server,
    ServerError,
    ServerProcess,
    probe,
    served_models,
    start,
)

STAND_IN = """
import json, os, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("worker", child.pid, flush=True)
print("arguments", sys.argv[1:], flush=True)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        allowed = self.headers["Authorization"] == "Bearer " + os.environ["VLLM_API_KEY"]
        status = 200 if allowed or self.path == "/health" else 401
        self.answer(status, {"data": [{"id": "base"}]})
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, {"choices": []})
    def answer(self, status, body):
        self.send_response(status); self.end_headers(); self.wfile.write(json.dumps(body).encode())
    def log_message(self, *args): pass
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> list[str]:
    file = tmp_path / "stand_in.py"
    file.write_text(STAND_IN, encoding="utf-8")
    return [sys.executable, str(file)]


@pytest.fixture
def started(stand_in: list[str], tmp_path: Path) -> Iterator[ServerProcess]:
    server = launched(stand_in, tmp_path / "log")
    yield server
    server.end()


def launched(command: list[str], log: Path, port: int | None = None, timeout: float = 60) -> ServerProcess:
    workspace = log.parent / "workspace"
    workspace.mkdir(exist_ok=True)
    return start(command, name="base", model="m", port=port, log=log, workspace=workspace, timeout=timeout)


def worker_of(log: Path) -> int:
    line = next(line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("worker"))
    return int(line.split()[1])


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_the_server_listens_on_loopback_with_a_key_that_no_command_line_shows(
    started: ServerProcess, tmp_path: Path
) -> None:
    assert served_models(started.endpoint) == ("base",)
    assert started.endpoint.url.startswith("http://127.0.0.1:")
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert "--host', '127.0.0.1'" in log and started.endpoint.key not in log
    supervisor = Path(f"/proc/{started.pid}/cmdline").read_bytes().decode()
    assert started.endpoint.key not in supervisor


def test_a_wrong_key_is_said_to_be_one(started: ServerProcess) -> None:
    with pytest.raises(ConfigError, match="refuses the key"):
        served_models(Endpoint(started.endpoint.url, "wrong"))


def test_a_server_without_the_plugin_is_told_apart(started: ServerProcess) -> None:
    with pytest.raises(TreatmentError, match=r"does not run inspect_af's plugin .it generated"):
        probe(started.endpoint, "base")


def test_nobody_at_the_address_is_said_so() -> None:
    with pytest.raises(ConfigError, match="no vLLM server answers"):
        served_models(Endpoint("http://127.0.0.1:9", "key"))


def test_ending_a_server_ends_its_workers_too(stand_in: list[str], tmp_path: Path) -> None:
    server = launched(stand_in, tmp_path / "log")
    worker = worker_of(tmp_path / "log")
    assert is_running(worker)
    server.end()
    assert eventually(lambda: not is_running(worker))


def test_a_server_that_was_killed_is_a_clear_error_at_once_and_leaves_no_worker(
    started: ServerProcess, tmp_path: Path
) -> None:
    started.check_alive()
    leader = int(
        Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text(encoding="utf-8").split()[0]
    )
    os.kill(leader, signal.SIGKILL)
    assert eventually(lambda: not started.is_alive)
    with pytest.raises(ServerError, match=f"status {128 + signal.SIGKILL}; its log: {tmp_path / 'log'}"):
        started.check_alive()
    assert eventually(lambda: not is_running(worker_of(tmp_path / "log")))


def test_a_taken_port_is_refused(stand_in: list[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="is taken by another process"):
            launched(stand_in, tmp_path / "log", port=taken.getsockname()[1])


def test_a_port_that_is_lost_on_the_way_is_chosen_again(
    stand_in: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1], vllm_server._free_port()])
        monkeypatch.setattr(vllm_server, "_free_port", lambda: next(ports))
        server = launched(stand_in, tmp_path / "log")
        server.end()
    assert next(ports, None) is None


def test_a_port_at_which_somebody_elses_server_answers_is_chosen_again(
    started: ServerProcess, stand_in: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = iter([int(started.endpoint.url.rpartition(":")[2]), vllm_server._free_port()])
    monkeypatch.setattr(vllm_server, "_free_port", lambda: next(ports))
    server = launched(stand_in, tmp_path / "other log")
    assert server.endpoint.url != started.endpoint.url
    server.end()
    started.check_alive()


def test_two_starts_have_one_command_line_so_that_what_was_compiled_is_used_again() -> None:
    settings = read_vllm_settings("m", {"capture": True, "max_num_seqs": 4})
    first, second = Server(settings.launch, None), Server(settings.launch, None)
    try:
        assert first._command() == second._command()
        assert first._folder() != second._folder()
        assert sorted(path.name for path in first._folder().iterdir()) == ["captures", "vectors"]
    finally:
        first.close()
        second.close()
    assert not first._directory and not second._directory


def test_a_server_finds_its_directory_and_the_plugin_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_PLUGINS", "another")
    monkeypatch.setenv("VLLM_RAY_EXTRA_ENV_VARS_TO_COPY", "MINE")
    found = vllm_server._environment("key", tmp_path)
    assert found[WORKSPACE_VARIABLE] == str(tmp_path)
    assert found["VLLM_PLUGINS"] == "another,inspect_af"
    assert found["VLLM_RAY_EXTRA_ENV_VARS_TO_COPY"] == f"MINE,{WORKSPACE_VARIABLE}"
    monkeypatch.delenv("VLLM_PLUGINS")
    assert "VLLM_PLUGINS" not in vllm_server._environment("key", tmp_path)


def test_a_crash_at_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('inspect_af: not with micro-batching'); raise SystemExit(3)"]
    with pytest.raises(ServerError, match=r"(?s)status 3; its log: .*not with micro-batching"):
        launched(command, tmp_path / "log")


def test_a_missing_vllm_names_the_extra(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise ImportError(\"No module named 'vllm'\")"]
    with pytest.raises(MissingExtraError, match=r"inspect-af\[vllm\]"):
        launched(command, tmp_path / "log")


def test_a_crash_of_another_kind_is_not_taken_for_a_missing_vllm(tmp_path: Path) -> None:
    program = "print(\"No module named 'vllm._C'\"); print('out of memory'); raise SystemExit(1)"
    with pytest.raises(ServerError, match="out of memory"):
        launched([sys.executable, "-c", program], tmp_path / "log")


def test_a_server_that_hangs_at_start_is_given_up_and_ended(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "import time, os; print('worker', os.getpid(), flush=True); time.sleep(600)",
    ]
    with pytest.raises(ServerError, match="was not up after"):
        launched(command, tmp_path / "log", timeout=10)
    assert not is_running(worker_of(tmp_path / "log"))


def test_a_server_ends_though_a_forked_process_holds_its_pipe_open(
    stand_in: list[str], tmp_path: Path
) -> None:
    server = launched(stand_in, tmp_path / "log")
    assert server._process.stdin is not None
    held = os.dup(server._process.stdin.fileno())  # as a process forked from this one has it
    try:
        began = time.monotonic()
        server.end()
        assert time.monotonic() - began < vllm_supervisor.GRACE_SECONDS
    finally:
        os.close(held)
    assert eventually(lambda: not is_running(worker_of(tmp_path / "log")))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_server_outlives_whoever_started_it(
    stand_in: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    program = f"""
import signal, sys, time
from pathlib import Path
from inspect_af.providers.vllm_server import start
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs deaf to it
folder = Path({str(tmp_path)!r})
(folder / "workspace").mkdir()
paths = dict(log=folder / "log", workspace=folder / "workspace")
start({stand_in!r}, name="base", model="m", port=None, timeout=60, **paths)
print("up", flush=True)
time.sleep(600)
"""
    starter = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert starter.stdout is not None and starter.stdout.readline() == b"up\n"
    worker = worker_of(tmp_path / "log")
    starter.send_signal(number)
    starter.wait()
    starter.stdout.close()
    assert eventually(lambda: not is_running(worker))
    assert eventually(lambda: not (tmp_path / "workspace").exists())
    assert (tmp_path / "log").exists()


def test_a_start_that_failed_is_not_tried_again_by_each_condition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # nobody waits for the hub
    fails, count = tmp_path / "python", tmp_path / "count"
    fails.write_text(f"#!/bin/sh\necho once >> {count}\necho out of memory\nexit 1\n", encoding="utf-8")
    fails.chmod(0o755)
    server = Server(read_vllm_settings("m", {"server_python": str(fails)}).launch, None)
    try:
        for _ in range(3):
            with pytest.raises(ServerError, match="out of memory"):
                server.running()
        assert count.read_text(encoding="utf-8") == "once\n"
    finally:
        server.close()
    with pytest.raises(ServerError, match="out of memory"):
        server.running()  # closed on purpose, it may be tried again
    assert count.read_text(encoding="utf-8") == "once\nonce\n"
    server.close()


def test_a_run_that_is_interrupted_while_the_server_starts_ends_at_once(tmp_path: Path) -> None:
    hangs = tmp_path / "python"
    hangs.write_text("#!/bin/sh\necho worker $$\nexec sleep 600\n", encoding="utf-8")
    hangs.chmod(0o755)
    program = f"""
import asyncio, signal
from inspect_ai.model import get_model
signal.signal(signal.SIGINT, signal.default_int_handler)
files = dict(server_python={str(hangs)!r}, server_log={str(tmp_path / "log")!r})
model = get_model("af-vllm/m", memoize=False, **files)

async def ask():
    await asyncio.gather(*(model.generate("hello") for _ in range(50)))

asyncio.run(ask())
"""
    run = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    log = tmp_path / "log"
    assert eventually(lambda: log.exists() and "worker" in log.read_text(encoding="utf-8"), 60)
    run.send_signal(signal.SIGINT)
    try:
        assert run.wait(timeout=45) != 0
    finally:
        run.kill()
        run.wait()
    assert eventually(lambda: not is_running(worker_of(log)))


def test_a_worker_that_ignores_requests_to_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignores = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    stubborn = f"import signal, time; {ignores}; print(1, flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None and child.stdout.readline()
    vllm_supervisor.end_group(child, grace=0.3)
    child.stdout.close()
    assert child.returncode == -signal.SIGKILL
