"""A stand-in for a vLLM server with the plugin: answers as one does, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from inspect_af.providers.vllm_plugin.wire import PROBE_ARGUMENT, PROBE_MARK, ServerInfo

KEY = "the key"
INFO = ServerInfo(
    version="1",
    model="base",
    d_model=16,
    n_layers=1,
    layers=(0,),
    vectors=None,
    captures=None,
    device="cuda",
    lora=True,
    max_lora_rank=64,
    max_num_seqs=4,
    max_model_len=512,
    dtype="bfloat16",
)


class StandIn:
    """The server's address and what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, Any]] = []
        self.refusal: str | None = None
        """With this message completions are refused, where it is not None."""
        self.tokenizer = ""
        """Directory of the tokenizer that its clients use."""
        self.tokens: list[int] = []
        """Token ids of every reply."""
        self.gate = threading.Event()
        """Nothing is answered before it is set."""
        self.gate.set()

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        self.gate.wait(60)
        self.asked.append((path, body))
        if path == "/v1/models":
            return 200, {"data": [{"id": "base"}]}
        if path == "/v1/completions" and PROBE_ARGUMENT in body.get("vllm_xargs", {}):
            return 400, {"error": {"message": f"{PROBE_MARK}{INFO.coded}:"}}
        if path == "/v1/completions" and self.refusal is not None:
            return 400, {"error": {"message": self.refusal, "code": 400}}
        if path == "/v1/completions":
            return 200, _completion(body["model"], self.tokens)
        return 200, {}


@contextmanager
def stand_in() -> Iterator[StandIn]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(None)

        def do_POST(self) -> None:
            self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def reply(self, body: Any) -> None:
            if self.headers["Authorization"] != f"Bearer {KEY}":
                status, content = 401, {"error": "Unauthorized"}
            else:
                status, content = found.answer(self.path, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = StandIn(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        found.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _completion(model: str, tokens: list[int]) -> dict[str, Any]:
    choice = {"index": 0, "text": "", "token_ids": tokens, "finish_reason": "stop", "stop_reason": None}
    return {
        "id": "1",
        "object": "text_completion",
        "created": 0,
        "model": model,
        "choices": [{**choice, "logprobs": None}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
