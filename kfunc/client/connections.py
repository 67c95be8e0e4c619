"""HTTP/1.1 for the plain client: keep-alive connections of the standard library, shared by any number of threads.

http.client takes a quarter of the CPU time that httpx takes for a request, and less than half of urllib3's;
`kfunc invoke`, which uses this too, starts without importing more.
"""

import os
import select
import socket
import ssl
import time
from collections import deque
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead, RemoteDisconnected
from typing import Any

from kfunc.client.errors import ClientError, ConnectionLost, InvalidAnswer, InvalidCall, NotConnected, TimedOut
from kfunc.client.wire import CONNECT_S, Answer, Base, Flow, Pause, Request, T

ONE_PIECE = 64 * 1024  # bytes of a request that are put together
MAX_IDLE = 32  # connections that are kept, however many threads there were
PART = 4 * 1024 * 1024  # bytes of an answer between two looks at the clock


class Connections:
    """The connections to one server."""

    def __init__(self, base: Base, tls: ssl.SSLContext | None = None) -> None:
        self._base = base
        self._tls = tls
        self._idle: deque[PlainConnection | SecureConnection] = deque()
        self._pid = os.getpid()
        self._closed = False

    def send(self, request: Request) -> Answer:
        """The answer to one request. Raises ClientError where there is none."""
        deadline = time.monotonic() + request.timeout_s
        connection = self._take() or self._connect(min(request.timeout_s, CONNECT_S))
        keeps = False
        try:
            self._write(connection, request, deadline)
            answer, keeps = _read(connection, deadline)
        except TimeoutError:
            raise TimedOut(f"{self._base.url} did not answer {request.method} {request.path} in time") from None
        except (OSError, HTTPException) as error:
            raise self._lost(error) from None
        finally:
            if keeps and not self._closed and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
            else:
                connection.close()
        return answer

    def close(self) -> None:
        """Close what is idle now, and the rest when it has its answer."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> "PlainConnection | SecureConnection | None":
        """An idle connection that the server has not closed; the one used last is the likeliest."""
        if self._closed:
            raise InvalidCall("this client is closed; make another one")
        if self._pid != os.getpid():  # after a fork the sockets are the parent's
            self._idle, self._pid = deque(), os.getpid()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.sock is not None and not _is_readable(connection):
                return connection
            connection.close()

    def _connect(self, timeout_s: float) -> "PlainConnection | SecureConnection":
        base = self._base
        connection = (
            SecureConnection(base.host, base.port, timeout=timeout_s, context=self._tls)
            if base.secure
            else PlainConnection(base.host, base.port, timeout=timeout_s)
        )
        try:
            connection.connect()
        except (OSError, UnicodeError) as error:
            connection.close()
            raise not_connected(base, error) from None
        return connection

    def _write(self, connection: "PlainConnection | SecureConnection", request: Request, deadline: float) -> None:
        _limit(connection, deadline)
        connection.request(request.method, self._base.path + request.path, request.body or None, request.headers)
        try:
            connection.flush()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server may have answered before it had the whole body

    def _lost(self, error: Exception) -> ClientError:
        url = self._base.url
        if isinstance(error, HTTPException) and not isinstance(error, RemoteDisconnected | IncompleteRead):
            return InvalidAnswer(f"the answer of {url} is not HTTP: {error or type(error).__name__}")
        return ConnectionLost(f"{url} closed the connection before the whole answer was there; the model may have run")


class OnePiece:
    """Head and body of a small request in one packet, which http.client would send as two."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._parts: list[bytes] = []

    def send(self, data: Any) -> None:
        """Keep what is to be sent."""
        self._parts.append(data)

    def flush(self) -> None:
        """Send what was kept."""
        parts, self._parts = self._parts, []
        sock: socket.socket = self.sock  # type: ignore[attr-defined]
        if sum(map(len, parts)) <= ONE_PIECE:
            sock.sendall(b"".join(parts))
            return
        for part in parts:
            sock.sendall(part)


class PlainConnection(OnePiece, HTTPConnection):
    """HTTP in the clear."""


class SecureConnection(OnePiece, HTTPSConnection):
    """HTTP over TLS."""


def run(flow: Flow[T], connections: Connections) -> T:
    """Do what a flow says, until it returns or raises."""
    answer: Answer | None = None
    failure: ClientError | None = None
    while True:
        try:
            step = flow.send(answer) if failure is None else flow.throw(failure)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = failure = None
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            continue
        try:
            answer = connections.send(step)
        except ClientError as error:
            failure = error


def not_connected(base: Base, error: Exception) -> NotConnected:
    """What a failed connect means, in words that say what to do."""
    if isinstance(error, ConnectionRefusedError):
        return NotConnected(f"nothing listens at {base.url}; start the function with `kfunc run`, or give its URL")
    if isinstance(error, TimeoutError):
        return NotConnected(f"{base.url} accepted no connection in time")
    if isinstance(error, ssl.SSLCertVerificationError):
        return NotConnected(f"the certificate of {base.url} is not trusted: {error.verify_message}; give tls= an SSLContext")
    cause = error.strerror if isinstance(error, OSError) else None
    return NotConnected(f"no connection to {base.url}: {cause or error or type(error).__name__}")


def _read(connection: HTTPConnection, deadline: float) -> tuple[Answer, bool]:
    """The answer, and whether the connection can be used again."""
    _limit(connection, deadline)
    response = connection.getresponse()
    parts = []
    while part := response.read(PART):
        parts.append(part)
        _limit(connection, deadline)
    if response.length:
        raise RemoteDisconnected("in the middle of the answer")
    headers = {name.lower(): value for name, value in response.getheaders()}
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    return Answer(response.status, headers, body, response.reason), not response.will_close


def _limit(connection: HTTPConnection, deadline: float) -> None:
    """Let the next step take what is left of the time. Raises TimeoutError."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    if connection.sock is not None:  # http.client lets go of it when the answer ends with the connection
        connection.sock.settimeout(left)


def _is_readable(connection: HTTPConnection) -> bool:
    """Whether an idle connection has something to say: nothing but its end can come."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
