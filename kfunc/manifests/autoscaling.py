"""What scales a Deployment: Kubernetes' HorizontalPodAutoscaler, or KEDA's ScaledObject. Pure."""

from msgspec import UNSET

from kfunc.config.raw import Metric, Trigger
from kfunc.manifests.plan import Manifest, Note, Part, Plan, metadata
from kfunc.manifests.queries import queries

DEFAULT_MOST = 10
LAGS = ("kafka", "nats", "rabbitmq")
"""Triggers that see work waiting while there is no pod."""
ONE_POD = (
    "deploy.options.scale.min is 0, and without Knative nothing wakes a pod for an HTTP request (KEDA's HTTP add-on does; "
    "it is no part of this): the fewest is 1; triggers of kind kafka, nats or rabbitmq scale to zero"
)
DEFAULT_BOUND = f"deploy.options.scale.max is open: the most is {DEFAULT_MOST} pods"
NEEDS_METRICS = "the HorizontalPodAutoscaler reads cpu from the cluster's metrics server"
NEEDS_ADAPTER = "inference.raw.metrics need a metrics adapter that offers these names (docs/raw.md has its configuration)"
NEEDS_KEDA = "the ScaledObject needs KEDA in the cluster"


def scales(plan: Plan) -> str:
    """Which autoscaler: "hpa", "keda", or none where the number of pods is fixed."""
    raw, scale = plan.function.inference.raw, plan.function.deploy.options.scale
    if raw.autoscaler != "auto":
        return "" if raw.autoscaler == "none" else raw.autoscaler
    if raw.triggers:
        return "keda"
    fixed = scale.max is not UNSET and scale.max == fewest(plan)
    return "" if fixed and not raw.metrics else "hpa"


def fewest(plan: Plan) -> int:
    """The fewest pods; 0 only where a queue can wake one."""
    scale = plan.function.deploy.options.scale
    least = 0 if scale.min is UNSET else scale.min
    lagging = any(trigger.kind in LAGS for trigger in plan.function.inference.raw.triggers)
    return least if lagging else max(1, least)


def most(plan: Plan) -> int:
    """The most pods."""
    scale = plan.function.deploy.options.scale
    bound = DEFAULT_MOST if scale.max is UNSET or not scale.max else scale.max
    return max(bound, fewest(plan), 1)


def autoscaler(plan: Plan, name: str) -> Part:
    """The autoscaler of the Deployment `name`, and what it needs."""
    scale, kind = plan.function.deploy.options.scale, scales(plan)
    notes = []
    if fewest(plan) and scale.min is not UNSET and not scale.min:
        notes.append(Note(ONE_POD))
    if kind and (scale.max is UNSET or not scale.max):
        notes.append(Note(DEFAULT_BOUND))
    if kind == "keda":
        return Part([scaled_object(plan, name)], [*notes, Note(NEEDS_KEDA)])
    if kind == "hpa":
        notes.append(Note(NEEDS_METRICS))
        notes += [Note(NEEDS_ADAPTER)] if plan.function.inference.raw.metrics else []
        return Part([horizontal_pod_autoscaler(plan, name)], notes)
    return Part(notes=notes)


def horizontal_pod_autoscaler(plan: Plan, name: str) -> Manifest:
    """By the cpu that pods use, and by the metrics that func.yaml names; the largest number of pods wins."""
    raw = plan.function.inference.raw
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": raw.cpu}}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": fewest(plan),
        "maxReplicas": most(plan),
        "metrics": [cpu, *(_metric(metric) for metric in raw.metrics)],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": min(raw.cooldown_s, 3600)}},
    }
    described = metadata(plan, name)
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": described, "spec": spec}


def _metric(metric: Metric) -> Manifest:
    target = {"metric": {"name": metric.name}, "target": {"type": "AverageValue", "averageValue": quantity(metric.target)}}
    return {"type": "Pods", "pods": target} if metric.kind == "pods" else {"type": "External", "external": target}


def quantity(value: float) -> str:
    """A number as a Kubernetes quantity, in thousandths where it is not whole."""
    return str(int(value)) if value == int(value) else f"{round(value * 1000)}m"


def scaled_object(plan: Plan, name: str) -> Manifest:
    """KEDA's object; it makes a HorizontalPodAutoscaler of its own."""
    raw = plan.function.inference.raw
    spec = {
        "scaleTargetRef": {"name": name},
        "minReplicaCount": fewest(plan),
        "maxReplicaCount": most(plan),
        "cooldownPeriod": raw.cooldown_s,
        "triggers": [trigger(plan, one) for one in raw.triggers],
    }
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata(plan, name), "spec": spec}


def trigger(plan: Plan, given: Trigger) -> Manifest:
    """KEDA's names for what a trigger is told; all values are strings."""
    target = number(given.target)
    if given.kind == "prometheus":
        query = given.query or f"sum({queries(plan).requests()})"
        made: Manifest = {
            "type": "prometheus",
            "metadata": {"serverAddress": given.address, "query": query, "threshold": target},
        }
    elif given.kind == "kafka":
        about = {"bootstrapServers": given.address, "consumerGroup": given.group, "topic": given.topic}
        made = {"type": "kafka", "metadata": about | {"lagThreshold": target}}
    elif given.kind == "nats":
        about = {"natsServerMonitoringEndpoint": given.address, "account": given.account}
        about |= {"stream": given.topic, "consumer": given.group, "lagThreshold": target}
        made = {"type": "nats-jetstream", "metadata": about}
    else:
        about = {"host": given.address, "queueName": given.topic, "mode": "QueueLength", "value": target}
        made = {"type": "rabbitmq", "metadata": about}
    return made | ({"authenticationRef": {"name": given.authentication}} if given.authentication else {})


def number(value: float) -> str:
    """Without an exponent, which KEDA does not read everywhere."""
    return str(int(value)) if value == int(value) else f"{value:.3f}".rstrip("0").rstrip(".")
