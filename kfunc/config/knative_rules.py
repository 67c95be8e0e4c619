"""Rules of Knative's webhooks for what is rendered: names, times, scaling, annotations, labels, ports."""

import math
from collections.abc import Callable, Iterator

from msgspec import UNSET

from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Function
from kfunc.config.knative import MAX_TIMEOUT_S
from kfunc.config.labels import MANAGED_LABEL, NAME_LABEL
from kfunc.config.names import MAX_FUNCTION, MAX_LABEL, service_name
from kfunc.config.places import KNATIVE_PORTS, MANAGEMENT_PORTS

SCALING: FieldPath = ("inference", "scaling")
SCALE: FieldPath = ("deploy", "options", "scale")
SETTINGS = {
    "autoscaling.knative.dev/class": "inference.scaling.resource_metric for cpu or memory",
    "autoscaling.knative.dev/metric": "deploy.options.scale.metric",
    "autoscaling.knative.dev/min-scale": "deploy.options.scale.min",
    "autoscaling.knative.dev/max-scale": "deploy.options.scale.max",
    "autoscaling.knative.dev/target": "deploy.options.scale.target",
    "autoscaling.knative.dev/target-utilization-percentage": "deploy.options.scale.utilization",
    "autoscaling.knative.dev/initial-scale": "inference.scaling.initial",
    "autoscaling.knative.dev/activation-scale": "inference.scaling.activation",
    "autoscaling.knative.dev/window": "inference.scaling.window_s",
    "autoscaling.knative.dev/panic-window-percentage": "inference.scaling.panic_window_percentage",
    "autoscaling.knative.dev/panic-threshold-percentage": "inference.scaling.panic_threshold_percentage",
    "autoscaling.knative.dev/scale-down-delay": "inference.scaling.scale_down_delay_s",
    "autoscaling.knative.dev/scale-to-zero-pod-retention-period": "inference.scaling.retention_s",
    "autoscaling.knative.dev/target-burst-capacity": "inference.scaling.burst_capacity",
    "serving.knative.dev/progress-deadline": "inference.scaling.progress_deadline_s",
    "serving.knative.dev/rollout-duration": "inference.scaling.rollout_duration_s",
    "queue.sidecar.serving.knative.dev/cpu-resource-request": "inference.resources.queue_proxy.requests.cpu",
    "queue.sidecar.serving.knative.dev/cpu-resource-limit": "inference.resources.queue_proxy.limits.cpu",
    "queue.sidecar.serving.knative.dev/memory-resource-request": "inference.resources.queue_proxy.requests.memory",
    "queue.sidecar.serving.knative.dev/memory-resource-limit": "inference.resources.queue_proxy.limits.memory",
}
# networking.knative.dev/… that Knative knows; it refuses others.
NETWORKING = (
    "certificate-class", "certificate.class", "disable-auto-tls", "disable-external-domain-tls", "disableAutoTLS",
    "http-protocol", "httpOption", "ingress-class", "ingress.class",
)  # fmt: skip
ALGORITHMS = ("linear", "weighted-exponential", "weightedExponential")


def names_leave_room_for_revisions(function: Function) -> Iterator[Finding]:
    """The revision's name is the function's and a hash."""
    if function.inference.mode == "knative" and MAX_FUNCTION < len(function.name) <= MAX_LABEL:
        message = f"a revision is called NAME-xxxxxxxx: expected at most {MAX_FUNCTION} characters, found {len(function.name)}"
        yield Finding(("name",), message, f"did you mean {show_text(service_name(function.name))}?")


def times_are_within_knatives(function: Function) -> Iterator[Finding]:
    """Knative ends an answer after at most ten minutes, and a pod's grace is the same time."""
    inference = function.inference
    if inference.mode != "knative":
        return
    for name, seconds in ("timeout_s", inference.timeout_s), ("grace_s", inference.grace_s):
        if seconds > MAX_TIMEOUT_S:
            message = f"Knative's longest time is {MAX_TIMEOUT_S} s, found {seconds:g}"
            yield Finding(("inference", name), message, "mode: raw has no such bound")
    for name, wait in ("response_start_s", inference.timeouts.response_start_s), ("idle_s", inference.timeouts.idle_s):
        if wait is not UNSET and wait > math.ceil(inference.timeout_s):
            message = f"expected at most timeout_s, {inference.timeout_s:g}, found {wait}"
            yield Finding(("inference", "timeouts", name), message)


def scaling_fits_together(function: Function) -> Iterator[Finding]:
    """What Knative's autoscalers accept."""
    scale, scaling = function.deploy.options.scale, function.inference.scaling
    burst = scaling.burst_capacity
    if burst is not UNSET and -1 < burst < 0:
        yield Finding((*SCALING, "burst_capacity"), f"expected 0 or more, or -1, found {burst:g}", "-1 is always")
    if scale.target is not UNSET and not math.isfinite(scale.target):
        yield Finding((*SCALE, "target"), "expected a finite number", "remove it for Knative's default")
    if scaling.activation is not UNSET:
        if scale.min is not UNSET and scale.min > scaling.activation:
            message = f"expected at least deploy.options.scale.min, {scale.min}, found {scaling.activation}"
            yield Finding((*SCALING, "activation"), message)
        if scale.max is not UNSET and 0 < scale.max < scaling.activation:
            message = f"expected at most deploy.options.scale.max, {scale.max}, found {scaling.activation}"
            yield Finding((*SCALING, "activation"), message)
    if scaling.resource_metric is not UNSET:
        yield from _by_resource(function)


def _by_resource(function: Function) -> Iterator[Finding]:
    """Kubernetes' own autoscaler takes cpu and memory, never scales to zero, and knows no panic."""
    scale, scaling = function.deploy.options.scale, function.inference.scaling
    if scale.metric is not UNSET:
        yield Finding((*SCALING, "resource_metric"), f"deploy.options.scale.metric is {scale.metric}", "keep one of the two")
    if scale.min == 0:
        yield Finding((*SCALE, "min"), f"a function that scales by {scaling.resource_metric} keeps a pod", "write min: 1")
    for name in ("panic_window_percentage", "panic_threshold_percentage", "burst_capacity", "retention_s"):
        if getattr(scaling, name) is not UNSET:
            message = f"scaling by {scaling.resource_metric} has no such setting"
            yield Finding((*SCALING, name), message, "remove it, or resource_metric", at_key=True)


def annotations_have_their_settings(function: Function) -> Iterator[Finding]:
    """Knative's annotations stand on different objects and are checked: each is a setting of its own here."""
    for key, value in function.deploy.annotations.items():
        path: FieldPath = ("deploy", "annotations", key)
        prefix, _, name = key.rpartition("/")
        setting = SETTINGS.get(f"{prefix}/{_dashed(name)}") if prefix.endswith("knative.dev") else None
        if setting:
            yield Finding(path, "this is a setting of its own", f"use {setting}", at_key=True)
        elif prefix == "networking.knative.dev" and name not in NETWORKING:
            yield Finding(path, "Knative knows no such annotation", f"known are {', '.join(NETWORKING)}", at_key=True)
        elif prefix in ("serving.knative.dev", "queue.sidecar.serving.knative.dev"):
            yield Finding(path, "annotations of Knative Serving are its own", "remove it", at_key=True)
        elif key == "autoscaling.knative.dev/metric-aggregation-algorithm" and value not in ALGORITHMS:
            yield Finding(path, f"expected one of {', '.join(ALGORITHMS)}, found {show_text(value)}")


def _dashed(name: str) -> str:
    """`minScale` is an old spelling of `min-scale`."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)


def labels_are_the_users(function: Function) -> Iterator[Finding]:
    """Knative sets its labels itself, or a setting does."""
    for number, label in enumerate(function.deploy.labels):
        path: FieldPath = ("deploy", "labels", number, "key")
        if label.key == "networking.knative.dev/visibility":
            yield Finding(path, "this is a setting of its own", "use inference.visibility")
        elif label.key.partition("/")[0].endswith("knative.dev") and "/" in label.key:
            yield Finding(path, "labels of knative.dev are Knative's own", "use another prefix")
        elif label.key in (NAME_LABEL, MANAGED_LABEL):
            yield Finding(path, "kfunc sets this label itself", "use another key")


def port_is_free(function: Function) -> Iterator[Finding]:
    """The containers of a pod share their ports, with Knative's own container, too."""
    port = function.inference.port
    if port in KNATIVE_PORTS:
        yield Finding(("inference", "port"), f"{port} is Knative's own port", "8080 is free")
    for name, other in MANAGEMENT_PORTS.items():
        if port == other:
            yield Finding(("inference", "port"), f"{port} is the {name}'s management port", "8080 is free")


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    names_leave_room_for_revisions,
    times_are_within_knatives,
    scaling_fits_together,
    annotations_have_their_settings,
    labels_are_the_users,
    port_is_free,
)
