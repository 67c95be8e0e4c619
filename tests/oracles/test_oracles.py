"""Istio's and Kubernetes' own validation as the judges: what `kfunc validate` accepts, they accept."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from kfunc.config.complete import complete
from kfunc.config.load import read_function
from kfunc.config.re2 import is_re2
from kfunc.config.source import parse_source
from kfunc.errors import ConfigError, StartupError
from kfunc.manifests.outputs import render
from kfunc.manifests.plan import Manifest, Plan, Release
from tests.manifests import plan_of as golden_plan
from tests.manifests.golden import release_of, sources
from tests.oracles import Oracle
from tests.oracles.documents import functions
from tests.oracles.webhook import Webhook

MANY = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
TCP_WARNING = "configured AuthorizationPolicy will deny all traffic to TCP ports"
"""A gateway's policy knows no ports: they differ between installations. The note says what it means."""


def plan_of(document: Any, release: Release | None = None) -> Plan:
    """The plan of a file that is valid. Raises ConfigError."""
    function = read_function(parse_source(msgspec.json.encode(document)))
    return Plan(function, complete(function, "onnx"), release or Release(), function.inference.mode)


def complaints(manifests: list[Manifest], istio: Oracle, kubernetes: Oracle) -> list[str]:
    """What a cluster with Istio, KEDA and the Prometheus Operator would have against them."""
    foreign = [manifest for manifest in manifests if "knative.dev/" not in manifest["apiVersion"]]
    said = kubernetes.all_complaints(foreign)
    said += istio.all_complaints(manifest for manifest in foreign if "istio.io/" in manifest["apiVersion"])
    return [one for one in said if TCP_WARNING not in one]


@MANY
@given(st.data())
@pytest.mark.parametrize("mode", ["knative", "raw"])
def test_whatever_we_accept_the_cluster_accepts(
    istio: Oracle, kubernetes: Oracle, knative: Webhook, mode: str, data: st.DataObject
) -> None:
    document = data.draw(functions(mode))
    stable = data.draw(st.sampled_from(["", "", "iris-1"]))
    try:
        plan = plan_of(document, Release(stable=stable, weight=data.draw(st.sampled_from([None, 0, 100])) if stable else None))
        rendered = render(plan)
    except ConfigError as error:
        event("refused: " + error.problems[0].path.rpartition(".")[2].split("[")[0])
        return
    except StartupError as error:
        event(f"refused when rendered: {error.message[:20]}")
        return
    event("accepted")
    manifests = [manifest for manifests in rendered.files.values() for manifest in manifests]
    assert complaints(manifests, istio, kubernetes) == []
    if service := rendered.files.get("knative/service.yaml"):
        assert knative.on(service[0], rendered.notes) == []


@pytest.mark.parametrize("name", sources())
def test_the_cluster_accepts_what_is_kept_as_golden(istio: Oracle, kubernetes: Oracle, name: str) -> None:
    rendered = render(golden_plan(sources()[name], release_of(sources()[name])))
    assert complaints([one for manifests in rendered.files.values() for one in manifests], istio, kubernetes) == []


PIECES = [
    "a", "b", "1", "é", ".", "*", "+", "?", "|", "(", ")", "[", "]", "^", "$", "{2}", "{2,}", "{1,3}", "{,2}", "{1001}",
    "{", "}", "\\", "\\d", "\\W", "\\b", "\\1", "\\x41", "\\pL", "\\Z", "\\_", "\\-", "\\Q", "\\E", "\\u0041", "(?:", "(?i)",
    "(?i:", "(?=", "(?P<n>", "(?<n>", "(?#", "(?P=n)", "[^", "-", "[a-z]", "[[:alpha:]]", "&&", "--", " ", "#", "/",
]  # fmt: skip


@MANY
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join))
def test_a_regular_expression_that_we_accept_is_one_of_gos_as_well(istio: Oracle, expression: str) -> None:
    event(f"accepted: {is_re2(expression)}")
    if is_re2(expression):
        route = {"match": [{"headers": {"a": {"regex": expression}}}], "route": [{"destination": {"host": "a.b.c"}}]}
        service = made("networking.istio.io/v1", "VirtualService", {"hosts": ["a.b.c"], "http": [route]})
        assert istio.complaints(service) == []


def made(api: str, kind: str, spec: Manifest, name: str = "a") -> Manifest:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}


def test_the_oracles_refuse_what_is_wrong(istio: Oracle, kubernetes: Oracle) -> None:
    wrong = [
        (istio, made("networking.istio.io/v1", "VirtualService", {"hosts": ["a b"]})),
        (istio, made("networking.istio.io/v1", "Nothing", {})),
        (kubernetes, made("networking.istio.io/v1", "Sidecar", {"egres": []})),
        (kubernetes, made("v1", "Service", {"ports": [{"port": 80}]}, "A")),
        (kubernetes, made("keda.sh/v1alpha1", "ScaledObject", {"triggers": []})),
    ]
    assert [manifest for oracle, manifest in wrong if not oracle.complaints(manifest)] == []
