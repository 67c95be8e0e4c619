"""What a function has on the cluster at one moment, and how its parts are found in it. Pure."""

from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

from kfunc.config.deployment import Mode
from kfunc.config.labels import INSTANCE_LABEL
from kfunc.manifests.plan import Manifest

SERVICE_LABEL = "serving.knative.dev/service"
REVISION_LABEL = "serving.knative.dev/revision"
HASH_LABEL = "pod-template-hash"
DEPLOYMENT_REVISION = "deployment.kubernetes.io/revision"


class Observed(Struct, frozen=True):
    """One function's objects. `service` is the Knative Service, or the Deployment where there is no Knative.

    `said`: what a pod that is not ready answers at its readiness, by its name. `ended`: the last lines of
    containers that ended, by `POD/CONTAINER`.
    """

    name: str
    namespace: str
    mode: Mode = "knative"
    service: Manifest | None = None
    revisions: list[Manifest] = []
    deployments: list[Manifest] = []
    replica_sets: list[Manifest] = []
    pods: list[Manifest] = []
    events: list[Manifest] = []
    said: dict[str, bytes] = {}
    ended: dict[str, list[str]] = {}


class Container(Struct, frozen=True):
    """One container of a pod: its specification and status, each empty where there is none yet."""

    pod: str
    name: str
    spec: Manifest
    status: Manifest

    @property
    def waiting(self) -> Manifest:
        """Why it is not running, with `reason` and `message`; empty if it is."""
        found: Manifest = self.status.get("state", {}).get("waiting") or {}
        return found

    @property
    def ended(self) -> Manifest:
        """How it ended last, with `exitCode`, `reason`, `message`; empty if it never did."""
        found: Manifest = self.status.get("state", {}).get("terminated") or self.status.get("lastState", {}).get("terminated")
        return found or {}

    @property
    def running(self) -> bool:
        return "running" in self.status.get("state", {})

    @property
    def restarts(self) -> int:
        """How often it ended, the last time included: it was started again once less, unless it runs."""
        count: int = self.status.get("restartCount", 0)
        return count + (bool(self.ended) and not self.running)


class Condition(Struct, frozen=True):
    """One condition of an object's status; unknown where the object has none of the type."""

    status: Literal["True", "False", "Unknown"] = "Unknown"
    reason: str = ""
    message: str = ""
    type: str = ""

    @property
    def words(self) -> str:
        """What it says of its status."""
        return self.message or self.reason


def conditions(manifest: Manifest | None) -> list[Condition]:
    """All of them, in the order in which the object has them."""
    found: list[Any] = ((manifest or {}).get("status") or {}).get("conditions") or []
    return [Condition(each["status"], each.get("reason", ""), each.get("message", ""), each["type"]) for each in found]


def condition(manifest: Manifest | None, name: str) -> Condition:
    """The condition of this type."""
    return next((each for each in conditions(manifest) if each.type == name), Condition(type=name))


def is_observed(manifest: Manifest) -> bool:
    """Whether its controller has seen it as it is now: only then its status is about that."""
    seen: int = (manifest.get("status") or {}).get("observedGeneration", 0)
    wanted: int = manifest["metadata"].get("generation", 0)
    return seen >= wanted


def name_of(manifest: Manifest) -> str:
    name: str = manifest["metadata"]["name"]
    return name


def label(manifest: Manifest, key: str) -> str:
    """A label's value, empty where there is none."""
    found: str = (manifest["metadata"].get("labels") or {}).get(key, "")
    return found


def target(observed: Observed) -> str:
    """The newest revision, in raw mode the newest ReplicaSet's hash: what a deployment waits for. Empty before there is one."""
    if observed.service is None:
        return ""
    if observed.mode == "knative":
        latest: str = (observed.service.get("status") or {}).get("latestCreatedRevisionName", "")
        return latest
    own = [each for each in observed.replica_sets if label(each, INSTANCE_LABEL) == name_of(observed.service)]
    return label(max(own, key=_number), HASH_LABEL) if own else ""


def url(observed: Observed) -> str:
    """The function's plain address; empty before it has one."""
    if observed.mode == "raw":
        return f"http://{observed.name}.{observed.namespace}.svc.cluster.local" if observed.service else ""
    return str(((observed.service or {}).get("status") or {}).get("url", ""))


def routed(observed: Observed) -> list[Manifest]:
    """What Knative's route does now: shares with `revisionName`, `percent`, `tag`."""
    found: list[Manifest] = ((observed.service or {}).get("status") or {}).get("traffic") or []
    return found


def revision_of(observed: Observed, name: str) -> Manifest | None:
    """The Revision with this name."""
    return next((each for each in observed.revisions if name_of(each) == name), None)


def pods_of(observed: Observed, revision: str) -> list[Manifest]:
    """The pods of a revision (in raw mode of a ReplicaSet) that are not on their way out, oldest first."""
    key = REVISION_LABEL if observed.mode == "knative" else HASH_LABEL
    found = [pod for pod in observed.pods if label(pod, key) == revision and "deletionTimestamp" not in pod["metadata"]]
    return sorted(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))


def containers(pod: Manifest) -> Iterator[Container]:
    """A pod's containers, those that run first (`initContainers`) before the others."""
    for specs, statuses in (("initContainers", "initContainerStatuses"), ("containers", "containerStatuses")):
        told = {each["name"]: each for each in (pod.get("status") or {}).get(statuses) or []}
        for spec in pod["spec"].get(specs) or []:
            yield Container(name_of(pod), spec["name"], spec, told.get(spec["name"], {}))


def is_ready(pod: Manifest) -> bool:
    return condition(pod, "Ready").status == "True"


def events_of(observed: Observed, *names: str) -> list[Manifest]:
    """The events about objects of these names, oldest first."""
    found = [event for event in observed.events if event["involvedObject"]["name"] in names]
    return sorted(found, key=event_time)


def event_time(event: Manifest) -> str:
    """When it was last seen, RFC 3339: these sort as text."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"), event.get("firstTimestamp"))
    return next((str(time) for time in times if time), "")


def _number(replica_set: Manifest) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(DEPLOYMENT_REVISION, 0))
