"""The logger on the cluster: every event of every answered request arrives at a sink there, though the logger is killed."""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.cluster import Json, Namespace, wait_until
from tests.e2e.functions import FLOWERS, INFER, LOGGER, changed, render_service
from tests.e2e.load import Load
from tests.e2e.test_life import keep

SINK = """
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
seen, lock = {}, threading.Lock()
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        with lock:
            body = json.dumps(seen).encode()
        self.answer(200, body)
    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            for each in event if isinstance(event, list) else [event]:
                seen.setdefault(each["correlationid"], []).append([each["type"], each["id"]])
        self.answer(202, b"")
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
KILL = """
import os, signal
for name in os.listdir("/proc"):
    if name.isdigit() and int(name) not in (1, os.getpid()):
        if b"logger_sidecar" in open(f"/proc/{name}/cmdline", "rb").read():
            os.kill(int(name), signal.SIGKILL)
"""
REQUESTS = 600


def sink(image: str) -> tuple[Json, Json]:
    """A pod that keeps what is posted to it, with a Service before it."""
    labels = {"app": "sink"}
    container = {"name": "sink", "image": image, "command": ["python", "-c", SINK], "ports": [{"containerPort": 8080}]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "sink", "labels": labels},
        "spec": {"containers": [container]},
    }
    spec = {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
    return pod, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "sink"}, "spec": spec}


@pytest.mark.parametrize("spool", ["memory", "volume"])
def test_all_events_of_all_requests_arrive_though_the_logger_is_killed(
    namespace: Namespace,
    iris_image: str,
    kfunc: Callable[..., str],
    tmp_path: Path,
    figure: Callable[[str, str], None],
    spool: str,
) -> None:
    namespace.apply(*sink(iris_image))
    wait_until(lambda: namespace.get("pod", "sink")["status"]["phase"] == "Running", "the sink runs", 60)
    address = f"http://sink.{namespace.name}.svc.cluster.local/"
    folder = changed(tmp_path, LOGGER, f'logger: {{mode: all, spool: {spool}, sink: "{address}"}}')
    namespace.apply(keep(render_service(kfunc, iris_image, namespace.name, folder), 1))
    namespace.wait_ready("iris")
    pod = namespace.pods("iris")[0]["metadata"]["name"]
    with Load(namespace.cluster, namespace.host("iris"), INFER, FLOWERS, connections=4) as load:
        wait_until(lambda: load.statuses().get(200, 0) >= REQUESTS // 2, "the first half of the requests", 60)
        # The container ends with the process, and the command in it.
        namespace.kubectl("exec", pod, "-c", "logger", "--", "python", "-S", "-c", KILL, check=False)
        before = load.statuses().get(200, 0)
        wait_until(lambda: load.statuses().get(200, 0) >= before + REQUESTS, "requests after the logger's end", 120)
    answered = {answer.request_id for answer in load.answers if answer.status == 200}
    ip = namespace.get("pod", "sink")["status"]["podIP"]

    def missing() -> set[str]:
        kept = json.loads(read(namespace, ip))
        return {each for each in answered if len({kind for kind, _ in kept.get(each, [])}) < 2}

    begin = time.monotonic()
    wait_until(lambda: not missing(), "both events of every answered request", 90, pause=1)
    restarts = {each["name"]: each["restartCount"] for each in namespace.pods("iris")[0]["status"]["containerStatuses"]}
    kept = json.loads(read(namespace, ip))
    twice = sum(count - 1 for ids in kept.values() for count in Counter(event_id for _, event_id in ids).values())
    figure(
        f"events at a sink in the cluster, spool: {spool}, logger killed once",
        f"{len(answered)} requests, none missing, {twice} sent twice, all there {time.monotonic() - begin:.1f} s after",
    )
    assert restarts["logger"] >= 1


def read(namespace: Namespace, ip: str) -> str:
    """What the sink has, asked from within the cluster."""
    ask = f"import urllib.request as u; print(u.urlopen('http://{ip}:8080/', timeout=30).read().decode())"
    return namespace.kubectl("exec", "sink", "--", "python", "-c", ask)
