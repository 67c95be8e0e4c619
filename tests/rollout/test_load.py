"""Requests that a rollout sends itself: which, where to, how many."""

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from kfunc.cluster.connection import Cluster, Reply
from kfunc.config.analysis import Load
from kfunc.errors import StartupError
from kfunc.rollout.load import Sender, replayed
from tests.event_log.logs import call, write

METADATA = {"name": "iris", "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]}
PLACES = {"stable": [("a-1", 8080), ("a-2", 8080)], "candidate": [("b-1", 8080)]}


class FakeCluster:
    """Pods that take whatever is posted to them, and keep it."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, str, bytes]] = []
        self._lock = threading.Lock()

    def ask_pod(self, namespace: str, pod: str, port: int, asked: str, timeout_s: float = 5.0) -> Reply:
        return Reply(200, json.dumps(METADATA).encode())

    def post_to_pod(
        self, namespace: str, pod: str, port: int, asked: str, body: bytes, fields: Mapping[str, str], timeout_s: float
    ) -> Reply:
        with self._lock:
            self.posted.append((pod, asked, body))
        return Reply(200, b"{}")


def sent(load: Load, seconds: float) -> list[tuple[str, str, bytes]]:
    cluster = FakeCluster()
    sender = Sender(cast(Cluster, cluster), "default", "iris", load)
    sender.send(PLACES, True)
    time.sleep(seconds)
    sender.send(PLACES, False)
    sender.close()
    return cluster.posted


def test_synthetic_requests_are_what_the_model_says_that_it_takes() -> None:
    _, path, body = sent(Load(rate=100), 0.3)[0]
    assert path == "/v2/models/iris/infer"
    assert json.loads(body)["inputs"][0]["shape"] == [1, 4]


def test_each_revision_gets_as_many_over_all_its_pods() -> None:
    pods = Counter(pod for pod, _, _ in sent(Load(rate=100), 0.6))
    assert abs(pods["b-1"] - pods["a-1"] - pods["a-2"]) <= 2
    assert abs(pods["a-1"] - pods["a-2"]) <= 2


def test_no_more_are_sent_than_asked_for() -> None:
    assert len(sent(Load(rate=20), 0.5)) <= 2 * 20 * 0.5 + 4


def test_a_log_is_sent_again_and_again(tmp_path: Path) -> None:
    log = write(tmp_path / "events.jsonl", call(1), call(2))
    posted = sent(Load(source=str(log), rate=100), 0.4)
    assert {(path, body) for _, path, body in posted} == {
        ("/v1/models/iris:predict", b'{"instances":[[1]]}'),
        ("/v1/models/iris:predict", b'{"instances":[[2]]}'),
    }


def test_a_log_that_is_elsewhere_keeps_nobody_from_driving(tmp_path: Path) -> None:
    cluster, missing = FakeCluster(), str(tmp_path / "events.jsonl")
    sender = Sender(cast(Cluster, cluster), "default", "iris", Load(source=missing, rate=100))
    sender.send(PLACES, False)
    sender.send(PLACES, True)
    time.sleep(0.2)
    told = sender.failure
    sender.close()
    assert told.startswith(f"requests cannot be sent: there is no {missing}")
    assert cluster.posted == []


def test_a_log_without_requests_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b"")
    with pytest.raises(StartupError, match="has no request that can be sent again"):
        replayed(str(tmp_path / "events.jsonl"))
