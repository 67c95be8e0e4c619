"""Knative's own webhook, its definition of a Service and Kubernetes' view of the pod: what we accept they accept."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from kfunc.config.load import read_function
from kfunc.config.source import parse_source
from kfunc.errors import ConfigError, StartupError
from kfunc.manifests.outputs import render
from kfunc.manifests.plan import Manifest, Plan, Release
from kfunc.manifests.yaml_text import write
from tests.manifests import plan, plan_of
from tests.manifests.golden import release_of, sources
from tests.oracles import Oracle
from tests.oracles.documents import functions
from tests.oracles.func_yaml import documents
from tests.oracles.webhook import Webhook

MANY = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
FILE = "knative/service.yaml"


@MANY
@given(document=documents())
def test_whatever_we_accept_knative_accepts_with_the_flags_that_we_name(
    knative: Webhook, kubernetes: Oracle, document: dict[str, Any]
) -> None:
    written = write(document)
    assert parse_source(written.encode()).value == document
    try:
        made = plan_of(written)
    except ConfigError as error:
        event("refused: " + error.problems[0].path.rpartition(".")[2].split("[")[0])
        return
    event("accepted")
    assert complaints(made, knative, kubernetes) == []


@MANY
@given(st.data())
def test_knative_accepts_every_split_of_the_traffic_that_we_accept(
    knative: Webhook, kubernetes: Oracle, data: st.DataObject
) -> None:
    stable = data.draw(st.sampled_from(["", "iris-1"]))
    weight = data.draw(st.sampled_from([None, 0, 30, 100])) if stable else None
    try:
        function = read_function(parse_source(msgspec.json.encode(data.draw(functions("knative")))))
        found = complaints(plan(function, Release(image="example.com/iris", stable=stable, weight=weight)), knative, kubernetes)
    except (ConfigError, StartupError) as error:
        event(f"refused: {type(error).__name__}")
        return
    event("accepted")
    assert found == []


@pytest.mark.parametrize("name", sources())
def test_knative_accepts_what_is_kept_as_golden(knative: Webhook, kubernetes: Oracle, name: str) -> None:
    plan = plan_of(sources()[name], release_of(sources()[name]))
    if plan.mode == "knative":
        assert complaints(plan, knative, kubernetes) == []


def complaints(plan: Plan, knative: Webhook, kubernetes: Oracle) -> list[str]:
    """What a cluster would have against the Service, and later against the Deployment that Knative makes of it."""
    rendered = render(plan, "service")
    service, *others = rendered.files[FILE]
    return knative.on(service, rendered.notes) + kubernetes.all_complaints([service, deployment(service), *others])


def deployment(service: Manifest) -> Manifest:
    """The Service's pods as a Deployment: Kubernetes checks names, quantities, mounts and tolerations that Knative does not."""
    template = service["spec"]["template"]
    fields = {name: value for name, value in template["spec"].items() if not name.endswith(("Seconds", "Concurrency"))}
    labels = template["metadata"]["labels"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": service["metadata"]["name"], "namespace": service["metadata"]["namespace"]},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {
                    name: template["metadata"][name] for name in ("labels", "annotations") if name in template["metadata"]
                },
                "spec": fields,
            },
        },
    }


def test_a_file_that_names_nothing_but_a_model_is_accepted(knative: Webhook, kubernetes: Oracle) -> None:
    assert complaints(plan_of("inference: {model: {uri: m.onnx}}\n"), knative, kubernetes) == []
    assert read_function(parse_source(b"inference: {model: {uri: m.onnx}}\n")).inference.mode == "knative"
