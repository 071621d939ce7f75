"""A node between the client and the real one, which can lie, hang or lose what passes through."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

Answer = Callable[[str, list[Any]], bytes | None]
"""Takes method and parameters; gives the reply's bytes, or None to let the real node answer."""


@contextmanager
def relay(url: str, answer: Answer, status: int = 200, headers: dict[str, str] | None = None) -> Iterator[str]:
    """URL of a relay to ``url`` that asks ``answer`` first."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = json.loads(body)
            reply = answer(request["method"], request["params"])
            if reply is None:
                reply = requests.post(url, data=body, headers={"Content-Type": "application/json"}, timeout=30).content
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                return  # the client was killed, or had read enough

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.socket.close()  # not server_close(), which waits for hanging requests


def result(value: object) -> bytes:
    """A JSON-RPC reply."""
    return json.dumps({"jsonrpc": "2.0", "id": 0, "result": value}).encode()
