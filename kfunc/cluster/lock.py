"""One command at a time changes a function: a Lease of its own in the function's namespace.

`kfunc deploy`, `delete` and `revisions --prune` hold it while they work, `kfunc rollout start`, `undo` and `abort` until their
record is kept, which others respect.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from kfunc.cluster.connection import Cluster
from kfunc.cluster.faults import CONFLICT
from kfunc.cluster.kinds import KINDS
from kfunc.config.labels import own_labels
from kfunc.errors import ClusterError, KfuncError
from kfunc.manifests.plan import Manifest

KIND = "Lease"
LEASE_S, RENEW_S = 30, 10.0


class Locked(KfuncError):
    """Another command changes the function."""

    status = 409


class Lock:
    """The lock as a context; `holder` is a name for people that no two processes share. Raises Locked, ClusterError.

    Its times are the cluster's, unless there is another `clock`: machines' own need not agree.
    """

    def __init__(
        self, cluster: Cluster, function: str, namespace: str, holder: str, clock: Callable[[], float] | None = None
    ) -> None:
        self._cluster, self._function, self._namespace = cluster, function, namespace
        self._holder, self._clock = holder, clock or cluster.now
        self._renewed_at = 0.0

    def __enter__(self) -> Self:
        now = self._clock()
        if not self._cluster.create(self._lease(now)):
            live = self._live()
            if live is not None and is_held(live, now):
                raise self._taken(live)
            self._write(live, self._holder, now)
        self._renewed_at = now
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._write(self._own(), "", self._clock())
        except (ClusterError, Locked):
            return  # it ends by itself

    def renew(self) -> None:
        """Say that we are still there, when that is due. Raises Locked where somebody else has taken over."""
        now = self._clock()
        if now - self._renewed_at >= RENEW_S:
            self._write(self._own(), self._holder, now)
            self._renewed_at = now

    def remove(self) -> None:
        """End it, and leave nothing of it. Raises ClusterError."""
        self._cluster.delete(KIND, lock_name(self._function), self._namespace)

    def _live(self) -> Manifest | None:
        return self._cluster.get(KIND, lock_name(self._function), self._namespace)

    def _own(self) -> Manifest | None:
        live = self._live()
        if live is not None and live["spec"].get("holderIdentity") != self._holder:
            raise self._taken(live)
        return live

    def _write(self, live: Manifest | None, holder: str, now: float) -> None:
        """Change the lease from what was seen of it."""
        if live is None:
            raise Locked(f"the lock of {self._function} was deleted meanwhile: try again")
        wanted = self._lease(now)
        about = wanted["metadata"] | {"resourceVersion": live["metadata"]["resourceVersion"]}
        try:
            body = {"metadata": about, "spec": wanted["spec"] | {"holderIdentity": holder}}
            self._cluster.patch(KIND, about["name"], self._namespace, body)
        except ClusterError as error:
            if error.code != CONFLICT:
                raise
            raise self._taken(self._live() or live) from None

    def _taken(self, live: Manifest) -> Locked:
        holder = live["spec"].get("holderIdentity") or "somebody else"
        return Locked(
            f"{holder} is changing {self._function}: wait until it has ended, and try again "
            f"(of one that was killed the lock ends after {LEASE_S} s)"
        )

    def _lease(self, now: float) -> Manifest:
        about = {"name": lock_name(self._function), "namespace": self._namespace, "labels": own_labels(self._function)}
        renewed = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self._holder, "leaseDurationSeconds": LEASE_S, "renewTime": renewed}
        return {"apiVersion": KINDS[KIND].api_version, "kind": KIND, "metadata": about, "spec": spec}


def lock_name(function: str) -> str:
    """The Lease's name."""
    return f"{function}-change"


def is_held(lease: Manifest, now: float) -> bool:
    """Whether its holder has promised to be there now."""
    spec = lease["spec"]
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return False
    return datetime.fromisoformat(spec["renewTime"]).timestamp() + int(spec.get("leaseDurationSeconds", 0)) > now
