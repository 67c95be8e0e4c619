"""Triggers for the events that a function answers, and a SinkBinding for those that it sends."""

from typing import Any

import pytest

from kfunc.manifests.eventing import build, destination
from tests.manifests import plan_of

LEAST = "name: iris\ninference: {model: {uri: m.onnx}%s}\n"
SUBSCRIBED = LEAST + "deploy: {subscriptions: [%s]}\n"


def test_without_events_there_are_no_manifests() -> None:
    assert build(plan_of(LEAST % "")).manifests == []


def test_a_subscription_is_a_trigger_to_the_service() -> None:
    (trigger,) = build(plan_of(SUBSCRIBED % ("", "{source: orders, filters: {type: order.placed, source: $(A)}}"))).manifests
    assert (trigger["apiVersion"], trigger["kind"]) == ("eventing.knative.dev/v1", "Trigger")
    assert trigger["metadata"]["name"] == "iris-0"
    assert trigger["spec"] == {
        "broker": "orders",
        "filter": {"attributes": {"type": "order.placed", "source": "$(A)"}},
        "subscriber": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "iris"}},
    }


def test_every_trigger_has_the_same_delivery() -> None:
    delivery = ", eventing: {delivery: {retry: 3, backoff: linear, backoff_s: 1.5, dead_letter: 'broker:dead'}}"
    triggers = build(plan_of(SUBSCRIBED % (delivery, "{source: a}, {source: b}"))).manifests
    expected: dict[str, Any] = {
        "retry": 3,
        "backoffPolicy": "linear",
        "backoffDelay": "PT1.5S",
        "deadLetterSink": {"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "dead"}},
    }
    assert [trigger["spec"]["delivery"] for trigger in triggers] == [expected, expected]


def test_a_sink_binding_is_of_the_service_and_must_come_first() -> None:
    part = build(plan_of(LEAST % ", logger: {}, eventing: {sink_binding: 'broker:default', ce_overrides: {team: ml}}"))
    (binding,) = part.manifests
    assert binding["spec"] == {
        "subject": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "iris"},
        "sink": {"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"}},
        "ceOverrides": {"extensions": {"team": "ml"}},
    }
    assert "before the Service" in part.notes[0].text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("broker:a.b", {"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "a.b"}}),
        ("service:a", {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "a"}}),
        ("https://a/b", {"uri": "https://a/b"}),
    ],
)
def test_a_destination_is_an_object_or_a_url(text: str, expected: dict[str, Any]) -> None:
    assert destination(text) == expected
