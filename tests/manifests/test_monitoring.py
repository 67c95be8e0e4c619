"""The rules as Prometheus itself reads and judges them, and metrics that the code has indeed."""

import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from kfunc.batcher_sidecar.records import Records
from kfunc.config.complete import complete
from kfunc.config.load import read_function
from kfunc.config.source import parse_source
from kfunc.manifests.alerts import alerts
from kfunc.manifests.dashboard import dashboard, panels, uid
from kfunc.manifests.outputs import render
from kfunc.manifests.plan import Manifest, Plan
from kfunc.telemetry.metrics import Metrics
from tests.parts import environment, program

FUNCTION = """\
name: iris
inference:
  model: {uri: model.onnx}
  batcher: {max_queue: 100}
  logger: {spool_max_bytes: 210000000}
  gpu: {count: 1}
  telemetry: {otlp_endpoint: "http://collector:4318"}
  monitoring: {alerts: {p99_ms: 200, cold_start_s: 10}}
"""
MINUTES = 20
SELECTOR = 'namespace="default",function="iris",pod="iris-1"'
OUTER = f'{SELECTOR},component="logger"'
HANDLER = 'namespace="default",pod="iris-00001-deployment-abc",container="handler"'
NEIGHBOUR = HANDLER.replace("iris-", "iris-b-")
"""A pod of the function iris-b."""

# Alert -> a series that sets it off, with its values minute by minute, and the minute at which it must have fired.
FIRING: dict[str, tuple[dict[str, str], int]] = {
    "KfuncHighLatency": (
        {
            f'kfunc_request_duration_seconds_bucket{{{OUTER},le="0.1"}}': "0+10x20",
            f'kfunc_request_duration_seconds_bucket{{{OUTER},le="1"}}': "0+100x20",
            f'kfunc_request_duration_seconds_bucket{{{OUTER},le="+Inf"}}': "0+100x20",
        },
        12,
    ),
    "KfuncErrors": (
        {f'kfunc_requests_total{{{OUTER},code="200"}}': "0+90x20", f'kfunc_requests_total{{{OUTER},code="503"}}': "0+10x20"},
        12,
    ),
    "KfuncSlowColdStart": ({f'kfunc_cold_start_seconds{{{SELECTOR},component="handler"}}': "11x20"}, 1),
    "KfuncModelLoadFailed": ({f"kube_pod_container_status_restarts_total{{{HANDLER}}}": "0 0 1 1 1 1"}, 4),
    "KfuncBatchQueueFull": ({f'kfunc_batch_queue_length{{{SELECTOR},component="batcher"}}': "90x20"}, 3),
    "KfuncSpansDropped": ({f'kfunc_spans_dropped_total{{{OUTER},reason="full"}}': "0 0 7 7 7"}, 4),
    "KfuncEventsDropped": ({f"kfunc_events_dropped_total{{{OUTER}}}": "0 0 5 5 5"}, 4),
    "KfuncSpoolFilling": (
        {f"kfunc_spool_bytes{{{OUTER}}}": "22000000x20", f"kfunc_spool_max_bytes{{{OUTER}}}": "25165824x20"},
        10,
    ),
}
QUIET = {
    f'kfunc_request_duration_seconds_bucket{{{OUTER},le="0.1"}}': "0+100x20",
    f'kfunc_request_duration_seconds_bucket{{{OUTER},le="+Inf"}}': "0+100x20",
    f'kfunc_requests_total{{{OUTER},code="200"}}': "0+100x20",
    f'kfunc_requests_total{{{OUTER},code="404"}}': "0+100x20",
    f'kfunc_cold_start_seconds{{{SELECTOR},component="handler"}}': "0.5x20",
    f'kfunc_batch_queue_length{{{SELECTOR},component="batcher"}}': "10x20",
    f"kfunc_events_dropped_total{{{OUTER}}}": "0x20",
    f'kfunc_spans_dropped_total{{{OUTER},reason="full"}}': "7x20",
    f"kfunc_spool_bytes{{{OUTER}}}": "1000x20",
    f"kfunc_spool_max_bytes{{{OUTER}}}": "25165824x20",
    f"kube_pod_container_status_restarts_total{{{HANDLER}}}": "0x20",
    f"kube_pod_container_status_restarts_total{{{NEIGHBOUR}}}": "0+1x20",
}


def plan() -> Plan:
    function = read_function(parse_source(FUNCTION.encode()))
    return Plan(function, complete(function, "onnx"))


def manifest(kind: str) -> Manifest:
    manifests = render(plan(), "monitoring").files["monitoring/monitoring.yaml"]
    return next(manifest for manifest in manifests if manifest["kind"] == kind)


def promtool(folder: Path, *arguments: str) -> str:
    """What Prometheus' own tool says. Raises where it is not content."""
    command: list[str | Path] = [program("prometheus"), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment("prometheus"), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "rules.json").write_bytes(msgspec.json.encode(manifest("PrometheusRule")["spec"]))
    return tmp_path


def judged(folder: Path, series: dict[str, str], minute: int, alert: str, firing: list[Any]) -> None:
    """promtool's verdict on whether the alert fires at that minute."""
    test = {
        "rule_files": ["rules.json"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": firing}],
            }
        ],
    }
    (folder / "test.json").write_bytes(msgspec.json.encode(test))
    promtool(folder, "test", "rules", "test.json")


def test_prometheus_reads_the_rules(rules: Path) -> None:
    assert f"{len(FIRING)} rules found" in promtool(rules, "check", "rules", "rules.json")


@pytest.mark.parametrize("alert", FIRING)
def test_an_alert_fires_when_it_should(rules: Path, alert: str) -> None:
    series, minute = FIRING[alert]
    rule = next(rule for rule in manifest("PrometheusRule")["spec"]["groups"][0]["rules"] if rule["alert"] == alert)
    with pytest.raises(AssertionError) as failed:
        judged(rules, series, minute, alert, [])
    assert f'alertname="{alert}"' in str(failed.value)
    assert "{{" not in str(failed.value).partition("got:")[2], "a template was not filled in"
    assert rule["labels"]["function"] == "iris"


@pytest.mark.parametrize("alert", FIRING)
def test_no_alert_fires_while_all_is_well(rules: Path, alert: str) -> None:
    judged(rules, QUIET, MINUTES, alert, [])


def test_high_latency_is_critical_after_five_minutes() -> None:
    slow = next(alert for alert in alerts(plan()) if alert.name == "KfuncHighLatency")
    assert (slow.lasting, slow.severity) == ("5m", "critical")
    assert slow.expression.endswith("> 0.2")


def test_every_metric_that_is_asked_for_is_one_of_the_code() -> None:
    sources = "".join(path.read_text() for path in Path("kfunc").rglob("*.py") if "manifests" not in path.parts)
    batcher = Metrics("batcher")
    Records(batcher).watch(batcher, queue_length=lambda: 0.0)
    known = set(re.findall(r'"(kfunc_[a-z_]+)"', sources)) | set(re.findall(r"# TYPE (\S+)", batcher.exposition()))
    asked = [alert.expression for alert in alerts(plan())]
    asked += [query for panel in panels(plan()) for query in panel.queries.values()]
    names = {name for text in asked for name in re.findall(r"kfunc_[a-z_]+", text)}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in names} - known == set()


def test_the_dashboard_is_the_same_in_the_file_and_in_the_config_map() -> None:
    rendered = render(plan(), "monitoring")
    text = rendered.texts["monitoring/dashboard.json"]
    assert manifest("ConfigMap")["data"] == {"default.iris.json": text}
    assert msgspec.json.decode(text) == dashboard(plan())


def test_functions_with_long_names_have_dashboards_of_their_own() -> None:
    uids = {uid(f"kfunc-team-recommendations-production_ranker-{letter}") for letter in "ab"}
    assert len(uids) == 2
    assert {len(one) for one in uids} == {40}


@pytest.mark.parametrize(
    ("pod", "own"),
    [
        ("iris-7d9f8c6b5-x2x4z", True),
        ("iris-candidate-7d9f8c6b5-x2x4z", True),
        ("iris-b-7d9f8c6b5-x2x4z", False),
        ("iris-b-candidate-7d9f8c6b5-x2x4z", False),
    ],
)
def test_a_deployments_restarts_are_not_its_neighbours(pod: str, own: bool) -> None:
    loaded = next(alert for alert in alerts(structs.replace(plan(), mode="raw")) if alert.name == "KfuncModelLoadFailed")
    (pattern,) = re.findall('pod=~"([^"]+)"', loaded.expression)
    assert bool(re.fullmatch(pattern, pod)) is own


def test_every_panel_has_a_place_of_its_own() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard(plan())["panels"]]
    assert len(set(places)) == len(places)


def test_what_a_function_has_not_is_not_on_its_dashboard() -> None:
    function = read_function(parse_source(b"name: iris\ninference:\n  model: {uri: model.onnx}\n  monitoring: {}\n"))
    shown = " ".join(panel.title for panel in panels(Plan(function, complete(function, "onnx"))))
    assert [word for word in ("GPU", "Spans", "Batch", "Events") if word in shown] == []
    assert "Requests by model" in shown


def test_without_the_block_nothing_is_rendered() -> None:
    function = read_function(parse_source(FUNCTION.partition("  monitoring")[0].encode()))
    assert render(Plan(function, complete(function, "onnx")), "monitoring").files == {}
