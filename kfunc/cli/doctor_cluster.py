"""What the cluster has: access, rights, Knative and Istio with their versions, the features that a function needs."""

import re
from collections.abc import Iterator
from pathlib import Path

from kfunc.cli.brokers import broker_findings
from kfunc.cli.findings import Finding
from kfunc.cli.on_cluster import connect
from kfunc.cli.planning import KNATIVE_NAMESPACE, cluster_domain, needed_settings, plan_for
from kfunc.cluster.connection import Cluster
from kfunc.cluster.kinds import ISTIO, KINDS, kind_of
from kfunc.cluster.kinds import KNATIVE as KNATIVE_SERVING
from kfunc.cluster.observed import condition
from kfunc.config.complete import DEFAULT_NAMESPACE
from kfunc.errors import ClusterError, KfuncError, NoCluster, StartupError
from kfunc.manifests.features import setting_of
from kfunc.manifests.outputs import Rendered, render
from kfunc.manifests.plan import Manifest, Note, Plan, Release

RIGHTS = (("list", "Pod"), ("list", "Event"), ("create", "Lease"))
USUAL = ("KnativeService", "VirtualService")
"""What a function is made of as long as no func.yaml says more."""
KNATIVE = ("controller", "webhook", "autoscaler", "activator")
INSTALL_KNATIVE = "https://knative.dev/docs/install has the steps; inference.mode: raw needs no Knative"
INSTALL_ISTIO = "https://istio.io/latest/docs/setup has the steps; traffic.via: knative needs no Istio of the function's own"
VERSION = re.compile(r"v?\d+\.\d")
PLACEHOLDER = Release(image="registry.example.com/doctor:1")


def cluster_findings(directory: Path | None, namespace: str, context: str) -> Iterator[Finding]:
    """Everything about the cluster; only why there is none where there is none."""
    try:
        cluster = connect(context)
        version = cluster.version()
    except NoCluster as error:
        yield Finding("cluster", "note", error.message)
        return
    except (StartupError, ClusterError) as error:
        yield Finding("cluster", "bad", error.message)
        return
    yield Finding("cluster", "good", f"Kubernetes {version} at {cluster.server}")
    try:
        plan = plan_for(directory, PLACEHOLDER, namespace, cluster) if directory else None
        yield from _findings(cluster, plan, namespace or cluster.namespace or DEFAULT_NAMESPACE)
    except KfuncError as error:
        yield Finding("cluster", "bad", error.message)


def _findings(cluster: Cluster, plan: Plan | None, namespace: str) -> Iterator[Finding]:
    """About a cluster that answers: what a function, or any, needs of it."""
    rendered = render(plan) if plan is not None else None
    namespace = plan.namespace if plan is not None else namespace
    kinds = _kinds(rendered, namespace)
    needs = {KINDS[kind].needs for each in kinds.values() for kind in each}
    yield from _rights(cluster, namespace, kinds)
    yield from _program(cluster, KNATIVE_SERVING, KNATIVE_NAMESPACE, KNATIVE, INSTALL_KNATIVE, needed=KNATIVE_SERVING in needs)
    istio_needed = plan is not None and ISTIO in needs
    yield from _program(cluster, ISTIO, "istio-system", ("istiod",), INSTALL_ISTIO, needed=istio_needed)
    if KNATIVE_SERVING in needs:
        yield from _domain(cluster)
    if plan is not None and rendered is not None:
        yield from _settings(cluster, plan.name, rendered.notes)
        yield from broker_findings(cluster, plan)


def _kinds(rendered: Rendered | None, namespace: str) -> dict[str, list[str]]:
    """What a function is made of, by namespace, in the order of the manifests."""
    if rendered is None:
        return {namespace: list(USUAL)}
    found: dict[str, dict[str, None]] = {namespace: {}}
    for manifests in rendered.files.values():
        for manifest in manifests:
            found.setdefault(manifest["metadata"].get("namespace", namespace), {})[kind_of(manifest)] = None
    return {place: list(kinds) for place, kinds in found.items()}


def _rights(cluster: Cluster, namespace: str, kinds: dict[str, list[str]]) -> Iterator[Finding]:
    if cluster.get("Namespace", namespace) is None:
        yield Finding("cluster", "bad", f"there is no namespace {namespace}", f"kubectl create namespace {namespace}")
    may_all = True
    for place, named in kinds.items():
        rights = [*(RIGHTS if place == namespace else ()), *(("patch", kind) for kind in named)]
        lacking = [f"{verb} {kind}" for verb, kind in rights if not cluster.may(verb, kind, place)]
        if lacking:
            may_all = False
            advice = "have a role with these rights bound to you (edit, and Knative's and Istio's own)"
            yield Finding("cluster", "bad", f"in the namespace {place} you may not: {', '.join(lacking)}", advice)
    if may_all:
        yield Finding("cluster", "good", f"you may deploy to the namespace {namespace}")


def _program(
    cluster: Cluster, name: str, namespace: str, parts: tuple[str, ...], install: str, *, needed: bool
) -> Iterator[Finding]:
    """A control plane: which version, and whether each part runs."""
    try:
        found = {part: cluster.get("Deployment", part, namespace) for part in parts}
    except ClusterError as error:
        yield Finding("cluster", "note", f"{name}: {error.message}")
        return
    there = {part: deployment for part, deployment in found.items() if deployment is not None}
    if not there:
        yield Finding("cluster", "bad" if needed else "note", f"there is no {name}", install)
        return
    down = [part for part, deployment in found.items() if condition(deployment, "Available").status != "True"]
    version = _version(next(iter(there.values())))
    if down:
        advice = f"kubectl get pods -n {namespace}"
        text = f"{name} {version}: {', '.join(down)} not available"
        yield Finding("cluster", "bad" if needed or name == ISTIO else "note", text, advice)  # Knative asks Istio
    else:
        yield Finding("cluster", "good", f"{name} {version}")


def _version(deployment: Manifest) -> str:
    """A release's own label, else the tag of its image; what is no version is shown as what it is."""
    said = ""
    labels = deployment["metadata"].get("labels") or {}
    for key in ("app.kubernetes.io/version", "serving.knative.dev/release", "operator.istio.io/version"):
        value = str(labels.get(key) or "")
        if VERSION.match(value):
            return value
        said = said or (value and f"label {key}: {value}")
    pods = (deployment.get("spec") or {}).get("template") or {}
    image: str = pods["spec"]["containers"][0]["image"] if pods else ""
    _, colon, tag = image.partition("@")[0].rpartition(":")
    tag = tag if colon and "/" not in tag else ""
    if VERSION.match(tag):
        return tag
    said = said or (tag and f"tag of its image: {tag}")
    return f"of unknown version ({said})" if said else "of unknown version"


def _domain(cluster: Cluster) -> Iterator[Finding]:
    domain = cluster_domain(cluster)
    if domain in ("", "example.com", "svc.cluster.local"):
        text = f"functions have no domain of their own ({domain or 'config-domain cannot be read'})"
        yield Finding("cluster", "note", text, "set it in the ConfigMap config-domain of knative-serving")
    else:
        yield Finding("cluster", "good", f"functions are at NAME.NAMESPACE.{domain}")


def _settings(cluster: Cluster, name: str, notes: list[Note]) -> Iterator[Finding]:
    off = needed_settings(cluster, notes)
    for note in off:
        yield Finding("cluster", "bad", f"{note.text}, and it is off", note.command)
    if not off and any(setting_of(note) for note in notes):
        yield Finding("cluster", "good", f"Knative's features that {name} needs are on")
