"""Which share of a function's requests each revision gets, as its VirtualService says on the cluster. Pure."""

from msgspec import Struct

from kfunc.cluster.observed import Observed, routed
from kfunc.manifests.plan import Manifest
from kfunc.manifests.virtual_service import VARIANT_HEADER

LOCAL = (".svc.cluster.local", ".svc")


class Way(Struct, frozen=True):
    """A destination: its tag, the revision that Knative has under it (empty without Knative), its percent."""

    tag: str
    revision: str
    percent: int


class Split(Struct, frozen=True):
    """The host where requests are split, one that is known outside of the cluster first, and the ways that they go."""

    host: str
    ways: list[Way]


def live_name(function: str) -> str:
    """The name of the VirtualService that splits a function's requests."""
    return f"live-{function}"


def outside_host(function: str, namespace: str, virtual_service: Manifest | None) -> str:
    """The first host that is meant for requests from outside; empty where there is none."""
    hosts = (virtual_service or {}).get("spec", {}).get("hosts", [])
    outside = [host for host in hosts if not host.endswith(LOCAL) and host != f"{live_name(function)}.{namespace}"]
    return str(outside[0]) if outside else ""


def read_split(observed: Observed, virtual_service: Manifest | None) -> Split | None:
    """What the route for all requests does, the routes of matches aside; None where it has one destination."""
    spec = (virtual_service or {}).get("spec") or {}
    routes = [route for route in spec.get("http") or [] if not route.get("match")]
    ways = (routes[-1].get("route") or []) if routes else []
    if len(ways) < 2:
        return None
    tagged = {share.get("tag"): str(share.get("revisionName", "")) for share in routed(observed)}
    host = outside_host(observed.name, observed.namespace, virtual_service) or str((spec.get("hosts") or [""])[0])
    return Split(host, [Way(tag := tag_of(way), tagged.get(tag, ""), int(way.get("weight") or 0)) for way in ways])


def tag_of(way: Manifest) -> str:
    """The tag that a destination says it is of; without Knative the subset has its name."""
    told = ((way.get("headers") or {}).get("response") or {}).get("set") or {}
    return str(told.get(VARIANT_HEADER) or (way.get("destination") or {}).get("subset", ""))
