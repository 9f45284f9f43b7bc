"""A chat server on loopback that fails as it is told to, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from visift.core.files import sha256_json


def completion(
    text: str | None, finish: str = "stop", prompt_tokens: int = 100, reply_tokens: int = 10
) -> dict[str, Any]:
    return {
        "id": "x", "object": "chat.completion", "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": reply_tokens, "total_tokens": prompt_tokens + reply_tokens},
    }  # fmt: skip


class Faulty:
    """`plan` gives, for the n-th call (from 0) and its body, what to do: a string or completion to reply with, or
    ("status", code, headers, body), ("cut",), ("half",), ("slow", seconds, text), ("drip", seconds between bytes), ("raw", bytes)."""

    def __init__(self, plan: Callable[[int, dict[str, Any]], Any], delay: float = 0.0) -> None:
        self.plan, self.delay = plan, delay
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.answered: list[tuple[float, str]] = []  # when, and the body's hash
        self.busy = self.busiest = 0
        self.lock = threading.Lock()
        self.url = ""

    @property
    def calls(self) -> int:
        return len(self.bodies)


def _handler(state: Faulty) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            state.paths.append(self.path)
            self.send(200, {}, json.dumps({"object": "list", "data": [{"id": "only-model"}]}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with state.lock:
                number = len(state.bodies)
                state.bodies.append(body)
                state.times.append(time.monotonic())
                state.keys.append(self.headers.get("authorization"))
                state.paths.append(self.path)
                state.busy += 1
                state.busiest = max(state.busiest, state.busy)
            try:
                time.sleep(state.delay)
                self.act(state.plan(number, body), sha256_json(body))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client is gone
            finally:
                with state.lock:
                    state.busy -= 1

        def act(self, action: Any, key: str) -> None:
            if isinstance(action, str | dict):
                row = completion(action) if isinstance(action, str) else action
                self.send(200, {}, json.dumps(row).encode())
                state.answered.append((time.monotonic(), key))
            elif action[0] == "status":
                _, code, headers, row = action
                self.send(code, headers, json.dumps(row).encode())
            elif action[0] == "cut":
                self.close_connection = True
                self.connection.close()
            elif action[0] == "half":
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{")
                self.wfile.flush()
                self.close_connection = True
            elif action[0] == "drip":
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n")
                for _ in range(50):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(action[1])
            elif action[0] == "slow":
                time.sleep(action[1])
                self.act(action[2], key)
            elif action[0] == "raw":
                self.send(200, {}, action[1])

        def send(self, code: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response(code)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    return Handler


@contextmanager
def serving(plan: Callable[[int, dict[str, Any]], Any], delay: float = 0.0) -> Iterator[Faulty]:
    state = Faulty(plan, delay)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    server.block_on_close = False
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
