"""Asks a port, or a Unix socket, for readiness without ever blocking: one GET at a time, again 20 ms after each no."""

import socket
from selectors import EVENT_READ, BaseSelector

INTERVAL_S = 0.02
PATIENCE_S = 5.0  # for one answer; a process that died with the connection in hand sends none

REQUEST = b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\nUser-Agent: kfunc-run\r\nConnection: close\r\n\r\n"


class Readiness:
    """The question whether what listens at `address` is ready; `due` is the next time to call `step`."""

    def __init__(self, selector: BaseSelector, address: tuple[str, int] | str) -> None:
        self.due: float | None = None
        self._selector = selector
        self._address = address
        self._connection: socket.socket | None = None

    def ask(self, now: float) -> None:
        """Begin, or begin again, to ask."""
        self.close()
        self.due = now

    def step(self, now: float) -> bool:
        """Go on as far as possible; True once, when the answer was yes."""
        if self.due is None:
            return False
        if self._connection is not None:
            answer = _answer(self._connection)
            if answer is None and now < self.due:
                return False
            self.close()
            if answer is not None and answer.startswith(b"HTTP/1.1 200 "):
                return True
            self.due = now + INTERVAL_S
        elif now >= self.due:
            self.due = now + (PATIENCE_S if self._connect() else INTERVAL_S)
        return False

    def close(self) -> None:
        """Stop asking."""
        self.due = None
        if self._connection is not None:
            self._selector.unregister(self._connection)
            self._connection.close()
            self._connection = None

    def _connect(self) -> bool:
        """The supervisor holds the listening socket, so this neither waits nor is refused; a Unix socket may not be there."""
        try:
            connection = connected(self._address)
        except OSError:
            return False
        connection.setblocking(False)
        self._selector.register(connection, EVENT_READ)
        self._connection = connection
        return True


def connected(address: tuple[str, int] | str) -> socket.socket:
    """A connection on which the question is on its way. Raises OSError."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    connection = socket.socket(family)
    connection.settimeout(INTERVAL_S)
    try:
        connection.connect(address)
        connection.send(REQUEST)
    except OSError:
        connection.close()
        raise
    return connection


def _answer(connection: socket.socket) -> bytes | None:
    """The start of the answer, which is one packet; None for not yet, empty when the connection broke."""
    try:
        return connection.recv(4096)
    except BlockingIOError:
        return None
    except OSError:
        return b""
