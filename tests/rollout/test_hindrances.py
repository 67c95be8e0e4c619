"""Why a revision of a rollout is not ready, in the words of `kfunc deploy`."""

from typing import Any

import pytest

from kfunc.cluster.connection import Cluster
from kfunc.cluster.observed import Observed
from kfunc.rollout.hindrances import Hindrance, Hindrances
from tests.cluster.api_server import ApiServer
from tests.cluster.conftest import api as api
from tests.cluster.conftest import cluster as cluster
from tests.cluster.controllers import pod

pytestmark = pytest.mark.integration
FOUND = Observed("iris", "default")
WAITING: dict[str, Any] = {"waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown"}}


def crashing(restarts: int) -> dict[str, Any]:
    made = pod("iris-b-1", "iris-b", handler={"waiting": {"reason": "CrashLoopBackOff"}})
    (status,) = made["status"]["containerStatuses"]
    status |= {"restartCount": restarts, "lastState": {"terminated": {"exitCode": 3}}}
    return made


def test_a_container_that_ends_again_and_again_is_told_with_its_last_line(cluster: Cluster, api: ApiServer) -> None:
    api.objects.logs["iris-b-1/handler/previous"] = "first\nno model at /models\n"
    found = Hindrances(cluster).look(FOUND, {"iris-b": [crashing(2)]}, 0.0)
    text = "the container handler ended with exit status 3, 3 times: no model at /models"
    assert found == {"iris-b": Hindrance(text, is_final=True)}


def test_the_first_end_is_not_the_last_word(cluster: Cluster) -> None:
    found = Hindrances(cluster).look(FOUND, {"iris-b": [crashing(0)]}, 0.0)["iris-b"]
    assert (found.is_final, found.text) == (False, "the container handler ended with exit status 3, once")


def test_a_cause_that_lasts_as_long_as_deploy_would_wait_is_final(cluster: Cluster) -> None:
    hindrances, pods = Hindrances(cluster), {"iris-b": [pod("iris-b-1", "iris-b", handler=WAITING)]}
    assert not hindrances.look(FOUND, pods, 0.0)["iris-b"].is_final
    last = hindrances.look(FOUND, pods, 11.0)["iris-b"]
    assert (last.is_final, last.text) == (
        True,
        "the image example.com/iris:1 is not in its registry: kfunc build pushes it",
    )


def test_a_cause_that_went_away_begins_anew(cluster: Cluster) -> None:
    hindrances, pods = Hindrances(cluster), {"iris-b": [pod("iris-b-1", "iris-b", handler=WAITING)]}
    hindrances.look(FOUND, pods, 0.0)
    hindrances.look(FOUND, {}, 6.0)
    assert not hindrances.look(FOUND, pods, 12.0)["iris-b"].is_final


def test_where_nothing_is_wrong_it_says_how_far_it_is(cluster: Cluster, api: ApiServer) -> None:
    assert Hindrances(cluster).look(FOUND, {"iris-b": []}, 0.0)["iris-b"].text == "accepted: no pod yet"
