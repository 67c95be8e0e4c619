"""The Knative Service: names, times, annotations, labels, traffic."""

from typing import Any

import pytest

from kfunc.manifests.knative import build, revision
from kfunc.manifests.plan import Release
from tests.manifests import plan_of

LEAST = "name: iris\nimage: example.com/iris\ninference: {model: {uri: m.onnx}%s}\n"


def service(text: str, release: Release | None = None) -> Any:
    return build(plan_of(text, release)).manifests[0]


def template(more: str = "", rest: str = "") -> Any:
    """The template of a function with more in its inference block, and more beside it."""
    return service(LEAST % more + rest)["spec"]["template"]


def test_a_revision_is_named_by_the_service_and_a_hash_of_its_template() -> None:
    name = template()["metadata"]["name"]
    assert name == revision(plan_of(LEAST % ""))
    assert len(name.removeprefix("iris-")) == 8


@pytest.mark.parametrize(
    "more",
    [", timeout_s: 61", ", security: {run_as_user: 1}", ", scaling: {window_s: 10}", ", batcher: {}", ", workers: 2"],
)
def test_another_template_is_another_revision(more: str) -> None:
    assert template(more)["metadata"]["name"] != template()["metadata"]["name"]


@pytest.mark.parametrize("more", [", scaling: {rollout_duration_s: 10}", ", visibility: cluster-local"])
def test_what_only_the_service_says_makes_no_new_revision(more: str) -> None:
    assert template(more)["metadata"]["name"] == template()["metadata"]["name"]


@pytest.mark.parametrize(
    ("more", "times"),
    [
        ("", {"timeoutSeconds": 65}),
        (", timeout_s: 0.2, grace_s: 0.1", {"timeoutSeconds": 6}),
        (", timeout_s: 10, grace_s: 90", {"timeoutSeconds": 95}),
        (", timeout_s: 600", {"timeoutSeconds": 600, "responseStartTimeoutSeconds": 600}),
        (", timeout_s: 400", {"timeoutSeconds": 405, "responseStartTimeoutSeconds": 405}),
        (", timeouts: {response_start_s: 7, idle_s: 8}",
         {"timeoutSeconds": 65, "responseStartTimeoutSeconds": 7, "idleTimeoutSeconds": 8}),
    ],
)  # fmt: skip
def test_knatives_times_leave_room_for_our_own_answer_and_for_the_grace(more: str, times: dict[str, int]) -> None:
    assert {name: value for name, value in template(more)["spec"].items() if name.endswith("Seconds")} == times


def test_scaling_annotations_are_on_the_template_and_never_on_the_service() -> None:
    text = LEAST % "" + "deploy: {annotations: {a: b, autoscaling.knative.dev/metric-aggregation-algorithm: linear}}\n"
    assert service(text)["metadata"]["annotations"] == {"a": "b"}
    assert service(text)["spec"]["template"]["metadata"]["annotations"] == {
        "autoscaling.knative.dev/metric-aggregation-algorithm": "linear",
        "a": "b",
    }


def test_networkings_annotations_are_on_the_service_only() -> None:
    text = LEAST % "" + "deploy: {annotations: {networking.knative.dev/http-protocol: redirected}}\n"
    assert "annotations" in service(text)["metadata"]
    assert "annotations" not in service(text)["spec"]["template"]["metadata"]


@pytest.mark.parametrize(("number", "text"), [("32", "32"), ("10.5", "10.5"), ("0.01", "0.01"), ("1000000", "1000000")])
def test_a_number_is_written_without_a_needless_fraction_or_exponent(number: str, text: str) -> None:
    annotations = template("", f"deploy: {{options: {{scale: {{target: {number}}}}}}}\n")["metadata"]["annotations"]
    assert annotations == {"autoscaling.knative.dev/target": text}


def test_a_metric_of_resources_takes_the_class_that_knows_it() -> None:
    assert template(", scaling: {resource_metric: memory}")["metadata"]["annotations"] == {
        "autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev",
        "autoscaling.knative.dev/metric": "memory",
    }


def test_labels_of_func_yaml_are_on_service_and_pods() -> None:
    made = service(LEAST % "" + "deploy: {labels: [{key: team, value: ml}, {key: bare}]}\n")
    for metadata in made["metadata"], made["spec"]["template"]["metadata"]:
        assert (metadata["labels"]["team"], metadata["labels"]["bare"]) == ("ml", "")


def test_a_local_function_has_the_label_and_the_address_of_one() -> None:
    part = build(plan_of(LEAST % ", visibility: cluster-local"))
    assert part.manifests[0]["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"
    assert part.urls == ["http://iris.default.svc.cluster.local"]


def test_without_a_stable_revision_the_newest_has_all_traffic() -> None:
    assert service(LEAST % "")["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]


def test_with_one_the_services_own_url_stays_with_it_and_the_new_one_has_a_host_beside_it() -> None:
    assert service(LEAST % "", Release(stable="iris-1"))["spec"]["traffic"] == [
        {"revisionName": "iris-1", "percent": 100, "tag": "stable"},
        {"revisionName": revision(plan_of(LEAST % "")), "percent": 0, "tag": "candidate"},
    ]


def test_a_cuda_function_that_asks_for_no_gpu_is_told_so() -> None:
    (note,) = build(plan_of(LEAST % ", accelerator: cuda")).notes
    assert note.text == "inference.accelerator is cuda, and no GPU is asked for: add gpu: {count: 1}"


def test_settings_that_are_too_long_for_a_variable_are_a_configmap_named_by_their_hash() -> None:
    service, settings = build(plan_of("name: iris\ninference: {model: {uri: %s}}\n" % ("m" * 70_000))).manifests
    name = settings["metadata"]["name"]
    pod = service["spec"]["template"]["spec"]
    assert (settings["kind"], settings["immutable"], list(settings["data"])) == ("ConfigMap", True, ["config.json"])
    assert pod["containers"][0]["env"][0] == {"name": "KFUNC_CONFIG", "value": "@/etc/kfunc/config.json"}
    assert {"name": "configuration", "configMap": {"name": name}} in pod["volumes"]
    assert {"name": "configuration", "mountPath": "/etc/kfunc", "readOnly": True} in pod["containers"][0]["volumeMounts"]
