"""What stands between a client and a server and fails: connections are closed, answered with a status, or cut off."""

import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import pytest

STATUS = b"HTTP/1.1 %d Fault\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Faulty:
    """A relay to `port` of this machine. The next connection has the next fault, those after the last have none.

    0: it is closed at once; 100 to 999: its first request is answered with this status; else: that many bytes come back.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.faults: deque[int] = deque()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def fail(self, faults: Iterable[int]) -> None:
        """The faults of the next connections."""
        self.faults.extend(faults)

    def _run(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with self._listener, suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._run(self._serve, client, self.faults.popleft() if self.faults else None)

    def _serve(self, client: socket.socket, fault: int | None) -> None:
        with client, suppress(OSError):
            if fault == 0:
                return
            if fault is not None and 100 <= fault < 1000:
                client.recv(65536)
                client.sendall(STATUS % fault)
                return
            with socket.create_connection(("127.0.0.1", self._upstream)) as server:
                self._run(_pump, client, server, None)
                _pump(server, client, fault)


def _pump(source: socket.socket, target: socket.socket, left: int | None) -> None:
    """Bytes in one direction until it ends, or until `left` of them have passed; then both are done."""
    with suppress(OSError):
        while left != 0 and (data := source.recv(65536)):
            target.sendall(data if left is None else data[:left])
            left = None if left is None else max(0, left - len(data))
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def faulty(place: tuple[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """A relay through which clients go from now on; `place` is the test's own: an address, and the server of its store."""
    server = place[1]
    with Faulty(getattr(server, "door", server.port)) as relay:
        for name, value in server.client_environment(relay.port).items():
            monkeypatch.setenv(name, value)
        yield relay
