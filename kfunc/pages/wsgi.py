"""An Exchange as a WSGI application sees it (PEP 3333), and its answer as the server sends it."""

import sys
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from kfunc.http.exchange import Exchange
from kfunc.http.wire import Headers

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

Answer = tuple[int, Headers, bytes]
# The server frames the answer itself.
FRAMING = ("content-length", "connection", "transfer-encoding", "date", "server")


def environ_of(exchange: Exchange) -> dict[str, Any]:
    """The environment of a GET."""
    path, _, query = exchange.target.partition(b"?")
    fields = {
        f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}": value.decode("latin-1")
        for name, value in exchange.headers.items()
    }
    return {
        **fields,
        "REQUEST_METHOD": exchange.method.decode("latin-1"),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def calling(application: "WSGIApplication") -> Callable[[dict[str, Any]], Answer]:
    """A function that calls the application and gives its whole answer."""

    def call(environ: dict[str, Any]) -> Answer:
        begun: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], error: Any = None) -> Callable[[bytes], object]:
            begun[:] = [(status, headers)]
            return lambda _: None

        parts = application(environ, start_response)
        try:
            body = b"".join(parts)
        finally:
            getattr(parts, "close", lambda: None)()
        status, headers = begun[0]
        fields = [(name.lower(), value) for name, value in headers]
        kept = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields if name not in FRAMING]
        return int(status.split()[0]), kept, body

    return call
