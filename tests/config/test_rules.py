"""The rules across fields: for each kind of finding what it says and where, and what it leaves alone."""

from collections.abc import Callable

import pytest

from kfunc.errors import Problem

MODEL = "inference: {model: {uri: m.onnx}}\n"
SCALE = MODEL + "deploy: {options: {scale: {%s}}}\n"
RESOURCES = MODEL + "deploy: {options: {resources: {%s}}}\n"
URI = "inference: {model: {uri: '%s'}}\n"
SINKS = "inference: {model: {uri: m}, logger: {%s}}\n"
SINK = "inference: {model: {uri: m}, logger: {sink: '%s'}}\n"
ENVS = MODEL + "run: {envs: [%s]}\n"
VOLUMES = MODEL + "run: {volumes: [%s]}\n"
DIGEST = "sha256:" + "0" * 64

# The text; then line, column, path, message and suggestion of its one problem.
CASES: list[tuple[str, int, int, str, str, str]] = [
    # Names, images, dates.
    (MODEL + "name: 2nd\n", 2, 7, "name", "a service's name must start with a letter", 'did you mean "f-2nd"?'),
    (MODEL + f"name: {'a' * 64}\n", 2, 7, "name", "a service's name must have at most 63 characters", "did you mean"),
    (MODEL + "namespace: My_Team\n", 2, 12, "namespace",
     'expected lower-case letters, digits and "-", at most 63, found "My_Team"', 'did you mean "my-team"?'),
    (MODEL + "deploy: {namespace: a.b}\n", 2, 21, "deploy.namespace",
     'expected lower-case letters, digits and "-", at most 63, found "a.b"', 'did you mean "a-b"?'),
    (MODEL + "domain: https://a\n", 2, 9, "domain", 'expected lower-case letters, digits, "-" and ".", found "https://a"', ""),
    (MODEL + "deploy: {serviceAccountName: A}\n", 2, 30, "deploy.serviceAccountName",
     'expected lower-case letters, digits, "-" and ".", found "A"', ""),
    (MODEL + "deploy: {imagePullSecret: a b}\n", 2, 27, "deploy.imagePullSecret",
     'expected lower-case letters, digits, "-" and ".", found "a b"', ""),
    (MODEL + "build: {remoteStorageClass: a/b}\n", 2, 29, "build.remoteStorageClass",
     'expected lower-case letters, digits, "-" and ".", found "a/b"', ""),
    (MODEL + "runtime: pyton\n", 2, 10, "runtime",
     'expected one of python, go, node, typescript, quarkus, rust, springboot, found "pyton"', 'did you mean "python"?'),
    (MODEL + "runtime: go\n", 2, 10, "runtime", 'kfunc\'s functions are Python functions, found "go"',
     'write "runtime: python"'),
    (MODEL + "runtime: onnx\n", 2, 10, "runtime",
     'expected one of python, go, node, typescript, quarkus, rust, springboot, found "onnx"',
     'write "runtime: python"; what runs the model is inference.model.runtime'),
    (MODEL + "runtime: cobol\n", 2, 10, "runtime",
     'expected one of python, go, node, typescript, quarkus, rust, springboot, found "cobol"', 'kfunc needs "python"'),
    (MODEL + "image: https://example.com/ab\n", 2, 8, "image",
     'expected an image such as "registry.example.com/team/iris:1", found "https://example.com/ab"',
     'did you mean "example.com/ab"?'),
    (MODEL + "image: example.com/Team/iris\n", 2, 8, "image",
     'expected an image such as "registry.example.com/team/iris:1", found "example.com/Team/iris"',
     'did you mean "example.com/team/iris"?'),
    (MODEL + 'image: "a\\nRUN id"\n', 2, 8, "image",
     'expected an image such as "registry.example.com/team/iris:1", found "a\\nRUN id"', ""),
    (MODEL + "deploy: {image: $(id)}\n", 2, 17, "deploy.image",
     'expected an image such as "registry.example.com/team/iris:1", found "$(id)"', ""),
    (MODEL + "build: {baseImage: a b}\n", 2, 20, "build.baseImage",
     'expected an image such as "registry.example.com/team/iris:1", found "a b"', ""),
    (MODEL + "build: {builderImages: {pack: a b}}\n", 2, 31, "build.builderImages.pack",
     'expected an image such as "registry.example.com/team/iris:1", found "a b"', ""),
    (MODEL + "registry: http://a/b\n", 2, 11, "registry",
     'expected a registry such as "registry.example.com/team", found "http://a/b"', 'did you mean "a/b"?'),
    (MODEL + "specVersion: latest\n", 2, 14, "specVersion", 'expected a version such as "0.36.0", found "latest"', ""),
    (MODEL + "created: 2026-11-21\n", 2, 10, "created",
     'expected a date and time such as "2026-11-21T12:00:00Z", found "2026-11-21"', ""),
    (MODEL + "created: 2026-13-21T00:00:00Z\n", 2, 10, "created",
     'expected a date and time such as "2026-11-21T12:00:00Z", found "2026-13-21T00:00:00Z"', ""),
    # Labels, annotations, texts, probes.
    (MODEL + "deploy: {labels: [{key: a}, {key: b}, {key: a, value: x}]}\n", 2, 45, "deploy.labels[2].key",
     'the label "a" is already in deploy.labels[0]', ""),
    (MODEL + f"deploy: {{labels: [{{key: {'a' * 64}}}]}}\n", 2, 25, "deploy.labels[0].key",
     "a label's key has at most 63 characters, and 253 before the slash", ""),
    (MODEL + f"deploy: {{labels: [{{key: a, value: {'b' * 64}}}]}}\n", 2, 35, "deploy.labels[0].value",
     "a label's value has at most 63 characters, this has 64", ""),
    (MODEL + "deploy: {annotations: {a b: x}}\n", 2, 24, 'deploy.annotations["a b"]',
     'expected an annotation key such as "team" or "example.com/team"', ""),
    (MODEL + "deploy: {annotations: {/a: x}}\n", 2, 24, 'deploy.annotations["/a"]',
     'expected an annotation key such as "team" or "example.com/team"', ""),
    (MODEL + "deploy: {annotations: {autoscaling.knative.dev/min-scale: '1'}}\n", 2, 24,
     'deploy.annotations["autoscaling.knative.dev/min-scale"]', "this is a setting of its own", "use deploy.options.scale.min"),
    (MODEL + 'runtime: "a\\nb"\n', 2, 10, "runtime", 'expected one line of text, found "a\\nb"', ""),
    (MODEL + 'build: {git: {url: "a\\tb"}}\n', 2, 20, "build.git.url", 'expected one line of text, found "a\\tb"', ""),
    (MODEL + 'build: {buildpacks: ["a\\nb"]}\n', 2, 22, "build.buildpacks[0]", 'expected one line of text, found "a\\nb"', ""),
    (MODEL + 'run: {kafka: {brokers: "a\\nb", topic: t, consumerGroup: g}}\n', 2, 24, "run.kafka.brokers",
     'expected one line of text, found "a\\nb"', ""),
    (MODEL + 'deploy: {subscriptions: [{source: "a\\e"}]}\n', 2, 35, "deploy.subscriptions[0].source",
     'expected the name of a broker, found "a\\u001b"', ""),
    (MODEL + "deploy: {healthEndpoints: {liveness: live}}\n", 2, 38, "deploy.healthEndpoints.liveness",
     'expected a path such as "/v2/health/ready", found "live"', 'did you mean "/live"?'),
    # Environment.
    (ENVS % "{name: PORT, value: '1'}", 2, 21, "run.envs[0].name", "PORT is reserved: Knative sets it", "use another name"),
    (ENVS % "{name: K_SERVICE, value: a}", 2, 21, "run.envs[0].name", "K_SERVICE is reserved: Knative sets it",
     "use another name"),
    (ENVS % "{name: K_REVISION, value: a}", 2, 21, "run.envs[0].name", "K_REVISION is reserved: Knative sets it",
     "use another name"),
    (ENVS % "{name: K_CONFIGURATION, value: a}", 2, 21, "run.envs[0].name", "K_CONFIGURATION is reserved: Knative sets it",
     "use another name"),
    (ENVS % "{name: KFUNC_CONFIG, value: a}", 2, 21, "run.envs[0].name", "KFUNC_CONFIG is reserved: it is made from this file",
     "use another name"),
    (ENVS % "{name: KFUNC_BATCHER_SIZE, value: '1'}", 2, 48, "run.envs[0].value",
     "KFUNC_BATCHER_SIZE overrides a setting: KFUNC_BATCHER_SIZE names no setting", "settings here: max_batch_size"),
    (ENVS % "{name: KFUNC_WORKERS, value: many}", 2, 43, "run.envs[0].value",
     "KFUNC_WORKERS overrides a setting: Expected int, got str", ""),
    (ENVS % "{name: A, value: a}, {name: A, value: b}", 2, 42, "run.envs[1].name", '"A" is already set in entry [0]',
     "keep one of the two"),
    (ENVS % "{name: A}", 2, 14, "run.envs[0]", "an environment variable needs a value", 'add value: "…"'),
    (ENVS % "{value: a}", 2, 14, "run.envs[0]",
     'without a name, expected "{{ secret:NAME }}" or "{{ configMap:NAME }}", found "a"',
     "add name: …"),
    (ENVS % "{name: A, value: '{{ secret:a }}'}", 2, 31, "run.envs[0].value",
     'expected "{{ env:NAME }}", "{{ secret:NAME:KEY }}" or "{{ configMap:NAME:KEY }}", found "{{ secret:a }}"', ""),
    (MODEL + "build: {buildEnvs: [{name: A, value: '{{ secret:a:b }}'}]}\n", 2, 38, "build.buildEnvs[0].value",
     'expected text or "{{ env:NAME }}", found "{{ secret:a:b }}"', ""),
    (MODEL + "build: {buildEnvs: [{value: a}]}\n", 2, 21, "build.buildEnvs[0]", "an environment variable needs a name",
     "add name: …"),
    (MODEL + "build: {buildEnvs: [{name: A}]}\n", 2, 21, "build.buildEnvs[0]", "an environment variable needs a value",
     'add value: "…"'),
    # Volumes.
    (VOLUMES % "{path: /a}", 2, 17, "run.volumes[0]",
     "a volume needs one of secret, configMap, persistentVolumeClaim, emptyDir", ""),
    (VOLUMES % "{secret: a, emptyDir: {}, path: /a}", 2, 29, "run.volumes[0].emptyDir",
     "a volume has one source, this has secret and emptyDir", "make it two volumes"),
    (VOLUMES % "{secret: a}", 2, 17, "run.volumes[0]", "a volume needs the path that it is mounted at", "add path: /mnt/…"),
    (VOLUMES % "{secret: a, path: data}", 2, 35, "run.volumes[0].path",
     'expected an absolute path such as "/mnt/data", found "data"', ""),
    (VOLUMES % "{secret: a, path: /}", 2, 35, "run.volumes[0].path", 'expected an absolute path such as "/mnt/data", found "/"',
     ""),
    (VOLUMES % "{secret: a, path: /a/../etc}", 2, 35, "run.volumes[0].path",
     'a mount path has no ".." and no ":", found "/a/../etc"', ""),
    (VOLUMES % "{secret: a, path: /a}, {secret: b, path: /a/}", 2, 58, "run.volumes[1].path",
     'run.volumes[0] is already mounted at "/a"', ""),
    (VOLUMES % "{secret: A_B, path: /a}", 2, 26, "run.volumes[0].secret",
     'expected the name of an object: lower-case letters, digits, "-" and ".", found "A_B"', ""),
    (VOLUMES % "{persistentVolumeClaim: {readOnly: true}, path: /a}", 2, 41, "run.volumes[0].persistentVolumeClaim.claimName",
     'expected the name of an object: lower-case letters, digits, "-" and ".", found ""', ""),
    (VOLUMES % "{emptyDir: {medium: memory}, path: /a}", 2, 37, "run.volumes[0].emptyDir.medium",
     'expected "" or "Memory"', 'did you mean "Memory"?'),
    (VOLUMES % "{emptyDir: {sizeLimit: big}, path: /a}", 2, 40, "run.volumes[0].emptyDir.sizeLimit",
     'expected a size such as "256Mi", found "big"', ""),
    (MODEL + "build: {pvcSize: '0.5'}\n", 2, 18, "build.pvcSize",
     'expected a size such as "256Mi", found "0.5"', ""),
    (MODEL + "build: {volumes: [{hostPath: '', path: /a}]}\n", 2, 30, "build.volumes[0].hostPath", 'expected a path, found ""',
     ""),
    # Scaling and resources.
    (SCALE % "min: 3, max: 2", 2, 33, "deploy.options.scale.min", "min is 3, more than max, which is 2",
     "raise max or lower min"),
    (SCALE % "max: 2147483648", 2, 33, "deploy.options.scale.max", "expected at most 2147483647 pods", ""),
    (SCALE % "target: 0", 2, 36, "deploy.options.scale.target", "expected at least 0.01, found 0",
     "remove it for Knative's default"),
    (RESOURCES % "limits: {cpu: 1.2.3}", 2, 46, "deploy.options.resources.limits.cpu",
     'expected cores such as "1" or "250m", found "1.2.3"', ""),
    (RESOURCES % "limits: {cpu: '-1'}", 2, 46, "deploy.options.resources.limits.cpu",
     'expected cores such as "1" or "250m", found "-1"', ""),
    (RESOURCES % "requests: {cpu: 250Mi}", 2, 48, "deploy.options.resources.requests.cpu",
     "250Mi is 2.62144e+08 cores", 'did you mean "250m"?'),
    (RESOURCES % "limits: {memory: 512mi}", 2, 49, "deploy.options.resources.limits.memory",
     'expected bytes such as "512Mi", found "512mi"', 'did you mean "512Mi"?'),
    (RESOURCES % "limits: {memory: 512m}", 2, 49, "deploy.options.resources.limits.memory",
     "512m is 0.512 bytes, too little for a process", 'did you mean "512Mi"?'),
    (RESOURCES % "limits: {memory: '512'}", 2, 49, "deploy.options.resources.limits.memory",
     "512 is 512 bytes, too little for a process", 'did you mean "512Mi"?'),
    (RESOURCES % "requests: {cpu: '2'}, limits: {cpu: 1500m}", 2, 48, "deploy.options.resources.requests.cpu",
     "the request is 2, more than the limit, which is 1500m", "raise the limit or lower the request"),
    (RESOURCES % "requests: {memory: 1Gi}, limits: {memory: 1G}", 2, 51, "deploy.options.resources.requests.memory",
     "the request is 1Gi, more than the limit, which is 1G", "raise the limit or lower the request"),
    (RESOURCES % "limits: {concurrency: 1001}", 2, 54, "deploy.options.resources.limits.concurrency",
     "expected at most 1000, found 1001", "0 is no bound"),
    ("inference: {model: {uri: m}, batcher: {}}\ndeploy: {options: {resources: {limits: {concurrency: 10}}}}\n", 2, 54,
     "deploy.options.resources.limits.concurrency", "with 10 requests at once, no batch of 32 can fill",
     "at least inference.batcher.max_batch_size, which is 32"),
    # The model.
    (URI % "ftp://host/m.onnx", 1, 26, "inference.model.uri", '"ftp:" is not supported: a model is a file or folder',
     "give a path, or one of pvc:, http:"),
    (URI % "s3:///m.onnx", 1, 26, "inference.model.uri", "the bucket is missing", "write it as s3://bucket"),
    (URI % "https://me:secret@host/m.onnx", 1, 26, "inference.model.uri", "an address holds no user and password",
     "put credentials into a Secret"),
    (URI % "https://host", 1, 26, "inference.model.uri", "the part after the host is not what https: has", "write it as https"),
    (URI % "hf://team", 1, 26, "inference.model.uri", "the part after the owner is not what hf: has", "write it as hf://"),
    (URI % "s3://bucket/../m", 1, 26, "inference.model.uri", 'a path has no ".." and no control characters', "write it as"),
    (URI % "s3://bucket/m?versionId=1", 1, 26, "inference.model.uri", "an address of s3: has no query", "remove what follows"),
    (URI % "models:/iris", 1, 26, "inference.model.uri", "the part after the scheme is not what models: has",
     "write it as models:/name/1"),
    ("inference: {model: {uri: m}, models: [{uri: n}]}\n", 1, 39, "inference.models[0]", "a model of the list needs a name",
     "add name"),
    ("inference: {model: {uri: m, name: a}, models: [{uri: n, name: a}]}\n", 1, 63, "inference.models[0].name",
     'another model is called "a"', "give each a name of its own"),
    ("inference: {model: {uri: m}, models: [{uri: ../n, name: a}]}\n", 1, 45, "inference.models[0].uri",
     "the path leaves the function's folder, and only that is in the image", "move the model into the folder"),
    ("inference: {model: {uri: m}, workers: 2, residency: {}}\n", 1, 42, "inference.residency",
     "with residency each worker process would hold models of its own", "remove workers"),
    (URI % "file://host/m.onnx", 1, 26, "inference.model.uri", "a file: URI names no other machine", 'write "file:///PATH"'),
    (URI % "../m.onnx", 1, 26, "inference.model.uri", "the path leaves the function's folder, and only that is in the image",
     "move the model into the folder"),
    (URI % "a/../../m.onnx", 1, 26, "inference.model.uri",
     "the path leaves the function's folder, and only that is in the image",
     "move the model into the folder"),
    (URI % "file:../m.onnx", 1, 26, "inference.model.uri",
     "the path leaves the function's folder, and only that is in the image",
     "move the model into the folder"),
    (URI % "~/m.onnx", 1, 26, "inference.model.uri", '"~" and "$" are not replaced in a path', "write the path out"),
    (URI % "$HOME/m.onnx", 1, 26, "inference.model.uri", '"~" and "$" are not replaced in a path', "write the path out"),
    (URI % "models\\m.onnx", 1, 26, "inference.model.uri", 'a path has "/" between its parts', 'did you mean "models/m.onnx"?'),
    (URI % " m.onnx", 1, 26, "inference.model.uri",
     'expected a path without control characters and outer spaces, found " m.onnx"', ""),
    (URI % "file:///a%0ab", 1, 26, "inference.model.uri", 'expected a path without control characters, found "/a\\nb"', ""),
    (URI % "m.PKL", 1, 26, "inference.model.uri", "a pickle can run any code when it is opened",
     "save it as skops or ONNX, or add trust: true and digest: sha256:…"),
    ("inference: {model: {uri: m.joblib, trust: true}}\n", 1, 36, "inference.model.trust", "trust needs the digest of the file",
     "add digest: sha256:… (`sha256sum FILE` prints it)"),
    ("inference: {model: {uri: m}, protocols: [v1, v2, v1]}\n", 1, 50, "inference.protocols[2]", '"v1" is already in the list',
     "remove it"),
    ("inference: {model: {uri: m}, hang_timeout_s: 0.5}\n", 1, 46, "inference.hang_timeout_s", "expected at least 1, found 0.5",
     "a slow call or a busy machine is no hang"),
    ("inference: {model: {uri: m}, timeout_s: 1, batcher: {max_latency_ms: 1000}}\n", 1, 70, "inference.batcher.max_latency_ms",
     "expected less than timeout_s (1 s), found 1000 ms", ""),
    ("inference: {model: {uri: m}, logger: {spool_max_bytes: 1048576, max_body_bytes: 200000}}\n", 1, 56,
     "inference.logger.spool_max_bytes",
     "expected at least 8 times max_body_bytes, 1600000, found 1048576", ""),
    # The sinks.
    (SINKS % "sink: 'file:e', content_mode: batched", 1, 69, "inference.logger.content_mode",
     "this is for an http(s) sink, and the sink is file:", "remove it"),
    (SINKS % "sink: 'file:e', connections: 2", 1, 68, "inference.logger.connections",
     "this is for an http(s) sink, and the sink is file:", "remove it"),
    (SINKS % "sink: 'http://a/', rotate_bytes: 5", 1, 72, "inference.logger.rotate_bytes",
     "this is for a file, and the sink is http:", "remove it"),
    (SINKS % "sink: 's3://a/', content_mode: binary", 1, 70, "inference.logger.content_mode",
     "this is for a sink with header fields, and the sink is s3:", "remove it"),
    (SINKS % "sinks: [{to: 'http://a/', format: parquet}]", 1, 73, "inference.logger.sinks[0].format",
     "this is for an object store, and the sink is http:", "remove it"),
    (SINKS % "sink: 'http://a/', sinks: [{to: 'http://a/'}]", 1, 71, "inference.logger.sinks[0].to",
     "events go there already", "remove it"),
    (SINKS % "sinks: [{to: 'broker:a b'}]", 1, 52, "inference.logger.sinks[0].to",
     "a sink's address has no spaces and control characters, and 'broker:a b' has", "write a space as %20"),
    (SINKS % "overflow: 'kafka://a:9092/'", 1, 49, "inference.logger.overflow",
     "'kafka://a:9092/' has no topic after its host, or one with wrong characters",
     'write it like "kafka://kafka.messaging:9092/kfunc-events"'),
    (SINK % "http:///events", 1, 45, "inference.logger.sink", "'http:///events' has no host, or a wrong port",
     'write it like "http://events.example.com/inference"'),
    (SINK % "http://a:0/", 1, 45, "inference.logger.sink", "'http://a:0/' has no host, or a wrong port", "write it like"),
    (SINK % "http://a:http/", 1, 45, "inference.logger.sink", "'http://a:http/' has no host, or a wrong port", "write it like"),
    (SINK % "http://[::1/", 1, 45, "inference.logger.sink", "'http://[::1/' has no host, or a wrong port", "write it like"),
    (SINK % "http://a/b c", 1, 45, "inference.logger.sink",
     "a sink's address has no spaces and control characters, and 'http://a/b c' has", "write a space as %20"),
    (SINK % "https://me:secret@a/", 1, 45, "inference.logger.sink",
     "a sink's address in func.yaml has no user or password in it", "func.yaml is no place for secrets"),
    (SINK % "file://host/a", 1, 45, "inference.logger.sink", "expected a file on this machine", 'write "file:events.jsonl"'),
    (SINK % "file:///", 1, 45, "inference.logger.sink", "expected a file on this machine", 'write "file:events.jsonl"'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "column", "path", "message", "suggestion"), CASES, ids=[f"{case[3]} {case[4]}" for case in CASES]
)
def test_what_does_not_fit_together_is_told_with_place_path_and_what_to_do(
    problems_of: Callable[[str], list[Problem]], text: str, line: int, column: int, path: str, message: str, suggestion: str
) -> None:
    (problem,) = problems_of(text)
    assert (problem.line, problem.column, problem.path, problem.message) == (line, column, path, message)
    assert problem.suggestion.startswith(suggestion)
    assert bool(problem.suggestion) is bool(suggestion)


@pytest.mark.parametrize(
    "text",
    [
        URI % "m.onnx",
        URI % "./a/../m.onnx",
        URI % "/srv/m.onnx",
        URI % "file:///srv/m%20x.onnx",
        URI % "file:m.onnx",
        URI % "..m/x",
        URI % ".",
        URI % "modèle.onnx",
        f"inference: {{model: {{uri: m.pkl, trust: true, digest: '{DIGEST}'}}}}\n",
        f"inference: {{model: {{uri: m, digest: '{DIGEST}'}}}}\n",
        SINK % "http://[::1]:8080/a",
        SINK % "https://a.b/c?d=e",
        SINK % "broker:default",
        SINK % "nats://a,b:4222/kfunc.events?stream=S&tls=true",
        SINK % "kafka://a:9092,b:9092/events?sasl=SCRAM-SHA-512",
        SINK % "amqps://a/vhost?exchange=x&routing_key=k",
        SINKS % "sink: 's3://bucket/a/b', format: parquet, batch_s: 5",
        SINKS % "sinks: [{to: 'gs://bucket'}, {to: 'broker:a/b', content_mode: batched}], content_mode: binary",
        SINK % "file:events.jsonl",
        SINK % "file:///var/log/events.jsonl",
        SCALE % "min: 3, max: 0",
        SCALE % "min: 3, max: 3",
        RESOURCES % "limits: {concurrency: 0}",
        RESOURCES % "requests: {cpu: 1000m}, limits: {cpu: '1'}",
        "inference: {model: {uri: m}, batcher: {}}\ndeploy: {options: {resources: {limits: {concurrency: 0}}}}\n",
        "inference: {model: {uri: m}, batcher: {}}\ndeploy: {options: {resources: {limits: {concurrency: 32}}}}\n",
        ENVS % "{name: A, value: \"a\\nb\"}",
        ENVS % "{name: A, value: '{ not a template }'}",
        ENVS % "{name: A, value: '{{env:B}}'}",
        ENVS % "{name: KFUNC_PROTOCOLS, value: 'v1,v2'}",
        ENVS % "{name: KFUNC_LOGGER_MODE, value: request}",
        MODEL + "created: '2026-11-21t00:00:00.5+01:00'\n",
    ],
)  # fmt: skip
def test_what_fits_together_is_left_alone(problems_of: Callable[[str], list[Problem]], text: str) -> None:
    assert [problem.message for problem in problems_of(text)] == []


def test_settings_that_do_not_fit_into_a_configmap_are_told(problems_of: Callable[[str], list[Problem]]) -> None:
    (problem,) = problems_of(URI % ("m" * 1_000_000))
    assert (problem.line, problem.path, problem.suggestion) == (1, "inference", "shorten its longest text")
    assert problem.message.endswith("bytes, the limit is 1000000")


def test_rules_still_speak_where_other_values_are_wrong(problems_of: Callable[[str], list[Problem]]) -> None:
    problems = problems_of("inference: {model: {uri: ftp://a/b}, workers: x}\nname: 2nd\nnam: x\n")
    assert [problem.path for problem in problems] == ["inference.model.uri", "inference.workers", "name", "nam"]


def test_no_rule_speaks_of_a_value_that_only_stands_in_for_a_wrong_one(problems_of: Callable[[str], list[Problem]]) -> None:
    problems = problems_of("inference: {model: {url: m}}\nrun: {volumes: [{secret: 1, path: 2}]}\nbuild: {volumes: [{}]}\n")
    assert [(problem.path, problem.message) for problem in problems] == [
        ("inference.model.uri", "required, and missing"),
        ("inference.model.url", "unknown key"),
        ("run.volumes[0].secret", "expected a string, found the integer 1"),
        ("run.volumes[0].path", "expected a string, found the integer 2"),
        ("build.volumes[0].hostPath", "required, and missing"),
        ("build.volumes[0].path", "required, and missing"),
    ]
