"""What pods say of themselves during a rollout."""

from typing import Any

import pytest

from kfunc.cluster.observed import Observed
from kfunc.rollout.pods import read_pod, ready_at, request_port

FOUND = Observed("iris", "default")


def pod(*statuses: dict[str, Any], ready: str = "False", **more: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-11-25T10:00:00Z"}]
    containers = [{"name": each["name"], "image": "example.com/iris:1"} for each in statuses]
    return {
        "metadata": {"name": "p", **more},
        "spec": {"containers": containers},
        "status": {"conditions": conditions, "containerStatuses": list(statuses)},
    }


def status(**more: Any) -> dict[str, Any]:
    return {"name": "handler", "ready": False, "restartCount": 0, **more}


KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


def test_a_pod_that_is_ending_is_not_ready() -> None:
    assert ready_at(pod(ready="True", deletionTimestamp="2026-11-25T10:00:00Z")) == 0.0
    assert ready_at(pod(ready="True")) > 0


def test_restarts_are_the_functions_own() -> None:
    proxy = {"name": "queue-proxy", "restartCount": 5, "lastState": {"terminated": {"exitCode": 2}}}
    read = read_pod(FOUND, pod(proxy, status(restartCount=1, lastState=KILLED), ready="True"), None)
    assert read.restarts == 1
    assert read.ended == "the container handler was ended by the kernel: it needs more memory than its limit (none)"


@pytest.mark.parametrize(("name", "port"), [("user-port", 8080), ("http", 8080), ("metrics", 0)])
def test_requests_go_to_the_port_that_has_the_name_of_one(name: str, port: int) -> None:
    containers = [{"ports": [{"name": "queue-port", "containerPort": 8012}, {"name": name, "containerPort": 8080}]}]
    assert request_port({"spec": {"containers": containers}}) == port
