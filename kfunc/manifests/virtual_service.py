"""Istio's VirtualService: which share of the traffic a request belongs to, and the way there. Pure.

Behind Knative's local gateway a revision is chosen by the Host header, which each destination sets for
itself. Without Knative the shares are subsets of one Service.
"""

from msgspec import UNSET

from kfunc.config.re2 import escape
from kfunc.config.traffic import Match, TextMatch
from kfunc.manifests.entry import LIVE, LOCAL_SERVICE, PREVIEW, gateways, label, local_hosts, public_hosts
from kfunc.manifests.plan import Manifest, Plan, metadata
from kfunc.manifests.split import CANDIDATE, Share, split, traffic_of

NETWORKING = "networking.istio.io/v1"
VARIANT_HEADER = "x-kfunc-variant"
SINGLE = "stable"
"""The subset where there is one share only."""


def virtual_services(plan: Plan) -> list[Manifest]:
    """The one for the live traffic and, in a blue/green release, the one for the preview."""
    shares = split(plan)
    routes = [route(plan, f"{share.tag}-matches", [share], share.match) for share in shares if share.match]
    routes.append(route(plan, "split" if len(shares) > 1 else "all", shares))
    made = [virtual_service(plan, LIVE, routes)]
    if traffic_of(plan).strategy == "blue-green" and len(shares) > 1:
        candidate = [share for share in shares if share.tag == CANDIDATE]
        made.append(virtual_service(plan, PREVIEW, [route(plan, "preview", candidate)]))
    return made


def virtual_service(plan: Plan, prefix: str, routes: list[Manifest]) -> Manifest:
    """One host name's routes; requests for it come from outside, from pods and from the mesh."""
    spec = {
        "hosts": [*public_hosts(plan, prefix), *local_hosts(plan, prefix)],
        "gateways": gateways(plan),
        "http": routes,
    }
    return {
        "apiVersion": NETWORKING,
        "kind": "VirtualService",
        "metadata": metadata(plan, label(plan, prefix)),
        "spec": spec,
    }


def route(plan: Plan, name: str, shares: list[Share], matches: list[Match] | None = None) -> Manifest:
    """A route to one share, or to all by their weights.

    Nothing is tried again: inference is a POST, and one that failed may have run.
    """
    made: Manifest = {"name": name}
    if matches:
        made["match"] = [match_request(match) for match in matches]
    alone = len(shares) == 1
    made["route"] = [destination(plan, share, alone) for share in shares]
    made["retries"] = {"attempts": 0}
    timeout = traffic_of(plan).timeout_s
    if timeout is not UNSET:
        made["timeout"] = duration(timeout)
    return made


def destination(plan: Plan, share: Share, alone: bool) -> Manifest:
    """The revision of a share, which is told to the caller where there are several."""
    headers: Manifest = {}
    if plan.mode == "raw":
        target: Manifest = {"host": local_hosts(plan)[0], "subset": share.tag or SINGLE, "port": {"number": 80}}
    else:
        first = f"{share.tag}-{plan.name}" if share.tag else plan.name
        target = {"host": LOCAL_SERVICE, "port": {"number": 80}}
        headers["request"] = {"set": {"Host": f"{first}.{plan.namespace}.svc.cluster.local"}}
    if share.tag:
        headers["response"] = {"set": {VARIANT_HEADER: share.tag}}
    made: Manifest = {"destination": target}
    if headers:
        made["headers"] = headers
    return made if alone else made | {"weight": share.percent}


def match_request(match: Match) -> Manifest:
    """Istio's form of a match."""
    headers = {name: text_match(text) for name, text in match.headers.items()}
    if match.cookie is not UNSET:
        pair = f"{escape(match.cookie.name)}={escape(match.cookie.value)}"
        headers["cookie"] = {"regex": rf"(.*;\s*)?{pair}(;.*)?"}
    made: Manifest = {}
    if headers:
        made["headers"] = headers
    if match.query:
        made["queryParams"] = {name: text_match(text) for name, text in match.query.items()}
    if match.source is not UNSET:
        if match.source.namespace is not UNSET:
            made["sourceNamespace"] = match.source.namespace
        if match.source.labels:
            made["sourceLabels"] = match.source.labels
    return made


def text_match(text: TextMatch) -> Manifest:
    """The one way of comparing that is given."""
    for kind in ("exact", "prefix"):
        value = getattr(text, kind)
        if value is not UNSET:
            return {kind: value}
    return {"regex": text.regex}


def duration(seconds: float) -> str:
    """In whole milliseconds, as protobuf writes it: "90s", "0.25s"."""
    whole, milliseconds = divmod(max(1, round(seconds * 1000)), 1000)
    return f"{whole}.{milliseconds:03}".rstrip("0") + "s" if milliseconds else f"{whole}s"
