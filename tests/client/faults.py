"""A server on loopback that does what a script says, request by request, and keeps what it got."""

import socket
import time
from collections.abc import Callable, Sequence
from threading import Thread
from typing import BinaryIO

Step = bytes | Callable[[socket.socket], None]


def answer(status: int, body: bytes = b"", *fields: str) -> bytes:
    """An answer as bytes."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} Some", *fields, f"content-length: {len(body)}"))
    return head.encode() + b"\r\n" + body


def hang_up(connection: socket.socket) -> None:
    """Close without a word, though the whole request came."""


def reset(connection: socket.socket) -> None:
    """Close so that the peer sees a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def keep_silent(connection: socket.socket) -> None:
    """Say nothing until the client has gone."""
    connection.settimeout(10)
    connection.recv(1)


class FaultServer:
    """Each request takes the next step of `script`; the last one stays. A step of bytes is sent, and the connection kept.

    Not `listening`, it has its port and refuses connections until `listen`.
    """

    def __init__(self, script: Sequence[Step], *, listening: bool = True) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._script = list(script)
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        if listening:
            self.listen()

    def listen(self) -> None:
        """Accept from now on."""
        self._listener.listen()
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Refuse what comes from now on."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # else a thread in accept() would still get one
        except OSError:
            pass  # it never listened, or is closed
        self._listener.close()

    @property
    def posts(self) -> int:
        """How many POSTs arrived."""
        return sum(request.startswith(b"POST") for request in self.requests)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._answer(connection)
        except OSError:
            pass  # the client has gone

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            while head := _head(reader):
                size = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
                self.requests.append(head + reader.read(size))
                step = self._script[0]
                if len(self._script) > 1:
                    self._script.pop(0)
                if not isinstance(step, bytes):
                    step(connection)
                    return
                connection.sendall(step)


def _head(reader: BinaryIO) -> bytes:
    lines = []
    try:
        while (line := reader.readline()) not in (b"\r\n", b""):
            lines.append(line)
    except OSError:
        return b""
    return b"".join(lines)


def soon(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()
