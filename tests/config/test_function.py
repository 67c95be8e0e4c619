"""The shared part of func.yaml against Knative Functions' schema for specVersion 0.36.0, as a table of its keys."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from kfunc.config.describe import json_schema
from kfunc.config.function import SPEC_VERSION, Function
from kfunc.config.inference import ModelSource
from kfunc.config.inference_block import Inference
from kfunc.config.load import read_function
from kfunc.config.source import Source, parse_source

ENV_NAME = "string ^[-._a-zA-Z][-._a-zA-Z0-9]*$"
QUANTITY = "string ^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
LABEL_KEY = (
    r"string ^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"
)

KNATIVE = {
    "specVersion": "string",
    "name": "string ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    "domain": "string",
    "runtime": "string",
    "registry": "string",
    "registryInsecure": "boolean",
    "image": "string",
    "namespace": "string",
    "deployer": "keda|knative|raw",
    "created": "string",
    "invoke": "cloudevent|http",
    "build.git.url": "string",
    "build.git.revision": "string",
    "build.git.contextDir": "string",
    "build.builderImages.*": "string",
    "build.buildpacks[]": "string",
    "build.builder": "pack|s2i",
    "build.buildEnvs[].name": ENV_NAME,
    "build.buildEnvs[].value": "string",
    "build.pvcSize": "string",
    "build.remoteStorageClass": "string",
    "build.baseImage": "string",
    "build.volumes[].hostPath": "string",
    "build.volumes[].path": "string",
    "run.volumes[].secret": "string",
    "run.volumes[].configMap": "string",
    "run.volumes[].persistentVolumeClaim.claimName": "string",
    "run.volumes[].persistentVolumeClaim.readOnly": "boolean",
    "run.volumes[].emptyDir.medium": "string",
    "run.volumes[].emptyDir.sizeLimit": "string",
    "run.volumes[].path": "string",
    "run.envs[].name": ENV_NAME,
    "run.envs[].value": "string",
    "run.startTimeout": "integer",
    "run.kafka.brokers": "string",
    "run.kafka.topic": "string",
    "run.kafka.consumerGroup": "string",
    "deploy.namespace": "string",
    "deploy.image": "string",
    "deploy.annotations.*": "string",
    "deploy.options.scale.min": "integer >= 0",
    "deploy.options.scale.max": "integer >= 0",
    "deploy.options.scale.metric": "concurrency|rps",
    "deploy.options.scale.target": "number >= 0",
    "deploy.options.scale.utilization": "number >= 1 <= 100",
    "deploy.options.resources.requests.cpu": QUANTITY,
    "deploy.options.resources.requests.memory": QUANTITY,
    "deploy.options.resources.limits.cpu": QUANTITY,
    "deploy.options.resources.limits.memory": QUANTITY,
    "deploy.options.resources.limits.concurrency": "integer >= 0",
    "deploy.labels[].key": LABEL_KEY,
    "deploy.labels[].value": "string ^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
    "deploy.healthEndpoints.liveness": "string",
    "deploy.healthEndpoints.readiness": "string",
    "deploy.serviceAccountName": "string",
    "deploy.imagePullSecret": "string",
    "deploy.deployer": "keda|knative|raw",
    "deploy.subscriptions[].source": "string",
    "deploy.subscriptions[].filters.*": "string",
    "deploy.managementDisabled": "boolean",
}
# Without specVersion and created, which the func CLI asks for and kfunc does not need.
KNATIVE_REQUIRED = {
    "build.volumes[].hostPath",
    "build.volumes[].path",
    "run.kafka.brokers",
    "run.kafka.topic",
    "run.kafka.consumerGroup",
    "deploy.labels[].key",
    "deploy.subscriptions[].source",
}

SCHEMA = json_schema()


def leaves(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Each setting with its type, bounds and pattern."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    if "items" in schema:
        yield from leaves(schema["items"], f"{path}[]")
    elif "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
    elif "additionalProperties" in schema:
        yield from leaves(schema["additionalProperties"], f"{path}.*")
    else:
        yield path, notation(schema)


def notation(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "|".join(sorted(schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(notation(each) for each in schema["anyOf"])
    bounds = [f" {sign} {schema[key]:g}" for key, sign in (("minimum", ">="), ("maximum", "<=")) if schema.get(key) is not None]
    pattern = f" {schema['pattern']}" if "pattern" in schema else ""
    return f"{schema['type']}{pattern}{''.join(bounds)}"


def required(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    if "items" in schema:
        yield from required(schema["items"], f"{path}[]")
    for name, inner in schema.get("properties", {}).items():
        where = f"{path}.{name}" if path else name
        if name in schema["required"]:
            yield where
        yield from required(inner, where)


def test_the_shared_part_has_exactly_knatives_keys_types_enums_and_patterns() -> None:
    assert {path: kind for path, kind in leaves(SCHEMA) if not path.startswith("inference.")} == KNATIVE


def test_the_shared_part_requires_what_knative_requires() -> None:
    assert {path for path in required(SCHEMA) if not path.startswith("inference")} == KNATIVE_REQUIRED


def test_of_kfuncs_own_part_only_the_models_uri_is_required_but_in_entries_that_are_given() -> None:
    optional = ("[]", ".cookie", ".tls", ".shadow", ".server", ".telemetry", ".explain")
    own = {path for path in required(SCHEMA) if path.startswith("inference")}
    assert {path for path in own if not any(part in path for part in optional)} == {
        "inference",
        "inference.model",
        "inference.model.uri",
    }


def test_every_mapping_refuses_unknown_keys() -> None:
    assert [name for name, schema in SCHEMA["$defs"].items() if schema["additionalProperties"] is not False] == []


def test_a_volume_in_the_schema_has_exactly_one_source() -> None:
    volume = SCHEMA["$defs"]["Run"]["properties"]["volumes"]["items"]
    assert [alternative["required"] for alternative in volume["oneOf"]] == [
        ["secret"],
        ["configMap"],
        ["persistentVolumeClaim"],
        ["emptyDir"],
    ]


EVERYTHING = """\
specVersion: 0.36.0
name: iris
domain: example.com
runtime: python
registry: registry.example.com/team
registryInsecure: true
image: registry.example.com/team/iris:1
namespace: models
deployer: knative
created: 2026-11-21T12:00:00.123456789+01:00
invoke: cloudevent
build:
  git: {url: "https://example.com/iris.git", revision: main, contextDir: models/iris}
  builderImages: {pack: example.com/builder, s2i: example.com/s2i:2}
  buildpacks: [example.com/buildpack]
  builder: pack
  buildEnvs: [{name: A, value: b}, {name: C, value: "{{ env:C }}"}]
  pvcSize: 256Mi
  remoteStorageClass: fast
  baseImage: python:3.11
  volumes: [{hostPath: ./bindings, path: /platform/bindings}]
run:
  volumes:
    - {secret: s, path: /s}
    - {configMap: c, path: /c}
    - {persistentVolumeClaim: {claimName: p, readOnly: true}, path: /p}
    - {emptyDir: {medium: Memory, sizeLimit: 64Mi}, path: /e}
  envs:
    - {name: A, value: text}
    - {name: B, value: "{{ env:HOME }}"}
    - {name: C, value: "{{ secret:s:key }}"}
    - {name: D, value: "{{ configMap:c:key }}"}
    - {value: "{{ secret:s }}"}
    - {value: "{{ configMap:c }}"}
    - {name: KFUNC_BATCHER_MAX_BATCH_SIZE, value: "8"}
    - {name: KFUNC_WORKERS, value: "{{ env:WORKERS }}"}
  startTimeout: 60
  kafka: {brokers: "a:9092,b:9092", topic: t, consumerGroup: g}
deploy:
  namespace: models
  image: registry.example.com/team/iris@sha256:0000000000000000000000000000000000000000000000000000000000000000
  annotations: {example.com/owner: "a team", autoscaling.knative.dev/metric-aggregation-algorithm: linear}
  options:
    scale: {min: 1, max: 5, metric: rps, target: 10.5, utilization: 70}
    resources: {requests: {cpu: 250m, memory: 256Mi}, limits: {cpu: "1", memory: 1Gi, concurrency: 100}}
  labels: [{key: example.com/team, value: ml}, {key: tier}]
  healthEndpoints: {liveness: /v2/health/live, readiness: /v2/health/ready}
  serviceAccountName: iris
  imagePullSecret: pull
  deployer: raw
  subscriptions: [{source: default, filters: {type: a.b}}]
  managementDisabled: true
inference:
  model:
    uri: models/iris.joblib
    name: iris
    version: "2"
    runtime: sklearn
    runtime_version: 1.9.*
    execution: thread
    threads: 2
    concurrency: 4
    trust: true
    outputs: [predict, predict_proba]
    digest: sha256:0000000000000000000000000000000000000000000000000000000000000000
    signature:
      inputs: [{name: x, datatype: FP32, shape: [-1, 4]}]
      outputs: [{name: y, datatype: FP32, shape: [-1]}]
    task: fill-mask
    gpu_memory_mb: 2048
    files: ["*.joblib"]
    sealed: true
    warmup: {requests: 3, shapes: {x: [1, 4]}, file: request.json}
    lazy: true
  models:
    - {uri: "s3://bucket/wine.onnx", name: wine, refresh_s: 60}
  images: {size: [224, 224], resize: crop, color: bgr, layout: nhwc, scale: 1.0, mean: [0.5], std: [0.2], labels: labels.txt,
           output: scores, softmax: true, top: 3, max_pixels: 1000000, choose: [{max_side: 256, model: wine}]}
  revisions: {keep: 3}
  model_cache: {path: /var/cache/models, max_bytes: 1000000000, connections: 4}
  protocols: [v2]
  accelerator: cuda
  workers: 2
  timeout_s: 30
  hang_timeout_s: 10
  grace_s: 5
  model_management: true
  access_log: 0.1
  page: everyone
  log_format: json
  limits: {max_body_bytes: 2000, max_header_bytes: 2000, max_headers: 10, header_timeout_s: 1, body_timeout_s: 1,
           idle_timeout_s: 1, max_connections: 10, max_concurrency: 10}
  batcher:
    max_batch_size: auto
    target_p99_ms: 50
    max_latency_ms: 2.5
    preferred_batch_sizes: []
    max_in_flight: 2
    max_in_flight_total: 8
    max_queue: 50
    max_queue_bytes: 1000000
    max_body_bytes: 2000
    merge: always
    retry_alone: false
    priority_levels: 5
    default_priority: 3
    group_headers: [x-tenant]
    pad: {dim: 2, value: -1, mask: mask}
  logger:
    mode: response
    sink: http://broker.example.com/default
    sinks:
    - {to: "http://events.example.com", name: a, content_mode: binary, compat: kserve, order: any, connections: 2,
       max_retries: 3, dead_letter: "file:dead.jsonl", token_file: /oidc/token}
    - {to: "file:a.jsonl", rotate_bytes: 1000, rotate_keep: 2}
    - {to: "s3://bucket/events", format: parquet, batch_events: 100, batch_bytes: 100000, batch_s: 5}
    sample: 0.5
    paths: ["/v2/*"]
    models: [iris]
    headers: [x-user]
    redact: [ssn]
    redact_with: drop
    max_body_bytes: 1000
    content_mode: batched
    compat: none
    order: strict
    connections: 2
    max_retries: 5
    rotate_bytes: 1000
    rotate_keep: 2
    token_file: /oidc/token
    format: parquet
    batch_events: 100
    batch_bytes: 100000
    batch_s: 5
    dead_letter: file:dead.jsonl
    spool: pvc://events/iris
    spool_max_bytes: 100000000
    spool_segment_bytes: 1000000
    spool_sync: true
    overflow: file:overflow.jsonl
    on_full: block
    shadow: {to: "http://candidate.example.com", sample: 0.1, compare: true}
  mode: raw
  monitoring:
    interval_s: 30
    labels: {release: prometheus}
    alerts: {p99_ms: 100, error_ratio: 0.1, cold_start_s: 5, queue_ratio: 0.5, spool_ratio: 0.5}
    dashboard_labels: {grafana_dashboard: "yes"}
  access:
    at: pod
    jwt:
      - issuer: https://auth.example.com
        jwks_uri: https://auth.example.com/keys
        audiences: [iris]
        header: x-token
        header_prefix: "Token "
        query: token
      - {issuer: own, jwks: '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'}
    subjects: ["team-*"]
    claims: {groups: [ml, "*"]}
    principals: ["cluster.local/ns/web/sa/*"]
    namespaces: [web]
    paths: ["/v2/*"]
    public_paths: [/v2/health/ready]
    strict_mtls: true
  build:
    base: "registry.example.com/python:3.12-slim"
    cuda_base: "nvcr.io/nvidia/cuda:13.0-runtime"
    python: "3.12"
    glibc: "2.36"
    platforms: [linux/amd64, linux/arm64]
    packages: ["tokenizers==0.22"]
  egress: [{host: "*.example.com"}, {host: db.example.com, port: 5432, protocol: tcp}]
  port: 8081
  gpu: {count: 2, mig: 1g.5gb, vendor: nvidia}
  devices: {sgx.intel.com/epc: 10Mi}
  server: {kind: triton, image: example.com/triton:1, command: [tritonserver], args: [--model-repository=/models], port: 9000,
           other_ports: [9001], ready_path: /v2/health/ready, speaks: v2, sidecar_image: example.com/kfunc:1}
  scaling: {initial: 1, activation: 2, window_s: 60, panic_window_percentage: 10, panic_threshold_percentage: 200,
            scale_down_delay_s: 5, retention_s: 5, burst_capacity: 200, progress_deadline_s: 600, rollout_duration_s: 60}
  timeouts: {response_start_s: 10, idle_s: 10}
  resources:
    batcher: {requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: 100m, memory: 64Mi}}
    logger: {requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: 100m, memory: 64Mi}}
    queue_proxy: {requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: 100m, memory: 64Mi}}
  scheduling:
    node_selector: {disktype: ssd}
    tolerations: [{key: gpu, operator: Equal, value: "yes", effect: NoExecute, toleration_s: 60}]
    spread: zone
    priority_class: high
    runtime_class: nvidia
  security: {run_as_user: 1000, read_only_root: false}
  storage: {env_secret: s3, file_secret: gcs}
  eventing: {sink_binding: "broker:default", ce_overrides: {team: ml}, broker_ingress: "http://kafka-broker-ingress.knative-eventing",
             delivery: {retry: 3, backoff: exponential, backoff_s: 0.5, dead_letter: "service:dead"}}
  telemetry: {otlp_endpoint: "http://collector:4318", sample_ratio: 0.1, metrics: true, attributes: {team: test}}
"""

# What excludes something in the files above.
OTHERWISE = """\
inference:
  model: {uri: m.onnx}
  scaling: {resource_metric: cpu}
  explain: {method: lime, background: usual.npy, background_rows: 9, samples: 99, seed: 7, output: p, attribution: saliency,
    lazy: true}
  residency: {max_bytes: 400000000, max_models: 50, pinned: [iris], wait_s: 2}
"""
CANARY = """
  raw:
    autoscaler: hpa
    cpu: 50
    metrics: [{name: kfunc_p99_seconds, target: 0.2, kind: pods}]
    cooldown_s: 60
    drain_s: 5
    max_unavailable: 50
    zones: false
  traffic:
    via: istio
    strategy: canary
    steps: [10, 100]
    hosts: [iris.example.org]
    gateway_selector: {istio: other}
    gateway_namespace: gateways
    tls: {secret: iris-tls, mutual: true, redirect: false, min_version: "1.3"}
    timeout_s: 90
    connections: {max_connections: 10, max_pending: 20, max_requests: 30, max_requests_per_connection: 40,
                  connect_timeout_s: 1, idle_timeout_s: 60}
    outliers: {consecutive_errors: 3, interval_s: 5, ejection_s: 10, max_percent: 20}
    interval_s: 30
    warm: 2
    promotion: manual
    propagation_s: 3
    analysis:
      min_requests: 100
      max_step_s: 600
      ready_timeout_s: 120
      exclude_start_s: 10
      error_rate: 0.02
      error_rate_over_stable: 0.01
      p99_ms: 250
      p99_over_stable: 1.5
      restarts: 1
      prometheus: service:monitoring/prometheus:9090
      queries:
        - {name: queue, query: 'max(kfunc_batch_queue_length{revision="$revision"})', max: 100, min: 0, over_stable: 2}
      load: {source: synthetic, rate: 10}
"""
BLUE_GREEN = """
  raw:
    triggers:
      - {kind: prometheus, target: 10, address: "http://prometheus:9090", query: "sum(up)"}
      - {kind: kafka, target: 10, address: "kafka:9092", topic: flowers, group: iris, authentication: kafka}
      - {kind: nats, target: 10, address: "nats:8222", topic: flowers, group: iris, account: A}
      - {kind: rabbitmq, target: 10, address: "amqp://rabbitmq:5672/", topic: flowers}
  traffic: {strategy: blue-green, preview_host: new.example.org, gateways: [gateways/public], keep_s: 60}
"""
AB = """
  visibility: cluster-local
  traffic:
    strategy: ab
    variants:
      - {name: a, revision: iris-1, weight: 50}
      - name: b
        weight: 50
        match:
          - headers: {x-team: {exact: ml}, x-user: {prefix: test-}, x-id: {regex: "[0-9]+"}}
            cookie: {name: group, value: b}
            query: {v: {exact: b}, w: {prefix: b}, x: {regex: "b+"}}
            source: {namespace: web, labels: {app: shop}}
"""
FILES = [parse_source((EVERYTHING + alternative).encode()) for alternative in (CANARY, BLUE_GREEN, AB)]
FILES.append(parse_source(OTHERWISE.encode()))


@pytest.mark.parametrize("source", FILES)
def test_a_file_with_every_setting_that_goes_together_is_valid(source: Source) -> None:
    assert read_function(source).inference.model.uri


def test_those_files_have_indeed_every_setting() -> None:
    def paths(value: Any, path: str = "") -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from paths(inner, f"{path}.{key}" if path else key)
        elif isinstance(value, list):
            for inner in value or [None]:
                yield from paths(inner, f"{path}[]")
        else:
            yield path

    given = {path for source in FILES for path in paths(source.value)}
    given |= {path.replace("inference.model.", "inference.models[].") for path in given}  # the same struct
    given |= {path.replace("inference.models[].", "inference.model.") for path in given}
    wanted = {path for path, _ in leaves(SCHEMA)}
    forms = {path: re.compile(re.escape(path).replace(r"\*", ".+")) for path in wanted}
    assert {path for path, form in forms.items() if not any(form.fullmatch(one) for one in given)} == set()


@pytest.mark.parametrize("key", ["template", "root", "imageDigest", "envs", "labels"])
def test_keys_that_are_not_in_the_schema_are_no_fields(key: str) -> None:
    assert key not in SCHEMA["$defs"]["Function"]["properties"]


def test_a_function_is_immutable() -> None:
    function = read_function(parse_source(b"inference: {model: {uri: m}}\n"))
    with pytest.raises(AttributeError):
        function.name = "x"  # type: ignore[misc]


def test_the_specification_version_is_the_one_that_the_table_is_of() -> None:
    assert Function(inference=Inference(model=ModelSource(uri="m"))).spec_version == SPEC_VERSION == "0.36.0"
