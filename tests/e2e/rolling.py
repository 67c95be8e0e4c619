"""A function of the rollout tests: its revisions, the command line on it, and requests that never stop."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster, Json, Namespace, wait_until

HERE = Path(__file__).parent / "twice"
BODY = json.dumps({"inputs": [{"name": "values", "datatype": "FP32", "shape": [1, 1], "data": [2]}]}).encode()
VARIANT = "x-kfunc-variant"
THREADS = 8


@dataclass
class Counts:
    """Answers by status and variant; what failed, in words; the longest time in seconds."""

    answers: Counter[tuple[int, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    longest: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.answers.values()) + sum(text.startswith("no answer") for text in self.failures)

    def of(self, variant: str) -> int:
        return sum(count for (_, name), count in self.answers.items() if name == variant)


@dataclass
class Rolling:
    """One function, described by a func.yaml that the tests change."""

    namespace: Namespace
    kfunc: Callable[..., str]
    image: str
    folder: Path
    name: str

    def write(self, traffic: Json | None, mode: str = "knative", **envs: str) -> None:
        """Write func.yaml: `envs` make the revision another one."""
        domain = self.namespace.cluster.domain
        text = {
            "specVersion": "0.36.0",
            "name": self.name,
            "created": "2026-11-25T00:00:00Z",
            "runtime": "python",
            "image": self.image,
            "domain": domain,
            "deploy": {
                "namespace": self.namespace.name,
                "options": {
                    "scale": {"min": 1 if mode == "raw" else 0, "max": 4 if mode == "knative" else 1},
                    "resources": {
                        "requests": {"cpu": "20m", "memory": "64Mi"},
                        "limits": {"cpu": "1", "memory": "256Mi"},
                    },
                },
            },
            "run": {"envs": [{"name": name, "value": value} for name, value in envs.items()]},
            "inference": {"model": {"uri": "./handler.py", "name": "twice"}, "mode": mode}
            | ({"traffic": traffic} if traffic else {}),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "handler.py").write_text((HERE / "handler.py").read_text())
        (self.folder / "func.yaml").write_text(json.dumps(text))

    def deploy(self) -> None:
        """The first revision."""
        self.kfunc("deploy", self.folder, "--no-build", "--timeout", "180")
        wait_until(lambda: self.ask().status == 200, f"{self.name} answers at its live host")

    def rollout(self, *arguments: str, status: int = 0) -> str:
        """`kfunc rollout`, to its end."""
        return self.kfunc("rollout", *self._whole(arguments), status=status)

    def _whole(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """The image of all revisions is there already."""
        return (*arguments, "--no-build") if arguments[0] == "start" else arguments

    def start(self, status: int = 0) -> str:
        return self.rollout("start", str(self.folder), status=status)

    @contextmanager
    def running(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """`kfunc rollout` in the background, ended with the block."""
        command = [sys.executable, "-m", "kfunc", "rollout", *self._whole(arguments)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def tried(self, *arguments: str) -> tuple[str, int]:
        """What `kfunc rollout` says, and its exit status, whatever that is."""
        with self.running(*arguments) as process:
            return process.communicate(timeout=120)[0], process.returncode

    def state(self) -> Any:
        """`kfunc rollout status` for programs."""
        return json.loads(self.rollout("status", str(self.folder), "--output", "json"))

    def wait_state(self, **wanted: Any) -> Any:
        """Wait until the state has these values."""
        found: dict[str, Any] = {}

        def holds() -> bool:
            text, status = self.tried("status", str(self.folder), "--output", "json")
            found.update(json.loads(text) if status == 0 else {})  # it may not have begun
            return all(found.get(name) == value for name, value in wanted.items())

        wait_until(holds, f"the rollout of {self.name} is {wanted}", 120, 0.5)
        return found

    @property
    def live(self) -> str:
        return f"live-{self.name}.{self.namespace.name}.{self.namespace.cluster.domain}"

    @property
    def plain(self) -> str:
        return self.live.removeprefix("live-")

    @property
    def preview(self) -> str:
        return self.live.replace("live-", "preview-", 1)

    def ask(self, host: str = "") -> Any:
        return self.namespace.cluster.request(host or self.live, "/v2/models/twice/infer", BODY)

    def serving(self) -> str:
        """The revision that has the plain address."""
        traffic = self.namespace.get("ksvc", self.name)["status"]["traffic"]
        return next(str(part["revisionName"]) for part in traffic if part.get("percent"))

    def leftovers(self) -> Json:
        """What a rollout must have removed: tags, a split, pods that were kept."""
        service = self.namespace.get("ksvc", self.name)
        routes = self.namespace.get("virtualservice", f"live-{self.name}")["spec"]["http"]
        revisions = self.namespace.get("revisions", selector=f"serving.knative.dev/service={self.name}")["items"]
        return {
            "tags": [part["tag"] for part in service["spec"]["traffic"] if part.get("tag")],
            "routes": [route["name"] for route in routes],
            "scales": {one["metadata"]["annotations"].get("autoscaling.knative.dev/min-scale") for one in revisions},
        }

    @contextmanager
    def requests(self, per_second: float, host: str = "") -> Iterator[Counts]:
        """Requests at the live host, or at another, for as long as the block runs; counted."""
        counts, stop = Counts(), threading.Event()
        lock = threading.Lock()
        threads = [
            threading.Thread(
                target=_ask,
                args=(self.namespace.cluster, host or self.live, per_second, number, counts, lock, stop),
                daemon=True,
            )
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield counts
        finally:
            stop.set()
            for thread in threads:
                thread.join(70)


def _ask(
    cluster: Cluster, host: str, per_second: float, number: int, counts: Counts, lock: threading.Lock, stop: threading.Event
) -> None:
    connection = cluster.connection()
    due = time.monotonic() + number / per_second
    while not stop.wait(max(0.0, due - time.monotonic())):
        due = max(due + THREADS / per_second, time.monotonic() - 1.0)
        try:
            answer = cluster.request(host, "/v2/models/twice/infer", BODY, connection=connection)
        except OSError as error:
            connection.close()
            with lock:
                counts.failures.append(f"no answer: {type(error).__name__} {error}")
            continue
        with lock:
            counts.answers[answer.status, answer.headers.get(VARIANT, "")] += 1
            counts.longest = max(counts.longest, answer.seconds)
            if answer.status != 200:
                counts.failures.append(f"{answer.status} {answer.body[:200]!r}")
    connection.close()
