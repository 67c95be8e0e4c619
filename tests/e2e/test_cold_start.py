"""The figure of the start from zero: paired trials of the root example and of a pod of three trivial Go containers.

E2E_TRIALS sets how many pairs; 60 take about twenty minutes. A missed target is printed, and fails nothing.
"""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kfunc.registries.references import parse_reference
from tests.e2e.cluster import Json, Namespace
from tests.e2e.cold_start import start_from_zero
from tests.e2e.functions import FLOWERS, INFER, pod_spec, render_service
from tests.e2e.program_image import push_program
from tests.e2e.statistics import median_interval, percentile
from tests.parts import program

TRIALS = int(os.environ.get("E2E_TRIALS", "60"))
TARGET_S = 0.25
REQUESTS = {"cpu": "50m", "memory": "64Mi"}
"""Of each container of both: a small node has room for them, and nobody has more of it than the other."""


def trivial_service(image: str, security: Json) -> Json:
    """Three containers that do nothing, with the resources, readiness and `securityContext` of the root example's.

    What a cluster asks of every pod is not ours: runc spends some 20 ms a container on the seccomp profile.
    """

    def container(name: str, address: str = "") -> Json:
        made: Json = {"name": name, "image": image, "env": [{"name": "ADDRESS", "value": address}] if address else []}
        made["securityContext"] = security
        made["resources"] = {"requests": REQUESTS, "limits": {"cpu": "1", "memory": "512Mi"}}
        return made

    outer = container("logger") | {
        "ports": [{"name": "http1", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
    }
    containers = [container("handler", "127.0.0.1:9001"), container("batcher", "127.0.0.1:9002"), outer]
    spec = {"containers": containers, "automountServiceAccountToken": False, "enableServiceLinks": False}
    metadata = {"name": "trivial"}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"template": {"spec": spec}},
    }


@pytest.fixture
def trivial_image(namespace: Namespace, tmp_path: Path) -> str:
    image = parse_reference(f"{namespace.cluster.registry}/e2e/trivial:1")
    return push_program(program("trivial-pod"), image, tmp_path)


@pytest.mark.timeout(3600)
def test_a_start_from_zero_takes_hardly_longer_than_that_of_a_trivial_pod(
    namespace: Namespace,
    iris_image: str,
    trivial_image: str,
    kfunc: Callable[..., str],
    figure: Callable[[str, str], None],
) -> None:
    function = render_service(kfunc, iris_image, namespace.name)
    containers = pod_spec(function)["containers"]
    for container in containers:
        container["resources"]["requests"] = REQUESTS
    namespace.apply(function, trivial_service(trivial_image, containers[0]["securityContext"]))
    for service in ("iris", "trivial"):
        namespace.wait_ready(service)
    asked = {"iris": (INFER, FLOWERS), "trivial": ("/", None)}
    seconds: dict[str, list[float]] = {"iris": [], "trivial": []}
    for number in range(TRIALS):
        for service in random.sample(sorted(asked), 2):
            trial = start_from_zero(namespace, service, *asked[service])
            while trial.has_waited:
                print(f"again: the node was full when {service} started", flush=True)
                trial = start_from_zero(namespace, service, *asked[service])
            seconds[service].append(trial.from_pod)
        print(f"{number + 1}/{TRIALS} " + json.dumps({name: round(each[-1], 2) for name, each in seconds.items()}), flush=True)
    for service, values in seconds.items():
        middle, low, high = median_interval(values)
        text = f"{middle:.2f} s (95 %: {low:.2f}–{high:.2f}; p90 {percentile(values, 90):.2f})"
        figure(f"pod seen → first 200, {service}, median of {TRIALS}", text)
    differences = [own - other for own, other in zip(seconds["iris"], seconds["trivial"], strict=True)]
    middle, low, high = median_interval(differences)
    target = f"target ≤ {TARGET_S:.2f} s: {'met' if middle <= TARGET_S else 'missed'}"
    figure("  paired difference", f"{middle:+.2f} s (95 %: {low:+.2f}–{high:+.2f}), {target}")
