"""The cluster as a rollout sees and changes it: Knative Services, or Deployments, with Istio's objects around them."""

from msgspec.structs import replace

from kfunc.cluster.connection import Cluster
from kfunc.cluster.faults import CONFLICT
from kfunc.cluster.kinds import Key
from kfunc.cluster.observed import REVISION_LABEL, SERVICE_LABEL, Observed, condition, name_of
from kfunc.config.labels import INSTANCE_LABEL, NAME_LABEL
from kfunc.errors import ClusterError
from kfunc.manifests.plan import Manifest
from kfunc.rollout import knative_changes, raw_changes, raw_sizes
from kfunc.rollout.commands import RolloutRefused
from kfunc.rollout.hindrances import Hindrances
from kfunc.rollout.load import Place, Sender
from kfunc.rollout.measuring import Prometheus, scrape
from kfunc.rollout.objects import Annotate, Apply, Change, Delete, Difference, by_key
from kfunc.rollout.pods import read_pod, ready_at, request_port
from kfunc.rollout.prometheus import Unanswered
from kfunc.rollout.record import Record
from kfunc.rollout.state import Pod, Rollout, Seen

WATCHED = ("warming", "running", "switched")
"""Phases in which a candidate is wanted."""


class ClusterWorld:
    """What both kinds have in common: pods and what they count, Prometheus, requests of its own, and changes."""

    def __init__(self, cluster: Cluster, rollout: Rollout) -> None:
        self.cluster = cluster
        analysis = rollout.settings.analysis
        self._prometheus = Prometheus(analysis.prometheus, cluster) if analysis.prometheus else None
        made = analysis.load and Sender(cluster, rollout.namespace, rollout.settings.model, analysis.load)
        self._sender = made if isinstance(made, Sender) else None
        self._places: dict[str, list[Place]] = {}
        self._hindrances = Hindrances(cluster)

    def seen(
        self, rollout: Rollout, found: Observed, pods: dict[str, list[Manifest]], ready: dict[str, bool], now: float
    ) -> Seen:
        """The pods of each share, what they have counted, and why one that is not ready is not; `pods`, `ready` by tag."""
        self._places = {tag: [(name_of(pod), request_port(pod)) for pod in own if ready_at(pod)] for tag, own in pods.items()}
        port = rollout.settings.metrics_port if self._prometheus is None and rollout.phase in ("running", "switched") else 0
        scraped = scrape(self.cluster, rollout.namespace, pods, port)
        read: dict[str, list[Pod]] = {
            tag: [read_pod(found, pod, scraped.counters.get(name_of(pod))) for pod in own] for tag, own in pods.items()
        }
        unready = [share for share in rollout.candidates if not ready[share.tag]] if rollout.phase in WATCHED else []
        kept_back = self._hindrances.look(found, {share.revision: pods[share.tag] for share in unready}, now)
        broken = {share.tag: why.text for share in unready if (why := kept_back[share.revision]).is_final}
        unsent = self._sender.failure if self._sender is not None else ""
        whys = dict.fromkeys([*(why.text for why in kept_back.values()), scraped.failure, unsent])
        seen = Seen(why="; ".join(filter(None, whys)), pods=read, broken=broken, ready=ready)
        return self._with_values(rollout, seen, now)

    def _with_values(self, rollout: Rollout, seen: Seen, now: float) -> Seen:
        if self._prometheus is None or rollout.phase not in ("running", "switched") or not rollout.settled_at:
            return seen
        if not self._prometheus.is_due(rollout):
            return seen
        try:
            values = self._prometheus.values(rollout, now)
            samples = self._prometheus.samples(rollout, now) if rollout.settings.component else {}
            return replace(seen, samples=samples, values=values)
        except (Unanswered, ClusterError) as error:
            return replace(seen, why=f"{seen.why}{'; ' if seen.why else ''}Prometheus: {error.message}")

    def close(self) -> None:
        """Send no more requests, and close connections."""
        if self._sender is not None:
            self._sender.close()
        if self._prometheus is not None:
            self._prometheus.close()

    def load(self, record: Record, wanted: bool) -> None:
        """Send requests of our own from now on, or no more."""
        if self._sender is not None:
            self._sender.send(self._places, wanted)

    def read(self, keys: set[Key]) -> dict[Key, Manifest]:
        """The objects that there are, of those named."""
        found = {(kind, namespace, name): self.cluster.get(kind, name, namespace) for kind, namespace, name in sorted(keys)}
        return {key: manifest for key, manifest in found.items() if manifest is not None}

    def change(self, difference: Difference, rollout: Rollout) -> None:
        """Make the changes; what somebody else changed since it was looked at waits for the next look. Raises ClusterError.

        On the way to a winner one that is refused does not keep back the others, of which only the last delete anything.
        """
        refused: list[ClusterError] = []
        for change in difference.changes:
            if refused and (not rollout.winner or isinstance(change, Delete)):
                break
            try:
                self._make(change, rollout.namespace)
            except ClusterError as error:
                if error.may_pass:
                    raise
                refused.append(error)
        final = [error for error in refused if error.code != CONFLICT]
        if final:
            raise final[0]

    def _make(self, change: Change, namespace: str) -> None:
        if isinstance(change, Apply):
            self.cluster.apply(change.manifest, force=True)
        elif isinstance(change, Delete):
            kind, place, name = change.key
            self.cluster.delete(kind, name, place)
        elif isinstance(change, Annotate):
            about = {"resourceVersion": change.version, "annotations": change.annotations}
            self.cluster.patch("Revision", change.revision, namespace, {"metadata": about})


class KnativeWorld(ClusterWorld):
    """A Knative Service with its revisions."""

    def look(self, record: Record, now: float) -> Seen:
        """What there is. Raises ClusterError, and RolloutRefused where the function is gone."""
        rollout, namespace = record.rollout, record.rollout.namespace
        service = self.cluster.get("KnativeService", rollout.function, namespace)
        if service is None:
            raise _gone(rollout)
        of_service = {SERVICE_LABEL: rollout.function}
        revisions = {one["metadata"]["name"]: one for one in self.cluster.objects("Revision", namespace, of_service)}
        found = Observed(rollout.function, namespace, service=service, revisions=list(revisions.values()))
        by_revision: dict[str, list[Manifest]] = {}
        for pod in self.cluster.objects("Pod", namespace, of_service):
            by_revision.setdefault(pod["metadata"]["labels"].get(REVISION_LABEL, ""), []).append(pod)
        keys = (
            knative_changes.left_over(record) | set(knative_changes.final_traffic(record)) | set(by_key(record.objects.split))
        )
        self._live = knative_changes.Live(
            service,
            revisions,
            self.read(keys),
            {name: sum(ready_at(pod) > 0 for pod in pods) for name, pods in by_revision.items()},
        )
        pods = {share.tag: by_revision.get(share.revision, []) for share in rollout.shares}
        ready = {share.tag: self._is_ready(rollout, share.revision) for share in rollout.shares}
        seen = self.seen(rollout, found, pods, ready, now)
        difference = knative_changes.difference(record, self._live)
        return replace(seen, settled=difference.is_none, why=seen.why or difference.waiting)

    def _is_ready(self, rollout: Rollout, revision: str) -> bool:
        live = self._live.revisions.get(revision)
        enough = self._live.ready_pods.get(revision, 0) >= knative_changes.as_allowed(rollout.settings.warm, live)
        return live is not None and condition(live, "Ready").status == "True" and enough

    def arrange(self, record: Record) -> None:
        """Change what differs. Raises ClusterError."""
        self.change(knative_changes.difference(record, self._live), record.rollout)


class RawWorld(ClusterWorld):
    """Deployments, without Knative."""

    def look(self, record: Record, now: float) -> Seen:
        """What there is. Raises ClusterError, and RolloutRefused where the function is gone."""
        rollout, objects = record.rollout, record.objects
        wanted = [*objects.candidate, *objects.split, *objects.promoted, *objects.before]
        self._live = raw_changes.RawLive(self.read(set(by_key(wanted))))
        if ("Deployment", rollout.namespace, rollout.function) not in self._live.objects:
            raise _gone(rollout)
        by_instance: dict[str, list[Manifest]] = {}
        for pod in self.cluster.objects("Pod", rollout.namespace, {NAME_LABEL: rollout.function}):
            by_instance.setdefault(pod["metadata"]["labels"].get(INSTANCE_LABEL, ""), []).append(pod)
        pods = {share.tag: by_instance.get(share.revision, []) for share in rollout.shares}
        ready = {
            share.tag: sum(ready_at(pod) > 0 for pod in pods[share.tag])
            >= raw_sizes.as_allowed(rollout.settings.warm, self._live.objects, share.revision)
            for share in rollout.shares
        }
        tried = {("Deployment", rollout.namespace, share.revision) for share in rollout.candidates}
        deployments = [one for key, one in self._live.objects.items() if key in tried]
        found = Observed(rollout.function, rollout.namespace, "raw", deployments=deployments)
        seen = self.seen(rollout, found, pods, ready, now)
        difference = raw_changes.difference(record, self._live)
        return replace(seen, settled=difference.is_none, why=seen.why or difference.waiting)

    def arrange(self, record: Record) -> None:
        """Change what differs. Raises ClusterError."""
        self.change(raw_changes.difference(record, self._live), record.rollout)


def _gone(rollout: Rollout) -> RolloutRefused:
    return RolloutRefused(
        f"{rollout.function} is not in {rollout.namespace} any more: kfunc delete {rollout.function} removes what is left of it"
    )


def world_of(cluster: Cluster, rollout: Rollout) -> RawWorld | KnativeWorld:
    """The world that a rollout is of. Raises StartupError for settings that cannot be used."""
    return RawWorld(cluster, rollout) if rollout.mode == "raw" else KnativeWorld(cluster, rollout)
