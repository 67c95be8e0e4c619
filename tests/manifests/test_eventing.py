"""Triggers for the events that a function answers, and a SinkBinding for those that it sends."""

from typing import Any

import pytest

from kfunc.manifests.eventing import WITHOUT_SERVING, build, destination
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


def test_without_serving_events_come_to_the_plain_service_and_go_out_of_all_deployments() -> None:
    more = "mode: raw, logger: {}, eventing: {sink_binding: 'broker:out'}"
    part = build(plan_of(SUBSCRIBED % (f", {more}", "{source: orders}")))
    binding, trigger = part.manifests
    assert binding["spec"]["subject"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "selector": {"matchLabels": {"app.kubernetes.io/name": "iris"}},
    }
    assert trigger["spec"]["subscriber"]["ref"] == {"apiVersion": "v1", "kind": "Service", "name": "iris"}
    assert [note.text for note in part.notes] == [WITHOUT_SERVING]


@pytest.mark.parametrize(
    ("logger", "needed"),
    [
        ("{}", True),
        ("{sink: 'broker:a'}", True),
        ("{sinks: [{to: 'http://a'}, {to: 'broker:b'}]}", True),
        ("{sink: 'http://a'}", False),
    ],
)
def test_a_broker_without_serving_is_said_to_need_eventing(logger: str, needed: bool) -> None:
    part = build(plan_of(LEAST % f", mode: raw, logger: {logger}"))
    assert (WITHOUT_SERVING in [note.text for note in part.notes]) is needed


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
