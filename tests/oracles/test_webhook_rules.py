"""Each rule of Knative's webhook that a func.yaml can break: Knative refuses the manifest, and we the file, with the place."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from kfunc.config.load import read_function
from kfunc.config.source import parse_source
from kfunc.errors import ConfigError
from kfunc.manifests.outputs import render
from kfunc.manifests.plan import Plan
from kfunc.manifests.yaml_text import write
from tests.manifests import plan_of, unchecked_plan
from tests.oracles.webhook import Webhook

LEAST = "name: iris\ninference: {model: {uri: m.onnx}}\n"
SCALING = "name: iris\ninference: {model: {uri: m.onnx}, scaling: {%s}}\n"
VOLUME = LEAST + "run: {volumes: [%s]}\n"
ANNOTATION = LEAST + "deploy: {annotations: {'%s': '%s'}}\n"

# A file whose types are right; the field that is to blame; what Knative says.
FILES = [
    (LEAST + f"image: {'a' * 300}\n", "image", "Failed to parse image"),
    (LEAST + "image: example.com/a\n", "image", "Failed to parse image"),
    (LEAST + "image: a:b:c\n", "image", "Failed to parse image"),
    (LEAST + "image: a//b\n", "image", ""),
    (f"name: {'a' * 60}\ninference: {{model: {{uri: m.onnx}}}}\n", "name", "not a DNS 1035 label"),
    (LEAST.replace("iris", "2nd"), "name", "not a DNS 1035 label"),
    (LEAST + "deploy: {options: {scale: {min: 3, max: 2}}}\n", "deploy.options.scale.min", "max-scale=2 is less than"),
    (LEAST + "deploy: {options: {scale: {target: 0.001}}}\n", "deploy.options.scale.target", "should be at least 0.01"),
    (LEAST + "deploy: {options: {scale: {max: 2147483648}}}\n", "deploy.options.scale.max", "expected 0 <= 214"),
    (SCALING % "activation: 2" + "deploy: {options: {scale: {min: 3}}}\n", "inference.scaling.activation", "is greater than"),
    (SCALING % "activation: 5" + "deploy: {options: {scale: {max: 3}}}\n", "inference.scaling.activation", "is less than"),
    (SCALING % "burst_capacity: -0.5", "inference.scaling.burst_capacity", "target-burst-capacity"),
    (LEAST + "deploy: {options: {resources: {limits: {concurrency: 1001}}}}\n",
     "deploy.options.resources.limits.concurrency", "expected 0 <= 1001 <= 1000"),
    (LEAST + "deploy: {options: {resources: {limits: {cpu: '1.'}, requests: {cpu: 1e}}}}\n",
     "deploy.options.resources.requests.cpu", "unable to parse quantity"),
    (ANNOTATION % ("autoscaling.knative.dev/panicWindowPercentage", "0"),
     'deploy.annotations["autoscaling.knative.dev/panicWindowPercentage"]', "panicWindowPercentage"),
    (ANNOTATION % ("networking.knative.dev/visibility", "cluster-local"),
     'deploy.annotations["networking.knative.dev/visibility"]', ""),
    (ANNOTATION % ("serving.knative.dev/rolloutDuration", "1.5s"),
     'deploy.annotations["serving.knative.dev/rolloutDuration"]', "not at second precision"),
    (ANNOTATION % ("queue.sidecar.serving.knative.dev/resourcePercentage", "200"),
     'deploy.annotations["queue.sidecar.serving.knative.dev/resourcePercentage"]', "resourcePercentage"),
    (LEAST + "run: {envs: [{name: PORT, value: '1'}]}\n", "run.envs[0].name", '"PORT" is a reserved environment variable'),
    (LEAST + "run: {envs: [{name: K_REVISION, value: a}]}\n", "run.envs[0].name", "is a reserved environment variable"),
    (VOLUME % "{secret: s, path: /dev}", "run.volumes[0].path", 'mountPath "/dev" is a reserved path'),
    (VOLUME % "{secret: s, path: //}", "run.volumes[0].path", 'mountPath "/" is a reserved path'),
    (VOLUME % "{secret: s, path: data}", "run.volumes[0].path", "invalid value: data"),
    (VOLUME % "{secret: s, path: /a}, {secret: t, path: /a/}", "run.volumes[1].path", "must be unique"),
    (VOLUME % "{secret: s, path: /etc/kfunc}" + "", "run.volumes[0].path", ""),
    (VOLUME % "{emptyDir: {medium: Disk}, path: /a}", "run.volumes[0].emptyDir.medium", "invalid value: Disk"),
    (VOLUME % "{emptyDir: {sizeLimit: '-1'}, path: /a}", "run.volumes[0].emptyDir.sizeLimit", "invalid value: -1"),
    (LEAST + "deploy: {serviceAccountName: A}\n", "deploy.serviceAccountName", "serviceAccountName"),
    ("name: iris\ninference: {model: {uri: m.onnx}, timeout_s: 601}\n", "inference.timeout_s", ""),
    ("name: iris\ninference: {model: {uri: m.onnx}, port: 8012}\n", "inference.port", "8012 is a reserved port"),
    ("name: iris\ninference: {model: {uri: m.onnx}, server: {image: example.com/server, port: 9091}}\n",
     "inference.server.port", "9091 is a reserved port"),
]  # fmt: skip
# What is refused although Knative itself would take the manifest: it would do something else than is meant.
STRICTER = ("a//b", "networking.knative.dev/visibility", "/etc/kfunc", "timeout_s: 601")

# A field, and a value past its bound.
BOUNDS: list[tuple[Sequence[str], Any, str]] = [
    (("inference", "scaling", "window_s"), 5, "autoscaling.knative.dev/window"),
    (("inference", "scaling", "window_s"), 3601, "autoscaling.knative.dev/window"),
    (("inference", "scaling", "activation"), 1, "must be greater than 1"),
    (("inference", "scaling", "initial"), -1, "initial-scale"),
    (("inference", "scaling", "panic_window_percentage"), 0.5, "panic-window-percentage"),
    (("inference", "scaling", "panic_window_percentage"), 101.0, "panic-window-percentage"),
    (("inference", "scaling", "panic_threshold_percentage"), 109.0, "panic-threshold-percentage"),
    (("inference", "scaling", "panic_threshold_percentage"), 1001.0, "panic-threshold-percentage"),
    (("inference", "scaling", "scale_down_delay_s"), 3601, "scale-down-delay"),
    (("inference", "scaling", "retention_s"), 3601, "scale-to-zero-pod-retention-period"),
    (("inference", "scaling", "burst_capacity"), -2.0, "target-burst-capacity"),
    (("inference", "scaling", "progress_deadline_s"), -1, "progress-deadline"),
    (("inference", "scaling", "rollout_duration_s"), -1, "rollout-duration"),
    (("deploy", "options", "scale", "min"), -1, "min-scale"),
    (("deploy", "options", "scale", "utilization"), 101.0, "target-utilization-percentage"),
    (("deploy", "options", "scale", "metric"), "latency", "autoscaling.knative.dev/metric"),
    (("inference", "security", "run_as_user"), 2**31, "runAsUser"),
    (("inference", "port"), 70_000, "containerPort"),
]


def problems(written: str) -> dict[str, tuple[int, int]]:
    """The places of a file's problems by their fields."""
    try:
        read_function(parse_source(written.encode()))
    except ConfigError as error:
        return {problem.path: (problem.line, problem.column) for problem in error.problems}
    return {}


def knatives_view(knative: Webhook, plan: Plan) -> str:
    rendered = render(plan, "service")
    return "\n".join(knative.on(rendered.files["knative/service.yaml"][0], rendered.notes))


@pytest.mark.parametrize(("written", "path", "words"), FILES, ids=[f"{path}: {words}" for _, path, words in FILES])
def test_what_knative_refuses_is_a_problem_with_its_place(knative: Webhook, written: str, path: str, words: str) -> None:
    assert min(problems(written)[path]) > 0
    said = knatives_view(knative, unchecked_plan(written))
    assert (words in said and bool(said)) or any(part in written for part in STRICTER)


@pytest.mark.parametrize(("path", "value", "words"), BOUNDS, ids=[f"{path[-1]}: {value}" for path, value, _ in BOUNDS])
def test_bounds_are_those_of_knative(knative: Webhook, path: Sequence[str], value: Any, words: str) -> None:
    document: dict[str, Any] = {"name": "iris", "inference": {"model": {"uri": "m.onnx"}}}
    place = document
    for part in path[:-1]:
        place = place.setdefault(part, {})
    place[path[-1]] = value
    assert min(problems(write(document))[".".join(path)]) > 0
    plan = plan_of(LEAST)
    changed = msgspec.structs.replace(plan, function=with_value(plan.function, path, value))
    assert words in knatives_view(knative, changed)


def with_value(block: Any, path: Sequence[str], value: Any) -> Any:
    """The same struct with another value at a path, whatever its type allows."""
    if not path:
        return value
    return msgspec.structs.replace(block, **{path[0]: with_value(getattr(block, path[0]), path[1:], value)})
