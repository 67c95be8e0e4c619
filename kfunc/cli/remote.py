"""Where a function of the cluster answers from here: its host, and the way there where no DNS knows the host."""

import os
import socket
import ssl
from urllib.parse import urlsplit

from msgspec import Struct

from kfunc.cli.on_cluster import Named
from kfunc.cluster.connection import Cluster
from kfunc.cluster.observed import url
from kfunc.cluster.observing import observe
from kfunc.cluster.split import live_name, outside_host
from kfunc.errors import KfuncError

GATEWAY_VARIABLE = "KFUNC_GATEWAY"
GATEWAYS = (("istio-ingressgateway", "istio-system"), ("kourier", "kourier-system"))
LOCAL = ".svc.cluster.local"


class Remote(Struct, frozen=True):
    """A URL, the header fields that its way needs, and the TLS of that way where it is the API's."""

    url: str
    headers: dict[str, str] = {}
    tls: ssl.SSLContext | None = None


def find_remote(cluster: Cluster, asked: Named, gateway: str) -> Remote:
    """How to call a function. Raises KfuncError where there is no way from here."""
    observed = observe(cluster, asked.name, asked.namespace, asked.mode)
    plain = url(observed)
    if observed.service is None:
        raise KfuncError(f"there is no function {asked.name} in the namespace {asked.namespace}; kfunc deploy makes it")
    if not plain:
        raise KfuncError(f"{asked.name} has no address yet: kfunc status {asked.name} -n {asked.namespace} says why")
    if observed.mode == "raw":
        base, headers, tls = cluster.service_proxy(asked.namespace, asked.name)
        return Remote(base, headers, tls)
    address = live_url(cluster, asked) or plain
    host = urlsplit(address).hostname or ""
    if host.endswith(LOCAL):
        raise KfuncError(
            f"{asked.name} has no address outside the cluster (visibility: cluster-local): call {address} from a pod"
        )
    way = gateway or os.environ.get(GATEWAY_VARIABLE, "")
    if not way and not resolves(host):
        way = found_gateway(cluster)
        if not way:
            raise KfuncError(
                f"nothing here knows the host {host}: give the address of the ingress gateway with --gateway URL or "
                f"{GATEWAY_VARIABLE} (kubectl get service istio-ingressgateway -n istio-system), or set up DNS for it"
            )
    return Remote(way, {"host": host}) if way else Remote(address)


def live_url(cluster: Cluster, asked: Named) -> str:
    """The address at which the traffic is split; empty where the function has only its plain one."""
    found = cluster.get("VirtualService", live_name(asked.name), asked.namespace)
    host = outside_host(asked.name, asked.namespace, found)
    return f"http://{host}" if host else ""


def found_gateway(cluster: Cluster) -> str:
    """The address of the cluster's load balancer for requests from outside; empty where it has none."""
    for name, namespace in GATEWAYS:
        service = cluster.get("Service", name, namespace) or {}
        for entry in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []:
            if address := entry.get("ip") or entry.get("hostname"):
                return f"http://[{address}]" if ":" in address else f"http://{address}"
    return ""


def resolves(host: str) -> bool:
    """Whether DNS knows the host here."""
    try:
        return bool(socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return False
