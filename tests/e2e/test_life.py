"""The life of a pod on the cluster: memory, draining, a handler that is killed, a burst."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.cluster import Json, Namespace, wait_until
from tests.e2e.functions import apply_function, pod_spec, render_service
from tests.e2e.load import Load
from tests.e2e.statistics import percentile

NAPS = Path(__file__).parent / "naps"
INFER = "/v2/models/naps/infer"
PSS = """
import os
total = 0
for name in os.listdir("/proc"):
    if name.isdigit() and int(name) != os.getpid():
        try:
            lines = open(f"/proc/{name}/smaps_rollup").read().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
print(total)
"""
MOST_POD_MB = 150


def nap(seconds: float) -> bytes:
    """A request to sleep."""
    return json.dumps({"inputs": [{"name": "seconds", "datatype": "FP32", "shape": [1], "data": [seconds]}]}).encode()


def keep(service: Json, pods: int) -> Json:
    """The service with at least so many pods."""
    service["spec"]["template"]["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] = str(pods)
    return service


@pytest.fixture(scope="session")
def naps_image(build: Callable[..., str]) -> str:
    return build(NAPS, "naps")


@pytest.fixture
def naps(namespace: Namespace, kfunc: Callable[..., str], naps_image: str) -> Namespace:
    """The namespace with the sleeping function in it, one pod at least."""
    namespace.apply(keep(render_service(kfunc, naps_image, namespace.name, NAPS), 1))
    namespace.wait_ready("naps")
    return namespace


def test_a_whole_idle_pod_needs_little_memory(
    namespace: Namespace, iris_image: str, kfunc: Callable[..., str], figure: Callable[[str, str], None]
) -> None:
    service = keep(render_service(kfunc, iris_image, namespace.name), 1)
    namespace.apply(service)
    namespace.wait_ready("iris")
    time.sleep(3)
    pod = namespace.pods("iris")[0]["metadata"]["name"]
    sizes = {}
    for container in pod_spec(service)["containers"]:
        said = namespace.kubectl("exec", pod, "-c", container["name"], "--", "python", "-S", "-c", PSS)
        sizes[container["name"]] = int(said) / 1024
    total = sum(sizes.values())
    parts = ", ".join(f"{name} {size:.0f}" for name, size in sizes.items())
    figure("whole pod, idle, PSS", f"{total:.0f} MB ({parts}); target ≤ {MOST_POD_MB}")
    assert total <= MOST_POD_MB


def test_requests_in_flight_are_answered_when_the_pod_is_ended(naps: Namespace, figure: Callable[[str, str], None]) -> None:
    host = naps.host("naps")
    with Load(naps.cluster, host, INFER, nap(3.0), connections=10) as load:
        time.sleep(1.5)
        naps.kubectl("delete", "pods", "-l", "serving.knative.dev/service=naps", "--wait=false")
        wait_until(lambda: len(load.answers) >= 20, "answers after the end of the first pod", 60)
    figure("10 requests of 3 s in flight at SIGTERM, then 10 more", f"statuses {load.statuses()}")
    assert load.statuses().keys() == {200}


def test_a_handler_that_takes_too_much_memory_is_killed_and_serves_again(
    naps: Namespace, figure: Callable[[str, str], None]
) -> None:
    host = naps.host("naps")
    fatal = naps.cluster.request(host, INFER, nap(-1.0))
    assert fatal.status >= 500
    begin = time.monotonic()
    wait_until(lambda: naps.cluster.request(host, INFER, nap(0.0)).status == 200, "it serves again", 120)
    served = time.monotonic() - begin

    def states() -> Json:
        return {each["name"]: each for each in naps.pods("naps")[0]["status"]["containerStatuses"]}

    # The kubelet tells it after the container that took its place has answered.
    wait_until(lambda: states()["handler"]["restartCount"] >= 1, "the kubelet says that it was restarted", 30)
    ended = states()["handler"]["lastState"].get("terminated", {})
    figure("handler out of memory", f"served again after {served:.1f} s ({ended.get('reason')})")
    assert states()["logger"]["restartCount"] == 0


@pytest.mark.timeout(300)
def test_a_burst_of_twenty_times_the_load_is_answered(naps: Namespace, figure: Callable[[str, str], None]) -> None:
    host = naps.host("naps")
    with Load(naps.cluster, host, INFER, nap(0.1)) as calm:
        time.sleep(8)
    usual = percentile([answer.seconds for answer in calm.answers], 99)
    with Load(naps.cluster, host, INFER, nap(0.1), connections=20) as burst:
        time.sleep(30)
    begin = burst.answers[0].at
    seconds = {
        second: percentile([each.seconds for each in burst.answers if second <= each.at - begin < second + 1] or [0.0], 99)
        for second in range(29)
    }
    high = [second for second, value in seconds.items() if value > 2 * usual]
    back = f"after {max(high) + 1} s" if high and max(high) < 28 else "at once" if not high else "not within 29 s"
    pods = len(naps.pods("naps"))
    middle = percentile([each.seconds for each in burst.answers], 50)
    figure(
        "burst 1 → 20 connections of 0.1 s each",
        f"{burst.statuses()}; median {middle * 1e3:.0f} ms; p99 before {usual * 1e3:.0f} ms,"
        f" worst second {max(seconds.values()) * 1e3:.0f} ms, below twice that again {back}; {pods} pods",
    )
    assert burst.statuses().keys() == {200}


def test_a_function_of_python_answers(naps: Namespace) -> None:
    answer = naps.cluster.request(naps.host("naps"), INFER, nap(0.0))
    assert answer.json["outputs"][0]["data"] == [0.0]


def test_the_same_manifest_twice_makes_no_revision(namespace: Namespace, kfunc: Callable[..., str], iris_image: str) -> None:
    apply_function(namespace, kfunc, iris_image)
    namespace.wait_ready("iris")
    apply_function(namespace, kfunc, iris_image)
    time.sleep(1)
    assert len(namespace.get("revisions")["items"]) == 1
