"""The variables of the containers: texts that stand for themselves, secrets by reference, settings without their defaults."""

import json
from typing import Any

import pytest

from kfunc.config import pod as settings_of
from kfunc.manifests.environment import literal, settings
from kfunc.manifests.pod import pod
from tests.manifests import plan_of
from tests.manifests.reading import expand

LEAST = "name: iris\nimage: example.com/iris\ninference: {model: {uri: m.onnx}%s}\n"


def environment(container: str, more: str = "", envs: str = "") -> dict[str, Any]:
    """A container's variables: their values, or where they stand."""
    text = LEAST % more + (f"run: {{envs: [{envs}]}}\n" if envs else "")
    made = {one["name"]: one for one in pod(plan_of(text)).spec["containers"]}[container]
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in made["env"]} | {"": made.get("envFrom")}


@pytest.mark.parametrize("text", ["", "a", "$", "$$", "$(", "$(A)", "$$(A)", "$$$(A)", "$5 $(A) $$", "a$", "${A}", "$$$$"])
def test_kubernetes_reads_every_text_as_itself(text: str) -> None:
    assert expand(literal(text)) == text


def test_a_text_without_a_reference_is_not_changed_at_all() -> None:
    assert literal("costs $5 and ${HOME}") == "costs $5 and ${HOME}"


def test_the_settings_are_short_and_the_pod_reads_the_whole_of_them() -> None:
    plan = plan_of(LEAST % ", workers: 2, limits: {max_headers: 7}, batcher: {max_batch_size: 32, max_queue: 9}")
    text = settings(plan)
    assert json.loads(text) == {
        "version": 1,
        "function": "iris",
        "namespace": "default",
        "model": {"name": "iris", "uri": "m.onnx", "runtime": "onnx"},
        "workers": 2,
        "limits": {"max_headers": 7},
        "batcher": {"max_queue": 9},
    }
    assert settings_of.decode({settings_of.VARIABLE: text}) == plan.config


@pytest.mark.parametrize(
    ("more", "sink"),
    [
        ("logger: {}", "http://broker-ingress.knative-eventing.svc.cluster.local/default/default"),
        ("logger: {sink: 'broker:a'}", "http://broker-ingress.knative-eventing.svc.cluster.local/default/a"),
        ("logger: {sink: 'broker:b/a'}", "http://broker-ingress.knative-eventing.svc.cluster.local/b/a"),
        ("logger: {sink: 'broker:a'}, eventing: {broker_ingress: 'http://kafka/'}", "http://kafka/default/a"),
        ("logger: {sink: 'http://a/'}", "http://a/"),
        ("logger: {}, eventing: {sink_binding: 'broker:a'}", None),
    ],
)
def test_a_sink_is_an_address_that_the_pod_can_post_to(more: str, sink: str | None) -> None:
    assert json.loads(environment("logger", f", {more}")["KFUNC_CONFIG"])["logger"].get("sink") == sink


def test_secrets_and_configmaps_are_named_and_never_in_the_manifest() -> None:
    envs = "{name: A, value: '{{ secret:s:k }}'}, {name: B, value: '{{configMap:c:k}}'}, {value: '{{ secret:t }}'}"
    found = environment("handler", ", storage: {env_secret: s3}", envs)
    assert found["A"] == {"secretKeyRef": {"name": "s", "key": "k"}}
    assert found["B"] == {"configMapKeyRef": {"name": "c", "key": "k"}}
    assert found[""] == [{"secretRef": {"name": "t"}}, {"secretRef": {"name": "s3"}}]


def test_variables_of_func_yaml_are_the_handlers_and_those_of_kfunc_everybodys() -> None:
    envs = "{name: A, value: a}, {name: KFUNC_WORKERS, value: '2'}"
    assert {"A", "KFUNC_WORKERS"} <= set(environment("handler", ", logger: {}", envs))
    assert {"A", "KFUNC_WORKERS"} & set(environment("logger", ", logger: {}", envs)) == {"KFUNC_WORKERS"}


def test_the_logger_has_the_credentials_of_its_sinks_and_no_others() -> None:
    envs = "{name: KAFKA_PASSWORD, value: '{{ secret:kafka:password }}'}, {name: AWS_REGION, value: a}"
    assert "KAFKA_PASSWORD" in environment("logger", ", logger: {sink: 'kafka://kafka:9092/topic'}", envs)
    assert "AWS_REGION" not in environment("logger", ", logger: {sink: 'kafka://kafka:9092/topic'}", envs)


def test_processes_write_their_caches_where_they_may_unless_func_yaml_says_otherwise() -> None:
    assert {environment("handler")[name] for name in ("HOME", "TMPDIR")} == {"/dev/shm"}
    assert environment("handler", ", gpu: {count: 1}")["HOME"] == "/tmp"
    assert environment("handler", "", "{name: HOME, value: /data}")["HOME"] == "/data"


def test_telemetry_is_every_containers_with_attributes_that_keep_their_signs() -> None:
    more = ", logger: {}, telemetry: {otlp_endpoint: 'http://collector:4318', sample_ratio: 0.25, attributes: {team: 'a=b, c'}}"
    for container in "handler", "logger":
        found = environment(container, more)
        assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"
        assert found["OTEL_RESOURCE_ATTRIBUTES"] == "service.namespace=default,team=a%3Db%2C%20c"
        assert (found["OTEL_TRACES_SAMPLER"], found["OTEL_TRACES_SAMPLER_ARG"]) == ("parentbased_traceidratio", "0.25")


@pytest.mark.parametrize(
    ("more", "value"),
    [("gpu: {count: 1}, ", "void"), ("accelerator: cuda, ", "void"), ("gpu: {count: 1, vendor: amd}, ", None), ("", None)],
)
def test_sidecars_in_an_image_for_cuda_get_no_gpu(more: str, value: str | None) -> None:
    block = f", {more}logger: {{}}, batcher: {{}}"
    assert [environment(name, block).get("NVIDIA_VISIBLE_DEVICES") for name in ("logger", "batcher", "handler")] == [
        value,
        value,
        None,
    ]
