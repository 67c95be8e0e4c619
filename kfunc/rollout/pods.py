"""Pods as a rollout sees them: when they became ready, how often they were started again, where requests go. Pure."""

from datetime import datetime

from kfunc.cluster.causes import container_cause
from kfunc.cluster.observed import Observed, containers, name_of
from kfunc.manifests.plan import Manifest
from kfunc.rollout.state import Pod
from kfunc.rollout.statistics import Sample

PORT_NAMES = ("user-port", "http", "h2c", "http1")
"""Names of the port that requests come to: Knative's, then those of a Deployment."""
QUEUE_PROXY = "queue-proxy"


def seconds_of(text: str) -> float:
    """A time of the API's as seconds since 1970; 0 for none."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def ready_at(pod: Manifest) -> float:
    """When the pod became ready; 0 where it is not, or is ending."""
    if pod["metadata"].get("deletionTimestamp"):
        return 0.0
    for found in pod.get("status", {}).get("conditions", []):
        if found["type"] == "Ready" and found["status"] == "True":
            return seconds_of(found.get("lastTransitionTime", ""))
    return 0.0


def read_pod(found: Observed, pod: Manifest, counters: Sample | None) -> Pod:
    """A pod of the function with its counters."""
    own = [each for each in containers(pod) if each.name != QUEUE_PROXY]
    ended = [cause.text for each in own if each.ended and (cause := container_cause(found, each)) is not None]
    restarts = sum(each.status.get("restartCount", 0) for each in own)
    return Pod(name_of(pod), ready_at(pod), counters, restarts, next(iter(ended), ""))


def request_port(pod: Manifest) -> int:
    """The container's port that requests come to; 0 where none is named so."""
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
    for name in PORT_NAMES:
        for port in ports:
            if port.get("name") == name:
                return int(port["containerPort"])
    return 0
