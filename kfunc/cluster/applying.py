"""Brings manifests to the cluster, finds what is not wanted any more, and takes a function away."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from kfunc.cluster.connection import Cluster
from kfunc.cluster.kinds import key_of, kind_of, shown
from kfunc.cluster.observed import SERVICE_LABEL
from kfunc.cluster.rollout_record import record_name
from kfunc.config.labels import NAME_LABEL, own_labels
from kfunc.manifests.plan import Manifest

What = Literal["created", "changed", "unchanged", "removed"]
RENDERED = (
    "KnativeService", "Deployment", "HorizontalPodAutoscaler", "ScaledObject", "PodDisruptionBudget", "Trigger", "SinkBinding",
    "VirtualService", "DestinationRule", "Gateway", "ServiceEntry", "Sidecar", "AuthorizationPolicy", "RequestAuthentication",
    "PeerAuthentication", "PodMonitor", "ServiceMonitor", "PrometheusRule", "Service", "ConfigMap",
)  # fmt: skip
"""The kinds that `kfunc render` makes, those that bring requests after those that answer them."""
OF_ROLLOUTS = ("Job", "RoleBinding", "Role", "ServiceAccount")
"""What drives a rollout from within the cluster."""
AT_GATEWAY = ("AuthorizationPolicy", "RequestAuthentication")
"""Kinds that are in the gateway's namespace, where the namespace is part of their name."""
FIRST = ("ConfigMap", "SinkBinding")
"""What must be there before the first pod: settings, and a binding, which changes what pods are made from."""
OTHERS = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


class Outcome(Struct, frozen=True):
    """What became of one object."""

    what: What
    manifest: Manifest

    def __str__(self) -> str:
        return f"{shown(self.manifest)} {self.what}"


def apply_all(
    cluster: Cluster, manifests: Iterable[Manifest], *, dry_run: bool = False, force: bool = False
) -> Iterator[Outcome]:
    """Server-side apply of each; first all are tried, so that one that is refused leaves nothing half done."""
    ordered = sorted(manifests, key=lambda manifest: kind_of(manifest) not in FIRST)
    before = [cluster.get(kind_of(each), each["metadata"]["name"], each["metadata"]["namespace"]) for each in ordered]
    for manifest, old in zip(ordered, before, strict=True):
        tried = cluster.apply(manifest, dry_run=True, force=force)
        if dry_run:
            yield Outcome(_change(old, tried), manifest)
    for manifest, old in zip(ordered, before, strict=True) if not dry_run else ():
        yield Outcome(_change(old, cluster.apply(manifest, force=force)), manifest)


def _change(old: Manifest | None, new: Manifest) -> What:
    if old is None:
        return "created"
    return "unchanged" if _content(old) == _content(new) else "changed"


def _content(manifest: Manifest) -> Any:
    """What people decide of an object: without its status, and without what the cluster counts."""
    kept = {key: value for key, value in manifest.items() if key != "status"}
    kept["metadata"] = {key: value for key, value in manifest["metadata"].items() if key not in OTHERS}
    return kept


def owned(cluster: Cluster, name: str, namespace: str, gateway_namespace: str, kinds: Iterable[str]) -> Iterator[Manifest]:
    """The function's objects of these kinds, those that Kubernetes deletes with others left out."""
    labels = own_labels(name)
    for kind in kinds:
        found = cluster.objects(kind, namespace, labels)
        if kind in AT_GATEWAY and gateway_namespace != namespace:
            shared = cluster.objects(kind, gateway_namespace, labels)
            found += [each for each in shared if each["metadata"]["name"] == f"{namespace}.{name}"]
        yield from (each for each in found if "ownerReferences" not in each["metadata"])


def remove_unused(
    cluster: Cluster,
    name: str,
    namespace: str,
    gateway_namespace: str,
    rendered: Iterable[Manifest],
    earlier: Iterable[Manifest] = (),
) -> Iterator[Outcome]:
    """Delete what an earlier func.yaml asked for and this one does not.

    Settings stay that an old revision reads, or what was there `earlier` and may come back.
    """
    wanted = {key_of(manifest) for manifest in rendered}
    revisions = cluster.objects("Revision", namespace, {SERVICE_LABEL: name})
    readers = msgspec.json.encode([*revisions, *earlier]).decode()
    for manifest in owned(cluster, name, namespace, gateway_namespace, RENDERED):
        own_name = manifest["metadata"]["name"]
        needed = manifest["kind"] == "ConfigMap" and (own_name == record_name(name) or f'"{own_name}"' in readers)
        if key_of(manifest) not in wanted and not needed:
            yield from _delete(cluster, manifest)


def remove_all(cluster: Cluster, name: str, namespace: str, gateway_namespace: str) -> Iterator[Outcome]:
    """Delete everything that a function has, first what could make some of it again: a rollout with its driver."""
    found = list(owned(cluster, name, namespace, gateway_namespace, (*OF_ROLLOUTS, *RENDERED)))
    for manifest in sorted(found, key=lambda each: not _is_rollout(each, name)):
        yield from _delete(cluster, manifest)


def _is_rollout(manifest: Manifest, function: str) -> bool:
    record = manifest["kind"] == "ConfigMap" and manifest["metadata"]["name"] == record_name(function)
    return record or manifest["kind"] in OF_ROLLOUTS


def _delete(cluster: Cluster, manifest: Manifest) -> Iterator[Outcome]:
    about = manifest["metadata"]
    if cluster.delete(kind_of(manifest), about["name"], about["namespace"]):
        yield Outcome("removed", manifest)


def wait_gone(
    cluster: Cluster, name: str, namespace: str, timeout_s: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> list[str]:
    """The names of the pods that are still there when the time is over; empty: all are gone."""
    ends_at = clock() + timeout_s
    while True:
        pods = cluster.objects("Pod", namespace, {NAME_LABEL: name})
        left = [str(pod["metadata"]["name"]) for pod in pods]
        if not left or clock() >= ends_at:
            return left
        sleep(0.5)
