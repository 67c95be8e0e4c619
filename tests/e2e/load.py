"""Load through the gateway: threads with a connection each, every answer noted."""

import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPException

from tests.e2e.cluster import Cluster

LOST = 0
"""The status of a request without an answer."""


@dataclass
class Answered:
    """An answer: when it was asked for, how long it took, its status, and the id that it came with."""

    at: float
    seconds: float
    status: int
    request_id: str = ""


@dataclass
class Load:
    """`connections` clients that send one request after the other until `stop`."""

    cluster: Cluster
    host: str
    path: str
    body: bytes
    connections: int = 1
    answers: list[Answered] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self.connections)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(120)

    def statuses(self) -> dict[int, int]:
        """How many answers had each status."""
        found: dict[int, int] = {}
        for answer in list(self.answers):
            found[answer.status] = found.get(answer.status, 0) + 1
        return found

    def _run(self) -> None:
        connection = self.cluster.connection(timeout=120)
        while not self._ended.is_set():
            begin = time.monotonic()
            try:
                answer = self.cluster.request(self.host, self.path, self.body, connection=connection)
                status, identity = answer.status, answer.headers.get("x-request-id", "")
            except (OSError, HTTPException):
                connection.close()
                status, identity = LOST, ""
            self.answers.append(Answered(begin, time.monotonic() - begin, status, identity))
        connection.close()
