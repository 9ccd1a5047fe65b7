"""A real HTTP server on localhost that serves one file, well or badly, and records what it was asked for."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    """Answers each request by the next behaviour of the server's plan; the last one goes on for ever."""

    server: Server

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.ranges.append(self.headers["Range"])
            self.server.paths.append(self.path)
            behaviour = self.server.plan.pop(0) if len(self.server.plan) > 1 else self.server.plan[0]
        with contextlib.suppress(ConnectionError):
            behaviour(self, self.server.content)

    def send_head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keeps the test output clean."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.plan: list[Behaviour] = [whole]
        self.ranges: list[str | None] = []
        self.paths: list[str] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def serving(content: bytes) -> Iterator[Server]:
    """Yields a running server of the content."""
    with Server(content) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


def _start(handler: Handler) -> int:
    asked = handler.headers["Range"]
    return int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0


def whole(handler: Handler, content: bytes) -> None:
    """Serves the file, or the range asked for."""
    breaks_off(len(content))(handler, content)


def breaks_off(after: int) -> Behaviour:
    """Promises all that was asked for and hangs up once `after` bytes of the file have gone out."""

    def answer(handler: Handler, content: bytes) -> None:
        start = _start(handler)
        if start >= len(content):
            handler.send_head(416, 0)
        elif start:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.send_head(206, len(content) - start, Content_Range=span)
        else:
            handler.send_head(200, len(content))
        handler.wfile.write(content[start : max(start, after)])

    return answer


def ignores_range(after: int | None = None) -> Behaviour:
    """Serves the file from its beginning whatever was asked for."""

    def answer(handler: Handler, content: bytes) -> None:
        handler.send_head(200, len(content))
        handler.wfile.write(content[:after])

    return answer


def fails(status: int) -> Behaviour:
    """Answers with an error."""
    return lambda handler, _: handler.send_head(status, 0)


def redirects(url: str) -> Behaviour:
    """Sends the client elsewhere."""
    return lambda handler, _: handler.send_head(302, 0, Location=url)


def serves(other: bytes, *, length: bool = True) -> Behaviour:
    """Serves other bytes than the file's, with or without saying how many."""

    def answer(handler: Handler, _: bytes) -> None:
        handler.send_head(200, len(other) if length else None)
        handler.wfile.write(other)

    return answer


def stalls(after: int) -> Behaviour:
    """Sends some bytes, then nothing until the server closes."""

    def answer(handler: Handler, content: bytes) -> None:
        handler.send_head(200, len(content))
        handler.wfile.write(content[:after])
        handler.wfile.flush()
        handler.server.closing.wait(10)

    return answer


def delayed(seconds: float) -> Behaviour:
    """Serves the file after a while, so that another client can come in between."""

    def answer(handler: Handler, content: bytes) -> None:
        handler.server.closing.wait(seconds)
        whole(handler, content)

    return answer
