"""What Knative's controllers do with a Service, as far as commands see it."""

import copy
import threading
from typing import Any

from kfunc.manifests.plan import Manifest
from tests.cluster.api_server import Objects

NAMESPACE = "default"


def make_ready(objects: Objects, manifest: Manifest) -> None:
    """A Service gets a ready revision, all traffic and an address."""
    if manifest["kind"] == "Service" and "knative" in manifest["apiVersion"]:
        _reconcile(objects, manifest, "True", [])


class SlowKnative:
    """Controllers whose new revisions need a moment. As Knative's do, they take for the latest ready revision the one
    that the template names once it is ready, and until then the newest of the others.
    """

    def __init__(self, ready_after_s: float = 0.8) -> None:
        self._ready_after_s = ready_after_s
        self.served: list[str] = []
        """The revisions that had traffic, one after the other."""

    def __call__(self, objects: Objects, manifest: Manifest) -> None:
        if manifest["kind"] != "Service" or "knative" not in manifest["apiVersion"]:
            return
        wanted = manifest["spec"]["template"]["metadata"]["name"]
        known = [each["metadata"]["name"] for each in objects.of_kind("Revision")]
        if wanted not in known:
            _reconcile(objects, manifest, "Unknown", [])
            threading.Timer(self._ready_after_s, self._becomes_ready, (objects, wanted)).start()
        self._route(objects, manifest["metadata"]["name"])

    def _becomes_ready(self, objects: Objects, revision: str) -> None:
        (found,) = [each for each in objects.of_kind("Revision") if each["metadata"]["name"] == revision]
        objects.put(found | {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
        self._route(objects, found["metadata"]["labels"]["serving.knative.dev/service"])

    def _route(self, objects: Objects, name: str) -> None:
        (service,) = [each for each in objects.of_kind("KnativeService") if each["metadata"]["name"] == name]
        ready = [each["metadata"]["name"] for each in objects.of_kind("Revision") if _is_ready(each)]
        wanted = service["spec"]["template"]["metadata"]["name"]
        latest = wanted if wanted in ready else (ready or [""])[-1]
        shares = [{**share, "revisionName": share.get("revisionName") or latest} for share in service["spec"]["traffic"]]
        self.served += [share["revisionName"] for share in shares if share["revisionName"] not in self.served[-1:]]
        status = service["status"] | {
            "observedGeneration": 1,
            "latestCreatedRevisionName": wanted,
            "latestReadyRevisionName": latest,
            "conditions": [
                {"type": "Ready", "status": "True" if wanted in ready else "Unknown"},
                {"type": "RoutesReady", "status": "True"},
            ],
            "traffic": shares,
        }
        objects.put(copy.deepcopy(service) | {"metadata": service["metadata"] | {"generation": 1}, "status": status})


def _is_ready(revision: Manifest) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in revision["status"]["conditions"])


def fail_with(reason: str, message: str) -> Any:
    """Controllers of which the revision's container never becomes healthy."""

    def reconcile(objects: Objects, manifest: Manifest) -> None:
        if manifest["kind"] == "Service" and "knative" in manifest["apiVersion"]:
            told = {"type": "ContainerHealthy", "status": "False", "reason": reason, "message": message}
            _reconcile(objects, manifest, "False", [told])

    return reconcile


def _reconcile(objects: Objects, service: Manifest, ready: str, conditions: list[dict[str, str]]) -> None:
    about, template = service["metadata"], service["spec"]["template"]
    name, namespace = about["name"], about["namespace"]
    labels = {"serving.knative.dev/service": name, "serving.knative.dev/revision": template["metadata"]["name"]}
    known = [each["metadata"]["name"] for each in objects.of_kind("Revision")]
    revision = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {
            "name": template["metadata"]["name"],
            "namespace": namespace,
            "labels": labels,
            "creationTimestamp": f"2026-11-25T14:{len(known):02}:00Z",
        },
        "spec": template["spec"],
        "status": {"conditions": [{"type": "Ready", "status": ready}, *conditions]},
    }
    if revision["metadata"]["name"] not in known:
        objects.put(revision)
    latest = revision["metadata"]["name"]
    shares = [{**share, "revisionName": share.get("revisionName") or latest} for share in service["spec"].get("traffic", [])]
    status = {
        "observedGeneration": about.get("generation", 1),
        "latestCreatedRevisionName": latest,
        "latestReadyRevisionName": latest if ready == "True" else "",
        "conditions": [{"type": "Ready", "status": ready}],
        "traffic": shares,
        "url": f"http://{name}.{namespace}.example.test",
    }
    objects.put(copy.deepcopy(service) | {"status": status})


def pod(name: str, revision: str = "", **containers: dict[str, Any]) -> Manifest:
    """A pod on a node; `containers` are their states by name, running by default."""
    states = containers or {"handler": {"running": {}}}
    ready = all("running" in state for state in states.values())
    labels = {"app.kubernetes.io/name": "iris", "serving.knative.dev/service": "iris"}
    labels |= {"serving.knative.dev/revision": revision} if revision else {}
    statuses = [{"name": each, "ready": ready, "restartCount": 0, "state": state} for each, state in states.items()]
    conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": str(ready)}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {"containers": [{"name": each, "image": "example.com/iris:1"} for each in states]},
        "status": {"conditions": conditions, "containerStatuses": statuses},
    }
