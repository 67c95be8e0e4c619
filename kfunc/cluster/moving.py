"""Brings a Knative Service to what was rendered without a request at a revision that nobody chose."""

from collections.abc import Callable

from kfunc.cluster.binding import (
    as_it_is,
    is_bound,
    is_latest_ready,
    needs_names,
    revision_name,
    with_names,
    with_template_kept,
)
from kfunc.cluster.connection import Cluster
from kfunc.errors import ClusterError
from kfunc.manifests.plan import Manifest

KIND = "KnativeService"
PAUSE_S = 0.2
LONGEST_S = 30.0
"""What Knative does within a second."""


class Move:
    """The way of one Service; `service` is to be applied first, and `finish` brings the rest when its revision is ready."""

    def __init__(
        self, cluster: Cluster, rendered: Manifest, force: bool, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._cluster, self._rendered, self._force = cluster, rendered, force
        self._clock, self._sleep = clock, sleep
        self._before = self._live()
        self.by_name = needs_names(rendered, self._before)
        self.service = with_template_kept(rendered, self._before)

    def bind(self) -> None:
        """Bind the traffic to the revisions that have it, where that is due. Raises ClusterError."""
        live = self._before
        if live is None or not self.by_name:
            return
        if any(part.get("latestRevision") for part in live["spec"]["traffic"]):
            self._cluster.apply(as_it_is(self._rendered, live), force=self._force)
        live = self._wait(is_bound, "does not bind the traffic to the revision that has it")
        self.service = with_template_kept(with_names(self._rendered, live), live)

    def finish(self) -> None:
        """The Service as it was rendered: the new revision, which is ready, gets everything. Raises ClusterError."""
        revision = revision_name(self._rendered)
        live = self._wait(
            lambda live: is_latest_ready(live, revision), f"does not take {revision} for the latest ready revision"
        )
        self._cluster.apply(with_template_kept(self._rendered, live), force=self._force)

    def _live(self) -> Manifest | None:
        about = self._rendered["metadata"]
        return self._cluster.get(KIND, about["name"], about["namespace"])

    def _wait(self, holds: Callable[[Manifest], bool], otherwise: str) -> Manifest:
        ends_at = self._clock() + LONGEST_S
        while True:
            live = self._live()
            if live is not None and holds(live):
                return live
            if live is None or self._clock() >= ends_at:
                raise ClusterError(f"Knative {otherwise}: does its controller run? Then kfunc deploy again")
            self._sleep(PAUSE_S)
