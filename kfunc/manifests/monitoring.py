"""What the Prometheus Operator and Grafana read: a monitor, rules, a dashboard. Pure.

Knative lets a container have one port only, so that its pods' management port is in no list: the
address that Prometheus asks is made from the pod's.
"""

from msgspec import UNSET

from kfunc.config.labels import COMPONENT_LABEL
from kfunc.config.monitoring import Monitoring
from kfunc.config.places import MANAGEMENT_PORTS
from kfunc.manifests.alerts import alerts
from kfunc.manifests.containers import outer_port
from kfunc.manifests.dashboard import dashboard_json
from kfunc.manifests.mesh import selector
from kfunc.manifests.plan import Manifest, Part, Plan, metadata
from kfunc.manifests.queries import queries
from kfunc.manifests.raw_containers import METRICS

DASHBOARD = "monitoring/dashboard.json"
OPERATOR = "monitoring.coreos.com/v1"
GRAFANA = {"grafana_dashboard": "1"}
POD_IP, POD_PORT = "__meta_kubernetes_pod_ip", "__meta_kubernetes_pod_container_port_number"
REVISION = "__meta_kubernetes_pod_label_serving_knative_dev_revision"
INSTANCE = "__meta_kubernetes_pod_label_app_kubernetes_io_instance"


def build(plan: Plan) -> Part:
    """Nothing where func.yaml has no monitoring block."""
    monitoring = plan.function.inference.monitoring
    if monitoring is UNSET:
        return Part()
    monitor = pod_monitor(plan, monitoring) if plan.mode == "knative" else service_monitor(plan, monitoring)
    text = dashboard_json(plan)
    board: Manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(plan, f"{plan.name}-dashboard", monitoring.dashboard_labels or GRAFANA),
        "data": {f"{plan.namespace}.{plan.name}.json": text},
    }
    return Part([monitor, rules(plan, monitoring), board], texts={DASHBOARD: text})


def pod_monitor(plan: Plan, monitoring: Monitoring) -> Manifest:
    """Of a Knative Service's pods: one target a pod, by its port for requests, asked at its management port."""
    port = MANAGEMENT_PORTS[queries(plan).outermost]
    endpoint = {
        "path": "/metrics",
        "interval": f"{monitoring.interval_s}s",
        "relabelings": [
            {"sourceLabels": [POD_PORT], "regex": str(outer_port(plan)), "action": "keep"},
            {"sourceLabels": [POD_IP], "regex": "([0-9.]+)", "replacement": f"$1:{port}", "targetLabel": "__address__"},
            {"sourceLabels": [POD_IP], "regex": "(.*:.*)", "replacement": f"[$1]:{port}", "targetLabel": "__address__"},
            {"sourceLabels": [REVISION], "targetLabel": "revision"},
            {"replacement": plan.name, "targetLabel": "function"},
        ],
    }
    spec = {"selector": {"matchLabels": selector(plan)}, "podMetricsEndpoints": [endpoint]}
    described = metadata(plan, plan.name, monitoring.labels)
    return {"apiVersion": OPERATOR, "kind": "PodMonitor", "metadata": described, "spec": spec}


def service_monitor(plan: Plan, monitoring: Monitoring) -> Manifest:
    """Of a Deployment's Service, which has a port for metrics."""
    endpoint = {
        "port": METRICS,
        "path": "/metrics",
        "interval": f"{monitoring.interval_s}s",
        "relabelings": [
            {"sourceLabels": [INSTANCE], "targetLabel": "revision"},
            {"replacement": plan.name, "targetLabel": "function"},
        ],
    }
    chosen = selector(plan) | {COMPONENT_LABEL: METRICS}
    spec = {"selector": {"matchLabels": chosen}, "endpoints": [endpoint]}
    described = metadata(plan, plan.name, monitoring.labels)
    return {"apiVersion": OPERATOR, "kind": "ServiceMonitor", "metadata": described, "spec": spec}


def rules(plan: Plan, monitoring: Monitoring) -> Manifest:
    """The alerts as the operator's object."""
    group = {"name": f"kfunc-{plan.namespace}-{plan.name}", "rules": [alert.rule(plan.name) for alert in alerts(plan)]}
    described = metadata(plan, plan.name, monitoring.labels)
    return {"apiVersion": OPERATOR, "kind": "PrometheusRule", "metadata": described, "spec": {"groups": [group]}}
