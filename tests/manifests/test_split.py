"""Who gets which part of the traffic, by Knative's own split and by Istio's."""

from typing import Any

import pytest

from kfunc.errors import StartupError
from kfunc.manifests.outputs import Rendered, render
from kfunc.manifests.plan import Manifest, Release
from kfunc.manifests.split import Share, service_traffic, split
from tests.manifests import plan_of

AB = "strategy: ab, variants: [{name: a, revision: iris-1, weight: 80}, {name: b, weight: 20}]"


def function(traffic: str, more: str = "") -> str:
    return f"name: iris\nimage: a/iris\ndomain: example.org\ninference:\n  model: {{uri: m}}\n  traffic: {{{traffic}}}\n{more}"


def rendered(traffic: str, more: str = "", **release: Any) -> Rendered:
    return render(plan_of(function(traffic, more), Release(**release)))


def of_kind(result: Rendered, kind: str) -> list[Manifest]:
    return [one for manifests in result.files.values() for one in manifests if one["kind"] == kind]


def weights(result: Rendered) -> dict[str, int]:
    """Host header → weight of the last route."""
    route = of_kind(result, "VirtualService")[0]["spec"]["http"][-1]["route"]
    return {one["headers"]["request"]["set"]["Host"]: one.get("weight", 100) for one in route}


def test_without_a_stable_revision_everything_goes_to_the_rendered_one() -> None:
    assert split(plan_of(function(""))) == [Share("", "", 100)]
    assert weights(rendered("")) == {"iris.default.svc.cluster.local": 100}


def test_a_canary_begins_with_its_first_step() -> None:
    assert weights(rendered("steps: [5, 100]", stable="iris-1")) == {
        "stable-iris.default.svc.cluster.local": 95,
        "candidate-iris.default.svc.cluster.local": 5,
    }


def test_a_weight_is_the_new_revisions() -> None:
    assert [share.percent for share in split(plan_of(function(""), Release(stable="iris-1", weight=30)))] == [70, 30]


def test_blue_green_begins_with_the_stable_revision_and_shows_the_new_one_at_the_preview() -> None:
    result = rendered("strategy: blue-green", stable="iris-1")
    live, preview = of_kind(result, "VirtualService")
    assert weights(result)["stable-iris.default.svc.cluster.local"] == 100
    assert preview["spec"]["hosts"][0] == "preview-iris.default.example.org"
    route = preview["spec"]["http"][0]["route"]
    assert [one["headers"]["request"]["set"]["Host"] for one in route] == ["candidate-iris.default.svc.cluster.local"]
    assert live["metadata"]["name"] == "live-iris"


def test_blue_green_takes_no_half_of_it() -> None:
    with pytest.raises(StartupError, match="--weight 0 or 100, not 50"):
        rendered("strategy: blue-green", stable="iris-1", weight=50)


def test_a_weight_needs_another_revision() -> None:
    with pytest.raises(StartupError, match="name that one with --stable REVISION"):
        rendered("", weight=50)


def test_an_ab_test_needs_no_stable_revision() -> None:
    assert weights(rendered(AB)) == {"a-iris.default.svc.cluster.local": 80, "b-iris.default.svc.cluster.local": 20}


@pytest.mark.parametrize(("stable", "pinned"), [("", "a"), ("iris-1", "a")])
def test_the_plain_url_of_an_ab_test_stays_at_one_variant(stable: str, pinned: str) -> None:
    (service,) = [one for one in of_kind(rendered(AB, stable=stable), "Service") if "template" in one["spec"]]
    assert [(one["tag"], one["percent"]) for one in service["spec"]["traffic"]] == [(pinned, 100), ("b", 0)]


def test_the_plain_url_stays_at_the_stable_revision_during_a_canary() -> None:
    result = rendered("", stable="iris-1", weight=50)
    (service,) = [one for one in of_kind(result, "Service") if "template" in one["spec"]]
    stable, candidate = service["spec"]["traffic"]
    assert stable == {"revisionName": "iris-1", "percent": 100, "tag": "stable"}
    assert (candidate["percent"], candidate["tag"]) == (0, "candidate")
    assert candidate["revisionName"] == service["spec"]["template"]["metadata"]["name"]


def test_both_urls_are_told() -> None:
    assert rendered("", stable="iris-1", weight=50).urls == [
        "http://iris.default.example.org (iris-1, and nothing else)",
        "http://live-iris.default.example.org (50 % stable and 50 % candidate)",
    ]


def test_without_istio_the_service_splits_itself() -> None:
    result = rendered("via: knative", stable="iris-1", weight=50)
    (service,) = of_kind(result, "Service")
    assert [one["percent"] for one in service["spec"]["traffic"]] == [50, 50]
    assert of_kind(result, "VirtualService") == []
    assert result.urls == ["http://iris.default.example.org (50 % stable and 50 % candidate)"]


def test_a_stable_revision_that_is_the_rendered_one_is_no_split() -> None:
    (service,) = [one for one in of_kind(rendered(""), "Service") if "template" in one["spec"]]
    again = rendered("", stable=service["spec"]["template"]["metadata"]["name"])
    assert again == rendered("")


def test_nothing_is_tried_again() -> None:
    routes = [route for service in of_kind(rendered(AB), "VirtualService") for route in service["spec"]["http"]]
    assert {route["retries"]["attempts"] for route in routes} == {0}


@pytest.mark.parametrize(("seconds", "text"), [(90, "90s"), (60.25, "60.25s"), (86_400, "86400s")])
def test_times_are_written_as_protobuf_reads_them(seconds: float, text: str) -> None:
    (service,) = of_kind(rendered(f"timeout_s: {seconds}"), "VirtualService")
    assert service["spec"]["http"][0]["timeout"] == text


def test_in_raw_mode_the_shares_are_subsets_of_one_service() -> None:
    result = rendered("outliers: {}", "  mode: raw\n", stable="iris")
    (rule,) = of_kind(result, "DestinationRule")
    assert rule["spec"]["host"] == "live-iris.default.svc.cluster.local"
    assert {one["name"]: one["labels"]["app.kubernetes.io/instance"] for one in rule["spec"]["subsets"]} == {
        "stable": "iris",
        "candidate": "iris-candidate",
    }
    assert rule["spec"]["trafficPolicy"]["outlierDetection"]["consecutive5xxErrors"] == 5
    (deployment,) = of_kind(result, "Deployment")
    assert deployment["metadata"]["name"] == "iris-candidate"
    assert deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/instance"] == "iris-candidate"


def test_with_knative_outliers_have_no_effect_and_that_is_said() -> None:
    result = rendered("outliers: {}")
    assert of_kind(result, "DestinationRule") == []
    assert any("outliers has no effect with Knative" in note.text for note in result.notes)


def test_with_knative_bounds_are_those_of_each_revision() -> None:
    result = rendered("connections: {max_connections: 5}", stable="iris-1")
    stable, candidate = of_kind(result, "DestinationRule")
    assert stable["spec"]["host"] == "iris-1.default.svc.cluster.local"
    assert candidate["spec"]["trafficPolicy"] == {"connectionPool": {"tcp": {"maxConnections": 5}}}


def test_a_function_that_only_the_cluster_reaches_has_no_host_outside() -> None:
    (service,) = of_kind(rendered("", "  visibility: cluster-local\n"), "VirtualService")
    assert service["spec"]["hosts"][0] == "live-iris.default.svc.cluster.local"
    assert service["spec"]["gateways"] == ["knative-serving/knative-local-gateway", "mesh"]


def test_tls_is_a_gateway_of_the_functions_own() -> None:
    result = rendered("hosts: [iris.example.com], tls: {secret: iris-tls}")
    (gateway,) = of_kind(result, "Gateway")
    secure, plain = gateway["spec"]["servers"]
    assert secure["tls"] == {"mode": "SIMPLE", "credentialName": "iris-tls", "minProtocolVersion": "TLSV1_2"}
    assert plain["tls"] == {"httpsRedirect": True}
    assert of_kind(result, "VirtualService")[0]["spec"]["gateways"][0] == "default/iris"
    assert result.urls[-1] == "https://iris.example.com (everything)"


@pytest.mark.parametrize(("protocols", "spoken"), [("[v1, v2]", None), ("[v2, grpc]", "kubernetes.io/h2c")])
def test_without_knative_grpc_reaches_the_pods_over_http_2(protocols: str, spoken: str | None) -> None:
    result = rendered("", f"  mode: raw\n  protocols: {protocols}\n")
    services = {one["metadata"]["name"]: one["spec"]["ports"][0].get("appProtocol") for one in of_kind(result, "Service")}
    assert (services["iris"], services["live-iris"]) == (spoken, spoken)


@pytest.mark.parametrize("mode", ["knative", "raw"])
def test_a_domain_that_is_not_known_is_said_and_looked_up_only_where_knative_has_it(mode: str) -> None:
    text = function("", f"  mode: {mode}\n").replace("domain: example.org\n", "")
    (note,) = [note for note in render(plan_of(text), "istio").notes if "names no domain" in note.text]
    assert ("config-domain" in note.command) is (mode == "knative")


@pytest.mark.parametrize(
    ("traffic", "mode", "release", "words"),
    [
        (AB, "knative", Release(weight=30), "change them there, without --weight"),
        (AB, "knative", Release(stable="iris-9"), "give iris-1"),
        ("", "knative", Release(weight=30), "name that one with --stable"),
        (None, "knative", Release(stable="iris-1", weight=30), "add inference.traffic"),
        (None, "raw", Release(stable="iris-1"), "add inference.traffic"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(traffic: str | None, mode: str, release: Release, words: str) -> None:
    text = function(traffic or "", f"  mode: {mode}\n")
    text = text if traffic is not None else text.replace("  traffic: {}\n", "")
    with pytest.raises(StartupError, match=words):
        split(plan_of(text, release))


def test_a_stable_revision_without_a_traffic_block_keeps_everything() -> None:
    plan = plan_of(function("").replace("  traffic: {}\n", ""), Release(stable="iris-1"))
    assert [(one["tag"], one["percent"]) for one in service_traffic(plan, "iris-2")] == [("stable", 100), ("candidate", 0)]
