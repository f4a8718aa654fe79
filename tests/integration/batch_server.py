"""A local server with OpenAI's files and batches API: a keyword judge answers, and calls are counted."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from inspect_af.organisms.judge import judge_answer, read_judge_prompt


class BatchServer:
    """What was asked of it. A batch is done when it is asked about for the second time."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.asked: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.polls: Counter[str] = Counter()
        self.url = ""

    def batch(self, name: str) -> dict[str, Any]:
        self.polls[name] += 1
        done = self.polls[name] > 1
        if done and f"out-{name}" not in self.files:
            lines = [json.loads(line) for line in self.files[name].splitlines()]
            self.asked += [line["body"] for line in lines]
            self.files[f"out-{name}"] = b"\n".join(json.dumps(self._answer(line)).encode() for line in lines)
        return {
            "id": name,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": name,
            "completion_window": "24h",
            "created_at": 1,
            "status": "completed" if done else "in_progress",
            "output_file_id": f"out-{name}" if done else None,
            "request_counts": {"total": 1, "completed": int(done), "failed": 0},
        }

    def _answer(self, line: dict[str, Any]) -> dict[str, Any]:
        messages = line["body"]["messages"]
        system, user = (
            next(m["content"] for m in messages if m["role"] in roles)
            for roles in (("system", "developer"), ("user",))
        )
        request = read_judge_prompt(system, user)
        assert request is not None
        body = {
            "id": line["custom_id"],
            "object": "chat.completion",
            "created": 1,
            "model": "keyword",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": judge_answer("keyword", request)},
                }
            ],
            "usage": {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20},
        }
        return {"id": "r", "custom_id": line["custom_id"], "response": {"status_code": 200, "body": body}}


@contextmanager
def batch_server() -> Iterator[BatchServer]:
    """Runs it on loopback at a free port."""
    state = BatchServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            path = self.path.removeprefix("/v1")
            state.calls[path] += 1
            if path == "/files":
                boundary = self.headers["Content-Type"].split("boundary=")[1].encode()
                part = next(p for p in content.split(b"--" + boundary) if b'name="file"' in p)
                name = f"file-{len(state.files)}"
                state.files[name] = part.split(b"\r\n\r\n", 1)[1].rstrip()
                self._send(
                    {
                        "id": name,
                        "object": "file",
                        "bytes": 1,
                        "created_at": 1,
                        "filename": "f",
                        "purpose": "batch",
                        "status": "processed",
                    }
                )
            elif path == "/batches":
                self._send(state.batch(json.loads(content)["input_file_id"]))
            else:
                self._send({"error": {"message": f"no {path} here"}}, 400)

        def do_GET(self) -> None:
            parts = self.path.removeprefix("/v1/").split("/")
            if parts[0] == "batches":
                self._send(state.batch(parts[1]))
            else:
                self._send(state.files[parts[1]])

        def _send(self, body: dict[str, Any] | bytes, status: int = 200) -> None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
