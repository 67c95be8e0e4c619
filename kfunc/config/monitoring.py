"""`inference.monitoring`: what Prometheus collects, when it warns, and what Grafana shows."""

from typing import Annotated

from msgspec import Meta

from kfunc.config.block import Block
from kfunc.config.inference import Seconds

Ratio = Annotated[float, Meta(gt=0, le=1)]


class Alerts(Block, frozen=True):
    """When somebody should look."""

    p99_ms: Annotated[float, Meta(gt=0, le=3_600_000, description="99th percentile of an answer's time, for 5 minutes.")] = (
        500.0
    )
    error_ratio: Annotated[Ratio, Meta(description="Part of the answers that are 5xx, for 5 minutes.")] = 0.01
    cold_start_s: Annotated[Seconds, Meta(description="From a process's start until its model answered.")] = 30.0
    queue_ratio: Annotated[Ratio, Meta(description="Part of the batcher's queue that is full, for 1 minute.")] = 0.8
    spool_ratio: Annotated[Ratio, Meta(description="Part of the logger's spool that is full, for 5 minutes.")] = 0.8


class Monitoring(Block, frozen=True):
    """Present: the objects of the Prometheus Operator and a dashboard are rendered."""

    interval_s: Annotated[int, Meta(ge=1, le=3_600, description="Time between two scrapes.")] = 15
    labels: Annotated[
        dict[str, str], Meta(description="Labels by which the operator finds the objects, such as release: prometheus.")
    ] = {}
    alerts: Annotated[Alerts, Meta(description="Thresholds.")] = Alerts()
    dashboard_labels: Annotated[
        dict[str, str],
        Meta(
            description="Labels by which Grafana finds the dashboard.",
            extra_json_schema={"default": {"grafana_dashboard": "1"}},
        ),
    ] = {}
