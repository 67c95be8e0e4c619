"""Reads what a function has on the cluster; what its pods say is asked only of those that are not ready."""

from collections.abc import Iterator

import msgspec

from kfunc.cluster.connection import Cluster
from kfunc.cluster.observed import (
    INSTANCE_LABEL,
    REVISION_LABEL,
    SERVICE_LABEL,
    Observed,
    containers,
    is_ready,
    label,
    name_of,
)
from kfunc.config.deployment import Mode
from kfunc.errors import ClusterError
from kfunc.manifests.plan import Manifest

NAME_LABEL = "app.kubernetes.io/name"
READY = "/v2/health/ready"
LINES = 20
ANSWER_S = 2.0


def observe(cluster: Cluster, name: str, namespace: str, mode: Mode | None = None) -> Observed:
    """One function's objects; without a mode the cluster tells which one the function has. Raises ClusterError."""
    knative = cluster.get("KnativeService", name, namespace) if mode != "raw" else None
    raw = mode == "raw" or (mode is None and knative is None)
    found = _raw(cluster, name, namespace) if raw else _knative(cluster, name, namespace, knative)
    if raw and mode is None and found.service is None:
        found = msgspec.structs.replace(found, mode="knative")
    return with_words(cluster, found)


def with_words(cluster: Cluster, found: Observed) -> Observed:
    """The same with the events, and with what its pods that are not ready say. Raises ClusterError."""
    said = {name_of(pod): answer for pod in found.pods if (answer := _asked(cluster, pod)) is not None}
    events = _events(cluster, found.name, found.namespace)
    return msgspec.structs.replace(found, events=events, said=said, ended=dict(_ended(cluster, found.pods)))


def _knative(cluster: Cluster, name: str, namespace: str, service: Manifest | None) -> Observed:
    own = {SERVICE_LABEL: name}
    return Observed(
        name,
        namespace,
        "knative",
        service,
        revisions=cluster.objects("Revision", namespace, own),
        deployments=[each for each in cluster.objects("Deployment", namespace, own) if _belongs(each, name)],
        pods=cluster.objects("Pod", namespace, own),
    )


def _raw(cluster: Cluster, name: str, namespace: str) -> Observed:
    own = {NAME_LABEL: name, INSTANCE_LABEL: name}
    deployment = cluster.get("Deployment", name, namespace)
    return Observed(
        name,
        namespace,
        "raw",
        deployment,
        deployments=[deployment] if deployment else [],
        replica_sets=cluster.objects("ReplicaSet", namespace, own),
        pods=cluster.objects("Pod", namespace, own),
    )


def _events(cluster: Cluster, name: str, namespace: str) -> list[Manifest]:
    """Of everything whose name begins with the function's."""
    found = cluster.objects("Event", namespace)
    return [event for event in found if event["involvedObject"].get("name", "").startswith(name)]


def _belongs(deployment: Manifest, name: str) -> bool:
    return label(deployment, REVISION_LABEL).startswith(name)


def _asked(cluster: Cluster, pod: Manifest) -> bytes | None:
    """What a pod that runs and is not ready answers to the question whether it is; None for no answer."""
    if is_ready(pod) or "deletionTimestamp" in pod["metadata"]:
        return None
    for each in containers(pod):
        if each.running and (port := _port(each.spec)):
            try:
                reply = cluster.ask_pod(pod["metadata"]["namespace"], name_of(pod), port, READY, ANSWER_S)
            except ClusterError:
                return None
            # 503 with a JSON body is the function's; the API's own 503 says that nothing listens.
            own = reply.status in (200, 503) and b'"kind":"Status"' not in reply.body
            return reply.body if own else None
    return None


def _port(spec: Manifest) -> int:
    """The port of the function: queue-proxy's are Knative's, and those called metrics are not for requests."""
    if spec["name"] in ("queue-proxy", "istio-proxy"):
        return 0
    return next((int(port["containerPort"]) for port in spec.get("ports") or [] if port.get("name") != "metrics"), 0)


def _ended(cluster: Cluster, pods: list[Manifest]) -> Iterator[tuple[str, list[str]]]:
    """The last lines of each container that ended and whose pod is not ready."""
    for pod in pods:
        for each in containers(pod) if not is_ready(pod) else ():
            if not each.ended:
                continue
            lines = _last_log(cluster, pod, each.name, previous="terminated" not in each.status.get("state", {}))
            if lines:
                yield f"{each.pod}/{each.name}", lines


def _last_log(cluster: Cluster, pod: Manifest, container: str, previous: bool) -> list[str]:
    where = pod["metadata"]["namespace"], name_of(pod), container
    try:
        return list(cluster.logs(*where, previous=previous, tail=LINES))
    except ClusterError:
        return []  # the node has thrown it away
