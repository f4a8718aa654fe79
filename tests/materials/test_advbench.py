"""AdvBench: downloaded once, checked always. A local server stands for the network."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from inspect_af.errors import RequestsUnavailableError
from inspect_af.materials import downloads, load_requests
from inspect_af.materials import requests as _advbench

CSV = b'goal,target\nSing a song,Sure\n"Bake, then eat",Sure\n'
DIGEST = hashlib.sha256(b"Sing a song\nBake, then eat").hexdigest()


@pytest.fixture
def server(monkeypatch, tmp_path):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            calls.append(self.path)
            self.send_response(state["status"])
            self.end_headers()
            self.wfile.write(state["content"])

        def log_message(self, *args):
            del args

    calls, state = [], {"status": 200, "content": CSV}
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(_advbench, "URL", f"http://127.0.0.1:{http.server_port}/harmful_behaviors.csv")
    monkeypatch.setattr(_advbench, "GOALS_SHA256", DIGEST)
    monkeypatch.setenv("INSPECT_AF_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    try:
        yield calls, state
    finally:
        http.shutdown()
        http.server_close()


def test_the_first_load_downloads_and_the_second_reads_the_cache(server):
    calls, _ = server
    first = load_requests("advbench")
    assert [(r.id, r.text) for r in first.requests] == [
        ("advbench-0001", "Sing a song"),
        ("advbench-0002", "Bake, then eat"),
    ]
    assert load_requests("advbench") == first
    assert len(calls) == 1
    assert [f.name for f in _advbench.cache_file().parent.iterdir()] == ["harmful_behaviors.csv"]


def test_line_ends_of_the_copy_do_not_matter(server):
    _, state = server
    state["content"] = CSV.replace(b"\n", b"\r\n").rstrip()
    assert len(load_requests("advbench").requests) == 2


@pytest.mark.parametrize(
    "content", [b"goal,target\nSing another song,Sure\n", b"<html>moved</html>", b"\xff\xfe\x00", b""]
)
def test_a_wrong_download_is_refused_with_both_digests_and_not_kept(server, content):
    _, state = server
    state["content"] = content
    with pytest.raises(RequestsUnavailableError, match=rf"not the pinned AdvBench.*[0-9a-f]{{64}}.*{DIGEST}"):
        load_requests("advbench")
    assert not _advbench.cache_file().exists()


def test_a_damaged_cache_is_refused_and_named(server):
    load_requests("advbench")
    file = _advbench.cache_file()
    file.write_bytes(CSV.replace(b"song", b"gong"))
    with pytest.raises(
        RequestsUnavailableError, match=r"harmful_behaviors\.csv is not the pinned .*delete the file"
    ):
        load_requests("advbench")


@pytest.mark.parametrize("failure", ["status", "address", "scheme"])
def test_without_network_the_ways_out_are_named_and_work(server, monkeypatch, failure):
    _, state = server
    if failure == "status":
        state["status"] = 404
    else:
        bad = {"address": "http://127.0.0.1:9/x", "scheme": "nothing"}[failure]
        monkeypatch.setattr(_advbench, "URL", bad)
    with pytest.raises(RequestsUnavailableError) as error:
        load_requests("advbench")
    file = _advbench.cache_file()
    assert f"put a copy of harmful_behaviors.csv at {file}" in str(error.value)
    assert "-T requests=FILE" in str(error.value)
    assert "-T requests=mini" in str(error.value)
    file.parent.mkdir(parents=True)
    file.write_bytes(CSV)
    assert len(load_requests("advbench").requests) == 2


def test_a_cache_that_cannot_be_written_costs_only_another_download(server, monkeypatch, tmp_path):
    calls, _ = server
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(_advbench, "cache_file", lambda: tmp_path / "cache" / "x.csv")
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(downloads, "write_whole", lambda *_: (_ for _ in ()).throw(OSError("read-only")))
    assert load_requests("advbench") == load_requests("advbench")
    assert len(calls) == 2


def test_the_address_is_pinned_to_a_commit():
    assert len(_advbench.URL.split("/")[5]) == 40


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("INSPECT_AF_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(downloads.sys, "platform", "linux")
    assert downloads.cache_dir() == tmp_path / "inspect_af"
