"""A rollout's end removes the revisions that nothing needs any more."""

from typing import Any

import pytest
from msgspec.structs import replace

from kfunc.cli.rollout_driving import tidy
from kfunc.rollout.record import Objects, Record
from tests.cluster.api_server import ApiServer, connect
from tests.cluster.conftest import api as api
from tests.rollout.worlds import record, rollout, settings

pytestmark = pytest.mark.integration
LABELS = {"serving.knative.dev/service": "iris"}


def put(api: ApiServer, namespace: str, *names: str) -> None:
    """Ready revisions, the oldest first; the last one has the traffic."""
    about: dict[str, Any] = {"namespace": namespace, "labels": LABELS}
    for number, name in enumerate(names):
        revision = {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Revision",
            "metadata": about | {"name": name, "creationTimestamp": f"2026-11-25T14:{number:02}:00Z"},
            "spec": {"containers": [{"image": "example.com/iris:1"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
        api.objects.put(revision)
    traffic = [{"revisionName": names[-1], "percent": 100, "latestRevision": True}]
    status = {"latestCreatedRevisionName": names[-1], "latestReadyRevisionName": names[-1], "traffic": traffic}
    service = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": about | {"name": "iris"}}
    api.objects.put(service | {"spec": {"traffic": traffic, "template": {"metadata": {"name": names[-1]}}}, "status": status})


def test_as_many_stay_as_func_yaml_said_when_it_began(api: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    ended = replace(rollout(phase="promoted"), settings=settings(keep_revisions=2))
    put(api, ended.namespace, "iris-1", "iris-2", "iris-3", "iris-4")
    tidy(connect(), record(ended), print)
    left = [each["metadata"]["name"] for each in api.objects.of_kind("Revision")]
    assert left == ["iris-2", "iris-3", "iris-4"]
    assert "iris-1 removed" in capsys.readouterr().out


def test_without_the_right_it_says_what_removes_them(api: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    ended = replace(rollout(phase="promoted"), settings=settings(keep_revisions=1))
    put(api, ended.namespace, "iris-1", "iris-2", "iris-3")
    api.objects.refusals[("DELETE", "/apis/serving.knative.dev/")] = (403, "forbidden")
    tidy(connect(), record(ended), print)
    assert "kfunc revisions iris --prune removes it" in capsys.readouterr().err


def policy(name: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "iris", "app.kubernetes.io/managed-by": "kfunc"}
    about = {"name": name, "namespace": "default", "labels": labels}
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": about, "spec": {}}


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"phase": "promoted", "winner": "candidate"}, ["new"]),
        ({"phase": "rolled-back", "winner": "stable"}, ["old", "new"]),
        ({"phase": "promoted", "winner": "candidate", "strategy": "undo", "rendered": ""}, ["old", "new"]),
    ],
    ids=["promoted", "rolled back", "undone"],
)
def test_what_only_the_old_func_yaml_asked_for_goes(api: ApiServer, fields: dict[str, Any], left: list[str]) -> None:
    put(api, "default", "iris-b")
    api.objects.put(policy("old"))
    api.objects.put(policy("new"))
    ended = rollout(**({"strategy": "canary"} | fields))
    settings_map = policy("settings") | {"apiVersion": "v1", "kind": "ConfigMap"}
    api.objects.put(settings_map)
    promoted = [*api.objects.of_kind("KnativeService"), policy("new")]
    reader = {"kind": "Deployment", "spec": {"configMap": {"name": "settings"}}}
    tidy(connect(), Record(ended, Objects(promoted=promoted, before=[reader])), print)
    assert settings_map["metadata"]["name"] in [each["metadata"]["name"] for each in api.objects.of_kind("ConfigMap")]
    assert [each["metadata"]["name"] for each in api.objects.of_kind("AuthorizationPolicy")] == left
