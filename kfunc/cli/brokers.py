"""Whether the brokers that a function's logger sends to are there."""

from collections.abc import Iterator

from kfunc.cli.findings import Finding
from kfunc.cluster.connection import Cluster
from kfunc.cluster.observed import condition
from kfunc.config.brokers import DEFAULT, SCHEME, broker_name
from kfunc.config.logger import sinks_of
from kfunc.config.sink_addresses import targets
from kfunc.errors import ClusterError
from kfunc.manifests.plan import Plan

EVENTING_NAMESPACE = "knative-eventing"
INSTALL_EVENTING = "https://knative.dev/docs/install has the steps; inference.logger.sink names another sink"


def broker_findings(cluster: Cluster, plan: Plan) -> Iterator[Finding]:
    """The brokers that the logger's events go to; `default` where func.yaml names no sink."""
    for sink, why in brokers_of(plan).items():
        namespace, name = broker_name(sink, plan.namespace)
        shown = f"the broker {namespace}/{name}{why}"
        try:
            broker = cluster.get("Broker", name, namespace)
            eventing = broker or cluster.get("Deployment", "eventing-controller", EVENTING_NAMESPACE)
        except ClusterError as error:
            yield Finding("cluster", "note", f"{shown}: {error.message}")
            continue
        if not eventing:
            yield Finding("cluster", "bad", f"{shown} cannot be there: there is no Knative Eventing", INSTALL_EVENTING)
        elif broker is None:
            text = f"there is no broker {namespace}/{name}{why}: the events wait in the spool"
            yield Finding("cluster", "bad", text, f"kn broker create {name} -n {namespace}, or correct inference.logger")
        elif condition(broker, "Ready").status != "True":
            yield Finding("cluster", "bad", f"{shown} is not ready", f"kubectl describe broker {name} -n {namespace}")
        else:
            yield Finding("cluster", "good", f"{shown} is ready")


def brokers_of(plan: Plan) -> dict[str, str]:
    """The brokers that a function's logger sends to, each with why it is one where func.yaml does not name it."""
    logger = plan.config.logger
    if logger is None:
        return {}
    named = {sink: "" for sink in targets(logger) if sink.startswith(SCHEME)}
    if not sinks_of(logger) and not plan.function.inference.eventing.sink_binding:
        named[DEFAULT] = " (the logger's sink, since inference.logger names none)"
    return named
