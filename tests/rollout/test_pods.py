"""What pods say of themselves during a rollout."""

from typing import Any

import pytest

from kfunc.rollout.pods import is_hopeless, read_pod, ready_at, request_port, why_not_ready


def pod(*statuses: dict[str, Any], ready: str = "False", **more: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-11-25T10:00:00Z"}, *more.pop("conditions", [])]
    return {"metadata": {"name": "p", **more}, "status": {"conditions": conditions, "containerStatuses": list(statuses)}}


def status(**more: Any) -> dict[str, Any]:
    return {"name": "handler", "ready": False, "restartCount": 0, **more}


ENDED = {"terminated": {"exitCode": 3, "message": "no model"}}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (pod(status(ready=True), ready="True"), ""),
        (pod(), "its containers not ready"),
        (pod(status()), "handler not ready"),
        (pod(status(ready=True)), "its containers run, and the function does not say that it is ready"),
        (pod(status(restartCount=2, lastState=ENDED)), "handler ended with exit status 3: no model, 2 times"),
        (pod(status(lastState=KILLED, restartCount=1)), "handler was ended for using too much memory (OOMKilled), 1 times"),
        (pod(status(state={"waiting": {"reason": "ImagePullBackOff"}})), "handler: ImagePullBackOff"),
        (pod(status(state={"waiting": {"reason": "ContainerCreating"}})), "handler not ready"),
        (pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "no cpu"}]), "it finds no node: no cpu"),
    ],
)
def test_a_pod_says_why_it_is_not_ready(found: dict[str, Any], why: str) -> None:
    assert why_not_ready(found) == why


@pytest.mark.parametrize(
    ("found", "hopeless"),
    [
        (pod(status(restartCount=2)), False),
        (pod(status(restartCount=3)), True),
        (pod(status(restartCount=3), ready="True"), False),
        (pod(status(state={"waiting": {"reason": "ImagePullBackOff"}})), True),
    ],
)
def test_some_pods_are_not_waited_for(found: dict[str, Any], hopeless: bool) -> None:
    assert is_hopeless(found) == hopeless


def test_a_pod_that_is_ending_is_not_ready() -> None:
    assert ready_at(pod(ready="True", deletionTimestamp="2026-11-25T10:00:00Z")) == 0.0
    assert ready_at(pod(ready="True")) > 0


def test_restarts_are_the_functions_own() -> None:
    read = read_pod(pod(status(restartCount=1, lastState=KILLED), {"name": "queue-proxy", "restartCount": 5}), None)
    assert (read.restarts, read.ended) == (1, "handler was ended for using too much memory (OOMKilled)")


@pytest.mark.parametrize(("name", "port"), [("user-port", 8080), ("http", 8080), ("metrics", 0)])
def test_requests_go_to_the_port_that_has_the_name_of_one(name: str, port: int) -> None:
    containers = [{"ports": [{"name": "queue-port", "containerPort": 8012}, {"name": name, "containerPort": 8080}]}]
    assert request_port({"spec": {"containers": containers}}) == port
