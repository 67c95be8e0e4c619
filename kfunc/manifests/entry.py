"""The names at which the split traffic enters: hosts, gateways, and the addresses behind them. Pure."""

from msgspec import UNSET

from kfunc.config.names import MAX_LABEL
from kfunc.errors import StartupError
from kfunc.manifests.plan import Note, Plan
from kfunc.manifests.split import traffic_of

LIVE, PREVIEW = "live", "preview"
DEFAULT_DOMAIN = "example.com"
"""Knative's own, where its cluster has no other."""
DOMAIN_COMMAND = "kubectl get configmap config-domain -n knative-serving -o yaml"
INGRESS_GATEWAY = "knative-serving/knative-ingress-gateway"
LOCAL_GATEWAY = "knative-serving/knative-local-gateway"
LOCAL_SERVICE = "knative-local-gateway.istio-system.svc.cluster.local"
MESH = "mesh"
INGRESS_PODS = {"istio": "ingressgateway"}


def label(plan: Plan, prefix: str) -> str:
    """`live-iris`. Raises StartupError where that is no name any more."""
    made = f"{prefix}-{plan.name}"
    if len(made) > MAX_LABEL:
        raise StartupError(f"the name {plan.name} is too long: {made} has more than {MAX_LABEL} characters")
    return made


def domain(plan: Plan) -> str:
    return plan.function.domain or DEFAULT_DOMAIN


def is_public(plan: Plan) -> bool:
    """Whether anything outside of the cluster reaches the function."""
    return plan.function.inference.visibility == "public"


def public_hosts(plan: Plan, prefix: str = LIVE) -> list[str]:
    """The names that people use from outside."""
    traffic = traffic_of(plan)
    if not is_public(plan):
        return []
    if prefix == PREVIEW and traffic.preview_host is not UNSET:
        return [traffic.preview_host]
    made = [f"{label(plan, prefix)}.{plan.namespace}.{domain(plan)}"]
    return made if prefix == PREVIEW else traffic.hosts or made


def local_hosts(plan: Plan, prefix: str = LIVE) -> list[str]:
    """The names that pods of the cluster use, longest first."""
    short = f"{label(plan, prefix)}.{plan.namespace}"
    return [f"{short}.svc.cluster.local", f"{short}.svc", short]


def own_gateway(plan: Plan) -> bool:
    """Whether the function has a Gateway of its own: for TLS, or because there is no Knative's."""
    traffic = traffic_of(plan)
    needed = traffic.tls is not UNSET or (plan.mode == "raw" and not traffic.gateways)
    return needed and is_public(plan)


def gateways(plan: Plan) -> list[str]:
    """Where requests come in: from outside, from pods without a sidecar, from those with one."""
    traffic = traffic_of(plan)
    outside = [f"{plan.namespace}/{plan.name}"] if own_gateway(plan) else traffic.gateways or [INGRESS_GATEWAY]
    inside = [LOCAL_GATEWAY] if plan.mode == "knative" else []
    return list(dict.fromkeys([*(outside if is_public(plan) else []), *inside, MESH]))


def urls(plan: Plan, prefix: str = LIVE) -> list[str]:
    """The addresses of the hosts from outside, or the one within the cluster where there are none."""
    scheme = "https" if own_gateway(plan) and traffic_of(plan).tls is not UNSET else "http"
    return [f"{scheme}://{host}" for host in public_hosts(plan, prefix)] or [f"http://{local_hosts(plan, prefix)[0]}"]


def notes(plan: Plan) -> list[Note]:
    """What has to be true of names before a request arrives."""
    said = []
    if is_public(plan) and not plan.function.domain and not traffic_of(plan).hosts:
        text = f"func.yaml names no domain, so that hosts end in {DEFAULT_DOMAIN}: give domain, or inference.traffic.hosts"
        said.append(Note(text, DOMAIN_COMMAND if plan.mode == "knative" else ""))
    return said
