"""Rules for the pod on a cluster and for foreign servers: what each says and where, and what it leaves alone."""

from collections.abc import Callable

import pytest

from kfunc.errors import Problem

MODEL = "inference: {model: {uri: m.onnx}, %s}\n"
BESIDE = "inference: {model: {uri: m.onnx}}\n"
SERVER = MODEL % "server: {image: example.com/server, %s}"

# The text; then line, column, path, message and suggestion of its one problem.
CASES: list[tuple[str, int, int, str, str, str]] = [
    # Devices.
    (
        MODEL % "accelerator: cpu, gpu: {}",
        1,
        53,
        "inference.gpu",
        "the accelerator is cpu, so that the GPU would be idle",
        "remove gpu, or accelerator: cpu",
    ),
    (
        MODEL % "gpu: {vendor: amd, mig: 1g.5gb}",
        1,
        59,
        "inference.gpu.mig",
        "only NVIDIA's GPUs have MIG slices, found vendor amd",
        "remove it",
    ),
    (
        MODEL % "gpu: {mig: 1g}",
        1,
        46,
        "inference.gpu.mig",
        'expected a MIG profile such as "1g.5gb", found the string "1g"',
        "",
    ),
    (
        MODEL % "devices: {cpu: '1'}",
        1,
        45,
        "inference.devices.cpu",
        'expected a vendor\'s resource such as "sgx.intel.com/epc", found "cpu"',
        "cpu and memory are in deploy.options.resources",
    ),
    (
        MODEL % "devices: {a.b/c: 500m}",
        1,
        52,
        'inference.devices["a.b/c"]',
        'expected a whole number such as "1" or "10Mi", found "500m"',
        "",
    ),
    (
        MODEL % "gpu: {}, devices: {nvidia.com/gpu: '1'}",
        1,
        54,
        'inference.devices["nvidia.com/gpu"]',
        "inference.gpu asks for the same",
        "keep one of the two",
    ),
    # Nodes.
    (
        MODEL % "scheduling: {node_selector: {a b: c}}",
        1,
        64,
        'inference.scheduling.node_selector["a b"]',
        'expected a label\'s key, found "a b"',
        "",
    ),
    (
        MODEL % "scheduling: {node_selector: {a: b c}}",
        1,
        67,
        "inference.scheduling.node_selector.a",
        'expected a label\'s value, found "b c"',
        "",
    ),
    (
        MODEL % "scheduling: {tolerations: [{effect: NoSchedule}]}",
        1,
        62,
        "inference.scheduling.tolerations[0]",
        "a toleration without a key is one of every taint",
        "add key: …, or operator: Exists",
    ),
    (
        MODEL % "scheduling: {tolerations: [{key: a, operator: Exists, value: b}]}",
        1,
        96,
        "inference.scheduling.tolerations[0].value",
        "with operator Exists there is no value",
        "remove it, or write operator: Equal",
    ),
    (
        MODEL % "scheduling: {tolerations: [{key: a, toleration_s: 5}]}",
        1,
        85,
        "inference.scheduling.tolerations[0].toleration_s",
        "only effect NoExecute evicts pods",
        "add effect: NoExecute, or remove it",
    ),
    (
        MODEL % "scheduling: {runtime_class: A}",
        1,
        63,
        "inference.scheduling.runtime_class",
        'expected lower-case letters, digits, "-" and ".", found "A"',
        "",
    ),
    # Resources, secrets, telemetry, folders.
    (
        MODEL % "resources: {logger: {requests: {cpu: '2'}, limits: {cpu: '1'}}}",
        1,
        72,
        "inference.resources.logger.requests.cpu",
        "the request is 2, more than the limit, which is 1",
        "raise the limit or lower the request",
    ),
    (
        MODEL % "resources: {queue_proxy: {limits: {cpu: 5000}}}",
        1,
        75,
        "inference.resources.queue_proxy.limits.cpu",
        "expected a string, found the integer 5000",
        'put it in quotes: "5000"',
    ),
    (
        MODEL % "storage: {env_secret: S3}",
        1,
        57,
        "inference.storage.env_secret",
        'expected the name of a Secret: lower-case letters, digits, "-" and ".", found "S3"',
        "",
    ),
    (
        MODEL % "telemetry: {otlp_endpoint: collector}",
        1,
        62,
        "inference.telemetry.otlp_endpoint",
        'expected a URL such as "http://collector.observability:4318", found "collector"',
        "",
    ),
    (
        BESIDE + "run: {volumes: [{secret: s, path: /dev}]}\n",
        2,
        35,
        "run.volumes[0].path",
        "Knative allows no volume at /dev",
        "mount it elsewhere, as /mnt/data",
    ),
    (
        BESIDE + "run: {volumes: [{secret: s, path: /tmp}]}\n",
        2,
        35,
        "run.volumes[0].path",
        "processes write to /tmp: only an emptyDir may be there",
        "mount it elsewhere",
    ),
    (
        BESIDE + "run: {volumes: [{secret: s, path: /etc/kfunc/a}]}\n",
        2,
        35,
        "run.volumes[0].path",
        "kfunc has its own volume at /etc/kfunc",
        "mount it elsewhere, as /mnt/data",
    ),
    # Foreign servers.
    (
        MODEL % "server: {image: a b, port: 9000}",
        1,
        51,
        "inference.server.image",
        'expected an image such as "example.com/team/server:1", found "a b"',
        "",
    ),
    (
        MODEL % "logger: {}, server: {image: example.com/sv, port: 9000}",
        1,
        47,
        "inference.server",
        "batcher and logger need an image, and the server's has no kfunc in it",
        "add sidecar_image: …, any image with kfunc in it",
    ),
    (
        MODEL % "server: {image: example.com/sv}",
        1,
        35,
        "inference.server",
        "the port of a server of kind other is not known",
        "add port: …",
    ),
    (
        MODEL % "logger: {}, server: {kind: torchserve, image: example.com/sv, sidecar_image: example.com/kf}",
        1,
        47,
        "inference.server",
        "torchserve opens 8080, and that is the pod's own port",
        "move one of them: inference.port is the pod's",
    ),
    (
        MODEL
        % "logger: {}, server: {image: example.com/sv, sidecar_image: example.com/kf, port: 9000, other_ports: [9001, 9095]}",
        1,
        142,
        "inference.server.other_ports[1]",
        "the server opens 9095, and that is the logger's management port",
        "move the server's",
    ),
    (
        SERVER % "port: 8022",
        1,
        77,
        "inference.server.port",
        "the server opens 8022, and that is Knative's own port",
        "move the server's",
    ),
    (
        SERVER % "port: 9000, ready_path: ready",
        1,
        95,
        "inference.server.ready_path",
        'expected a path such as "/v2/health/ready", found "ready"',
        "",
    ),
]


@pytest.mark.parametrize(
    ("text", "line", "column", "path", "message", "suggestion"), CASES, ids=[f"{case[3]} {case[4][:40]}" for case in CASES]
)
def test_what_a_cluster_would_refuse_is_told_with_place_path_and_what_to_do(
    problems_of: Callable[[str], list[Problem]], text: str, line: int, column: int, path: str, message: str, suggestion: str
) -> None:
    (problem,) = problems_of(text)
    assert (problem.line, problem.column, problem.path, problem.message) == (line, column, path, message)
    assert problem.suggestion.startswith(suggestion)


@pytest.mark.parametrize(
    "text",
    [
        MODEL % "gpu: {count: 8}, accelerator: cuda",
        MODEL % "devices: {sgx.intel.com/epc: 10Mi}, gpu: {}",
        MODEL % "scheduling: {tolerations: [{operator: Exists}]}",
        SERVER % "kind: torchserve",
        MODEL % "logger: {}, port: 8090, server: {kind: torchserve, image: example.com/sv, sidecar_image: example.com/kf}",
        MODEL.replace("m.onnx", "s3://bucket/model") % "server: {kind: triton, image: example.com/sv}",
        BESIDE + "run: {volumes: [{emptyDir: {}, path: /tmp}]}\n",
    ],
)
def test_what_a_cluster_takes_is_left_alone(problems_of: Callable[[str], list[Problem]], text: str) -> None:
    assert problems_of(text) == []
