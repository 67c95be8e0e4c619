"""How long a Knative Service takes from zero: one trial sends a request to a service without pods and notes what it sees."""

import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.cluster import SERVICE, Namespace, Response, wait_until

PAUSE_S = 0.05
FULL_S = 0.5
TORN_DOWN_S = 4.0
KUBELET_S = 1.0


@dataclass
class Watched:
    """When each state of a service's new pod was first seen, on this machine's monotonic clock."""

    known: set[str]
    times: dict[str, float] = field(default_factory=dict)
    pod: str = ""

    def see(self, pod: dict[str, Any]) -> None:
        """Note what a pod's new version shows."""
        now, name, status = time.monotonic(), pod["metadata"]["name"], pod.get("status", {})
        if name in self.known or (self.pod and name != self.pod):
            return
        self.pod = name
        self.times.setdefault("pod", now)
        conditions = {each["type"] for each in status.get("conditions", []) if each["status"] == "True"}
        states = status.get("containerStatuses", [])
        if "PodScheduled" in conditions:
            self.times.setdefault("scheduled", now)
        if states and all("running" in each["state"] for each in states):
            self.times.setdefault("running", now)
        if "Ready" in conditions:
            self.times.setdefault("ready", now)


@contextmanager
def watching(namespace: Namespace, service: str) -> Iterator[Watched]:
    """Watch the pods of a service, with kubectl's stream of changes."""
    cluster = namespace.cluster
    watched = Watched({pod["metadata"]["name"] for pod in namespace.pods(service, living=False)})
    command = [cluster.kubectl_path, "--kubeconfig", cluster.kubeconfig, "-n", namespace.name, "get", "pods", "--watch"]
    command += ["-l", f"{SERVICE}={service}", "-o", "json", "--output-watch-events"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        stream = process.stdout

        def read() -> None:
            for line in stream:
                watched.see(json.loads(line)["object"])

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        time.sleep(0.5)  # the stream has begun
        try:
            yield watched
        finally:
            time.sleep(0.2)
            process.terminate()
            reader.join(5)


@dataclass(frozen=True)
class Trial:
    """One start from zero: seconds since the request was sent, and the answer."""

    times: dict[str, float]
    answered: float
    response: Response
    pod: str

    @property
    def has_waited(self) -> bool:
        """Whether the pod was not scheduled at once: the node was full, and the time says nothing of the start."""
        return self.times.get("scheduled", 0.0) - self.times["pod"] > FULL_S

    @property
    def from_pod(self) -> float:
        """From the pod that was seen to the answer."""
        return self.answered - self.times["pod"]


def is_at_zero(namespace: Namespace, service: str) -> bool:
    """Whether a service has no pods and wants none."""
    deployments = namespace.get("deployments", selector=f"{SERVICE}={service}").get("items", [])
    return not namespace.pods(service) and all(not each["spec"].get("replicas") for each in deployments)


def start_from_zero(namespace: Namespace, service: str, path: str, body: bytes | None = None) -> Trial:
    """Wait until the service is at zero, send a request, and wait for its answer."""
    wait_until(lambda: is_at_zero(namespace, service), f"{service} is at zero", 180)
    # Pods that drain for 30 s more hold the node's CPU, and a new one would wait for it.
    namespace.delete_pods(service)
    wait_until(lambda: not namespace.pods(service, living=False), f"{service}'s pods are gone", 60)
    # The API forgets a forced pod before the kubelet has taken it down, which costs CPU and happens on the kubelet's own
    # second: a request at once would meet both, and always in the same phase of that second.
    time.sleep(TORN_DOWN_S + random.uniform(0, KUBELET_S))
    with watching(namespace, service) as watched:
        time.sleep(PAUSE_S)
        begin = time.monotonic()
        response = namespace.cluster.request(namespace.host(service), path, body)
        answered = time.monotonic()
        assert response.status == 200, f"{service} answered {response.status}: {response.body[:300]!r}"
    assert "pod" in watched.times, f"no new pod of {service} was seen"
    return Trial({name: at - begin for name, at in watched.times.items()}, answered - begin, response, watched.pod)
