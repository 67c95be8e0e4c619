"""Rules for Knative Eventing: sinks that a binding finds, subscriptions that do not feed on themselves."""

import re
from collections.abc import Callable, Iterator

from msgspec import UNSET, UnsetType

from kfunc.config.brokers import DEFAULT, SCHEME, broker_name
from kfunc.config.complete import namespace_of
from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Function, Subscription
from kfunc.config.logger import Logger
from kfunc.config.names import is_service_name, is_subdomain
from kfunc.config.urls import is_http_url

EVENTING: FieldPath = ("inference", "eventing")
ATTRIBUTE = re.compile(r"[a-z0-9]{1,20}")
OWN_TYPES = "io.kfunc.inference."


def bound_sink_is_found(function: Function) -> Iterator[Finding]:
    """A SinkBinding gives the containers K_SINK: the logger's sink where it has none, and the handler's to use."""
    eventing = function.inference.eventing
    bound = eventing.sink_binding
    if bound and not is_destination(bound):
        message = f'expected "broker:NAME", "service:NAME" or a URL, found {show_text(bound)}'
        yield Finding((*EVENTING, "sink_binding"), message)
    for name, value in eventing.ce_overrides.items():
        path = (*EVENTING, "ce_overrides", name)
        if not bound:
            yield Finding((*EVENTING, "ce_overrides"), "only a SinkBinding adds attributes", "add sink_binding: …", at_key=True)
            return
        if not ATTRIBUTE.fullmatch(name):
            yield Finding(path, f"expected at most 20 lower-case letters and digits, found {show_text(name)}", at_key=True)
        if not value.isprintable():
            yield Finding(path, f"expected one line of text, found {show_text(value)}")


def is_destination(text: str) -> bool:
    """`broker:NAME`, `service:NAME` (a Knative Service) or an http(s) URL."""
    kind, _, name = text.partition(":")
    if kind == "broker":
        return is_subdomain(name)
    return is_service_name(name) if kind == "service" and name else is_http_url(text)


def brokers_have_addresses(function: Function) -> Iterator[Finding]:
    """Where events go that are posted, and those that are not delivered."""
    eventing = function.inference.eventing
    if not is_http_url(eventing.broker_ingress):
        message = (
            f"expected a URL such as http://kafka-broker-ingress.knative-eventing, found {show_text(eventing.broker_ingress)}"
        )
        yield Finding((*EVENTING, "broker_ingress"), message)
    dead = eventing.delivery.dead_letter
    if dead and not is_destination(dead):
        path = (*EVENTING, "delivery", "dead_letter")
        yield Finding(path, f'expected "broker:NAME", "service:NAME" or a URL, found {show_text(dead)}')


def sinks(logger: Logger | UnsetType) -> list[tuple[FieldPath, str]]:
    """Where the logger's events go, and where func.yaml says it."""
    if logger is UNSET:
        return []
    path: FieldPath = ("inference", "logger")
    several = [((*path, "sinks", number, "to"), sink.to) for number, sink in enumerate(logger.sinks)]
    return several if logger.sink is UNSET else [((*path, "sink"), logger.sink), *several]


def subscriptions_end(function: Function) -> Iterator[Finding]:
    """A broker's name, filters by attributes, and never the function's own events, which would go round for ever."""
    for number, subscription in enumerate(function.deploy.subscriptions):
        path: FieldPath = ("deploy", "subscriptions", number)
        if not is_subdomain(subscription.source):
            yield Finding((*path, "source"), f"expected the name of a broker, found {show_text(subscription.source)}")
        for name in subscription.filters:
            if not ATTRIBUTE.fullmatch(name):
                message = f"expected an event's attribute, lower-case letters and digits, found {show_text(name)}"
                yield Finding((*path, "filters", name), message, at_key=True)
        if _feeds_itself(function, subscription):
            message = "the logger's events go to this broker, and would come back as requests"
            yield Finding(path, message, "add filters: {type: …} with the type of the events that are meant")


def _feeds_itself(function: Function, subscription: Subscription) -> bool:
    logger, bound = function.inference.logger, function.inference.eventing.sink_binding
    if logger is UNSET:
        return False
    namespace = namespace_of(function)
    targets = [sink for _, sink in sinks(logger)] or [bound or DEFAULT]
    own = (namespace, subscription.source)
    same = any(sink.startswith(SCHEME) and broker_name(sink, namespace) == own for sink in targets)
    wanted = subscription.filters.get("type", "")
    return same and (not wanted or wanted.startswith(OWN_TYPES))


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    bound_sink_is_found,
    brokers_have_addresses,
    subscriptions_end,
)
