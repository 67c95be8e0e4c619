"""Pods as a rollout sees them: when they became ready, how often they were started again, and why they are not ready. Pure."""

from datetime import datetime

from kfunc.manifests.plan import Manifest
from kfunc.rollout.state import Pod
from kfunc.rollout.statistics import Sample

PORT_NAMES = ("user-port", "http", "h2c", "http1")
"""Names of the port that requests come to: Knative's, then those of a Deployment."""
HOPELESS = ("InvalidImageName", "CreateContainerConfigError", "ImagePullBackOff", "ErrImageNeverPull")
MANY_RESTARTS = 3


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


def read_pod(pod: Manifest, counters: Sample | None) -> Pod:
    """The pod with its counters."""
    statuses = _statuses(pod)
    ended = [status for status in statuses if status.get("lastState", {}).get("terminated")]
    why = f"{ended[0]['name']} {_end(ended[0]['lastState']['terminated'])}" if ended else ""
    return Pod(pod["metadata"]["name"], ready_at(pod), counters, sum(status.get("restartCount", 0) for status in statuses), why)


def why_not_ready(pod: Manifest) -> str:
    """What keeps a pod from being ready, in words; empty for one that is."""
    if ready_at(pod):
        return ""
    for found in pod.get("status", {}).get("conditions", []):
        if found["type"] == "PodScheduled" and found["status"] == "False":
            return f"it finds no node: {found.get('message', '')}"
    for status in _statuses(pod):
        waiting = status.get("state", {}).get("waiting") or {}
        last = status.get("lastState", {}).get("terminated")
        if last:
            return f"{status['name']} {_end(last)}, {status.get('restartCount', 0)} times"
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{status['name']}: {waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    unready = [status["name"] for status in _statuses(pod) if not status.get("ready")]
    if unready or not _statuses(pod):
        return f"{', '.join(unready) or 'its containers'} not ready"
    return "its containers run, and the function does not say that it is ready"


def is_hopeless(pod: Manifest) -> bool:
    """Whether waiting for this pod is of no use."""
    if ready_at(pod):
        return False
    return any(
        status.get("restartCount", 0) >= MANY_RESTARTS
        or (status.get("state", {}).get("waiting") or {}).get("reason") in HOPELESS
        for status in _statuses(pod)
    )


def request_port(pod: Manifest) -> int:
    """The container's port that requests come to; 0 where none is named so."""
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
    for name in PORT_NAMES:
        for port in ports:
            if port.get("name") == name:
                return int(port["containerPort"])
    return 0


def _statuses(pod: Manifest) -> list[Manifest]:
    found: list[Manifest] = pod.get("status", {}).get("containerStatuses", [])
    return [status for status in found if status["name"] != "queue-proxy"]


def _end(terminated: Manifest) -> str:
    reason = terminated.get("reason", "")
    if reason == "OOMKilled":
        return "was ended for using too much memory (OOMKilled)"
    message = str(terminated.get("message") or "").strip()
    return f"ended with exit status {terminated.get('exitCode')}{f': {message[-200:]}' if message else ''}"
