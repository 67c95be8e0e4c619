"""Rules for Knative Serving and Eventing, claims and lengths: what each says and where, and what it leaves alone."""

from collections.abc import Callable

import pytest

from kfunc.errors import Problem

MODEL = "inference: {model: {uri: m.onnx}, %s}\n"
BESIDE = "inference: {model: {uri: m.onnx}}\n"
EVENTS = MODEL % "eventing: {%s}"

# The text; then line, column, path, message and suggestion of its one problem.
CASES: list[tuple[str, int, int, str, str, str]] = [
    # Knative.
    (
        BESIDE + f"name: {'a' * 55}\n",
        2,
        7,
        "name",
        "a revision is called NAME-xxxxxxxx: expected at most 54 characters, found 55",
        f'did you mean "{"a" * 54}"?',
    ),
    (
        MODEL % "timeout_s: 601",
        1,
        46,
        "inference.timeout_s",
        "Knative's longest time is 600 s, found 601",
        "mode: raw has no such bound",
    ),
    (
        MODEL % "timeout_s: 5, timeouts: {idle_s: 6}",
        1,
        68,
        "inference.timeouts.idle_s",
        "expected at most timeout_s, 5, found 6",
        "",
    ),
    (
        MODEL % "scaling: {burst_capacity: -0.5}",
        1,
        61,
        "inference.scaling.burst_capacity",
        "expected 0 or more, or -1, found -0.5",
        "-1 is always",
    ),
    (
        MODEL % "scaling: {resource_metric: cpu}" + "deploy: {options: {scale: {metric: rps}}}\n",
        1,
        62,
        "inference.scaling.resource_metric",
        "deploy.options.scale.metric is rps",
        "keep one of the two",
    ),
    (
        MODEL % "scaling: {resource_metric: cpu}" + "deploy: {options: {scale: {min: 0}}}\n",
        2,
        33,
        "deploy.options.scale.min",
        "a function that scales by cpu keeps a pod",
        "write min: 1",
    ),
    (
        MODEL % "scaling: {resource_metric: cpu, retention_s: 5}",
        1,
        67,
        "inference.scaling.retention_s",
        "scaling by cpu has no such setting",
        "remove it, or resource_metric",
    ),
    (
        BESIDE + "deploy: {annotations: {autoscaling.knative.dev/targetBurstCapacity: '1'}}\n",
        2,
        24,
        'deploy.annotations["autoscaling.knative.dev/targetBurstCapacity"]',
        "this is a setting of its own",
        "use inference.scaling.burst_capacity",
    ),
    (
        BESIDE + "deploy: {annotations: {serving.knative.dev/creator: me}}\n",
        2,
        24,
        'deploy.annotations["serving.knative.dev/creator"]',
        "annotations of Knative Serving are its own",
        "remove it",
    ),
    (
        BESIDE + "deploy: {annotations: {networking.knative.dev/foo: a}}\n",
        2,
        24,
        'deploy.annotations["networking.knative.dev/foo"]',
        "Knative knows no such annotation",
        "known are certificate-class",
    ),
    (
        BESIDE + "deploy: {annotations: {autoscaling.knative.dev/metric-aggregation-algorithm: a}}\n",
        2,
        78,
        'deploy.annotations["autoscaling.knative.dev/metric-aggregation-algorithm"]',
        'expected one of linear, weighted-exponential, weightedExponential, found "a"',
        "",
    ),
    (
        BESIDE + "deploy: {labels: [{key: networking.knative.dev/visibility, value: cluster-local}]}\n",
        2,
        25,
        "deploy.labels[0].key",
        "this is a setting of its own",
        "use inference.visibility",
    ),
    (
        BESIDE + "deploy: {labels: [{key: app.kubernetes.io/name, value: a}]}\n",
        2,
        25,
        "deploy.labels[0].key",
        "kfunc sets this label itself",
        "use another key",
    ),
    (MODEL % "port: 8012", 1, 41, "inference.port", "8012 is Knative's own port", "8080 is free"),
    (MODEL % "port: 9095", 1, 41, "inference.port", "9095 is the logger's management port", "8080 is free"),
    # Events.
    (
        EVENTS % "sink_binding: 'topic:a'",
        1,
        60,
        "inference.eventing.sink_binding",
        'expected "broker:NAME", "service:NAME" or a URL, found "topic:a"',
        "",
    ),
    (
        EVENTS % "ce_overrides: {a: b}",
        1,
        46,
        "inference.eventing.ce_overrides",
        "only a SinkBinding adds attributes",
        "add sink_binding: …",
    ),
    (
        EVENTS % "sink_binding: 'broker:a', ce_overrides: {A: b}",
        1,
        87,
        "inference.eventing.ce_overrides.A",
        'expected at most 20 lower-case letters and digits, found "A"',
        "",
    ),
    (
        EVENTS % "delivery: {dead_letter: a}",
        1,
        70,
        "inference.eventing.delivery.dead_letter",
        'expected "broker:NAME", "service:NAME" or a URL, found "a"',
        "",
    ),
    (
        BESIDE + "deploy: {subscriptions: [{source: a, filters: {A: b}}]}\n",
        2,
        48,
        "deploy.subscriptions[0].filters.A",
        'expected an event\'s attribute, lower-case letters and digits, found "A"',
        "",
    ),
    (
        MODEL % "logger: {}" + "deploy: {subscriptions: [{source: default}]}\n",
        2,
        26,
        "deploy.subscriptions[0]",
        "the logger's events go to this broker, and would come back as requests",
        "add filters: {type: …} with the type of the events that are meant",
    ),
    (
        MODEL % "logger: {sinks: [{to: 'broker:team/a'}]}" + "namespace: team\ndeploy: {subscriptions: [{source: a}]}\n",
        3,
        26,
        "deploy.subscriptions[0]",
        "the logger's events go to this broker, and would come back as requests",
        "add filters",
    ),
    # Claims.
    (
        MODEL.replace("m.onnx", "pvc://a/../b") % "workers: 1",
        1,
        26,
        "inference.model.uri",
        'expected a path within the claim, found "../b"',
        'write it without ".." and "//"',
    ),
    (
        MODEL % "logger: {spool: pvc://a/../b}",
        1,
        51,
        "inference.logger.spool",
        'expected a path within the claim, found "../b"',
        "",
    ),
    # Lengths.
    (
        BESIDE + f"run: {{envs: [{{name: A, value: {'b' * 140_000}}}]}}\n",
        2,
        31,
        "run.envs[0].value",
        "Linux has no variable of more than 131072 bytes",
        "mount it as a file: a ConfigMap in run.volumes",
    ),
    (
        BESIDE + f"deploy: {{annotations: {{a: {'b' * 250_000}}}}}\n",
        2,
        10,
        "deploy.annotations",
        "expected at most 245760 bytes in all annotations, found 250001",
        "shorten the longest",
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
        MODEL % "mode: raw, timeout_s: 700",
        MODEL % "timeout_s: 600, timeouts: {response_start_s: 600}",
        MODEL % "scaling: {resource_metric: cpu, window_s: 10}",
        MODEL % "scaling: {burst_capacity: -1}",
        MODEL.replace("m.onnx", "pvc://claim/a/b") % "workers: 1",
        MODEL % "logger: {}" + "deploy: {subscriptions: [{source: default, filters: {type: a.b}}, {source: other}]}\n",
        BESIDE + "deploy: {annotations: {features.knative.dev/queueproxy-podinfo: enabled}}\n",
    ],
)
def test_what_a_cluster_takes_is_left_alone(problems_of: Callable[[str], list[Problem]], text: str) -> None:
    assert problems_of(text) == []
