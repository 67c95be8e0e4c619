"""Metrics of real processes: two workers, a handler's own, hostile requests, logs with the ids of traces."""

import json
import re
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from kfunc.telemetry.figures import Snapshot, read
from tests.integration.test_run import Run, make_function
from tests.telemetry.receiver import Collector

pytestmark = pytest.mark.integration

FUNC_YAML = """\
specVersion: 0.36.0
name: shop
created: 2026-11-21T00:00:00Z
runtime: python
inference:
  model: {uri: ./handler.py, execution: EXECUTION}
  workers: WORKERS
  grace_s: 5
  log_format: json
  logger: {mode: metadata}
"""
HANDLER = """\
import logging
import numpy as np
from kfunc import Handler, TensorSpec

class Shop(Handler):
    inputs = [TensorSpec("x", "FP32", [-1, 1])]
    outputs = [TensorSpec("y", "FP32", [-1, 1])]

    def load(self, path):
        self.orders = self.metrics.counter("orders_total", "Orders.", labels=("kind",))

    def predict(self, inputs):
        self.orders.add(len(inputs["x"]), kind="large" if inputs["x"].max() > 5 else "small")
        if inputs["x"].max() > 90:
            headers = self.trace_headers()
            logging.getLogger("shop").warning("trace %s, baggage %s", headers.get("traceparent"), headers.get("baggage"))
        return {"y": inputs["x"]}
"""
PATH = "/v2/models/shop/infer"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def body(value: float = 1.0) -> dict[str, object]:
    return {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [value]}]}


def begin(folder: Path, workers: int = 1, execution: str = "auto", variables: dict[str, str] | None = None) -> Run:
    text = FUNC_YAML.replace("WORKERS", str(workers)).replace("EXECUTION", execution)
    (make_function(folder, text) / "handler.py").write_text(HANDLER)
    return Run(folder, variables=variables)


def scrape(run: Run, accept: str = "") -> str:
    port = int(re.findall(r"metrics: logger http://127.0.0.1:(\d+)/", run.out)[0])
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/metrics", headers={"accept": accept})
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def snapshot(run: Run) -> Snapshot:
    return read(scrape(run), 0.0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A handler with two workers, behind a logger."""
    with begin(tmp_path_factory.mktemp("pair"), workers=2) as run:
        yield run.wait_until_ready()


def test_a_scrape_is_the_truth_of_all_workers_whichever_answers(pair: Run) -> None:
    before = snapshot(pair).total("kfunc_model_requests_total", model="shop", status="2xx")
    for _ in range(40):
        assert pair.request("POST", PATH, body())[0] == 200
    for _ in range(6):
        found = snapshot(pair)
        assert found.total("kfunc_model_requests_total", model="shop", version="1", status="2xx") == before + 40
        assert found.total("orders_total", component="handler", kind="small") == before + 40
        assert found.total("kfunc_model_compute_seconds_count", model="shop") == before + 40
        assert 0 < found.total("kfunc_cold_start_seconds") < 60
        assert found.total("kfunc_model_load_seconds") > 0


def test_no_request_makes_a_series(pair: Run) -> None:
    for value in (1, 9):  # all that the model's own labels take
        pair.request("POST", PATH, body(value))
    pair.request("POST", PATH, {"inputs": "x"})
    pair.request("GET", "/nothing", None)
    pair.request("POST", "/v2/models/other/infer", body())
    before = {line.partition(" ")[0] for line in scrape(pair).splitlines() if not line.startswith("#")}
    for number in range(60):
        name = f"name-{number}%22%0a{{}}"
        pair.request("POST", f"/v2/models/{name}/infer", body(), {"x-request-id": name, "user-agent": name})
        pair.request("POST", f"/v2/models/shop/versions/{name}/infer", body())
        pair.request("GET", f"/{name}?{name}", None)
        pair.request("POST", PATH, {"inputs": [{"name": name, "shape": [1], "datatype": name, "data": [1]}], "id": name})
    after = {line.partition(" ")[0] for line in scrape(pair).splitlines() if not line.startswith("#")}
    assert {line for line in after - before if "code=" not in line} == set()
    assert "name-" not in scrape(pair)


def test_openmetrics_of_the_whole_pod_is_as_its_parser_wants_it(pair: Run) -> None:
    pair.request("POST", PATH, body())
    text = scrape(pair, "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1")
    families = {family.name: family for family in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]
    components = {sample.labels["component"] for sample in families["kfunc_requests"].samples}
    assert components == {"handler", "logger"}
    assert text.endswith("# EOF\n")


def test_metrics_of_a_model_in_a_process_of_its_own_are_shown(tmp_path: Path) -> None:
    with begin(tmp_path, execution="process") as run:
        run.wait_until_ready()
        for value in (1, 9, 9):
            assert run.request("POST", PATH, body(value))[0] == 200
        found = snapshot(run)
    assert (found.total("orders_total", kind="small"), found.total("orders_total", kind="large")) == (1, 2)


def test_logs_spans_and_exemplars_of_a_request_have_the_same_ids(tmp_path: Path) -> None:
    more = {"OTEL_BSP_SCHEDULE_DELAY": "20", "OTEL_METRICS_EXPORTER": "otlp"}
    with Collector() as collector:
        with begin(tmp_path, variables={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **more}) as run:
            run.wait_until_ready()
            given = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "r-7", "baggage": "user=7"}

            def handled() -> bool:
                assert run.request("POST", PATH, body(99), given)[0] == 200
                return any(span.component == "handler" for span in collector.trace(TRACE))

            collector.wait_for(handled)
            time.sleep(0.2)
            said = [json.loads(line[line.index("{") :]) for line in run.err.splitlines() if '"logger":"shop"' in line]
            accessed = [json.loads(line) for line in run.out.splitlines() if '"kfunc.access"' in line]
            exposed = scrape(run, "application/openmetrics-text")
            assert run.end() == 0
        servers = {span.span_id: span.component for span in collector.trace(TRACE) if span.kind == "server"}
        pushed = {point.name for point in collector.points}
    assert {(line["request_id"], line["trace_id"]) for line in said} == {("r-7", TRACE)}
    assert servers[said[-1]["span_id"]] == "handler"
    assert said[-1]["message"] == f"trace 00-{TRACE}-{said[-1]['span_id']}-01, baggage user=7"
    assert (accessed[-1]["request_id"], accessed[-1]["trace_id"]) == ("r-7", TRACE)
    assert servers[accessed[-1]["span_id"]] == "logger"
    assert f'trace_id="{TRACE}"' in exposed
    assert {"kfunc_requests_total", "kfunc_request_duration_seconds", "orders_total", "kfunc_cold_start_seconds"} <= pushed


def test_the_page_stays_in_front_of_a_function_that_is_traced(tmp_path: Path) -> None:
    with Collector() as collector:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}
        with begin(tmp_path, variables=variables) as run:
            run.wait_until_ready()

            def is_traced() -> bool:
                run.request("POST", PATH, body())
                return any(span.component == "logger" for span in collector.spans)

            collector.wait_for(is_traced)
            assert run.request("GET", "/page/recent.json")[0] == 200
        assert not [span for span in collector.spans if "page" in span.attributes.get("url.path", "")]
