"""Knative Eventing: where the function's events go, and which events reach it. Pure."""

from typing import Any

from msgspec import UNSET

from kfunc.config.brokers import SCHEME
from kfunc.config.function import Subscription
from kfunc.config.knative import Delivery
from kfunc.config.logger import sinks_of
from kfunc.manifests.mesh import selector
from kfunc.manifests.plan import Manifest, Note, Part, Plan, metadata

WITHOUT_SERVING = "the function's events need Knative Eventing in the cluster, which works without Knative Serving"
BINDING_NOTE = (
    "the SinkBinding must be there before the Service: a revision whose name is given cannot change afterwards; "
    "kubectl apply -f knative/eventing.yaml first"
)

SERVICE = {"apiVersion": "serving.knative.dev/v1", "kind": "Service"}
PLAIN_SERVICE = {"apiVersion": "v1", "kind": "Service"}


def build(plan: Plan) -> Part:
    """A SinkBinding where func.yaml asks for one, and a Trigger for each subscription."""
    manifests, notes = [], []
    if plan.function.inference.eventing.sink_binding:
        manifests.append(sink_binding(plan))
        notes += [Note(BINDING_NOTE)] if plan.mode == "knative" else []
    elif plan.config.logger is not None and plan.config.logger.sink is UNSET and not plan.config.logger.sinks:
        notes.append(Note("the logger has no sink: events go to the broker default; inference.logger.sink names another"))
    subscriptions = plan.function.deploy.subscriptions
    manifests += [trigger(plan, number, subscription) for number, subscription in enumerate(subscriptions)]
    if plan.mode == "raw" and (manifests or posts_to_broker(plan)):
        notes.append(Note(WITHOUT_SERVING))
    return Part(manifests, notes)


def posts_to_broker(plan: Plan) -> bool:
    """Whether the logger's events go to a broker by its address."""
    logger, eventing = plan.config.logger, plan.function.inference.eventing
    if logger is None:
        return False
    sinks = [sink.to for sink in sinks_of(logger)]
    return any(sink.startswith(SCHEME) for sink in sinks) or not (sinks or eventing.sink_binding)


def sink_binding(plan: Plan) -> Manifest:
    """Puts K_SINK into the containers, found at apply; those of all its Deployments without Knative Serving."""
    eventing = plan.function.inference.eventing
    spec: Manifest = {
        "subject": SERVICE | {"name": plan.name} if plan.mode == "knative" else deployments(plan),
        "sink": destination(eventing.sink_binding),
    }
    if eventing.ce_overrides:
        spec["ceOverrides"] = {"extensions": eventing.ce_overrides}
    return {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "SinkBinding",
        "metadata": metadata(plan, f"{plan.name}-events"),
        "spec": spec,
    }


def trigger(plan: Plan, number: int, subscription: Subscription) -> Manifest:
    """Events of a broker as requests to the function; its answers go back to the broker."""
    spec: Manifest = {"broker": subscription.source}
    if subscription.filters:
        spec["filter"] = {"attributes": subscription.filters}
    service = SERVICE if plan.mode == "knative" else PLAIN_SERVICE
    spec["subscriber"] = {"ref": service | {"name": plan.name}}
    delivery = delivery_of(plan.function.inference.eventing.delivery)
    return {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": metadata(plan, f"{plan.name}-{number}"),
        "spec": spec | ({"delivery": delivery} if delivery else {}),
    }


def deployments(plan: Plan) -> Manifest:
    """The function's, a new revision's beside the stable one's: a SinkBinding's subject."""
    return {"apiVersion": "apps/v1", "kind": "Deployment", "selector": {"matchLabels": selector(plan)}}


def delivery_of(delivery: Delivery) -> Manifest:
    """How a broker tries again."""
    backoff: Any = UNSET if delivery.backoff_s is UNSET else f"PT{delivery.backoff_s:g}S"
    dead: Manifest = {} if not delivery.dead_letter else {"deadLetterSink": destination(delivery.dead_letter)}
    given: Manifest = {"retry": delivery.retry, "backoffPolicy": delivery.backoff, "backoffDelay": backoff}
    return {name: value for name, value in given.items() if value is not UNSET} | dead


def destination(text: str) -> Manifest:
    """`broker:NAME`, `service:NAME` or a URL as Knative's Destination."""
    kind, _, name = text.partition(":")
    if text.startswith(SCHEME):
        return {"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": name}}
    if kind == "service":
        return {"ref": SERVICE | {"name": name}}
    return {"uri": text}
