"""Waiting for a function: what a look asks, and an API that is away for a moment."""

from typing import Any

import pytest

from kfunc.cluster.connection import Cluster, Reply
from kfunc.cluster.diagnosis import Diagnosis
from kfunc.cluster.observed import Observed
from kfunc.cluster.observing import MOST_ASKED, with_words
from kfunc.cluster.waiting import wait_ready
from kfunc.errors import ClusterError
from tests.cluster.api_server import ApiServer
from tests.cluster.conftest import api as api
from tests.cluster.conftest import cluster as cluster


class Silent:
    """A cluster whose pods do not answer, or say what they do."""

    def __init__(self, said: bytes = b"") -> None:
        self.said, self.asked = said, list[str]()

    def ask_pod(self, namespace: str, pod: str, *others: object) -> Reply:
        self.asked.append(pod)
        if not self.said:
            raise ClusterError("no answer")
        return Reply(503, self.said)

    def objects(self, kind: str, namespace: str, fields: str = "") -> list[Any]:
        return []

    def logs(self, namespace: str, pod: str, *others: object, **more: object) -> list[str]:
        self.asked.append(pod)
        return ["bad"]


def pod(number: int, ready: str = "False", **state: Any) -> dict[str, Any]:
    about = {"name": f"p{number}", "namespace": "team", "creationTimestamp": f"2026-11-25T14:{number:02}:00Z"}
    statuses = [{"name": "handler", "state": state or {"running": {}}}]
    status = {"conditions": [{"type": "Ready", "status": ready}], "containerStatuses": statuses}
    spec = {"containers": [{"name": "handler", "ports": [{"containerPort": 8080}]}]}
    return {"kind": "Pod", "metadata": about, "spec": spec, "status": status}


@pytest.mark.parametrize("state", [{"running": {}}, {"terminated": {"exitCode": 1}}])
def test_of_many_pods_that_are_not_ready_the_newest_few_are_asked(state: dict[str, Any]) -> None:
    asked: Any = Silent(b"{}")
    with_words(asked, Observed("iris", "team", pods=[pod(number, **state) for number in range(20)]))
    assert sorted(asked.asked) == [f"p{number}" for number in range(20 - MOST_ASKED, 20)]


def test_pods_that_are_ready_are_asked_nothing() -> None:
    asked: Any = Silent()
    assert with_words(asked, Observed("iris", "team", pods=[pod(1, "True")])).said == {}
    assert asked.asked == []


@pytest.mark.integration
def test_an_api_that_is_away_while_the_lock_is_renewed_is_waited_for(cluster: Cluster, api: ApiServer) -> None:
    told: list[Diagnosis] = []

    def report(diagnosis: Diagnosis) -> None:
        told.append(diagnosis)
        if len(told) == 1:
            raise ClusterError("away", 503)

    times = iter(range(100))
    ending = wait_ready(cluster, "iris", "team", "knative", 5, report, lambda: next(times), lambda seconds: None)
    assert ending.causes[0].code == "never-ready"
    assert len(told) > 1
