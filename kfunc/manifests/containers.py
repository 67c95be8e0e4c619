"""The containers of the pod: handler first (kn's flags edit container 0), then batcher and logger. Pure.

The outermost that is present owns the only port and the only probe; between them are Unix sockets.
"""

from typing import Any

from msgspec import UNSET

from kfunc.config.deployment import ContainerResources, Shares
from kfunc.config.deployment_rules import GPU_RESOURCES
from kfunc.config.function import Requests, ResourceLimits
from kfunc.config.places import MANAGEMENT_PORTS, RECENT, socket_of
from kfunc.config.server import Server, ready_path, server_port
from kfunc.config.sink_addresses import sink_variables
from kfunc.manifests.environment import handler_variables, literal, own_variables, sources
from kfunc.manifests.images import function_image, sidecar_image
from kfunc.manifests.plan import Container, Manifest, Plan
from kfunc.manifests.volumes import Mounted, sidecars_of

MODULES: dict[Container, str] = {
    "handler": "kfunc.handlers",
    "batcher": "kfunc.batcher_sidecar",
    "logger": "kfunc.logger_sidecar",
}
READY = "/v2/health/ready"
ONCE = {"successThreshold": 1}
"""Knative's own default. Without it a second apply of the same manifest would take it away, and the webhook refuse that."""
KEYS = (
    "name", "image", "command", "args", "ports", "readinessProbe", "livenessProbe", "env", "envFrom", "resources",
    "securityContext", "volumeMounts",
)  # fmt: skip


def containers(plan: Plan, mounted: list[Mounted]) -> list[Manifest]:
    """All containers, container 0 the model's."""
    chain: tuple[Container, ...] = ("handler", *sidecars_of(plan.config))
    server = plan.function.inference.server
    result = []
    for number, name in enumerate(chain):
        made = _server(plan, server) if name == "handler" and server is not UNSET else _own(plan, name, chain[:number])
        made |= _outermost(plan) if name == chain[-1] else {}
        made |= {
            "resources": resources(plan, name),
            "securityContext": security(plan, name),
            "volumeMounts": [volume.mount() for volume in mounted if name in volume.containers],
        }
        result.append({key: made[key] for key in KEYS if made.get(key)})
    return result


def outer_port(plan: Plan) -> int:
    """The port that the pod takes requests at."""
    inference = plan.function.inference
    return inference.port if inference.server is UNSET or sidecars_of(plan.config) else server_port(inference.server)


def _own(plan: Plan, name: Container, inner: tuple[Container, ...]) -> Manifest:
    """A container that runs kfunc; `inner` are those behind it, the innermost first."""
    credentials = sink_variables(plan.config.logger) if name == "logger" and plan.config.logger else ()
    server = plan.function.inference.server
    outermost = name == ("handler", *sidecars_of(plan.config))[-1]
    arguments = [f"--listen=0.0.0.0:{outer_port(plan)}" if outermost else f"--listen={socket_of(name)}"]
    if inner:
        foreign = f"127.0.0.1:{server_port(server)}" if inner[-1] == "handler" and server is not UNSET else ""
        arguments.append(f"--upstream={foreign or socket_of(inner[-1])}")
    if outermost:  # it shows the metrics of the whole pod
        scraped = [other for other in reversed(inner) if other != "handler" or server is UNSET]
        arguments += [f"--scrape=127.0.0.1:{MANAGEMENT_PORTS[other]}" for other in scraped]
    if plan.config.page in ("local", "everyone"):
        arguments.append(f"--recent={RECENT}")
    return {
        "name": name,
        "image": function_image(plan) if name == "handler" else sidecar_image(plan),
        # -P: a file of the function's that is named like a module must not shadow it.
        "command": ["python", "-P", "-m", MODULES[name]],
        "args": arguments,
        "env": own_variables(plan, sidecar=name != "handler", prefixes=("KFUNC_", *credentials)),
        "envFrom": sources(plan) if name == "handler" else [],
    }


def _server(plan: Plan, server: Server) -> Manifest:
    """Somebody else's server in the handler's place."""
    return {
        "name": "handler",
        "image": server.image,
        "command": [literal(word) for word in server.command],
        "args": [literal(word) for word in server.args],
        "env": handler_variables(plan),
        "envFrom": sources(plan),
    }


def _outermost(plan: Plan) -> Manifest:
    """Port and probe. Without periodSeconds queue-proxy asks every 50 ms, so that a cold start waits for nothing."""
    inference, probes = plan.function.inference, plan.function.deploy.health_endpoints
    port = outer_port(plan)
    own = READY if inference.server is UNSET else ready_path(inference.server, plan.config.model.name)
    result: dict[str, Any] = {
        "ports": [{"name": "h2c" if "grpc" in plan.config.protocols else "http1", "containerPort": port}],
        "readinessProbe": {"httpGet": {"path": probes.readiness or own, "port": port}} | ONCE,
    }
    if probes.liveness:
        result["livenessProbe"] = {"httpGet": {"path": probes.liveness, "port": port}} | ONCE
    return result


def resources(plan: Plan, name: Container) -> Manifest:
    """Requests and limits; devices are limits, and Kubernetes requests as much."""
    inference = plan.function.inference
    if name != "handler":
        given: ContainerResources = getattr(inference.resources, name)
        return _resources(given.requests, given.limits, {})
    own = plan.function.deploy.options.resources
    devices: dict[str, str] = {}
    if inference.gpu is not UNSET:
        gpu = inference.gpu
        slices = f"nvidia.com/mig-{gpu.mig}" if gpu.mig is not UNSET else GPU_RESOURCES[gpu.vendor]
        devices[slices] = str(gpu.count)
    return _resources(own.requests, own.limits, devices | inference.devices)


def _resources(requests: Requests | Shares, limits: ResourceLimits | Shares, devices: dict[str, str]) -> Manifest:
    wanted = {key: value for key, value in (("cpu", requests.cpu), ("memory", requests.memory)) if value}
    allowed = {key: value for key, value in (("cpu", limits.cpu), ("memory", limits.memory)) if value} | devices
    return ({"requests": wanted} if wanted else {}) | ({"limits": allowed} if allowed else {})


def security(plan: Plan, name: Container) -> Manifest:
    """Not root, nothing written but to volumes, no capabilities."""
    given = plan.function.inference.security
    user = {"runAsUser": given.run_as_user} if given.run_as_user else {}
    return {
        "runAsNonRoot": True,
        **user,
        "readOnlyRootFilesystem": given.read_only_root or name != "handler",
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
