"""Rules for the cluster's settings: what each says and where, and what it leaves alone."""

from collections.abc import Callable

import pytest

from kfunc.errors import Problem

MODEL = "inference: {model: {uri: m.onnx}, %s}\n"
BESIDE = "inference: {model: {uri: m.onnx}}\n"
SERVER = MODEL % "server: {image: example.com/server, %s}"
EVENTS = MODEL % "eventing: {%s}"

# The text; then line, column, path, message and suggestion of its one problem.
CASES: list[tuple[str, int, int, str, str, str]] = [
    # Devices.
    (MODEL % "accelerator: cpu, gpu: {}", 1, 53, "inference.gpu", "the accelerator is cpu, so that the GPU would be idle",
     "remove gpu, or accelerator: cpu"),
    (MODEL % "gpu: {vendor: amd, mig: 1g.5gb}", 1, 59, "inference.gpu.mig",
     "only NVIDIA's GPUs have MIG slices, found vendor amd", "remove it"),
    (MODEL % "gpu: {mig: 1g}", 1, 46, "inference.gpu.mig", 'expected a MIG profile such as "1g.5gb", found the string "1g"', ""),
    (MODEL % "devices: {cpu: '1'}", 1, 45, "inference.devices.cpu",
     'expected a vendor\'s resource such as "sgx.intel.com/epc", found "cpu"', "cpu and memory are in deploy.options.resources"),
    (MODEL % "devices: {a.b/c: 500m}", 1, 52, 'inference.devices["a.b/c"]',
     'expected a whole number such as "1" or "10Mi", found "500m"', ""),
    (MODEL % "gpu: {}, devices: {nvidia.com/gpu: '1'}", 1, 54, 'inference.devices["nvidia.com/gpu"]',
     "inference.gpu asks for the same", "keep one of the two"),
    # Nodes.
    (MODEL % "scheduling: {node_selector: {a b: c}}", 1, 64, 'inference.scheduling.node_selector["a b"]',
     'expected a label\'s key, found "a b"', ""),
    (MODEL % "scheduling: {node_selector: {a: b c}}", 1, 67, "inference.scheduling.node_selector.a",
     'expected a label\'s value, found "b c"', ""),
    (MODEL % "scheduling: {tolerations: [{effect: NoSchedule}]}", 1, 62, "inference.scheduling.tolerations[0]",
     "a toleration without a key is one of every taint", "add key: …, or operator: Exists"),
    (MODEL % "scheduling: {tolerations: [{key: a, operator: Exists, value: b}]}", 1, 96,
     "inference.scheduling.tolerations[0].value", "with operator Exists there is no value",
     "remove it, or write operator: Equal"),
    (MODEL % "scheduling: {tolerations: [{key: a, toleration_s: 5}]}", 1, 85, "inference.scheduling.tolerations[0].toleration_s",
     "only effect NoExecute evicts pods", "add effect: NoExecute, or remove it"),
    (MODEL % "scheduling: {runtime_class: A}", 1, 63, "inference.scheduling.runtime_class",
     'expected lower-case letters, digits, "-" and ".", found "A"', ""),
    # Resources, secrets, telemetry, folders.
    (MODEL % "resources: {logger: {requests: {cpu: '2'}, limits: {cpu: '1'}}}", 1, 72, "inference.resources.logger.requests.cpu",
     "the request is 2, more than the limit, which is 1", "raise the limit or lower the request"),
    (MODEL % "resources: {queue_proxy: {limits: {cpu: 5000}}}", 1, 75, "inference.resources.queue_proxy.limits.cpu",
     "expected a string, found the integer 5000", 'put it in quotes: "5000"'),
    (MODEL % "storage: {env_secret: S3}", 1, 57, "inference.storage.env_secret",
     'expected the name of a Secret: lower-case letters, digits, "-" and ".", found "S3"', ""),
    (MODEL % "telemetry: {otlp_endpoint: collector}", 1, 62, "inference.telemetry.otlp_endpoint",
     'expected a URL such as "http://collector.observability:4318", found "collector"', ""),
    (BESIDE + "run: {volumes: [{secret: s, path: /dev}]}\n", 2, 35, "run.volumes[0].path", "Knative allows no volume at /dev",
     "mount it elsewhere, as /mnt/data"),
    (BESIDE + "run: {volumes: [{secret: s, path: /tmp}]}\n", 2, 35, "run.volumes[0].path",
     "processes write to /tmp: only an emptyDir may be there", "mount it elsewhere"),
    (BESIDE + "run: {volumes: [{secret: s, path: /run/kfunc/a}]}\n", 2, 35, "run.volumes[0].path",
     "kfunc has its own volume at /run/kfunc", "mount it elsewhere, as /mnt/data"),
    # Knative.
    (BESIDE + f"name: {'a' * 55}\n", 2, 7, "name",
     "a revision is called NAME-xxxxxxxx: expected at most 54 characters, found 55", f'did you mean "{"a" * 54}"?'),
    (MODEL % "timeout_s: 601", 1, 46, "inference.timeout_s", "Knative's longest time is 600 s, found 601",
     "mode: raw has no such bound"),
    (MODEL % "timeout_s: 5, timeouts: {idle_s: 6}", 1, 68, "inference.timeouts.idle_s", "expected at most timeout_s, 5, found 6", ""),
    (MODEL % "scaling: {burst_capacity: -0.5}", 1, 61, "inference.scaling.burst_capacity",
     "expected 0 or more, or -1, found -0.5", "-1 is always"),
    (MODEL % "scaling: {resource_metric: cpu}" + "deploy: {options: {scale: {metric: rps}}}\n", 1, 62,
     "inference.scaling.resource_metric", "deploy.options.scale.metric is rps", "keep one of the two"),
    (MODEL % "scaling: {resource_metric: cpu}" + "deploy: {options: {scale: {min: 0}}}\n", 2, 33, "deploy.options.scale.min",
     "a function that scales by cpu keeps a pod", "write min: 1"),
    (MODEL % "scaling: {resource_metric: cpu, retention_s: 5}", 1, 67, "inference.scaling.retention_s",
     "scaling by cpu has no such setting", "remove it, or resource_metric"),
    (BESIDE + "deploy: {annotations: {autoscaling.knative.dev/targetBurstCapacity: '1'}}\n", 2, 24,
     'deploy.annotations["autoscaling.knative.dev/targetBurstCapacity"]', "this is a setting of its own",
     "use inference.scaling.burst_capacity"),
    (BESIDE + "deploy: {annotations: {serving.knative.dev/creator: me}}\n", 2, 24,
     'deploy.annotations["serving.knative.dev/creator"]', "annotations of Knative Serving are its own", "remove it"),
    (BESIDE + "deploy: {annotations: {networking.knative.dev/foo: a}}\n", 2, 24,
     'deploy.annotations["networking.knative.dev/foo"]', "Knative knows no such annotation", "known are certificate-class"),
    (BESIDE + "deploy: {annotations: {autoscaling.knative.dev/metric-aggregation-algorithm: a}}\n", 2, 78,
     'deploy.annotations["autoscaling.knative.dev/metric-aggregation-algorithm"]',
     'expected one of linear, weighted-exponential, weightedExponential, found "a"', ""),
    (BESIDE + "deploy: {labels: [{key: networking.knative.dev/visibility, value: cluster-local}]}\n", 2, 25,
     "deploy.labels[0].key", "this is a setting of its own", "use inference.visibility"),
    (BESIDE + "deploy: {labels: [{key: app.kubernetes.io/name, value: a}]}\n", 2, 25, "deploy.labels[0].key",
     "kfunc sets this label itself", "use another key"),
    (MODEL % "port: 8012", 1, 41, "inference.port", "8012 is Knative's own port", "8080 is free"),
    (MODEL % "port: 9095", 1, 41, "inference.port", "9095 is the logger's management port", "8080 is free"),
    # Foreign servers.
    (MODEL % "server: {image: a b, port: 9000}", 1, 51, "inference.server.image",
     'expected an image such as "example.com/team/server:1", found "a b"', ""),
    (MODEL % "logger: {}, server: {image: example.com/sv, port: 9000}", 1, 47, "inference.server",
     "batcher and logger need an image, and the server's has no kfunc in it", "add sidecar_image: …, any image with kfunc in it"),
    (MODEL % "server: {image: example.com/sv}", 1, 35, "inference.server", "the port of a server that is not known", "add port: …"),
    (MODEL % "logger: {}, server: {kind: torchserve, image: example.com/sv, sidecar_image: example.com/kf}", 1, 47, "inference.server",
     "torchserve opens 8080, and that is the pod's own port", "move one of them: inference.port is the pod's"),
    (MODEL % "logger: {}, server: {image: example.com/sv, sidecar_image: example.com/kf, port: 9000, other_ports: [9001, 9095]}", 1, 142,
     "inference.server.other_ports[1]", "the server opens 9095, and that is the logger's management port", "move the server's"),
    (SERVER % "port: 8022", 1, 77, "inference.server.port", "the server opens 8022, and that is Knative's own port",
     "move the server's"),
    (SERVER % "port: 9000, ready_path: ready", 1, 95, "inference.server.ready_path",
     'expected a path such as "/v2/health/ready", found "ready"', ""),
    # Events.
    (EVENTS % "sink_binding: 'topic:a'", 1, 60, "inference.eventing.sink_binding",
     'expected "broker:NAME", "service:NAME" or a URL, found "topic:a"', ""),
    (EVENTS % "ce_overrides: {a: b}", 1, 46, "inference.eventing.ce_overrides", "only a SinkBinding adds attributes",
     "add sink_binding: …"),
    (EVENTS % "sink_binding: 'broker:a', ce_overrides: {A: b}", 1, 87, "inference.eventing.ce_overrides.A",
     'expected at most 20 lower-case letters and digits, found "A"', ""),
    (EVENTS % "delivery: {dead_letter: a}", 1, 70, "inference.eventing.delivery.dead_letter",
     'expected "broker:NAME", "service:NAME" or a URL, found "a"', ""),
    (BESIDE + "deploy: {subscriptions: [{source: a, filters: {A: b}}]}\n", 2, 48, "deploy.subscriptions[0].filters.A",
     'expected an event\'s attribute, lower-case letters and digits, found "A"', ""),
    (MODEL % "logger: {}" + "deploy: {subscriptions: [{source: default}]}\n", 2, 26, "deploy.subscriptions[0]",
     "the logger's events go to this broker, and would come back as requests",
     "add filters: {type: …} with the type of the events that are meant"),
    (MODEL % "logger: {sinks: [{to: 'broker:team/a'}]}" + "namespace: team\ndeploy: {subscriptions: [{source: a}]}\n", 3, 26,
     "deploy.subscriptions[0]", "the logger's events go to this broker, and would come back as requests", "add filters"),
    # Claims.
    (MODEL.replace("m.onnx", "pvc://a/../b") % "workers: 1", 1, 26, "inference.model.uri",
     'expected a path within the claim, found "../b"', 'write it without ".." and "//"'),
    (MODEL % "logger: {spool: pvc://a/../b}", 1, 51, "inference.logger.spool", 'expected a path within the claim, found "../b"', ""),
    # Lengths.
    (BESIDE + f"run: {{envs: [{{name: A, value: {'b' * 140_000}}}]}}\n", 2, 31, "run.envs[0].value",
     "Linux has no variable of more than 131072 bytes", "mount it as a file: a ConfigMap in run.volumes"),
    (BESIDE + f"deploy: {{annotations: {{a: {'b' * 250_000}}}}}\n", 2, 10, "deploy.annotations",
     "expected at most 245760 bytes in all annotations, found 250001", "shorten the longest"),
]  # fmt: skip


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
        MODEL % "mode: raw, timeout_s: 700",
        MODEL % "timeout_s: 600, timeouts: {response_start_s: 600}",
        MODEL % "scaling: {resource_metric: cpu, window_s: 10}",
        MODEL % "scaling: {burst_capacity: -1}",
        SERVER % "kind: torchserve",
        MODEL % "logger: {}, port: 8090, server: {kind: torchserve, image: example.com/sv, sidecar_image: example.com/kf}",
        MODEL.replace("m.onnx", "s3://bucket/model") % "server: {kind: triton, image: example.com/sv}",
        MODEL.replace("m.onnx", "pvc://claim/a/b") % "workers: 1",
        MODEL % "logger: {}" + "deploy: {subscriptions: [{source: default, filters: {type: a.b}}, {source: other}]}\n",
        BESIDE + "run: {volumes: [{emptyDir: {}, path: /tmp}]}\n",
        BESIDE + "deploy: {annotations: {features.knative.dev/queueproxy-podinfo: enabled}}\n",
    ],
)
def test_what_a_cluster_takes_is_left_alone(problems_of: Callable[[str], list[Problem]], text: str) -> None:
    assert problems_of(text) == []
