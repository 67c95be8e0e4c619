"""Requests that a rollout sends itself, to every revision alike: made from the model's metadata, or from a log.

They go to the pods by way of the cluster's API, so that it works from wherever the rollout is driven.
"""

import itertools
import os
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from kfunc.client.sample import sample_request
from kfunc.client.wire import Request
from kfunc.cluster.connection import Cluster
from kfunc.config.analysis import Load
from kfunc.errors import ClusterError, KfuncError, StartupError
from kfunc.event_log.pairing import pair
from kfunc.event_log.reading import read_events
from kfunc.event_log.replaying import Skipped, request_of
from kfunc.protocol.messages import TensorSpec
from kfunc.protocol.pictures import ANY_PICTURE, MEDIA_TYPE

SYNTHETIC = "synthetic"
MOST_REPLAYED = 10_000
"""Requests of a log that are kept; they are sent again and again."""
TIMEOUT_S = 30.0
PARALLEL = 8
MAKE_S = 5.0
"""How long after a failure to read the log, or the model's metadata, that is tried again."""

Place = tuple[str, int]
"""A pod's name and the port that requests come to."""


class Inputs(msgspec.Struct):
    """Of a model's metadata, what a request is made from."""

    inputs: list[TensorSpec] = []
    parameters: dict[str, Any] = {}


def replayed(source: str) -> list[Request]:
    """The requests of a log that can be sent again. Raises StartupError where there is none."""
    requests = []
    for exchange in pair(read_events(source, lambda fault: None)):
        try:
            requests.append(request_of(exchange.request, TIMEOUT_S))
        except Skipped:
            continue
        if len(requests) >= MOST_REPLAYED:
            break
    if not requests:
        raise StartupError(f"{source} has no request that can be sent again; `kfunc events tail {source}` shows what it has")
    return requests


class Sender:
    """Sends while it is wanted, `rate` requests a second to each revision, one pod after another."""

    def __init__(self, cluster: Cluster, namespace: str, model: str, settings: Load) -> None:
        self._cluster, self._namespace, self._model, self._settings = cluster, namespace, model, settings
        self._requests: Iterator[Request] | None = None
        self._makes, self._make_at = threading.Lock(), 0.0
        self._places: dict[str, list[Place]] = {}
        self._wanted = threading.Event()
        self._ended = False
        self._threads: list[threading.Thread] = []
        self._turn, self._number = itertools.count(), itertools.count()
        self._lock = threading.Lock()
        self._next_at = 0.0
        self.failure = ""
        """Why no request could be made, or the last one not be sent; empty where it could."""

    def send(self, places: dict[str, list[Place]], wanted: bool) -> None:
        """Begin or stop; `places` are the ready pods of each revision, by tag."""
        self._places = {tag: listed for tag, listed in places.items() if listed}
        if not wanted or not self._places:
            self._wanted.clear()
            self.failure = ""
            return
        if not self._threads:
            self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(PARALLEL)]
            for thread in self._threads:
                thread.start()
        self._wanted.set()

    def close(self) -> None:
        """Stop for good."""
        self._ended = True
        self._wanted.set()
        ends_at = time.monotonic() + 1.0
        for thread in self._threads:
            thread.join(max(0.0, ends_at - time.monotonic()))

    def _work(self) -> None:
        while True:
            self._wanted.wait()
            if self._ended:
                return
            self._wait_for_turn()
            places = self._places
            if not places or not self._wanted.is_set() or self._ended:
                continue
            turn = next(self._turn)
            tags = sorted(places)
            listed = places[tags[turn % len(tags)]]
            place = listed[turn // len(tags) % len(listed)]
            try:
                requests = self._made(place)
                if requests is not None:
                    self._send_one(requests, place)
                    self.failure = ""
            except KfuncError as error:  # the pod may be gone, or not answer: its own counters say what there was
                self.failure = f"requests cannot be sent: {error.message}"

    def _wait_for_turn(self) -> None:
        pause_s = 1 / (self._settings.rate * max(1, len(self._places)))
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next_at)
            self._next_at = at + pause_s
        time.sleep(at - now)

    def _made(self, place: Place) -> Iterator[Request] | None:
        """The requests; the first who asks makes them, and again some seconds after that failed. Others are told None."""
        if self._requests is not None or not self._makes.acquire(blocking=False):
            return self._requests
        try:
            if self._requests is None and time.monotonic() >= self._make_at:
                self._make_at = time.monotonic() + MAKE_S
                source = self._settings.source
                self._requests = itertools.cycle([self._synthetic(place)] if source == SYNTHETIC else replayed(source))
            return self._requests
        finally:
            self._makes.release()

    def _send_one(self, requests: Iterator[Request], place: Place) -> None:
        pod, port = place
        with self._lock:
            request = next(requests)
        fields = request.headers | {"x-request-id": f"rollout-{os.getpid()}-{next(self._number)}"}
        reply = self._cluster.post_to_pod(self._namespace, pod, port, request.path, request.body, fields, TIMEOUT_S)
        if refused := reply.refused(pod):
            raise ClusterError(refused, reply.status)

    def _synthetic(self, place: Place) -> Request:
        """A request of plausible values. Raises ClusterError where the model does not say what it takes."""
        path = f"/v2/models/{quote(self._model)}"
        reply = self._cluster.ask_pod(self._namespace, *place, path)
        if reply.status != 200:
            raise ClusterError(
                f"the metadata of {self._model}, from which requests are made, cannot be read ({path} answers {reply.status}); "
                "analysis.load.source can name a log instead",
                reply.status,
            )
        try:
            told = msgspec.json.decode(reply.body, type=Inputs)
        except msgspec.MsgspecError:
            raise ClusterError(
                f"what {path} answers is not protocol V2's metadata: name a log as analysis.load.source"
            ) from None
        pictures = told.parameters.get(MEDIA_TYPE) == ANY_PICTURE
        body = msgspec.json.encode(sample_request(told.inputs, "v2", pictures=pictures))
        return Request("POST", f"{path}/infer", {"content-type": "application/json"}, body, TIMEOUT_S)
