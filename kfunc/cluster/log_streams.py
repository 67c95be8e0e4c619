"""The logs of all containers of all pods of a function as one stream; with `follow` of pods that come later, too."""

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

from msgspec import Struct

from kfunc.cluster.connection import Cluster
from kfunc.cluster.faults import FORBIDDEN, MISSING, UNAUTHORISED
from kfunc.cluster.observed import containers, name_of
from kfunc.errors import ClusterError
from kfunc.manifests.plan import Manifest

PODS_S = 1.0  # between two looks for new pods
NOT_STARTED = 400
"""The answer for a container that has not started, or not ended before."""
AGAIN_S = 1.0  # before a container that was started again is read on


class Line(Struct, frozen=True):
    """One line; `at` is when it was written, RFC 3339."""

    at: str
    pod: str
    container: str
    text: str


def merged(
    cluster: Cluster, pods: Iterable[Manifest], chosen: set[str], *, tail: int | None, since_s: int | None, previous: bool
) -> Iterator[Line]:
    """What there is, by time. A container without a log has no lines."""
    found: list[Line] = []
    for pod in pods:
        for name in _names(pod, chosen):
            where = pod["metadata"]["namespace"], name_of(pod), name
            try:
                texts = cluster.logs(*where, previous=previous, tail=tail, since_s=since_s, timestamps=True)
                found += [_line(name_of(pod), name, text) for text in texts]
            except ClusterError as error:
                if error.code != NOT_STARTED:
                    raise
    yield from sorted(found, key=lambda line: line.at)


class Following:
    """Reads logs of pods as they are written: a thread for each container; `lines` ends with `stop`."""

    def __init__(self, cluster: Cluster, namespace: str, labels: dict[str, str], chosen: set[str], tail: int | None) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._labels = labels
        self._chosen = chosen
        self._tail = tail
        self._lines: queue.Queue[Line | None] = queue.Queue(10_000)
        self._stopped = threading.Event()
        self._read: set[tuple[str, str]] = set()

    def lines(self) -> Iterator[Line]:
        """Lines as they come."""
        threading.Thread(target=self._find_pods, daemon=True).start()
        while not self._stopped.is_set() and (line := self._lines.get()) is not None:
            yield line

    def stop(self) -> None:
        """End `lines`."""
        self._stopped.set()
        with suppress(queue.Full):  # then `lines` has something to take, and sees that it is over
            self._lines.put_nowait(None)

    def _find_pods(self) -> None:
        while not self._stopped.is_set():
            try:
                for pod in self._cluster.objects("Pod", self._namespace, self._labels):
                    for name in _names(pod, self._chosen):
                        self._begin(name_of(pod), name)
            except ClusterError as error:
                if 0 < error.code < 500:
                    self._lines.put(Line("", "", "kfunc", error.message))
            self._stopped.wait(PODS_S)

    def _begin(self, pod: str, container: str) -> None:
        if (pod, container) not in self._read:
            self._read.add((pod, container))
            threading.Thread(target=self._follow, args=(pod, container), daemon=True).start()

    def _follow(self, pod: str, container: str) -> None:
        """One container to its end, and again after each restart, from where it was."""
        last, tail = "", self._tail
        while not self._stopped.is_set():
            begun = _rfc3339(self._cluster.now()) if not last and tail is not None else ""
            try:
                found = self._cluster.logs(self._namespace, pod, container, tail=tail, follow=True, timestamps=True, since=last)
                for text in found:
                    line = _line(pod, container, text)
                    if line.at > last:
                        last = line.at
                        self._lines.put(line)
                last, tail = last or begun, None  # of a log of which nothing was shown, too, only what is new
            except ClusterError as error:
                if error.code == MISSING:  # the pod is gone
                    return
                if error.code in (UNAUTHORISED, FORBIDDEN):
                    self._lines.put(Line("", pod, container, f"kfunc: {error.message}"))
                    return
                tail = None if last or error.code == NOT_STARTED else tail
            time.sleep(AGAIN_S)


def _names(pod: Manifest, chosen: set[str]) -> list[str]:
    return [each.name for each in containers(pod) if not chosen or each.name in chosen]


def _rfc3339(now: float) -> str:
    """As the API writes times; with a fraction, since they are compared as texts."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _line(pod: str, container: str, text: str) -> Line:
    at, _, rest = text.partition(" ")
    return Line(at, pod, container, rest)
