"""`inference.egress` → a Sidecar that lets nothing else out, and a ServiceEntry for each host outside. Pure."""

import hashlib

from msgspec import UNSET

from kfunc.config.access import EgressHost
from kfunc.config.names import MAX_SUBDOMAIN
from kfunc.manifests.mesh import selector
from kfunc.manifests.plan import Manifest, Part, Plan, metadata
from kfunc.manifests.virtual_service import NETWORKING

WITHIN = ".svc.cluster.local"
ALWAYS = ("./*", "istio-system/*", "knative-eventing/*")
"""The function's own namespace, Istio itself, and the brokers that events go to."""


def build(plan: Plan) -> Part:
    """Nothing where func.yaml does not restrict the function."""
    egress = plan.function.inference.egress
    if egress is UNSET:
        return Part()
    outside: dict[str, list[EgressHost]] = {}
    for one in egress:
        if not one.host.endswith(WITHIN):
            outside.setdefault(one.host, []).append(one)
    within = dict.fromkeys(one.host for one in egress if one.host.endswith(WITHIN))
    return Part([sidecar(plan, list(within)), *(service_entry(plan, host, ports) for host, ports in outside.items())])


def sidecar(plan: Plan, within: list[str]) -> Manifest:
    """The pods' own view of the mesh: hosts that are not in it cannot be reached."""
    named = [f"{host.split('.')[1]}/{host}" for host in within]
    here = f"{plan.namespace}/"
    hosts = [*ALWAYS, *(host for host in named if not host.startswith((here, "istio-system/", "knative-eventing/")))]
    spec = {
        "workloadSelector": {"labels": selector(plan)},
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
        "egress": [{"hosts": hosts}],
    }
    return {"apiVersion": NETWORKING, "kind": "Sidecar", "metadata": metadata(plan, plan.name), "spec": spec}


def service_entry(plan: Plan, host: str, ports: list[EgressHost]) -> Manifest:
    """A host outside of the mesh, known to the function's namespace only."""
    spec = {
        "exportTo": ["."],
        "hosts": [host],
        "location": "MESH_EXTERNAL",
        "resolution": "NONE" if host.startswith("*") else "DNS",
        "ports": [
            {"number": one.port, "name": f"{one.protocol}-{one.port}", "protocol": one.protocol.upper()} for one in ports
        ],
    }
    described = metadata(plan, entry_name(plan.name, host))
    return {"apiVersion": NETWORKING, "kind": "ServiceEntry", "metadata": described, "spec": spec}


def entry_name(function: str, host: str) -> str:
    """Readable, and another one for each function and host: a function's name has no dot."""
    name = f"{function}.{host.replace('*', 'any')}"
    if len(name) <= MAX_SUBDOMAIN:
        return name
    return f"{function}-{hashlib.sha256(host.encode()).hexdigest()[:16]}"
