"""A small JSON client for the functions that `kfunc invoke` talks to, on the standard library."""

import time
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from kfunc.errors import BadGateway, KfuncError, StartupError, Unavailable

TIMEOUT_S = 300.0  # what an answer may take by default: inference.timeout_s
LONGEST_ERROR = 500


class Answer(Struct):
    """What came back: `body` is its JSON, `seconds` the time from the request's first byte to the answer's last."""

    status: int
    reason: str
    body: Any
    seconds: float


class Client:
    """One connection to a server. Raises Unavailable where nobody listens, BadGateway for what is not HTTP and JSON."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StartupError(f"--url {url!r} is not a URL such as http://127.0.0.1:8080")
        self._path = parts.path.rstrip("/")
        self.base = f"{parts.scheme}://{parts.netloc}{self._path}"
        try:
            port = parts.port
        except ValueError:
            raise StartupError(f"--url {url!r} has no valid port") from None
        connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = connect(parts.hostname, port, timeout=TIMEOUT_S)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def get(self, path: str) -> Any:
        """The JSON at a path. Raises KfuncError with the server's own words for any status but 200."""
        return succeeded(self._exchange("GET", path, None)).body

    def post(self, path: str, body: bytes) -> Answer:
        """The answer to a JSON body, whatever its status."""
        return self._exchange("POST", path, body)

    def _exchange(self, method: str, path: str, body: bytes | None) -> Answer:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        began = time.perf_counter()
        try:
            self._connection.request(method, self._path + path, body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except ConnectionRefusedError:
            raise Unavailable(f"nothing listens at {self.base}; start the function with `kfunc run`, or give --url") from None
        except TimeoutError:
            raise Unavailable(f"{self.base} did not answer within {TIMEOUT_S:g} s") from None
        except (OSError, HTTPException) as error:
            raise BadGateway(f"no answer from {self.base}: {error or type(error).__name__}") from None
        return Answer(response.status, response.reason, _decode(response, content), time.perf_counter() - began)


def model_path(protocol: str, model: str, action: str = "") -> str:
    """The path of a model; `action` is what follows it."""
    return f"/{protocol}/models/{quote(model, safe='')}{action}"


def succeeded(answer: Answer) -> Answer:
    """The same answer if its status is 2xx. Raises KfuncError with the status and the server's own words."""
    if 200 <= answer.status < 300:
        return answer
    body = answer.body
    words = body["error"] if isinstance(body, dict) and isinstance(body.get("error"), str) else body
    text = words if isinstance(words, str) else msgspec.json.encode(words).decode()
    raise KfuncError(f"{answer.status} {answer.reason}: {text[:LONGEST_ERROR]}")


def _decode(response: HTTPResponse, content: bytes) -> Any:
    try:
        return msgspec.json.decode(content) if content else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if response.status >= 400:
            return content.decode("utf-8", "replace")
        raise BadGateway(f"the answer with status {response.status} is not JSON") from None
