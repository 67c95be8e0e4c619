"""The Prometheus Operator's rules: when somebody should look at a function. Pure."""

from msgspec import UNSET, Struct

from kfunc.config.monitoring import Alerts
from kfunc.manifests.plan import Manifest, Plan
from kfunc.manifests.queries import queries


class Alert(Struct, frozen=True):
    """One rule; `{{ $value }}` in the text is the query's value when it fires."""

    name: str
    expression: str
    lasting: str
    severity: str
    summary: str
    description: str

    def rule(self, function: str) -> Manifest:
        """As Prometheus has it."""
        made: Manifest = {"alert": self.name, "expr": self.expression}
        if self.lasting:
            made["for"] = self.lasting
        return made | {
            "labels": {"severity": self.severity, "function": function},
            "annotations": {"summary": self.summary, "description": self.description},
        }


def alerts(plan: Plan) -> list[Alert]:
    """All that the function's processes can cause."""
    monitoring = plan.function.inference.monitoring
    limits = Alerts() if monitoring is UNSET else monitoring.alerts
    made = [*_requests(plan, limits), *_model(plan, limits), _traces(plan)]
    if plan.config.batcher is not None:
        made.append(_batcher(plan, limits, plan.config.batcher.max_queue))
    if plan.config.logger is not None:
        made += _logger(plan, limits)
    return made


def _requests(plan: Plan, limits: Alerts) -> list[Alert]:
    asked, where = queries(plan), f"{plan.namespace}/{plan.name}"
    return [
        Alert(
            "KfuncHighLatency",
            f"{asked.latency(0.99)} > {limits.p99_ms / 1000:g}",
            "5m",
            "critical",
            f"{where} answers slowly",
            f"The 99th percentile of its answers is {{{{ $value | humanizeDuration }}}}, more than {limits.p99_ms:g} ms.",
        ),
        Alert(
            "KfuncErrors",
            f"{asked.error_ratio()} > {limits.error_ratio:g}",
            "5m",
            "critical",
            f"{where} fails",
            f"{{{{ $value | humanizePercentage }}}} of its answers are 5xx, more than {limits.error_ratio * 100:g} %.",
        ),
    ]


def _model(plan: Plan, limits: Alerts) -> list[Alert]:
    asked, where = queries(plan), f"{plan.namespace}/{plan.name}"
    failures = asked.increase("kfunc_model_load_failures_total", "10m")
    named = "[^-]+-deployment-.+" if plan.mode == "knative" else "(candidate-)?[^-]+-[^-]+"  # iris-b's pods are not iris's
    pods = f'namespace="{plan.namespace}",pod=~"{plan.name}-{named}",container="handler"'
    restarts = f"sum(increase(kube_pod_container_status_restarts_total{{{pods}}}[10m]))"
    return [
        Alert(
            "KfuncSlowColdStart",
            f"max({asked.metric('kfunc_cold_start_seconds')}) > {limits.cold_start_s:g}",
            "",
            "warning",
            f"{where} starts slowly",
            f"From a process's start until its model answered: {{{{ $value | humanizeDuration }}}}, "
            f"more than {limits.cold_start_s:g} s.",
        ),
        Alert(
            "KfuncModelLoadFailed",
            f"({failures} > 0) or ({restarts} > 0)",
            "",
            "critical",
            f"{where} cannot load its model",
            "A model could not be loaded, or the handler was started again, in the last 10 minutes: look at the handler's log.",
        ),
    ]


def _traces(plan: Plan) -> Alert:
    return Alert(
        "KfuncSpansDropped",
        f"{queries(plan).increase('kfunc_spans_dropped_total', '5m')} > 0",
        "",
        "warning",
        f"{plan.namespace}/{plan.name} loses spans of its traces",
        "{{ $value }} spans were dropped in 5 minutes: the collector is away, too slow, or refuses them.",
    )


def _batcher(plan: Plan, limits: Alerts, most: int) -> Alert:
    queue = queries(plan).metric("kfunc_batch_queue_length")
    return Alert(
        "KfuncBatchQueueFull",
        f"max({queue}) / {most} > {limits.queue_ratio:g}",
        "1m",
        "warning",
        f"{plan.namespace}/{plan.name} batches too slowly",
        "The batcher's queue is {{ $value | humanizePercentage }} full; at 100 % it answers 503.",
    )


def _logger(plan: Plan, limits: Alerts) -> list[Alert]:
    asked, where = queries(plan), f"{plan.namespace}/{plan.name}"
    return [
        Alert(
            "KfuncEventsDropped",
            f"{asked.increase('kfunc_events_dropped_total', '5m')} > 0",
            "",
            "warning",
            f"{where} loses events",
            "{{ $value }} events were dropped in 5 minutes: the sink is too slow, or refuses them.",
        ),
        Alert(
            "KfuncSpoolFilling",
            f"max({asked.metric('kfunc_spool_bytes')} / {asked.metric('kfunc_spool_max_bytes')}) > {limits.spool_ratio:g}",
            "5m",
            "warning",
            f"{where} cannot get rid of its events",
            "The logger's spool is {{ $value | humanizePercentage }} full: the sink is down, or too slow.",
        ),
    ]
