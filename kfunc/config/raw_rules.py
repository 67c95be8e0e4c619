"""Rules for `inference.raw` and `inference.monitoring`: what an autoscaler can read, labels that are labels."""

import re
from collections.abc import Callable, Iterator

from msgspec import UNSET

from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Function
from kfunc.config.names import MAX_LABEL, is_subdomain
from kfunc.config.raw import Raw, Trigger
from kfunc.config.traffic_rules import labels_are_labels
from kfunc.config.urls import is_ascii_url

RAW: FieldPath = ("inference", "raw")
MONITORING: FieldPath = ("inference", "monitoring")
LEAST_TARGET = 0.001
LONGEST_NAME = MAX_LABEL - len("-candidate")
MAX_TEXT = 1024
NEEDED: dict[str, tuple[str, ...]] = {
    "prometheus": (),
    "kafka": ("topic", "group"),
    "nats": ("topic", "group"),
    "rabbitmq": ("topic",),
}
ADDRESSES = {
    "prometheus": 'a URL such as "http://prometheus.monitoring:9090"',
    "kafka": 'brokers such as "kafka-0.kafka:9092,kafka-1.kafka:9092"',
    "nats": 'host and port of the monitoring endpoint such as "nats.queues:8222"',
    "rabbitmq": 'a URL without credentials such as "amqp://rabbitmq.queues:5672/"',
}
HOST_PORT = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?:[0-9]{1,5}"
NAME = re.compile(r"[A-Za-z0-9$._/-]{1,249}")
METRIC = re.compile(r"[A-Za-z_:|][A-Za-z0-9_:.|-]{0,252}")


def autoscalers_have_what_they_need(function: Function) -> Iterator[Finding]:
    """Numbers for the HorizontalPodAutoscaler, triggers for KEDA, and never two that scale the same pods."""
    raw = function.inference.raw
    if raw.autoscaler == "keda" and not raw.triggers:
        yield Finding((*RAW, "autoscaler"), "KEDA scales by triggers, and there is none", "add triggers: [{kind: …}]")
    if raw.triggers and raw.autoscaler in ("hpa", "none"):
        message = f"triggers are KEDA's, and the autoscaler is {raw.autoscaler}"
        yield Finding((*RAW, "triggers"), message, "write autoscaler: keda, or remove them", at_key=True)
    if raw.autoscaler in ("keda", "none") or raw.triggers:
        if raw.metrics:
            message = "metrics are the HorizontalPodAutoscaler's, and it is not the one that scales"
            yield Finding((*RAW, "metrics"), message, "make them triggers, or remove the triggers", at_key=True)
        if raw.cpu != Raw().cpu:
            message = "cpu is the HorizontalPodAutoscaler's, and it is not the one that scales"
            yield Finding((*RAW, "cpu"), message, "remove it", at_key=True)


def metrics_can_be_asked_for(function: Function) -> Iterator[Finding]:
    """A name is part of a path of the metrics API; a target is counted in thousandths."""
    seen: set[str] = set()
    for number, metric in enumerate(function.inference.raw.metrics):
        path: FieldPath = (*RAW, "metrics", number)
        if not METRIC.fullmatch(metric.name):
            message = f'expected a metric\'s name such as "kfunc_p99_seconds", found {show_text(metric.name)}'
            yield Finding((*path, "name"), message)
        if metric.name in seen:
            yield Finding((*path, "name"), f"{show_text(metric.name)} is already in the list", "remove it")
        seen.add(metric.name)
        yield from _target(metric.target, (*path, "target"))


def _target(target: float, path: FieldPath) -> Iterator[Finding]:
    if 0 < target < LEAST_TARGET:
        yield Finding(path, f"expected at least {LEAST_TARGET:g}, found {target:g}")


def triggers_can_be_read(function: Function) -> Iterator[Finding]:
    """Each kind has an address and names of its own."""
    for number, trigger in enumerate(function.inference.raw.triggers):
        path: FieldPath = (*RAW, "triggers", number)
        if not _is_address(trigger):
            yield Finding((*path, "address"), f"expected {ADDRESSES[trigger.kind]}, found {show_text(trigger.address)}")
        for key in ("topic", "group"):
            name: str = getattr(trigger, key)
            if key in NEEDED[trigger.kind] and not name:
                yield Finding(path, f"a trigger of kind {trigger.kind} needs {key}", f"add {key}: …")
            elif name and key not in NEEDED[trigger.kind]:
                yield Finding((*path, key), f"a trigger of kind {trigger.kind} has no {key}", "remove it", at_key=True)
            elif name and not NAME.fullmatch(name):
                yield Finding((*path, key), f'expected letters, digits, ".", "_", "-", "/", found {show_text(name)}')
        if trigger.query and trigger.kind != "prometheus":
            yield Finding((*path, "query"), "only prometheus is asked with a query", "remove it", at_key=True)
        if len(trigger.query) > MAX_TEXT or not trigger.query.replace("\n", "").isprintable():
            message = f"expected PromQL of at most {MAX_TEXT} characters, found {show_text(trigger.query)}"
            yield Finding((*path, "query"), message)
        if trigger.account != "$G" and (trigger.kind != "nats" or not NAME.fullmatch(trigger.account)):
            yield Finding((*path, "account"), f"expected the name of a NATS account, found {show_text(trigger.account)}")
        if trigger.authentication and not is_subdomain(trigger.authentication):
            message = f"expected a TriggerAuthentication's name, found {show_text(trigger.authentication)}"
            yield Finding((*path, "authentication"), message)
        yield from _target(trigger.target, (*path, "target"))


def _is_address(trigger: Trigger) -> bool:
    address = trigger.address
    if len(address) > MAX_TEXT:
        return False
    if trigger.kind == "prometheus":
        return is_ascii_url(address)
    if trigger.kind == "kafka":
        return re.fullmatch(rf"{HOST_PORT}(?:,{HOST_PORT})*", address) is not None
    if trigger.kind == "nats":
        return re.fullmatch(HOST_PORT, address) is not None
    return is_ascii_url(re.sub("^amqp(s?)://", r"http\1://", address)) if "@" not in address else False


def scaling_has_room(function: Function) -> Iterator[Finding]:
    """With a HorizontalPodAutoscaler there is a largest number of pods."""
    raw, scale = function.inference.raw, function.deploy.options.scale
    if raw != Raw() and function.inference.mode == "raw" and raw.autoscaler != "none" and scale.max == 0:
        message = "0 is no bound, and an autoscaler of Kubernetes needs one"
        yield Finding(("deploy", "options", "scale", "max"), message, "give the most pods, or remove it for 10")


def names_leave_room(function: Function) -> Iterator[Finding]:
    """The Deployment of a new revision, and the Service for metrics, have longer names."""
    if function.inference.mode == "raw" and len(function.name) > LONGEST_NAME:
        message = f"with mode: raw a name has at most {LONGEST_NAME} characters, this has {len(function.name)}"
        yield Finding(("name",), message, "a new revision's Deployment is NAME-candidate")


def something_is_measured(function: Function) -> Iterator[Finding]:
    """A server that is not kfunc's has metrics of its own, by other names."""
    inference = function.inference
    alone = inference.server is not UNSET and inference.batcher is UNSET and inference.logger is UNSET
    if inference.monitoring is not UNSET and alone:
        message = "nothing of kfunc's is in this pod, so that there is nothing to collect"
        yield Finding(MONITORING, message, "add a logger or a batcher in front of the server", at_key=True)


def monitoring_labels_are_labels(function: Function) -> Iterator[Finding]:
    """The Prometheus Operator and Grafana select by them."""
    monitoring = function.inference.monitoring
    if monitoring is UNSET:
        return
    yield from labels_are_labels(monitoring.labels, (*MONITORING, "labels"))
    yield from labels_are_labels(monitoring.dashboard_labels, (*MONITORING, "dashboard_labels"))


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    autoscalers_have_what_they_need,
    metrics_can_be_asked_for,
    triggers_can_be_read,
    scaling_has_room,
    names_leave_room,
    something_is_measured,
    monitoring_labels_are_labels,
)
