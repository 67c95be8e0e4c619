"""What a rollout sees of a cluster: which revisions have the pods that are waited for."""

from typing import Any

import pytest
from msgspec.structs import replace

from kfunc.cluster.connection import Cluster
from kfunc.manifests.plan import Manifest
from kfunc.rollout.knative_changes import MAX_SCALE
from kfunc.rollout.record import Objects, Record
from kfunc.rollout.worlds import world_of
from tests.cluster.api_server import ApiServer, connect
from tests.cluster.conftest import api as api
from tests.rollout.test_knative_changes import LATEST, SINGLE, revision, service
from tests.rollout.test_raw_changes import SHARES, autoscaler, deployment
from tests.rollout.worlds import rollout

pytestmark = pytest.mark.integration


def ready_pod(name: str, **labels: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"containers": []},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-25T14:00:00Z"}]},
    }


def looked(cluster: Cluster, record: Record) -> dict[str, bool]:
    """Which shares have the pods that are waited for."""
    world = world_of(cluster, record.rollout)
    try:
        return world.look(record, 1000.0).ready
    finally:
        world.close()


@pytest.mark.parametrize(("most", "is_ready"), [("1", True), ("0", False), ("3", False)])
def test_an_earlier_revision_is_ready_with_the_most_pods_that_it_may_have(api: ApiServer, most: str, is_ready: bool) -> None:
    api.objects.put(service("iris-a", LATEST))
    for name in ("iris-a", "iris-b"):
        one = revision(name)
        labels = {"serving.knative.dev/service": "iris"}
        about: dict[str, Any] = one["metadata"] | {"namespace": "default", "labels": labels, "annotations": {MAX_SCALE: most}}
        state = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        image = {"spec": {"containers": [{"image": "example.com/iris:1"}]}}
        api.objects.put({"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "metadata": about} | image | state)
        api.objects.put(ready_pod(f"{name}-1", **{"serving.knative.dev/revision": name}, **labels))
    record = Record(rollout("undo", warm=2), Objects(promoted=[SINGLE]))
    assert looked(connect(), record)["candidate"] == is_ready


@pytest.mark.parametrize(("most", "is_ready"), [(1, True), (3, False)])
def test_an_earlier_deployment_is_ready_with_the_most_pods_that_it_may_have(api: ApiServer, most: int, is_ready: bool) -> None:
    candidate = [deployment("iris-candidate", "old", 1, 1), autoscaler("iris-candidate", 1, most)]
    before = [deployment("iris", "new", 1, 1)]
    for each in [*before, *candidate]:
        api.objects.put(each)
    labels = {"app.kubernetes.io/name": "iris", "app.kubernetes.io/instance": "iris-candidate"}
    api.objects.put(ready_pod("iris-candidate-1", **labels))
    one = replace(rollout("undo", warm=2, mode="raw"), shares=SHARES)
    assert looked(connect(), Record(one, Objects(candidate=candidate, before=before)))["candidate"] == is_ready
