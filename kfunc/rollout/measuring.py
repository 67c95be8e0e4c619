"""Reads what pods have counted, and asks Prometheus: the I/O of a rollout's analysis."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from kfunc.client.connections import Connections
from kfunc.client.errors import ClientError
from kfunc.client.wire import Request, parse_url
from kfunc.cluster.connection import Cluster
from kfunc.errors import ClusterError, StartupError
from kfunc.manifests.plan import Manifest
from kfunc.rollout.exposition import read_exposition
from kfunc.rollout.pods import ready_at
from kfunc.rollout.prometheus import Unanswered, filled, path_of, read_number, read_sample, read_vector, sample_queries
from kfunc.rollout.state import Rollout
from kfunc.rollout.statistics import Sample

ASK_S = 3.0
AT_ONCE = 16
MOST_PODS = 50
"""Of each revision, so many are asked; more say nothing new."""
SERVICE = "service:"
EVERY_S = 5.0
"""Prometheus is not asked more often: its own values are no fresher."""

Ask = Callable[[str], tuple[int, bytes]]


def scrape(cluster: Cluster, namespace: str, pods: list[Manifest], port: int) -> dict[str, Sample]:
    """The counters of pods that are ready, by name; those that do not answer are left out."""

    def ask(pod: Manifest) -> tuple[str, Sample | None]:
        name = pod["metadata"]["name"]
        try:
            reply = cluster.ask_pod(namespace, name, port, "/metrics", ASK_S)
        except ClusterError:
            return name, None
        return name, read_exposition(reply.body.decode(errors="replace")) if reply.status == 200 else None

    ready = [pod for pod in pods if ready_at(pod)][:MOST_PODS]
    if not ready or not port:
        return {}
    with ThreadPoolExecutor(min(AT_ONCE, len(ready))) as pool:
        return {name: counters for name, counters in pool.map(ask, ready) if counters is not None}


class Prometheus:
    """One Prometheus, by its URL or by a Service of the cluster. Raises StartupError for another address."""

    def __init__(self, address: str, cluster: Cluster) -> None:
        self._connections: Connections | None = None
        self._ask = self._by_service(address, cluster) if address.startswith(SERVICE) else self._by_url(address)
        self._asked_at = -EVERY_S
        self._since = 0.0

    def _by_service(self, address: str, cluster: Cluster) -> Ask:
        namespace, _, rest = address.removeprefix(SERVICE).partition("/")
        name, _, port = rest.partition(":")
        if not (namespace and name and port.isdigit()):
            raise StartupError(f"inference.traffic.analysis.prometheus: {address} is not service:NAMESPACE/NAME:PORT")

        def ask(path: str) -> tuple[int, bytes]:
            reply = cluster.ask_service(namespace, name, int(port), path, ASK_S)
            return reply.status, reply.body

        return ask

    def _by_url(self, address: str) -> Ask:
        connections = self._connections = Connections(parse_url(address))

        def ask(path: str) -> tuple[int, bytes]:
            try:
                answer = connections.send(Request("GET", path, {"accept": "application/json"}, b"", ASK_S))
            except ClientError as error:
                raise Unanswered(error.message) from None
            return answer.status, answer.body

        return ask

    def close(self) -> None:
        """Close the connections."""
        if self._connections is not None:
            self._connections.close()

    def is_due(self, rollout: Rollout) -> bool:
        """Whether it is time to ask again."""
        now = time.monotonic()
        if now - self._asked_at < EVERY_S and rollout.window.since == self._since:
            return False
        self._asked_at, self._since = now, rollout.window.since
        return True

    def samples(self, rollout: Rollout, now: float) -> dict[str, Sample]:
        """What each revision answered since the step began. Raises Unanswered, ClusterError."""
        found = {}
        for share in rollout.shares:
            queries = sample_queries(rollout, share, now)
            found[share.tag] = read_sample({name: read_vector(*self._ask(path_of(text))) for name, text in queries.items()})
        return found

    def values(self, rollout: Rollout, now: float) -> dict[str, dict[str, float | None]]:
        """func.yaml's queries, by name and tag. Raises Unanswered, ClusterError."""
        return {
            query.name: {
                share.tag: read_number(*self._ask(path_of(filled(query, rollout, share, now)))) for share in rollout.shares
            }
            for query in rollout.settings.analysis.queries
        }
