"""func.yaml's settings as Knative's annotations, each on the object that Knative reads it from. Pure."""

from typing import Any

from msgspec import UNSET

from kfunc.config.deployment import ContainerResources
from kfunc.manifests.features import INITIAL_SCALE_ZERO, autoscaler_setting
from kfunc.manifests.plan import Note, Plan

AUTOSCALING = "autoscaling.knative.dev"
HPA = "hpa.autoscaling.knative.dev"
QUEUE = "queue.sidecar.serving.knative.dev"
ON_SERVICE = ("networking.knative.dev",)
ON_TEMPLATE = (AUTOSCALING, "features.knative.dev")


def service_annotations(plan: Plan) -> dict[str, str]:
    """Of the Service itself, where autoscaling annotations are refused."""
    given = {key: value for key, value in plan.function.deploy.annotations.items() if _prefix(key) not in ON_TEMPLATE}
    rollout = plan.function.inference.scaling.rollout_duration_s
    return given | ({} if rollout is UNSET else {"serving.knative.dev/rollout-duration": f"{rollout}s"})


def template_annotations(plan: Plan) -> dict[str, str]:
    """Of the revisions' template."""
    given = {key: value for key, value in plan.function.deploy.annotations.items() if _prefix(key) not in ON_SERVICE}
    return scaling_annotations(plan) | queue_annotations(plan.function.inference.resources.queue_proxy) | given


def scaling_annotations(plan: Plan) -> dict[str, str]:
    """How Knative scales; what func.yaml leaves open is the cluster's default."""
    scale, scaling = plan.function.deploy.options.scale, plan.function.inference.scaling
    by_resource = scaling.resource_metric is not UNSET
    values: dict[str, Any] = {
        "class": HPA if by_resource else UNSET,
        "metric": scaling.resource_metric if by_resource else scale.metric,
        "target": scale.target,
        "target-utilization-percentage": scale.utilization,
        "min-scale": scale.min,
        "max-scale": scale.max,
        "initial-scale": scaling.initial,
        "activation-scale": scaling.activation,
        "window": _seconds(scaling.window_s),
        "panic-window-percentage": scaling.panic_window_percentage,
        "panic-threshold-percentage": scaling.panic_threshold_percentage,
        "scale-down-delay": _seconds(scaling.scale_down_delay_s),
        "scale-to-zero-pod-retention-period": _seconds(scaling.retention_s),
        "target-burst-capacity": scaling.burst_capacity,
    }
    result = {f"{AUTOSCALING}/{name}": _text(value) for name, value in values.items() if value is not UNSET}
    deadline = _seconds(scaling.progress_deadline_s)
    return result | ({} if deadline is UNSET else {"serving.knative.dev/progress-deadline": deadline})


def scaling_notes(plan: Plan) -> list[Note]:
    """What the cluster must allow for it."""
    scaling = plan.function.inference.scaling
    notes = []
    if scaling.initial == 0:
        notes.append(autoscaler_setting(INITIAL_SCALE_ZERO, "inference.scaling.initial: 0"))
    if scaling.resource_metric is not UNSET:
        text = (
            f"inference.scaling.resource_metric: {scaling.resource_metric} needs Knative's HPA extension and a metrics server"
        )
        notes.append(Note(text))
    return notes


def queue_annotations(resources: ContainerResources) -> dict[str, str]:
    """Resources of Knative's own container."""
    values = {
        "cpu-resource-request": resources.requests.cpu,
        "cpu-resource-limit": resources.limits.cpu,
        "memory-resource-request": resources.requests.memory,
        "memory-resource-limit": resources.limits.memory,
    }
    return {f"{QUEUE}/{name}": value for name, value in values.items() if value}


def _seconds(value: Any) -> Any:
    return UNSET if value is UNSET else f"{value}s"


def _text(value: Any) -> str:
    """A number without a needless fraction, never with an exponent."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else format(value, "f").rstrip("0") if value >= 0.01 else repr(value)
    return str(value)


def _prefix(key: str) -> str:
    return key.partition("/")[0]
