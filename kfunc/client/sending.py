"""One request with its retries, until there is a good answer or an error with the server's words. Sans-IO."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from kfunc.client.errors import (
    ClientError,
    InvalidAnswer,
    InvalidCall,
    NotFound,
    Refused,
    ServerFailed,
    TimedOut,
    Unavailable,
)
from kfunc.client.retries import Retries, retry_after
from kfunc.client.wire import Answer, Flow, Pause, Request
from kfunc.errors import KfuncError

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FIELD_VALUE = re.compile(r"[!-~]([ \t!-~]*[!-~])?|")
CODINGS = ("gzip", "deflate", "zstd")
LEAST_COMPRESSED = 1024  # bytes of a body, as with the server's answers
MAX_INFLATED = 4 * 1024**3
MAX_WORDS = 1000  # of an answer that is no error of ours, a proxy's page for example


class Sending:
    """How the requests of one client are sent; see `Client` for what is set."""

    def __init__(
        self,
        timeout_s: float,
        headers: Mapping[str, str],
        compression: str | None,
        retries: Retries,
        clock: Callable[[], float],
    ) -> None:
        if not timeout_s > 0:
            raise InvalidCall(f"timeout_s must be a number of seconds above 0, not {timeout_s}")
        if compression is not None and compression not in CODINGS:
            raise InvalidCall(f"compression must be one of {', '.join(CODINGS)}, or None, not {compression!r}")
        self.timeout_s = timeout_s
        self.clock = clock
        self._compression = compression
        self._retries = retries
        self.headers = {"accept-encoding": compression or "identity", "user-agent": "kfunc-client", **lowered(headers)}

    def post(
        self, path: str, body: bytes, content_type: str, headers: Mapping[str, str] = {}, timeout_s: float | None = None
    ) -> Flow[Answer]:
        """The answer to a POST, compressed where that is set. Raises ClientError."""
        fields = {**self.headers, "content-type": content_type, **lowered(headers)}
        if self._compression is not None and len(body) >= LEAST_COMPRESSED:
            from kfunc.http.coding import deflate

            body, fields["content-encoding"] = deflate(body, self._compression.encode()), self._compression
        return self.send(Request("POST", path, fields, body), timeout_s)

    def get(self, path: str, timeout_s: float | None = None) -> Flow[Answer]:
        """The answer to a GET. Raises ClientError."""
        return self.send(Request("GET", path, self.headers), timeout_s)

    def send(self, request: Request, timeout_s: float | None = None) -> Flow[Answer]:
        """The answer with a status of 2xx, its body without codings; sent again where that is safe. Raises ClientError."""
        deadline = self.clock() + (self.timeout_s if timeout_s is None else timeout_s)
        tries = 0
        while True:
            tries += 1
            request.timeout_s = deadline - self.clock()
            if request.timeout_s <= 0:
                raise TimedOut(f"no time is left for {request.method} {request.path}")
            outcome: Answer | ClientError
            try:
                outcome = yield request
            except ClientError as error:
                outcome = error
            pause = self._retries.pause(request, tries, outcome)
            if pause is None or self.clock() + pause >= deadline:
                return _good(outcome)
            yield Pause(pause)

    def once(self, path: str, timeout_s: float) -> Flow[Answer]:
        """The answer to a GET that is not repeated. Raises ClientError."""
        return self.send_once(Request("GET", path, self.headers, timeout_s=timeout_s))

    def send_once(self, request: Request) -> Flow[Answer]:
        """The answer with a status of 2xx, without a second try. Raises ClientError."""
        answer: Answer = yield request
        return _good(answer)


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Header fields by name in lower case. Raises InvalidCall for what HTTP cannot carry (RFC 9110, 5.1 and 5.5)."""
    for name, value in headers.items():
        if TOKEN.fullmatch(name) is None or FIELD_VALUE.fullmatch(value) is None:
            raise InvalidCall(f"the header {name!r} cannot be sent with the value {value!r}: visible ASCII is expected")
    return {name.lower(): value for name, value in headers.items()}


def read_json(answer: Answer, kind: Any) -> Any:
    """The JSON of an answer as a type of msgspec's. Raises InvalidAnswer."""
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        what = f"not as the protocol says: {error}" if isinstance(error, msgspec.ValidationError) else "not JSON"
        message = f"the answer with status {answer.status} is {what}"
        raise InvalidAnswer(message, status=answer.status, request_id=request_id(answer)) from None


def request_id(answer: Answer) -> str:
    """What finds the call in the server's logs and events; empty where the server sent none."""
    return answer.headers.get("x-request-id", "")


def _good(outcome: Answer | ClientError) -> Answer:
    if isinstance(outcome, ClientError):
        raise outcome
    _inflate(outcome)
    if not 200 <= outcome.status < 300:
        raise error_of(outcome)
    return outcome


def _inflate(answer: Answer) -> None:
    coding = answer.headers.get("content-encoding", "")
    if coding and answer.body:
        from kfunc.http.coding import inflate

        try:
            answer.body = inflate(answer.body, coding.encode("latin-1", "replace"), MAX_INFLATED)
        except KfuncError as error:
            raise InvalidAnswer(f"the answer cannot be read: {error.message}", status=answer.status) from None


def error_of(answer: Answer) -> ClientError:
    """What an answer that is not good means, in the server's words."""
    status = answer.status
    words = _words(answer)
    message = f"{status} {answer.reason}".rstrip() + (f": {words}" if words else "")
    kind: type[ClientError] = Refused if status < 500 else ServerFailed
    if status == 404:
        kind = NotFound
    elif status == 503:
        kind = Unavailable
    elif status < 400:
        message += f"; the server is elsewhere: {answer.headers.get('location', 'it does not say where')}"
    return kind(message, status=status, request_id=request_id(answer), retry_after_s=retry_after(answer))


def _words(answer: Answer) -> str:
    """The server's own words: of `{"error": …}`, or the body as it is."""
    try:
        document = msgspec.json.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return answer.body[:MAX_WORDS].decode("utf-8", "replace").strip()
    if isinstance(document, dict) and isinstance(document.get("error"), str):
        return str(document["error"])
    return msgspec.json.encode(document)[:MAX_WORDS].decode("utf-8", "replace") if document else ""
