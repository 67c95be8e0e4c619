"""What stands around the VirtualService: the function's own Gateway, its entry within the cluster, its bounds. Pure."""

from typing import Any

from msgspec import UNSET

from kfunc.config.labels import INSTANCE_LABEL, NAME_LABEL
from kfunc.config.traffic import Connections, Outliers
from kfunc.manifests.entry import INGRESS_PODS, LIVE, LOCAL_SERVICE, PREVIEW, label, local_hosts, own_gateway, public_hosts
from kfunc.manifests.plan import Manifest, Note, Plan, metadata
from kfunc.manifests.split import Share, split, traffic_of
from kfunc.manifests.virtual_service import NETWORKING, SINGLE, duration

NO_OUTLIERS = (
    "inference.traffic.outliers has no effect with Knative: behind the activator a gateway does not see single pods, "
    "and an activator that is left out would cut off every function; Knative itself sends nothing to pods that are not ready"
)
BOUNDS = (
    "inference.traffic.connections bounds what gateways and callers' sidecars open to each revision, requests that wait for "
    "a cold start included; requests at once in a pod are deploy.options.resources.limits.concurrency"
)


def gateway(plan: Plan) -> list[Manifest]:
    """The Gateway of the function's own hosts, with TLS where it is asked for."""
    if not own_gateway(plan):
        return []
    traffic = traffic_of(plan)
    blue_green = traffic.strategy == "blue-green"
    hosts = [f"./{host}" for host in public_hosts(plan) + (public_hosts(plan, PREVIEW) if blue_green else [])]
    plain: Manifest = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": hosts}
    servers = [plain]
    if traffic.tls is not UNSET:
        secure = {
            "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
            "hosts": hosts,
            "tls": {
                "mode": "MUTUAL" if traffic.tls.mutual else "SIMPLE",
                "credentialName": traffic.tls.secret,
                "minProtocolVersion": f"TLSV{traffic.tls.min_version.replace('.', '_')}",
            },
        }
        servers = [secure, plain | {"tls": {"httpsRedirect": True}}] if traffic.tls.redirect else [secure]
    spec = {"selector": traffic.gateway_selector or INGRESS_PODS, "servers": servers}
    return [{"apiVersion": NETWORKING, "kind": "Gateway", "metadata": metadata(plan, plan.name), "spec": spec}]


def gateway_notes(plan: Plan) -> list[Note]:
    """Where the certificate has to be."""
    traffic = traffic_of(plan)
    if traffic.tls is UNSET:
        return []
    place = f"the Secret {traffic.tls.secret} belongs into {traffic.gateway_namespace}, the namespace of the gateway's pods"
    files = "--cert tls.crt --key tls.key"
    command = f"kubectl create secret tls {traffic.tls.secret} -n {traffic.gateway_namespace} {files}"
    if traffic.tls.mutual:
        files = "--from-file tls.crt --from-file tls.key --from-file ca.crt"
        command = f"kubectl create secret generic {traffic.tls.secret} -n {traffic.gateway_namespace} {files}"
    return [Note(place, command)]


def entries(plan: Plan) -> list[Manifest]:
    """The Services that make the live and the preview name known within the cluster.

    With Knative they lead to its local gateway; without, to the pods of all shares.
    """
    prefixes = [LIVE, PREVIEW] if traffic_of(plan).strategy == "blue-green" and len(split(plan)) > 1 else [LIVE]
    return [entry(plan, prefix) for prefix in prefixes]


def entry(plan: Plan, prefix: str) -> Manifest:
    """One of them."""
    if plan.mode == "raw":
        spec: Manifest = {"selector": {NAME_LABEL: plan.name}, "ports": [http_port(plan)]}
    else:  # the port is named as Knative names it: HTTP/1.1 and HTTP/2
        spec = {"type": "ExternalName", "externalName": LOCAL_SERVICE, "ports": [{"name": "http2", "port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(plan, label(plan, prefix)), "spec": spec}


def http_port(plan: Plan) -> Manifest:
    """The port of a Service that leads to the pods; where gRPC is served, all that comes over it is HTTP/2."""
    port: Manifest = {"name": "http", "port": 80, "targetPort": "http"}
    return port | ({"appProtocol": "kubernetes.io/h2c"} if "grpc" in plan.config.protocols else {})


def destination_rules(plan: Plan, revision: str) -> list[Manifest]:
    """Bounds of each revision's connections; without Knative one rule with a subset for each share."""
    traffic, shares = traffic_of(plan), split(plan)
    policy: Manifest = {}
    if traffic.connections is not UNSET:
        policy["connectionPool"] = connection_pool(traffic.connections)
    if plan.mode == "raw":
        if traffic.outliers is not UNSET:
            policy["outlierDetection"] = outlier_detection(traffic.outliers)
        return [_rule(plan, label(plan, LIVE), local_hosts(plan)[0], policy, shares)]
    if not policy:
        return []
    names = dict.fromkeys(share.revision or revision for share in shares)
    return [_rule(plan, name, f"{name}.{plan.namespace}.svc.cluster.local", policy, []) for name in names]


def _rule(plan: Plan, name: str, host: str, policy: Manifest, shares: list[Share]) -> Manifest:
    spec: Manifest = {"host": host}
    if policy:
        spec["trafficPolicy"] = policy
    if shares:
        spec["subsets"] = [
            {"name": share.tag or SINGLE, "labels": {INSTANCE_LABEL: share.revision or instance(plan, share)}}
            for share in shares
        ]
    return {"apiVersion": NETWORKING, "kind": "DestinationRule", "metadata": metadata(plan, name), "spec": spec}


def instance(plan: Plan, share: Share) -> str:
    """The name of the Deployment, in raw mode, of the share that is rendered."""
    return f"{plan.name}-{share.tag}" if share.tag else plan.name


def bounds_notes(plan: Plan) -> list[Note]:
    """What a bound does, and what has no effect."""
    traffic = traffic_of(plan)
    if plan.mode == "raw":
        return []
    said = [Note(BOUNDS)] if traffic.connections is not UNSET else []
    return said + ([Note(NO_OUTLIERS)] if traffic.outliers is not UNSET else [])


def connection_pool(connections: Connections) -> Manifest:
    """Istio's form of the bounds."""
    tcp: dict[str, Any] = {"maxConnections": connections.max_connections, "connectTimeout": connections.connect_timeout_s}
    http: dict[str, Any] = {
        "http1MaxPendingRequests": connections.max_pending,
        "http2MaxRequests": connections.max_requests,
        "maxRequestsPerConnection": connections.max_requests_per_connection,
        "idleTimeout": connections.idle_timeout_s,
    }
    made = {"tcp": _given(tcp), "http": _given(http)}
    return {name: settings for name, settings in made.items() if settings}


def _given(settings: dict[str, Any]) -> Manifest:
    return {
        key: duration(value) if isinstance(value, float) else value for key, value in settings.items() if value is not UNSET
    }


def outlier_detection(outliers: Outliers) -> Manifest:
    """Istio's form of leaving pods out."""
    return {
        "consecutive5xxErrors": outliers.consecutive_errors,
        "interval": duration(outliers.interval_s),
        "baseEjectionTime": duration(outliers.ejection_s),
        "maxEjectionPercent": outliers.max_percent,
    }
