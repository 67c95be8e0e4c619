"""Reads what a function has on the cluster; what its pods say is asked only of those that are not ready."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec

from kfunc.cluster.connection import Cluster
from kfunc.cluster.observed import (
    REVISION_LABEL,
    SERVICE_LABEL,
    Observed,
    containers,
    is_ready,
    label,
    name_of,
)
from kfunc.config.deployment import Mode
from kfunc.config.labels import INSTANCE_LABEL, NAME_LABEL
from kfunc.errors import ClusterError
from kfunc.manifests.plan import Manifest

READY = "/v2/health/ready"
LINES = 20
ANSWER_S = 2.0
MOST_ASKED = 3
"""Of pods that are not ready so many are asked, the newest: those of a revision have the same to say."""


def observe(cluster: Cluster, name: str, namespace: str, mode: Mode | None = None) -> Observed:
    """One function's objects; without a mode the cluster tells which one the function has. Raises ClusterError."""
    knative = cluster.get("KnativeService", name, namespace) if mode != "raw" else None
    raw = mode == "raw" or (mode is None and knative is None)
    found = _raw(cluster, name, namespace) if raw else _knative(cluster, name, namespace, knative)
    if raw and mode is None and found.service is None:
        found = msgspec.structs.replace(found, mode="knative")
    return with_words(cluster, found)


def with_words(cluster: Cluster, found: Observed) -> Observed:
    """The same with what is told of its pods that are not ready, and what they say themselves. Raises ClusterError."""
    waiting = sorted((pod for pod in found.pods if not is_ready(pod)), key=_created, reverse=True)
    if not waiting:
        return found
    events = events_about(cluster, found.name, found.namespace, "involvedObject.kind=Pod")
    return msgspec.structs.replace(found, events=events, said=_said(cluster, waiting), ended=dict(_ended(cluster, waiting)))


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


def events_about(cluster: Cluster, name: str, namespace: str, fields: str = "") -> list[Manifest]:
    """The events about everything whose name begins with the function's. Raises ClusterError."""
    found = cluster.objects("Event", namespace, fields=fields)
    return [event for event in found if event["involvedObject"].get("name", "").startswith(name)]


def _created(pod: Manifest) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))


def _belongs(deployment: Manifest, name: str) -> bool:
    return label(deployment, REVISION_LABEL).startswith(name)


def _said(cluster: Cluster, pods: list[Manifest]) -> dict[str, bytes]:
    """What pods that run answer to the question whether they are ready, by name; the newest come first.

    A few are asked, at once: one that is silent costs seconds, and the others of a revision do the same.
    """
    asked = [(pod, port) for pod in pods if (port := _port_to_ask(pod))][:MOST_ASKED]
    if not asked:
        return {}

    def ask(each: tuple[Manifest, int]) -> bytes | None:
        pod, port = each
        try:
            reply = cluster.ask_pod(pod["metadata"]["namespace"], name_of(pod), port, READY, ANSWER_S)
        except ClusterError:
            return None
        # 503 with a JSON body is the function's; the API's own 503 says that nothing listens.
        own = reply.status in (200, 503) and b'"kind":"Status"' not in reply.body
        return reply.body if own else None

    with ThreadPoolExecutor(len(asked)) as pool:
        answers = zip(asked, pool.map(ask, asked), strict=True)
        return {name_of(pod): answer for (pod, _), answer in answers if answer is not None}


def _port_to_ask(pod: Manifest) -> int:
    """The port of the function in a pod that runs; 0 where there is nobody to ask."""
    if "deletionTimestamp" in pod["metadata"]:
        return 0
    return next((port for each in containers(pod) if each.running and (port := _port(each.spec))), 0)


def _port(spec: Manifest) -> int:
    """The port of the function: queue-proxy's are Knative's, and those called metrics are not for requests."""
    if spec["name"] in ("queue-proxy", "istio-proxy"):
        return 0
    return next((int(port["containerPort"]) for port in spec.get("ports") or [] if port.get("name") != "metrics"), 0)


def _ended(cluster: Cluster, pods: list[Manifest]) -> Iterator[tuple[str, list[str]]]:
    """The last lines of containers that ended, of a few pods."""
    fallen = [pod for pod in pods if any(each.ended for each in containers(pod))]
    for pod in fallen[:MOST_ASKED]:
        for each in containers(pod):
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
