"""A Grafana dashboard of one function, as the JSON that Grafana imports. Pure."""

import hashlib
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from kfunc.manifests.plan import Plan
from kfunc.manifests.queries import RATE, Queries, queries

SCHEMA_VERSION = 39
MAX_UID = 40
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, COLUMNS = 8, 8, 3
MODEL = "{{model}} {{version}}"
IN_MODEL = {"compute": "computing", "queue": "waiting for a thread"}


class Panel(Struct, frozen=True):
    """A chart: queries by their legends, and the unit of the values."""

    title: str
    unit: str
    queries: dict[str, str]


def dashboard(plan: Plan) -> dict[str, Any]:
    """The whole dashboard."""
    return {
        "uid": uid(f"kfunc-{plan.namespace}_{plan.name}"),
        "title": f"kfunc {plan.namespace}/{plan.name}",
        "tags": ["kfunc"],
        "schemaVersion": SCHEMA_VERSION,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels(plan))],
    }


def uid(name: str) -> str:
    """By which Grafana knows a dashboard; a long name is cut and gets its hash, or functions would overwrite each other's."""
    return name if len(name) <= MAX_UID else f"{name[: MAX_UID - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def dashboard_json(plan: Plan) -> str:
    """As text, with a line end."""
    return msgspec.json.format(msgspec.json.encode(dashboard(plan)), indent=2).decode() + "\n"


def panels(plan: Plan) -> list[Panel]:
    """What is shown, from the callers' side inwards."""
    asked = queries(plan)
    shown = [*_request_panels(asked), *_start_panels(asked)]
    if plan.config.batcher is not None:
        shown += _batch_panels(asked)
    if plan.config.logger is not None:
        shown += _event_panels(asked)
    if plan.function.inference.server is UNSET:
        shown += _model_panels(asked)
    gpu = plan.function.inference.gpu
    if gpu is not UNSET and gpu.vendor == "nvidia":
        shown += _gpu_panels(asked)
    if plan.function.inference.telemetry is not UNSET:
        shown += _trace_panels(asked)
    return shown


def _request_panels(asked: Queries) -> list[Panel]:
    return [
        Panel("Requests", "reqps", {"{{code}}": f"sum by (code) ({asked.requests()})"}),
        Panel("Answer times", "s", {f"p{round(part * 100)}": asked.latency(part) for part in (0.5, 0.95, 0.99)}),
        Panel("Errors", "percentunit", {"5xx": asked.error_ratio()}),
        Panel("Requests by revision", "reqps", {"{{revision}}": f"sum by (revision) ({asked.requests()})"}),
        Panel("99th percentile by revision", "s", {"{{revision}}": asked.latency(0.99, "revision")}),
        Panel("Pods", "short", {"pods": f"count(count by (pod) ({asked.metric('kfunc_requests_total')}))"}),
    ]


def _start_panels(asked: Queries) -> list[Panel]:
    return [
        Panel("Cold start", "s", {"slowest pod": f"max({asked.metric('kfunc_cold_start_seconds')})"}),
        Panel("Model load", "s", {"slowest pod": f"max({asked.metric('kfunc_model_load_seconds')})"}),
    ]


def _batch_panels(asked: Queries) -> list[Panel]:
    size, count = (asked.metric(f"kfunc_batch_size_{part}") for part in ("sum", "count"))
    mean = f"sum(rate({size}[{RATE}])) / sum(rate({count}[{RATE}]))"
    return [
        Panel("Requests in a batch", "short", {"mean": mean}),
        Panel("Batch queue", "short", {"{{pod}}": f"max by (pod) ({asked.metric('kfunc_batch_queue_length')})"}),
    ]


def _event_panels(asked: Queries) -> list[Panel]:
    kinds = ("accepted", "delivered", "dropped")
    rates = {kind: f"sum(rate({asked.metric(f'kfunc_events_{kind}_total')}[{RATE}]))" for kind in kinds}
    return [
        Panel("Events", "eps", rates),
        Panel("Spool", "bytes", {"{{pod}}": f"max by (pod) ({asked.metric('kfunc_spool_bytes')})"}),
        Panel("Events waiting", "short", {"{{pod}}": f"max by (pod) ({asked.metric('kfunc_events_waiting')})"}),
    ]


def _model_panels(asked: Queries) -> list[Panel]:
    of = "sum by (model, version)"
    buckets = asked.metric("kfunc_model_compute_seconds_bucket")
    slow = f"histogram_quantile(0.99, sum by (le, model, version) (rate({buckets}[{RATE}])))"
    requests, failed = asked.rate("kfunc_model_requests_total"), asked.rate("kfunc_model_requests_total", 'status="5xx"')
    # Seconds of a kind in each second are how many requests are in it (Little's law).
    busy = {part: f"{of} ({asked.rate(f'kfunc_model_{name}_seconds_sum')})" for name, part in IN_MODEL.items()}
    load = asked.metric("kfunc_model_version_load_seconds")
    return [
        Panel("Requests by model", "reqps", {MODEL: f"{of} ({requests})", f"{MODEL} failed": f"{of} ({failed})"}),
        Panel("99th percentile in the model", "s", {MODEL: slow}),
        Panel("Requests in the model", "short", {f"{MODEL} {part}": query for part, query in busy.items()}),
        Panel("Load by model", "s", {MODEL: f"max by (model, version) ({load})"}),
    ]


def _gpu_panels(asked: Queries) -> list[Panel]:
    used, whole, busy = (
        f"sum by (pod, gpu) ({asked.metric(f'kfunc_gpu_{name}')})"
        for name in ("memory_used_bytes", "memory_total_bytes", "utilization_ratio")
    )
    return [
        Panel("GPU memory", "bytes", {"{{pod}} {{gpu}} used": used, "{{pod}} {{gpu}} all": whole}),
        Panel("GPU memory used", "percentunit", {"{{pod}} {{gpu}}": f"{used} / {whole}"}),
        Panel("GPU computes", "percentunit", {"{{pod}} {{gpu}}": busy}),
    ]


def _trace_panels(asked: Queries) -> list[Panel]:
    sent, lost = (f"sum({asked.rate(f'kfunc_spans_{what}_total')})" for what in ("exported", "dropped"))
    return [Panel("Spans", "short", {"sent per second": sent, "lost per second": lost})]


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    targets = [
        {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "datasource": DATASOURCE}
        for place, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": DATASOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }
