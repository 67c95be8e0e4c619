"""`mode: raw`: a Deployment with its Services and its PodDisruptionBudget, for clusters without Knative. Pure.

Needs nothing of the cluster but Kubernetes itself, so that K3s and KubeEdge take it.
"""

import math
from typing import Any

from msgspec import UNSET, Struct

from kfunc.config.labels import COMPONENT_LABEL, INSTANCE_LABEL, NAME_LABEL
from kfunc.config.places import MANAGEMENT_PORTS
from kfunc.config.raw_rules import LONGEST_NAME
from kfunc.errors import StartupError
from kfunc.manifests import mesh
from kfunc.manifests.autoscaling import autoscaler, fewest, scales
from kfunc.manifests.environment import configuration, given
from kfunc.manifests.gateway import http_port, instance
from kfunc.manifests.plan import Manifest, Note, Part, Plan, given_labels, metadata
from kfunc.manifests.pod import TOPOLOGY, pod, spread
from kfunc.manifests.queries import queries
from kfunc.manifests.raw_containers import METRICS, raw_containers
from kfunc.manifests.split import split

TAKEN = {"min", "max", "cpu", "memory", "progress_deadline_s", "batcher", "logger"}
"""Of the fields about pods and times, those that a Deployment or its autoscaler has."""
MARGIN_S = 5
"""Of the pod's grace, beyond what its processes take."""


def build(plan: Plan) -> Part:
    """Everything that runs, keeps and scales the pods. Beside a stable Deployment the rendered one has its share's name."""
    if len(plan.name) > LONGEST_NAME:
        raise StartupError(f"the name {plan.name} is too long for a Deployment's parts: at most {LONGEST_NAME} characters")
    name = deployment_name(plan)
    scaler = autoscaler(plan, name)
    made = [deployment(plan, name), service(plan)]
    if METRICS in {port["name"] for container in raw_containers(plan) for port in container.get("ports", [])}:
        made.append(metrics_service(plan))
    made += [*scaler.manifests, disruption_budget(plan, name)]
    if settings := configuration(plan):
        made.append(settings)
    notes = [note for note in pod(plan).notes if not note.setting]  # the settings are Knative's
    return Part(made, scaler.notes + notes + without_effect(plan), [f"http://{plan.name}.{plan.namespace}.svc.cluster.local"])


def without_effect(plan: Plan) -> list[Note]:
    """What func.yaml gives and only Knative Serving does."""
    options, inference = plan.function.deploy.options, plan.function.inference
    blocks: dict[str, Struct] = {
        "deploy.options.scale": options.scale,
        "deploy.options.resources.limits": options.resources.limits,
        "inference.scaling": inference.scaling,
        "inference.timeouts": inference.timeouts,
        "inference.resources": inference.resources,
    }
    unused = [f"{path}.{name}" for path, block in blocks.items() for name in given(block) if name not in TAKEN]
    return [Note(f"without Knative these have no effect: {', '.join(unused)}")] if unused else []


def deployment_name(plan: Plan) -> str:
    """The function's name; `iris-candidate` while another has it."""
    rendered = [share for share in split(plan) if not share.revision]
    return instance(plan, rendered[0]) if rendered else plan.name


def labels(plan: Plan, name: str) -> dict[str, str]:
    """By which a Deployment knows its own pods."""
    return {NAME_LABEL: plan.name, INSTANCE_LABEL: name}


def deployment(plan: Plan, name: str) -> Manifest:
    """The pods, and how they are replaced: 25 % at a time, and never the only one before there is another."""
    raw, own = plan.function.inference.raw, labels(plan, name)
    spec: Manifest = {} if scales(plan) else {"replicas": fewest(plan)}
    percent = f"{raw.max_unavailable}%"
    spec |= {
        "selector": {"matchLabels": own},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": percent, "maxSurge": "25%"}},
        "template": template(plan, own),
    }
    deadline = plan.function.inference.scaling.progress_deadline_s
    if deadline is not UNSET:
        spec["progressDeadlineSeconds"] = deadline
    described = metadata(plan, name, given_labels(plan) | {INSTANCE_LABEL: name})
    if plan.function.deploy.annotations:
        described["annotations"] = plan.function.deploy.annotations
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": described, "spec": spec}


def template(plan: Plan, own: dict[str, str]) -> Manifest:
    """A pod; it ends when requests have found another and the last ones are answered."""
    raw = plan.function.inference.raw
    described: Manifest = {"labels": given_labels(plan) | own | mesh.pod_labels(plan)}
    if mesh.pod_annotations(plan):
        described["annotations"] = mesh.pod_annotations(plan)
    spec: dict[str, Any] = pod(plan).spec | {"containers": raw_containers(plan)}
    spec["terminationGracePeriodSeconds"] = raw.drain_s + math.ceil(plan.config.grace_s) + MARGIN_S
    if raw.zones:
        spec["topologySpreadConstraints"] = [spread(key, own) for key in TOPOLOGY.values()]
    return {"metadata": described, "spec": spec}


def service(plan: Plan) -> Manifest:
    """The function's name within the cluster; while a candidate runs beside it, of the stable pods only."""
    pinned = split(plan)[0]
    chosen = labels(plan, pinned.revision or instance(plan, pinned))
    spec = {"selector": chosen, "ports": [http_port(plan)]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(plan, plan.name), "spec": spec}


def metrics_service(plan: Plan) -> Manifest:
    """Where Prometheus finds each pod, of whatever share."""
    port = {"name": METRICS, "port": MANAGEMENT_PORTS[queries(plan).outermost], "targetPort": METRICS}
    spec = {"clusterIP": "None", "selector": {NAME_LABEL: plan.name}, "ports": [port]}
    described = metadata(plan, f"{plan.name}-{METRICS}", {COMPONENT_LABEL: METRICS})
    return {"apiVersion": "v1", "kind": "Service", "metadata": described, "spec": spec}


def disruption_budget(plan: Plan, name: str) -> Manifest:
    """A node that is drained takes a quarter of the pods at once; of a single pod, that one."""
    percent = f"{plan.function.inference.raw.max_unavailable}%"
    spec = {"maxUnavailable": percent, "selector": {"matchLabels": labels(plan, name)}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(plan, name), "spec": spec}
