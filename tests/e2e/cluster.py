"""The cluster as tests use it: kubectl, the gateway, and waiting."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]
SERVICE = "serving.knative.dev/service"


@dataclass(frozen=True)
class Response:
    """An answer that came through the gateway; `seconds` from the first byte sent to the last received."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Cluster:
    """Where things are, from the variables of `variables.py`."""

    kubectl_path: str
    kubeconfig: str
    ingress: str
    domain: str
    registry: str
    host_ip: str

    @property
    def gateway(self) -> tuple[str, int]:
        parts = urlsplit(self.ingress)
        return parts.hostname or "", parts.port or 80

    def connection(self, timeout: float = 60) -> HTTPConnection:
        """A connection to the gateway, kept by whoever asks for several answers."""
        return HTTPConnection(*self.gateway, timeout=timeout)

    def request(
        self,
        host: str,
        path: str,
        body: bytes | None = None,
        headers: Json | None = None,
        connection: HTTPConnection | None = None,
    ) -> Response:
        """One request through the gateway: a GET, or a POST of the body."""
        used = connection or self.connection()
        begin = time.monotonic()
        try:
            used.request("GET" if body is None else "POST", path, body, {"Host": host, **(headers or {})})
            answer = used.getresponse()
            content = answer.read()
        finally:
            if connection is None:
                used.close()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, fields, content, time.monotonic() - begin)

    def kubectl(self, *arguments: str, namespace: str = "", body: str = "", check: bool = True) -> str:
        """What kubectl prints. Fails the test with what kubectl says."""
        place = ["-n", namespace] if namespace else []
        command = [self.kubectl_path, "--kubeconfig", self.kubeconfig, *place, *arguments]
        done = subprocess.run(command, input=body or None, text=True, capture_output=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command[3:])}: {done.stderr.strip()}")
        return done.stdout


@dataclass(frozen=True)
class Namespace:
    """A namespace of a test."""

    cluster: Cluster
    name: str

    def kubectl(self, *arguments: str, body: str = "", check: bool = True) -> str:
        return self.cluster.kubectl(*arguments, namespace=self.name, body=body, check=check)

    def apply(self, *documents: Json) -> None:
        """kubectl apply of objects."""
        for document in documents:
            self.kubectl("apply", "-f", "-", body=json.dumps(document))

    def get(self, kind: str, name: str = "", selector: str = "") -> Json:
        """An object, or a list of them; empty where there is none."""
        chosen = ["-l", selector] if selector else []
        text = self.kubectl("get", kind, *([name] if name else []), *chosen, "-o", "json", check=False)
        found: Json = json.loads(text) if text else {}
        return found

    def pods(self, service: str, *, living: bool = True) -> list[Json]:
        """The pods of a Knative Service; `living`: not those that are being ended."""
        found: list[Json] = self.get("pods", selector=f"{SERVICE}={service}").get("items", [])
        return [pod for pod in found if not living or "deletionTimestamp" not in pod["metadata"]]

    def host(self, service: str) -> str:
        """The host of a Knative Service at the gateway."""
        return f"{service}.{self.name}.{self.cluster.domain}"

    def is_ready(self, service: str) -> bool:
        found = self.get("ksvc", service)
        status = found.get("status", {})
        if status.get("observedGeneration") != found.get("metadata", {}).get("generation"):
            return False
        return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", []))

    def wait_ready(self, service: str, seconds: float = 120) -> float:
        """Wait for a Knative Service; the seconds that it took. Fails the test with its conditions and pods' logs."""
        try:
            return wait_until(lambda: self.is_ready(service), f"{service} is ready", seconds)
        except AssertionError as error:
            conditions = json.dumps(self.get("ksvc", service).get("status", {}).get("conditions", []), indent=1)
            logs = "".join(
                self.kubectl("logs", pod["metadata"]["name"], "--all-containers", "--tail=5", check=False)
                for pod in self.pods(service)
            )
            raise AssertionError(f"{error}\n{conditions}\n{logs}") from None

    def wait_zero(self, service: str, seconds: float = 120) -> float:
        """Wait until no pod of a service lives; the seconds that it took."""
        return wait_until(lambda: not self.pods(service), f"{service} has no pods", seconds)

    def delete_pods(self, service: str) -> None:
        """End all pods of a service at once."""
        self.kubectl("delete", "pods", "-l", f"{SERVICE}={service}", "--grace-period=0", "--force", "--wait=false")


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60, pause: float = 0.1) -> float:
    """Wait until a condition holds; the seconds that it took. Fails the test with `what`."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)
    return time.monotonic() - begin


def of_environment() -> Cluster:
    """The cluster that the variables name."""
    env = os.environ
    kubectl = env.get("KUBECTL", "kubectl")
    return Cluster(kubectl, env["KUBECONFIG"], env["INGRESS"], env["INGRESS_DOMAIN"], env["REGISTRY"], env["HOST_IP"])
