"""Manifests as a rollout reads and edits them: what an object says beside its status, whether it is as wanted. Pure."""

from collections.abc import Iterator

from msgspec import Struct

from kfunc.cluster.binding import holds
from kfunc.cluster.kinds import Key, key_of
from kfunc.cluster.split import tag_of
from kfunc.manifests.plan import Manifest
from kfunc.manifests.virtual_service import VARIANT_HEADER

SPLIT_ROUTE, PLAIN_ROUTE = "split", "all"
OF_OTHERS = ("serving.knative.dev/", "kubectl.kubernetes.io/", "deployment.kubernetes.io/", "client.knative.dev/")
"""Prefixes of annotations that their own programs write."""


class Apply(Struct, frozen=True):
    """Make an object so."""

    manifest: Manifest


class Delete(Struct, frozen=True):
    """Remove an object of ours."""

    key: Key


class Annotate(Struct, frozen=True):
    """Set annotations of a revision, and remove those that are None."""

    revision: str
    annotations: dict[str, str | None]
    version: str


Change = Apply | Delete | Annotate


class Difference(Struct, frozen=True):
    """What is to be changed now, and what is waited for where there is nothing to change."""

    changes: list[Change] = []
    waiting: str = ""

    @property
    def is_none(self) -> bool:
        """Whether all is as it should be, and in effect."""
        return not self.changes and not self.waiting


def by_key(manifests: list[Manifest]) -> dict[Key, Manifest]:
    """Objects by what they are."""
    return {key_of(manifest): manifest for manifest in manifests}


def stated(live: Manifest) -> Manifest:
    """What people and kfunc said of an object: nothing that the cluster added to its metadata, no status."""
    about = live["metadata"]
    kept: Manifest = {"name": about["name"], "namespace": about["namespace"]}
    if about.get("labels"):
        kept["labels"] = about["labels"]
    annotations = own_annotations(about.get("annotations") or {})
    if annotations:
        kept["annotations"] = annotations
    rest = {name: value for name, value in live.items() if name not in ("metadata", "status")}
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": kept} | rest


def own_annotations(annotations: dict[str, str]) -> dict[str, str]:
    """Those that no controller wrote."""
    return {name: value for name, value in annotations.items() if not name.startswith(OF_OTHERS)}


def applied(manifest: Manifest, live: Manifest | None) -> Iterator[Change]:
    """The change that makes an object so; none where it says all of it."""
    said = {name: value for name, value in manifest.items() if name not in ("apiVersion", "kind", "metadata")}
    if live is None or not holds(said, live):
        yield Apply(with_version(manifest, live))


def with_version(manifest: Manifest, live: Manifest | None) -> Manifest:
    """The manifest, to be refused where the object is not `live` any more."""
    if live is None:
        return manifest
    return manifest | {"metadata": manifest["metadata"] | {"resourceVersion": live["metadata"]["resourceVersion"]}}


def with_weights(virtual_service: Manifest, weights: dict[str, int], *, matches: bool) -> Manifest:
    """A VirtualService with other percents in its split, with or without the routes that a match chooses."""
    routes = []
    for route in virtual_service["spec"]["http"]:
        if route["name"] == SPLIT_ROUTE:
            shares = [part | {"weight": weights[tag_of(part)]} for part in route["route"]]
            routes.append(route | {"route": shares})
        elif matches or not route.get("match"):
            routes.append(route)
    return virtual_service | {"spec": virtual_service["spec"] | {"http": routes}}


def is_split(virtual_service: Manifest | None) -> bool:
    """Whether a live VirtualService has several destinations."""
    routes = (virtual_service or {}).get("spec", {}).get("http", [])
    return any(route.get("name") == SPLIT_ROUTE for route in routes)


def split_of(virtual_service: Manifest, function: str, tags: list[str]) -> Manifest:
    """A VirtualService of one destination, with one for each tag's host instead."""
    route = virtual_service["spec"]["http"][-1]
    target = route["route"][0]
    namespace = virtual_service["metadata"]["namespace"]
    shares = [
        {
            "destination": target["destination"],
            "headers": {
                "request": {"set": {"Host": f"{tag}-{function}.{namespace}.svc.cluster.local"}},
                "response": {"set": {VARIANT_HEADER: tag}},
            },
            "weight": 0 if number else 100,
        }
        for number, tag in enumerate(tags)
    ]
    routes = [route | {"name": SPLIT_ROUTE, "route": shares}]
    return virtual_service | {"spec": virtual_service["spec"] | {"http": routes}}


def split_tags(virtual_service: Manifest | None) -> list[str]:
    """The tags that a VirtualService sends requests to; none where it has one destination."""
    if virtual_service is None or not is_split(virtual_service):
        return []
    parts = [part for route in virtual_service["spec"]["http"] for part in route["route"]]
    return list(dict.fromkeys(filter(None, map(tag_of, parts))))


def unsplit(virtual_service: Manifest, function: str, tag: str) -> Manifest:
    """A VirtualService whose requests all go the way of `tag`, with Knative to the function's plain address; else as it is."""
    if not is_split(virtual_service):
        return virtual_service
    route = next(route for route in virtual_service["spec"]["http"] if route.get("name") == SPLIT_ROUTE)
    part = next((part for part in route["route"] if tag_of(part) == tag), route["route"][0])
    target: Manifest = {"destination": part["destination"]}
    if "request" in (part.get("headers") or {}):
        host = f"{function}.{virtual_service['metadata']['namespace']}.svc.cluster.local"
        target["headers"] = {"request": {"set": {"Host": host}}}
    routes = [route | {"name": PLAIN_ROUTE, "route": [target]}]
    return virtual_service | {"spec": virtual_service["spec"] | {"http": routes}}


def for_revision(rule: Manifest, revision: str) -> Manifest:
    """A DestinationRule of one revision as that of another."""
    about = rule["metadata"] | {"name": revision}
    host = f"{revision}.{about['namespace']}.svc.cluster.local"
    return rule | {"metadata": about, "spec": rule["spec"] | {"host": host}}
