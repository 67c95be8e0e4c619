"""Observed objects → how far a function has come and what keeps it back. Pure: no clock, no cluster.

Phases in their order: accepted, scheduling, pulling, starting, downloading, loading, routing, ready.
"""

import re
from collections.abc import Iterator
from typing import Literal

import msgspec
from msgspec import Struct

from kfunc.cluster.causes import AT_ONCE, ROUTE_S, Cause, creation_cause, pod_causes, revision_cause
from kfunc.cluster.observed import (
    HASH_LABEL,
    REVISION_LABEL,
    Observed,
    condition,
    containers,
    events_of,
    is_observed,
    is_ready,
    label,
    name_of,
    pods_of,
    revision_of,
    target,
)
from kfunc.manifests.plan import Manifest

Phase = Literal["missing", "accepted", "scheduling", "pulling", "starting", "downloading", "loading", "routing", "ready"]
ORDER: tuple[Phase, ...] = (
    "missing", "accepted", "scheduling", "pulling", "starting", "downloading", "loading", "routing", "ready",
)  # fmt: skip
QUOTED = re.compile(r'image "([^"]+)"')
PERCENT = re.compile(r"(downloading|loading)\b(.*)", re.IGNORECASE)
UNIT = 1e6


class Diagnosis(Struct, frozen=True):
    """How far it has come, that in words, and what keeps it back, the strongest first."""

    phase: Phase
    detail: str = ""
    causes: list[Cause] = []
    revision: str = ""


def diagnose(observed: Observed) -> Diagnosis:
    """Of the newest revision: what `deploy` waits for and `status` explains."""
    service, revision = observed.service, target(observed)
    if service is None:
        return Diagnosis("missing", f"there is no function {observed.name} in the namespace {observed.namespace}")
    if not is_observed(service):
        return Diagnosis("accepted", "the cluster has not begun with it")
    pods = pods_of(observed, revision) if revision else []
    if _is_serving(observed, revision):
        running = [pod for pod in pods if is_ready(pod)]
        ends = any(pod["metadata"].get("deletionTimestamp") for pod in observed.pods)
        idle = "no pod while nothing asks" + (", the last is ending" if ends else "")
        detail = f"{len(running)} pod{'s' if len(running) != 1 else ''}" if running else idle
        return Diagnosis("ready", detail, list(_troubles(observed, revision)), revision)
    phase: Phase
    made = observed.mode == "knative" and condition(revision_of(observed, revision), "Ready").status == "True"
    phase, detail = ("routing", "") if made else furthest(observed, pods)
    if phase == "routing":
        return Diagnosis("routing", *_route(observed), revision)
    return Diagnosis(phase, detail, list(_causes(observed, revision, pods)), revision)


def diagnose_revision(observed: Observed, revision: str, pods: list[Manifest]) -> Diagnosis:
    """Of one of several that is not ready: what a rollout waits for. `pods` are its own."""
    phase, detail = furthest(observed, pods)
    return Diagnosis(phase, detail, list(_causes(observed, revision, pods)), revision)


def furthest(observed: Observed, pods: list[Manifest]) -> tuple[Phase, str]:
    """The phase of the pod that has come furthest."""
    if not pods:
        return "accepted", "no pod yet"
    phases = [pod_phase(observed, pod) for pod in pods]
    return max(phases, key=lambda each: ORDER.index(each[0]))


def pod_phase(observed: Observed, pod: Manifest) -> tuple[Phase, str]:
    """How far one pod has come, and with what."""
    if is_ready(pod):
        return "routing", ""
    if condition(pod, "PodScheduled").status != "True":
        return "scheduling", "no node has taken the pod"
    pulling = _pulling(observed, pod)
    if pulling and not all(each.running for each in containers(pod)):
        return "pulling", pulling
    if (said := observed.said.get(name_of(pod))) is not None:
        return model_phase(said)
    waiting = [each.name for each in containers(pod) if not each.running]
    return "starting", f"{', '.join(waiting)} not running yet" if waiting else "all containers run, and none has answered yet"


def model_phase(said: bytes) -> tuple[Phase, str]:
    """What the handler does, from the body of its readiness answer.

    `{"error": TEXT, "phase": "downloading", "done": BYTES, "total": BYTES}`; the last three may be missing, and `hindrance`,
    which is in the text as well, be there.
    """
    try:
        value = msgspec.json.decode(said)
    except msgspec.DecodeError:
        value = None
    if not isinstance(value, dict):
        return "starting", said[:200].decode(errors="replace").strip()
    text = str(value.get("error", ""))
    done, total = value.get("done"), value.get("total")
    phase = str(value.get("phase", ""))
    if phase == "downloading" and "hindrance" not in value and isinstance(done, int) and isinstance(total, int) and total > 0:
        return "downloading", f"the model, {100 * done // total} % ({done / UNIT:.0f} of {total / UNIT:.0f} MB)"
    if "download" in (phase or text):
        return "downloading", text or phase
    return "loading", text or phase or "the model"


def _pulling(observed: Observed, pod: Manifest) -> str:
    """The images that are on their way to the pod's node."""
    wanted: dict[str, None] = {}
    for event in events_of(observed, name_of(pod)):
        found = QUOTED.search(event["message"])
        if found and event["reason"] == "Pulling":
            wanted[found[1]] = None
        elif found and event["reason"] == "Pulled":
            wanted.pop(found[1], None)
    return ", ".join(wanted)


def _is_serving(observed: Observed, revision: str) -> bool:
    """Whether the newest revision is what the service wants and has."""
    if observed.mode == "knative":
        # Ready is also true of a Service whose traffic is pinned elsewhere while a newer revision fails.
        ready = condition(observed.service, "Ready").status == "True"
        return ready and condition(revision_of(observed, revision), "Ready").status == "True"
    deployment = observed.service or {}
    status, wanted = deployment.get("status") or {}, int(deployment["spec"].get("replicas", 1))
    return min(int(status.get("updatedReplicas", 0)), int(status.get("availableReplicas", 0))) >= wanted


def _causes(observed: Observed, revision: str, pods: list[Manifest]) -> Iterator[Cause]:
    """What keeps a revision back: its pods' causes say more than the revision's own."""
    found = {cause.code: cause for pod in reversed(pods) for cause in pod_causes(observed, pod)}
    yield from found.values()
    own = revision_cause(revision_of(observed, revision)) if observed.mode == "knative" else None
    for deployment in observed.deployments:
        if label(deployment, REVISION_LABEL) in ("", revision):
            failure = condition(deployment, "ReplicaFailure")
            if failure.status == "True":
                own = own or creation_cause(failure.message)
            if condition(deployment, "Progressing").reason == "ProgressDeadlineExceeded" and not found:
                text = "no pod became ready within the time that the Deployment gives"
                own = own or Cause("never-ready", text, "inference.scaling.progress_deadline_s is that time", [], AT_ONCE)
    if own is not None and own.code not in found:
        yield own


def _troubles(observed: Observed, revision: str) -> Iterator[Cause]:
    """What goes wrong beside a revision that serves: pods that came later and do not come up."""
    key = REVISION_LABEL if observed.mode == "knative" else HASH_LABEL
    pods = [pod for pod in observed.pods if label(pod, key) == revision and not is_ready(pod)]
    yield from {cause.code: cause for pod in pods for cause in pod_causes(observed, pod)}.values()


def _route(observed: Observed) -> tuple[str, list[Cause]]:
    """The pods are ready and the address is not."""
    route = condition(observed.service, "RoutesReady")
    detail = route.message or route.reason or "the address is made"
    advice = "does Knative's ingress (net-istio) run? kubectl get pods -n knative-serving; kubectl get kingress"
    text = f"the pods are ready, and requests do not reach them: {detail}"
    return detail, [Cause("no-route", text, advice, [], ROUTE_S)]
