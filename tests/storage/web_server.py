"""A web server that keeps files in memory and fails as it is told: cut answers, lying lengths, statuses, no ranges."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class QuietServer(ThreadingHTTPServer):
    """Clients that are killed are no news."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing is printed."""


class WebServer:
    """Files by path; `answers` are JSON documents or functions of the request by path and query."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.answers: dict[str, bytes | Callable[[Handler], None]] = {}
        self.ranges = True
        self.lengths = True
        self.conditions = True
        self.no_head = False
        self.cut_after: list[int] = []  # bytes after which the next answers break off
        self.statuses: list[int] = []  # of the next answers
        self.delay_s = 0.0
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.lie = 0
        owner = self

        class Bound(Handler):
            server_of_test = owner

        self._server = QuietServer(("127.0.0.1", 0), Bound)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def put(self, path: str, content: bytes, etag: str | None = None) -> str:
        """A file; its URL."""
        self.files[path] = content
        self.etags[path] = f'"{hash(content) & 0xFFFFFFFF:x}"' if etag is None else etag
        return f"{self.url}{path}"

    def ranges_asked(self) -> list[str]:
        return [fields["range"] for _, _, fields in self.asked if fields.get("range", "bytes=0-0") != "bytes=0-0"]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_of_test: WebServer

    def _answer(self) -> None:
        owner = self.server_of_test
        fields = {name.lower(): value for name, value in self.headers.items()}
        self.content = self.rfile.read(int(fields.get("content-length", 0)))
        owner.asked.append((self.command, self.path, fields))
        if owner.statuses or (owner.no_head and self.command == "HEAD"):
            self.send(owner.statuses.pop(0) if owner.statuses else 405, b"")
            return
        answer = owner.answers.get(self.path)
        if callable(answer):
            answer(self)
        elif answer is not None:
            self.send(200, answer)
        elif self.path.partition("?")[0] in owner.files:
            self._send_file(owner, self.path.partition("?")[0], fields)
        else:
            self.send(404, b"")

    def send_file(self, path: str) -> None:
        """A file, as it is asked for."""
        self._send_file(self.server_of_test, path, {name.lower(): value for name, value in self.headers.items()})

    def _send_file(self, owner: WebServer, path: str, fields: dict[str, str]) -> None:
        if owner.delay_s:
            threading.Event().wait(owner.delay_s)
        content, etag = owner.files[path], owner.etags[path]
        if fields.get("if-match", etag) != etag:
            self.send(412, b"")
            return
        tag = {"etag": etag} if etag else {}
        if owner.conditions and etag and fields.get("if-none-match") == etag:
            self.send(304, b"", tag)
            return
        span = fields.get("range")
        if span is None or not owner.ranges:
            self.send(200, content, tag, self._cut(span))
            return
        first, _, last = span.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last) + 1, len(content))
        told = {"etag": etag, "content-range": f"bytes {start}-{stop - 1}/{len(content) + owner.lie}"}
        self.send(206, content[start:stop], told, self._cut(span))

    def _cut(self, span: str | None) -> int | None:
        cuts = self.server_of_test.cut_after
        return cuts.pop(0) if cuts and span != "bytes=0-0" else None

    def send(self, status: int, body: bytes, fields: dict[str, str] | None = None, cut: int | None = None) -> None:
        """An answer; with `cut` only its first bytes, and then the connection is gone."""
        self.send_response(status)
        for name, value in (fields or {}).items():
            self.send_header(name, value)
        if self.server_of_test.lengths:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(b"" if self.command == "HEAD" else body if cut is None else body[:cut])
        except OSError:
            cut = 0
        if cut is not None or not self.server_of_test.lengths:
            self.close_connection = True

    do_GET = do_POST = do_HEAD = _answer

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is printed."""
