"""A real Prometheus that scrapes a real function: each query of the dashboard and of the alerts has data."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kfunc.config.complete import complete
from kfunc.config.load import read_function
from kfunc.config.source import parse_source
from kfunc.handlers.gpu_metrics import watch
from kfunc.manifests.alerts import alerts
from kfunc.manifests.dashboard import panels
from kfunc.manifests.plan import Plan
from kfunc.telemetry.exposition import PROMETHEUS
from kfunc.telemetry.metrics import Metrics
from tests.handlers.test_gpu_metrics import Nvml
from tests.integration.test_run import Run, make_function
from tests.parts import environment, program
from tests.parts.servers import Server

pytestmark = pytest.mark.integration

FUNC_YAML = """\
specVersion: 0.36.0
name: iris
created: 2026-11-21T00:00:00Z
runtime: python
inference:
  model: {uri: ./handler.py}
  grace_s: 5
  batcher: {max_batch_size: 8}
  logger: {mode: metadata}
  monitoring: {}
  gpu: {count: 1}
  telemetry: {otlp_endpoint: "http://127.0.0.1:9"}
"""
HANDLER = """\
from kfunc import Handler, TensorSpec

class Double(Handler):
    inputs = [TensorSpec("x", "FP32", [-1, 1])]
    outputs = [TensorSpec("y", "FP32", [-1, 1])]

    def predict(self, inputs):
        if inputs["x"].max() > 90:
            raise RuntimeError("too large")
        return {"y": inputs["x"] * 2}
"""
LABELS = {"namespace": "default", "function": "iris", "pod": "iris-1", "revision": "iris-00001"}


class Prometheus(Server):
    """Scrapes targets each half second."""

    def __init__(self, folder: Path, *targets: str) -> None:
        super().__init__(folder)
        static = {"targets": list(targets), "labels": LABELS}
        jobs = [{"job_name": "kfunc", "static_configs": [static]}]
        settings = {"global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"}, "scrape_configs": jobs}
        folder.mkdir(parents=True)
        (folder / "prometheus.json").write_text(json.dumps(settings))

    def command(self) -> list[str]:
        """What runs it."""
        binary = str(program("prometheus", "usr/bin/prometheus"))
        listen = f"--web.listen-address=127.0.0.1:{self.port}"
        features = "--enable-feature=exemplar-storage"
        return [binary, "--config.file=prometheus.json", f"--storage.tsdb.path={self.folder}/data", listen, features]

    def environment(self) -> dict[str, str]:
        """Its environment."""
        return environment("prometheus")

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def is_ready(self) -> bool:
        """Whether its storage is open; until then it listens, and answers 503."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=10):
                return True
        except urllib.error.HTTPError:
            return False

    def query(self, text: str) -> list[float]:
        return [float(each["value"][1]) for each in self.ask("query", query=text)["result"]]


def plan() -> Plan:
    function = read_function(parse_source(FUNC_YAML.encode()))
    return Plan(function, complete(function, "python"))


@contextmanager
def gpus() -> Iterator[str]:
    """The address of a process that tells of a GPU; its driver is not a real one."""
    metrics = Metrics("handler")
    watch(metrics, Nvml())

    class Exposition(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", PROMETHEUS.decode())
            self.end_headers()
            self.wfile.write(metrics.exposition().encode())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Exposition)
    Thread(target=server.serve_forever, args=(0.05,)).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has seen requests, batches, events and a failure."""
    program("prometheus", "usr/bin/prometheus")
    folder = make_function(tmp_path_factory.mktemp("scraped"), FUNC_YAML)
    (folder / "handler.py").write_text(HANDLER)
    with Run(folder, variables={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}) as run, gpus() as its_gpus:
        run.wait_until_ready()
        target = re.findall(r"metrics: logger http://([\d.:]+)/", run.out)[0]
        with Prometheus(folder / "prometheus", target, its_gpus) as server:
            deadline = time.monotonic() + 20
            while not server.is_ready():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            while not server.query("rate(kfunc_requests_total[5m]) > 0") or time.monotonic() < deadline - 17:
                assert time.monotonic() < deadline
                for value in (1, 99):
                    tensor = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [value]}
                    run.request("POST", "/v2/models/iris/infer", {"inputs": [tensor]})
                time.sleep(0.1)
            yield server


@pytest.mark.parametrize(
    "query", [query for panel in panels(plan()) for query in panel.queries.values()], ids=lambda query: query[:60]
)
def test_a_query_of_the_dashboard_has_data(scraped: Prometheus, query: str) -> None:
    values = scraped.query(query)
    assert values
    assert all(value == value for value in values), "not a number"


@pytest.mark.parametrize("alert", alerts(plan()), ids=lambda alert: alert.name)
def test_what_an_alert_compares_has_data(scraped: Prometheus, alert: Any) -> None:
    for compared in alert.expression.removeprefix("(").split(") or (")[0:1]:
        assert scraped.query(compared.rpartition(" > ")[0])


def test_the_function_fails_as_often_as_its_errors_say(scraped: Prometheus) -> None:
    (ratio,) = scraped.query(next(panel.queries["5xx"] for panel in panels(plan()) if panel.title == "Errors"))
    assert 0.3 < ratio < 0.7


def test_the_target_is_up_and_its_types_are_known(scraped: Prometheus) -> None:
    assert scraped.query("up") == [1, 1]
    types = {name: kinds[0]["type"] for name, kinds in scraped.ask("metadata").items()}
    assert types["kfunc_request_duration_seconds"] == "histogram"
    assert types["kfunc_batch_queue_length"] == "gauge"
    assert "counter" in {types.get("kfunc_requests_total"), types.get("kfunc_requests")}


def test_promtool_has_nothing_to_complain_of(scraped: Prometheus) -> None:
    text = b""
    for target in scraped.ask("targets")["activeTargets"]:
        with urllib.request.urlopen(target["scrapeUrl"], timeout=10) as answer:
            text += answer.read()
    command = [str(program("prometheus")), "check", "metrics"]
    done = subprocess.run(command, input=text, env=environment("prometheus"), capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
