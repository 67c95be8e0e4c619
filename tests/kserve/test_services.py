"""InferenceServices as people write them, and the func.yaml of each: a file that kfunc itself reads."""

from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

from kfunc.config.function import Function
from kfunc.config.inference import Runtime
from kfunc.config.load import read_function
from kfunc.config.source import parse_source
from kfunc.kserve.service import Imported, import_services
from kfunc.manifests.yaml_text import write

CREATED = "2026-01-02T03:04:05Z"


def imported(text: str) -> Imported:
    services, _ = import_services(list(YAML(typ="safe", pure=True).load_all(text)), CREATED)
    return services[0]


def service(predictor: str, metadata: str = "{name: iris}", more: str = "") -> Imported:
    return imported(f"kind: InferenceService\nmetadata: {metadata}\nspec:\n  predictor: {predictor}\n{more}")


def inference(result: Imported) -> dict[str, Any]:
    found: dict[str, Any] = result.function["inference"]
    return found


def scale(result: Imported) -> dict[str, Any]:
    found: dict[str, Any] = result.function["deploy"]["options"]["scale"]
    return found


def notes(result: Imported, kind: str) -> set[str]:
    return {note.path.removeprefix("spec.predictor.") for note in result.notes if note.kind == kind}


def read(result: Imported) -> Function:
    return read_function(parse_source(write(result.function).encode()))


ONNX = "{minReplicas: 0, model: {modelFormat: {name: onnx}, storageUri: 'pvc://models/iris'}"


def test_the_least_service_becomes_the_least_function() -> None:
    result = service(f"{ONNX}}}")
    assert result.notes == []
    assert result.function == {
        "specVersion": "0.36.0",
        "name": "iris",
        "created": CREATED,
        "runtime": "python",
        "deploy": {"options": {"scale": {"min": 0}}},
        "inference": {"model": {"uri": "pvc://models/iris", "runtime": "onnx"}},
    }


@pytest.mark.parametrize("name", ["sklearn", "onnx", "xgboost", "lightgbm", "pytorch", "tensorflow", "pmml", "paddle"])
def test_the_older_fields_of_a_predictor_are_read_as_the_newer_one(name: str) -> None:
    older = service(f"{{{name}: {{storageUri: 's3://b/m'}}}}")
    newer = service(f"{{model: {{modelFormat: {{name: {name}}}, storageUri: 's3://b/m'}}}}")
    assert older.function == newer.function


@pytest.mark.parametrize("form", ["onnx", "sklearn"])
def test_a_runtime_that_is_there_is_named(form: str) -> None:
    assert form in get_args(Runtime)
    assert (
        inference(service(f"{{model: {{modelFormat: {{name: {form}}}, storageUri: 's3://b/m'}}}}"))["model"]["runtime"] == form
    )


def test_a_format_that_nothing_here_reads_is_said_and_the_runtime_stays_open() -> None:
    result = service("{model: {modelFormat: {name: autogluon}, storageUri: 's3://b/m'}}")
    assert "model.modelFormat" in notes(result, "left")
    assert "runtime" not in inference(result)["model"]


def test_kserve_keeps_a_pod_unless_told_otherwise_and_so_does_the_function() -> None:
    result = service("{model: {modelFormat: {name: onnx}, storageUri: 's3://b/m'}}")
    assert scale(result) == {"min": 1}
    assert "minReplicas" in notes(result, "changed")


def test_scaling_is_taken_from_fields_and_from_knative_s_annotations() -> None:
    annotations = "autoscaling.knative.dev/target: '7', autoscaling.knative.dev/window: 2m"
    result = service(
        f"{ONNX}, maxReplicas: 9, scaleMetric: rps, containerConcurrency: 3}}",
        f"{{name: iris, annotations: {{{annotations}}}}}",
    )
    assert scale(result) == {"target": 7, "min": 0, "max": 9, "metric": "rps"}
    assert inference(result)["scaling"] == {"window_s": 120}
    assert read(result).deploy.options.resources.limits.concurrency == 3


def test_scaling_by_cpu_is_a_resource_metric() -> None:
    assert inference(service(f"{ONNX}, scaleMetric: cpu, scaleTarget: 60}}"))["scaling"] == {"resource_metric": "cpu"}


@pytest.mark.parametrize(
    ("mode", "expected"), [("RawDeployment", "raw"), ("Standard", "raw"), ("Serverless", None), ("Knative", None)]
)
def test_the_deployment_mode_is_an_annotation(mode: str, expected: str | None) -> None:
    result = service(f"{ONNX}}}", f"{{name: iris, annotations: {{serving.kserve.io/deploymentMode: {mode}}}}}")
    assert inference(result).get("mode") == expected


def test_a_canary_s_percent_is_the_first_step() -> None:
    assert inference(service(f"{ONNX}, canaryTrafficPercent: 10}}"))["traffic"] == {"strategy": "canary", "steps": [10, 100]}


def test_the_protocol_of_grpc_adds_grpc() -> None:
    result = service("{model: {modelFormat: {name: onnx}, protocolVersion: grpc-v2, storageUri: 's3://b/m'}}")
    assert inference(result)["protocols"] == ["v1", "v2", "grpc"]


def test_batcher_and_logger_keep_their_settings_and_the_names_of_events() -> None:
    sidecars = "batcher: {maxBatchSize: 8, maxLatency: 20}, logger: {mode: request, url: 'http://sink', metadataHeaders: [x-a]}"
    result = service(f"{ONNX}, {sidecars}}}")
    assert inference(result)["batcher"] == {"max_batch_size": 8, "max_latency_ms": 20}
    assert inference(result)["logger"] == {"mode": "request", "sink": "http://sink", "headers": ["x-a"], "compat": "kserve"}


def test_a_logger_that_stores_becomes_a_sink_of_that_store() -> None:
    storage = "storage: {path: /logs, key: creds, parameters: {type: s3, bucket: b, format: parquet}}"
    result = service(f"{ONNX}, logger: {{url: 's3://b', {storage}}}}}")
    assert inference(result)["logger"]["sink"] == "s3://b/logs"
    assert {"logger.storage.key", "logger.storage.parameters"} <= notes(result, "changed")


def test_a_model_s_storage_by_key_and_path_becomes_a_uri() -> None:
    storage = "storage: {key: minio, path: a/b, parameters: {type: s3, bucket: models}}"
    result = service(f"{{model: {{modelFormat: {{name: onnx}}, {storage}}}}}")
    assert inference(result)["model"]["uri"] == "s3://models/a/b"


def test_variables_come_from_texts_secrets_and_config_maps() -> None:
    variables = (
        "env: [{name: A, value: b}, {name: S, valueFrom: {secretKeyRef: {name: s, key: k}}}, "
        "{name: C, valueFrom: {configMapKeyRef: {name: c, key: k}}}, {name: F, valueFrom: {fieldRef: {fieldPath: x}}}], "
        "envFrom: [{secretRef: {name: all}}]"
    )
    result = service(f"{{model: {{modelFormat: {{name: onnx}}, storageUri: 's3://b/m', {variables}}}}}")
    assert result.function["run"]["envs"] == [
        {"name": "A", "value": "b"},
        {"name": "S", "value": "{{ secret:s:k }}"},
        {"name": "C", "value": "{{ configMap:c:k }}"},
        {"value": "{{ secret:all }}"},
    ]
    assert notes(result, "left") == {"model.env[3].valueFrom"}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("nvidia.com/gpu", {"gpu": {"count": 2}}),
        ("amd.com/gpu", {"gpu": {"count": 2, "vendor": "amd"}}),
        ("nvidia.com/mig-1g.5gb", {"gpu": {"mig": "1g.5gb", "count": 2}}),
        ("example.com/dongle", {"devices": {"example.com/dongle": "2"}}),
    ],
)
def test_devices_are_found_among_the_resources(resource: str, expected: dict[str, Any]) -> None:
    limits = f"resources: {{limits: {{cpu: 1, memory: 1Gi, {resource}: 2}}}}"
    result = service(f"{{model: {{modelFormat: {{name: onnx}}, storageUri: 's3://b/m', {limits}}}}}")
    assert expected.items() <= inference(result).items()
    assert result.function["deploy"]["options"]["resources"]["limits"] == {"cpu": "1", "memory": "1Gi"}


def test_volumes_are_mounted_where_the_container_mounted_them() -> None:
    model = "model: {modelFormat: {name: onnx}, storageUri: 's3://b/m', volumeMounts: [{name: v, mountPath: /data}]}"
    volumes = "volumes: [{name: v, persistentVolumeClaim: {claimName: c, readOnly: true}}, {name: w, hostPath: {path: /}}]"
    result = service(f"{{{model}, {volumes}}}")
    assert result.function["run"]["volumes"] == [
        {"persistentVolumeClaim": {"claimName": "c", "readOnly": True}, "path": "/data"}
    ]
    assert notes(result, "left") == {"volumes[1].w"}


def test_nodes_and_account_are_carried_over() -> None:
    pod = (
        "serviceAccountName: sa, imagePullSecrets: [{name: pull}], nodeSelector: {disk: ssd}, priorityClassName: high, "
        "tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]"
    )
    function = read(service(f"{ONNX}, {pod}}}"))
    assert (function.deploy.service_account_name, function.deploy.image_pull_secret) == ("sa", "pull")
    assert function.inference.scheduling.node_selector == {"disk": "ssd"}
    assert function.inference.scheduling.tolerations[0].operator == "Exists"


def test_a_server_of_the_user_s_own_is_the_main_container_and_the_pod_s_port_moves() -> None:
    container = "{name: c, image: 'example.com/me/model:1', args: [serve], ports: [{containerPort: 8080, protocol: TCP}]}"
    result = service(f"{{minReplicas: 0, containers: [{container}]}}")
    assert inference(result)["server"] == {"kind": "other", "image": "example.com/me/model:1", "args": ["serve"], "port": 8080}
    assert inference(result)["port"] == 8090
    assert notes(result, "left") == set()
    assert notes(result, "changed") == {"containers[0].image"}
    assert inference(result)["model"] == {"uri": "./model"}


def test_a_serving_runtime_in_the_same_file_is_rendered_as_a_server() -> None:
    runtime = """
kind: ServingRuntime
metadata: {name: mine}
spec:
  containers:
    - {name: kserve-container, image: 'example.com/me/server:1', args: ['--name={{.Name}}'], ports: [{containerPort: 9000}]}
---
kind: InferenceService
metadata: {name: iris}
spec:
  predictor: {minReplicas: 0, logger: {}, model: {modelFormat: {name: odd}, runtime: mine, storageUri: 'pvc://c/m', args: [-v]}}
"""
    result = imported(runtime)
    server = inference(result)["server"]
    assert server["args"] == ["--name=iris", "-v"]
    assert read(result).inference.model.uri == "pvc://c/m"
    assert "logger" in notes(result, "changed")


def test_triton_reads_its_repository_itself() -> None:
    result = service("{minReplicas: 0, triton: {storageUri: 's3://b/repository', runtimeVersion: 24.01-py3}}")
    assert inference(result)["server"]["image"].endswith("tritonserver:24.01-py3")
    assert "--model-repository=s3://b/repository" in inference(result)["server"]["args"]


def test_arguments_of_the_hugging_face_server_name_the_model() -> None:
    result = service("{model: {modelFormat: {name: huggingface}, args: [--model_name=b, --model_id=org/bert, --backend=vllm]}}")
    assert inference(result)["model"]["uri"] == "hf://org/bert"
    assert inference(result)["model"]["name"] == "b"
    assert "model.args" in notes(result, "left")


@pytest.mark.parametrize("field", ["transformer", "explainer"])
def test_services_beside_the_predictor_are_not_carried_over(field: str) -> None:
    result = service(f"{ONNX}}}", more=f"  {field}: {{containers: [{{image: x}}]}}\n")
    assert [note.path for note in result.notes if note.kind == "left"] == [f"spec.{field}"]


def test_whatever_nobody_asked_for_is_listed() -> None:
    result = service(f"{ONNX}, hostNetwork: true, model2: {{}}, priority: 0}}")
    assert notes(result, "left") == {"hostNetwork", "priority"}


@pytest.mark.parametrize(
    "predictor",
    [
        "3",
        "[]",
        "{model: 3}",
        "{model: []}",
        "{containers: 7}",
        "{containers: [3]}",
        "{model: {env: 3, args: 4, resources: []}}",
    ]
    + ["{minReplicas: x, model: {modelFormat: [], storageUri: {}}}", "{volumes: [3], tolerations: {}, batcher: 1, logger: []}"],
)
def test_a_service_of_the_wrong_form_is_no_traceback(predictor: str) -> None:
    assert service(predictor).function["name"] == "iris"


def test_an_alias_bomb_is_walked_once() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    result = imported("kind: InferenceService\nmetadata: {name: iris}\n" + "\n".join(lines))
    assert len([note for note in result.notes if note.kind == "left"]) == 22


RUNTIME = """
kind: ServingRuntime
metadata: {name: mine}
spec:
  supportedModelFormats: [{name: odd}]
  nodeSelector: {disk: ssd, zone: a}
  hostIPC: true
  volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]
  containers:
    - {name: side, image: 'example.com/me/side:1'}
    - name: kserve-container
      image: example.com/me/server:1
      env: [{name: MODE, value: fast}, {name: LEVEL, value: '1'}]
      resources: {limits: {nvidia.com/gpu: 1, memory: 8Gi, cpu: 2}}
      volumeMounts: [{name: v, mountPath: /data}]
      workingDir: /srv
---
"""


def test_a_serving_runtime_s_settings_hold_where_the_service_gives_no_other() -> None:
    model = (
        "model: {modelFormat: {name: odd}, runtime: mine, storageUri: 'pvc://c/m', env: [{name: LEVEL, value: '2'}],"
        " resources: {limits: {memory: 1Gi}}}"
    )
    result = imported(
        f"{RUNTIME}kind: InferenceService\nmetadata: {{name: iris}}\nspec:\n  predictor: {{nodeSelector: {{zone: b}}, {model}}}"
    )
    assert result.function["run"]["envs"] == [{"name": "MODE", "value": "fast"}, {"name": "LEVEL", "value": "2"}]
    assert result.function["run"]["volumes"] == [{"persistentVolumeClaim": {"claimName": "c"}, "path": "/data"}]
    assert result.function["deploy"]["options"]["resources"]["limits"] == {"cpu": "2", "memory": "1Gi"}
    assert inference(result)["gpu"] == {"count": 1}
    assert inference(result)["server"]["image"] == "example.com/me/server:1"
    assert read(result).inference.scheduling.node_selector == {"disk": "ssd", "zone": "b"}


def test_what_a_serving_runtime_has_beyond_that_is_listed_once() -> None:
    one = (
        "kind: InferenceService\nmetadata: {name: iris}\nspec: {predictor: {model: {modelFormat: {name: odd}, runtime: mine}}}"
    )
    left = [note.path for note in imported(RUNTIME + one).notes if note.kind == "left" and note.path.startswith("Serving")]
    at = "ServingRuntime/mine.spec."
    assert left == [f"{at}containers[0].name", f"{at}hostIPC", f"{at}containers[1].workingDir"]


@pytest.mark.parametrize("number", ["--5", "²", "5.", "-", "1.2.3"])
def test_an_annotation_that_is_no_number_is_left_with_a_note(number: str) -> None:
    annotations = f"{{autoscaling.knative.dev/target: '{number}', autoscaling.knative.dev/window: '²s'}}"
    result = service(f"{ONNX}}}", f"{{name: iris, annotations: {annotations}}}")
    assert [note.path for note in result.notes] == ["metadata.annotations"] * 2


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "nvidia.com/mig-1g.5gb"])
def test_devices_in_another_number_than_a_whole_one_are_said(resource: str) -> None:
    limits = f"resources: {{limits: {{{resource}: '²'}}}}"
    result = service(f"{{minReplicas: 0, model: {{modelFormat: {{name: onnx}}, storageUri: 's3://b/m', {limits}}}}}")
    assert "gpu" not in inference(result)
    assert notes(result, "left") == {"model.resources.limits"}


def test_a_claim_that_is_only_read_stays_so() -> None:
    mounts = "volumeMounts: [{name: v, mountPath: /a, readOnly: true}, {name: v, mountPath: /b}, {name: w, mountPath: /c}]"
    model = f"model: {{modelFormat: {{name: onnx}}, storageUri: 's3://b/m', {mounts}}}"
    result = service(f"{{{model}, volumes: [{{name: v, persistentVolumeClaim: {{claimName: c}}}}]}}")
    assert result.function["run"]["volumes"] == [
        {"persistentVolumeClaim": {"claimName": "c", "readOnly": True}, "path": "/a"},
        {"persistentVolumeClaim": {"claimName": "c"}, "path": "/b"},
    ]
    assert notes(result, "left") == {"model.volumeMounts[2].name"}


def test_a_variable_that_might_have_been_missing_is_said_to_be_needed() -> None:
    one = "{name: A, valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}}"
    result = service(f"{{minReplicas: 0, model: {{modelFormat: {{name: onnx}}, storageUri: 's3://b/m', env: [{one}]}}}}")
    assert notes(result, "changed") == {"model.env[0].valueFrom.secretKeyRef.optional"}


def test_a_canary_of_nothing_is_a_revision_that_nobody_gets() -> None:
    result = service(f"{ONNX}, canaryTrafficPercent: 0}}")
    assert inference(result)["traffic"] == {"strategy": "blue-green"}
    read(result)
    assert [note.text[:9] for note in result.notes] == ["0: nobody"]


def test_a_path_is_not_called_a_scheme() -> None:
    (note,) = service("{minReplicas: 0, model: {modelFormat: {name: onnx}, storageUri: /mnt/model}}").notes
    assert note.text.startswith("/mnt/model is a path")


@pytest.mark.parametrize(("uri", "left"), [("hf://org/model", set()), ("s3://b/m", {"model.storageUri"})])
def test_storage_that_a_model_of_the_hub_takes_the_place_of_is_said(uri: str, left: set[str]) -> None:
    model = f"{{modelFormat: {{name: huggingface}}, storageUri: '{uri}', args: [--model_id=org/model]}}"
    result = service(f"{{minReplicas: 0, model: {model}}}")
    assert inference(result)["model"]["uri"] == "hf://org/model"
    assert notes(result, "left") == left


@pytest.mark.parametrize("kind", ["changed", "left"], ids=["a runtime of kfunc's", "somebody's server"])
def test_the_version_of_a_format_is_not_lost_silently(kind: str) -> None:
    name = "onnx" if kind == "changed" else "triton"
    result = service(f"{{minReplicas: 0, model: {{modelFormat: {{name: {name}, version: '2'}}, storageUri: 's3://b/m'}}}}")
    assert "model.modelFormat.version" in notes(result, kind)


def test_an_argument_and_its_value_may_be_two() -> None:
    model = "{modelFormat: {name: onnx}, storageUri: 's3://b/m', args: [--model_name, foo, --workers, '2', --debug, --x=1]}"
    result = service(f"{{minReplicas: 0, model: {model}}}")
    assert (inference(result)["model"]["name"], inference(result)["workers"]) == ("foo", 2)
    assert [note.text.partition(":")[0] for note in result.notes] == ["--debug --x=1"]
