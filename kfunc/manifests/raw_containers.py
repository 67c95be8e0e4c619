"""The containers of a Deployment's pod: probes of each, an end that waits for the endpoints, requests and limits. Pure."""

from fractions import Fraction

from msgspec import UNSET

from kfunc.config.places import MANAGEMENT_PORTS
from kfunc.config.quantity import parse_quantity
from kfunc.config.server import ready_path, server_port
from kfunc.manifests.containers import READY, containers, outer_port
from kfunc.manifests.plan import Manifest, Plan
from kfunc.manifests.queries import queries
from kfunc.manifests.volumes import volumes

HTTP, METRICS = "http", "metrics"
LIVE = "/v2/health/live"
# Of a container for which func.yaml leaves them open: a ResourceQuota refuses pods without.
REQUESTS = {"cpu": "250m", "memory": "256Mi"}
LIMITS = {"cpu": "1", "memory": "512Mi"}
LIVENESS = {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6}
"""Slow to judge: each process has a watcher of its own that ends it when it hangs."""
READINESS = {"periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 3}
ORDER = (
    "name", "image", "command", "args", "ports", "readinessProbe", "livenessProbe", "lifecycle", "env", "envFrom", "resources",
    "securityContext", "volumeMounts",
)  # fmt: skip


def raw_containers(plan: Plan) -> list[Manifest]:
    """Those of the Knative Service, with what a kubelet can do for each of them."""
    made = [_container(plan, dict(container)) for container in containers(plan, volumes(plan))]
    return [{key: container[key] for key in ORDER if container.get(key)} for container in made]


def _container(plan: Plan, container: Manifest) -> Manifest:
    name, server = container["name"], plan.function.inference.server
    foreign = name == "handler" and server is not UNSET
    container |= _probes(plan, name) | {"resources": resources(container.get("resources", {}))}
    if name == queries(plan).outermost:
        container["ports"] = [{"name": HTTP, "containerPort": outer_port(plan)}]
        if not foreign:
            container["ports"].append({"name": METRICS, "containerPort": MANAGEMENT_PORTS[name]})
    if seconds := plan.function.inference.raw.drain_s:
        # All wait: an inner process that ends at once would leave the outer one's last requests without an answer.
        wait = ["sleep", str(seconds)] if foreign else ["python", "-c", f"import time; time.sleep({seconds})"]
        container["lifecycle"] = {"preStop": {"exec": {"command": wait}}}
    return container


def _probes(plan: Plan, name: str) -> Manifest:
    """Readiness is the model's and asked at the outermost; liveness is each process's own."""
    server, given = plan.function.inference.server, plan.function.deploy.health_endpoints
    outermost = name == queries(plan).outermost
    if name == "handler" and server is not UNSET:
        ready = given.readiness if outermost and given.readiness else ready_path(server, plan.config.model.name)
        made = {"readinessProbe": _http(ready, server_port(server)) | READINESS}
        if outermost and given.liveness:
            made["livenessProbe"] = _http(given.liveness, server_port(server)) | LIVENESS
        return made
    if not outermost:
        return {"livenessProbe": _http("/metrics", MANAGEMENT_PORTS[name]) | LIVENESS}
    ready = READY if server is UNSET else ready_path(server, plan.config.model.name)
    port = outer_port(plan)
    return {
        "readinessProbe": _http(given.readiness or ready, port) | READINESS,
        "livenessProbe": _http(given.liveness or LIVE, port) | LIVENESS,
    }


def _http(path: str, port: int) -> Manifest:
    return {"httpGet": {"path": path, "port": port}}


def resources(given: Manifest) -> Manifest:
    """Requests and limits of cpu and memory, both of them: what is open lies on the allowed side of what is given."""
    requests, limits = dict(given.get("requests", {})), dict(given.get("limits", {}))
    for key in REQUESTS:
        wanted, allowed = requests.get(key), limits.get(key)
        if not wanted:
            requests[key] = min(REQUESTS[key], allowed or REQUESTS[key], key=_size)
        if not allowed:
            limits[key] = max(LIMITS[key], requests[key], key=_size)
    return {"requests": requests, "limits": limits}


def _size(text: str) -> Fraction:
    return parse_quantity(text) or Fraction(0)
