"""What the cluster has: access, rights, Knative and Istio with their versions, the features that a function needs."""

from collections.abc import Iterator
from pathlib import Path

from kfunc.cli.brokers import broker_findings
from kfunc.cli.findings import Finding
from kfunc.cli.on_cluster import connect
from kfunc.cli.planning import KNATIVE_NAMESPACE, cluster_domain, needed_settings, plan_for
from kfunc.cluster.connection import Cluster
from kfunc.cluster.observed import condition
from kfunc.config.complete import DEFAULT_NAMESPACE
from kfunc.errors import ClusterError, KfuncError, StartupError
from kfunc.manifests.outputs import render
from kfunc.manifests.plan import Manifest, Plan, Release

RIGHTS = (("patch", "KnativeService"), ("list", "Pod"), ("list", "Event"), ("create", "Lease"), ("patch", "VirtualService"))
KNATIVE = ("controller", "webhook", "autoscaler", "activator")
INSTALL_KNATIVE = "https://knative.dev/docs/install has the steps; inference.mode: raw needs no Knative"
INSTALL_ISTIO = "https://istio.io/latest/docs/setup has the steps; traffic.via: knative needs no Istio of the function's own"
PLACEHOLDER = Release(image="registry.example.com/doctor:1")


def cluster_findings(directory: Path | None, namespace: str, context: str) -> Iterator[Finding]:
    """Everything about the cluster; only why there is none where there is none."""
    try:
        cluster = connect(context)
        version = cluster.version()
    except StartupError as error:
        yield Finding("cluster", "note", error.message)
        return
    except ClusterError as error:
        yield Finding("cluster", "bad", error.message)
        return
    yield Finding("cluster", "good", f"Kubernetes {version} at {cluster.server}")
    try:
        plan = plan_for(directory, PLACEHOLDER, namespace, cluster) if directory else None
        yield from _rights(cluster, plan.namespace if plan else namespace or cluster.namespace or DEFAULT_NAMESPACE)
        yield from _program(cluster, "Knative Serving", KNATIVE_NAMESPACE, KNATIVE, INSTALL_KNATIVE)
        yield from _program(cluster, "Istio", "istio-system", ("istiod",), INSTALL_ISTIO)
        yield from _domain(cluster)
        if plan is not None:
            yield from _settings(cluster, plan)
            yield from broker_findings(cluster, plan)
    except KfuncError as error:
        yield Finding("cluster", "bad", error.message)


def _rights(cluster: Cluster, namespace: str) -> Iterator[Finding]:
    if cluster.get("Namespace", namespace) is None:
        yield Finding("cluster", "bad", f"there is no namespace {namespace}", f"kubectl create namespace {namespace}")
    lacking = [f"{verb} {kind}" for verb, kind in RIGHTS if not cluster.may(verb, kind, namespace)]
    if lacking:
        advice = "have a role with these rights bound to you (edit, and Knative's and Istio's own)"
        yield Finding("cluster", "bad", f"in the namespace {namespace} you may not: {', '.join(lacking)}", advice)
    else:
        yield Finding("cluster", "good", f"you may deploy to the namespace {namespace}")


def _program(cluster: Cluster, name: str, namespace: str, parts: tuple[str, ...], install: str) -> Iterator[Finding]:
    """A control plane: which version, and whether each part runs."""
    try:
        found = {part: cluster.get("Deployment", part, namespace) for part in parts}
    except ClusterError as error:
        yield Finding("cluster", "note", f"{name}: {error.message}")
        return
    there = {part: deployment for part, deployment in found.items() if deployment is not None}
    if not there:
        yield Finding("cluster", "bad" if name == "Knative Serving" else "note", f"there is no {name}", install)
        return
    down = [part for part, deployment in found.items() if condition(deployment, "Available").status != "True"]
    version = _version(next(iter(there.values())))
    if down:
        advice = f"kubectl get pods -n {namespace}"
        yield Finding("cluster", "bad", f"{name} {version}: {', '.join(down)} not available", advice)
    else:
        yield Finding("cluster", "good", f"{name} {version}")


def _version(deployment: Manifest) -> str:
    """A release's own label, else the tag of its image."""
    labels = deployment["metadata"].get("labels") or {}
    for key in ("app.kubernetes.io/version", "serving.knative.dev/release", "operator.istio.io/version"):
        if labels.get(key):
            return str(labels[key])
    image: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    _, colon, tag = image.partition("@")[0].rpartition(":")
    return tag if colon and "/" not in tag else "of unknown version"


def _domain(cluster: Cluster) -> Iterator[Finding]:
    domain = cluster_domain(cluster)
    if domain in ("", "example.com", "svc.cluster.local"):
        text = f"functions have no domain of their own ({domain or 'config-domain cannot be read'})"
        yield Finding("cluster", "note", text, "set it in the ConfigMap config-domain of knative-serving")
    else:
        yield Finding("cluster", "good", f"functions are at NAME.NAMESPACE.{domain}")


def _settings(cluster: Cluster, plan: Plan) -> Iterator[Finding]:
    notes = render(plan).notes
    for note in needed_settings(cluster, notes):
        yield Finding("cluster", "bad", f"{note.text}, and it is off", note.command)
    if not needed_settings(cluster, notes):
        yield Finding("cluster", "good", f"Knative's features that {plan.name} needs are on")
