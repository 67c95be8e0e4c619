"""Reads what pods have counted, and asks Prometheus: the I/O of a rollout's analysis."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from kfunc.client.connections import Connections
from kfunc.client.errors import ClientError
from kfunc.client.wire import Request, parse_url
from kfunc.cluster.connection import Cluster
from kfunc.cluster.observed import name_of
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


class Scraped(Struct, frozen=True):
    """The counters of pods that answered, by name, and why a pod of a revision of which none did has none."""

    counters: dict[str, Sample] = {}
    failure: str = ""


def scrape(cluster: Cluster, namespace: str, pods: dict[str, list[Manifest]], port: int) -> Scraped:
    """What ready pods have counted; `pods` by tag. Of each revision the newest are asked, whose requests are fewest."""

    def ask(pod: Manifest) -> Sample | str:
        about = f"the metrics of {name_of(pod)} cannot be read"
        try:
            reply = cluster.ask_pod(namespace, name_of(pod), port, "/metrics", ASK_S)
        except ClusterError as error:
            return f"{about}: {error.message}"
        if reply.status != 200:
            return reply.refused(about) or f"{about}: port {port} answers {reply.status}"
        return read_exposition(reply.body.decode(errors="replace"))

    ready = {tag: sorted(filter(ready_at, own), key=ready_at, reverse=True)[:MOST_PODS] for tag, own in pods.items()}
    asked = [pod for own in ready.values() for pod in own]
    if not asked or not port:
        return Scraped()
    with ThreadPoolExecutor(min(AT_ONCE, len(asked))) as pool:
        found = dict(zip(map(name_of, asked), pool.map(ask, asked), strict=True))
    counters = {name: one for name, one in found.items() if isinstance(one, Sample)}
    silent = [found[name_of(own[0])] for own in ready.values() if own and not any(name_of(pod) in counters for pod in own)]
    return Scraped(counters, "; ".join(map(str, silent)))


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
