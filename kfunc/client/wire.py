"""What passes between the core of the client and its transports. Values only.

A transport has `send(Request) -> Answer`, plain or async, and raises ClientError where there is no
answer; it never sends anything twice and follows no redirects.
"""

from collections.abc import Generator
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct

from kfunc.client.errors import InvalidCall

T = TypeVar("T")

SCHEMES = ("http", "https", "grpc", "grpcs")
CONNECT_S = 10.0  # longest wait for a connection; the time for an answer comes after it


class Request(Struct):
    """One HTTP request. `path` is quoted and begins with `/`; `timeout_s` is what is left for the whole answer."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    timeout_s: float = 0.0


class Answer(Struct):
    """One HTTP answer, of any status; names of headers in lower case, the body as it came."""

    status: int
    headers: dict[str, str]
    body: bytes
    reason: str = ""


class Pause(Struct):
    """Nothing is to be sent for so long."""

    seconds: float


# One call with all that belongs to it: it says what to do next, and is given the Answer, or None after a Pause.
Flow = Generator[Request | Pause, Any, T]


class Base(Struct, frozen=True):
    """Where a server is, as its URL says; `path` is what stands before every path, without a `/` at its end.

    `grpc`: it is to be asked over gRPC.
    """

    secure: bool
    host: str
    port: int | None
    path: str
    url: str
    grpc: bool = False


def parse_url(url: str) -> Base:
    """Read `http(s)://host[:port][/path]` or `grpc(s)://host[:port]`; without a scheme it is http. Raises InvalidCall."""
    text = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidCall(f"{url!r} has no valid port") from None
    plain = text.isascii() and text.isprintable() and " " not in text
    if not plain or parts.scheme not in SCHEMES or not host or parts.query or parts.fragment:
        raise InvalidCall(f"{url!r} is not a URL such as http://127.0.0.1:8080")
    if parts.username is not None:
        raise InvalidCall("the URL must not hold a password; give headers={'authorization': …}")
    path = parts.path.rstrip("/")
    secure, grpc = parts.scheme in ("https", "grpcs"), parts.scheme.startswith("grpc")
    return Base(secure, host, port, path, f"{parts.scheme}://{parts.netloc}{path}", grpc)
