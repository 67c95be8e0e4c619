"""Collects everything about a function that helps somebody else to find what is wrong with it, without its secrets."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from kfunc.cluster.applying import RENDERED, owned
from kfunc.cluster.connection import Cluster
from kfunc.cluster.kinds import kind_of
from kfunc.cluster.observed import SERVICE_LABEL, Observed, containers, name_of
from kfunc.cluster.observing import events_about
from kfunc.cluster.pod_references import named_by, values_of
from kfunc.cluster.redaction import Redactor
from kfunc.config.labels import NAME_LABEL
from kfunc.config.places import MANAGEMENT_PORTS
from kfunc.errors import ClusterError
from kfunc.manifests.plan import Manifest
from kfunc.manifests.yaml_text import write

OF_KNATIVE = ("Configuration", "Revision", "Route", "PodAutoscaler", "Ingress", "Deployment", "ReplicaSet", "Pod")
"""What Knative makes of a Service, by its label."""
OF_SERVING = ("features", "autoscaler", "defaults", "deployment", "domain", "gc", "istio", "network", "observability")
SETTINGS = (*(("knative-serving", f"config-{name}") for name in OF_SERVING), ("istio-system", "istio"))
"""ConfigMaps of Knative and of the mesh: namespace, name."""
MOST_LINES = 10_000
METRICS = "/metrics"
INJECTED = "kube-root-ca.crt"  # in every namespace; each pod's token volume has it


class Collection:
    """The files of one bundle: `files` gives their paths and contents. What could not be read is listed, not raised."""

    def __init__(self, cluster: Cluster, observed: Observed, gateway_namespace: str) -> None:
        self._cluster = cluster
        self._observed = observed
        self._gateway_namespace = gateway_namespace
        self.unread: list[str] = []
        self._named = named_by(_pod_specs(observed))
        self.redactor = Redactor(self._known_secrets())

    def files(self) -> Iterator[tuple[str, str]]:
        """Path and text of each file."""
        yield from self._manifests()
        yield "events.txt", self.redactor.text("\n".join(map(_event, self._events()))) + "\n"
        for pod in self._observed.pods:
            yield from self._logs(pod)
            yield from self._metrics(pod)
        yield from self._settings()
        if self.unread:
            yield "unread.txt", "\n".join(self.unread) + "\n"

    def _events(self) -> list[Manifest]:
        observed = self._observed
        return self._read("events", lambda: events_about(self._cluster, observed.name, observed.namespace))

    def _manifests(self) -> Iterator[tuple[str, str]]:
        observed, namespace = self._observed, self._observed.namespace
        found: dict[str, Manifest] = {}
        own = {SERVICE_LABEL if observed.mode == "knative" else NAME_LABEL: observed.name}
        for kind in OF_KNATIVE:
            for manifest in self._read(kind, partial(self._cluster.objects, kind, namespace, own)):
                found[_place(manifest)] = manifest
        for name in sorted(self._named.config_maps - {INJECTED}):
            for manifest in self._read(name, partial(self._config_map, namespace, name)):
                found[_place(manifest)] = manifest
        rendered = self._read("manifests", lambda: list(self._owned()))
        found |= {_place(manifest): manifest for manifest in rendered}
        for place, manifest in sorted(found.items()):
            yield place, write(self.redactor.manifest(manifest))

    def _owned(self) -> Iterator[Manifest]:
        return owned(self._cluster, self._observed.name, self._observed.namespace, self._gateway_namespace, RENDERED)

    def _logs(self, pod: Manifest) -> Iterator[tuple[str, str]]:
        where = pod["metadata"]["namespace"], name_of(pod)
        for each in containers(pod):
            for previous in (False, True) if each.restarts else (False,):
                about = f"{name_of(pod)}/{each.name}{'.previous' if previous else ''}"
                try:
                    lines = list(self._cluster.logs(*where, each.name, previous=previous, tail=MOST_LINES, timestamps=True))
                except ClusterError as error:
                    self._missed(f"log of {about}", error.message)
                    continue
                yield f"logs/{about}.log", self.redactor.text("\n".join(lines)) + "\n"

    def _metrics(self, pod: Manifest) -> Iterator[tuple[str, str]]:
        """What each process of kfunc's in the pod shows at its management port."""
        for name, port in MANAGEMENT_PORTS.items():
            if not any(each.name == name and each.running for each in containers(pod)):
                continue
            try:
                reply = self._cluster.ask_pod(pod["metadata"]["namespace"], name_of(pod), port, METRICS)
            except ClusterError as error:
                self._missed(f"metrics of {name_of(pod)}/{name}", error.message)
                continue
            if reply.status == 200:
                yield f"metrics/{name_of(pod)}/{name}.txt", self.redactor.text(reply.body.decode(errors="replace"))
            else:
                self._missed(f"metrics of {name_of(pod)}/{name}", f"status {reply.status}")

    def _settings(self) -> Iterator[tuple[str, str]]:
        """Knative's and the mesh's own settings, less the examples in them."""
        for namespace, name in SETTINGS:
            for manifest in self._read(name, partial(self._config_map, namespace, name)):
                kept = {key: value for key, value in (manifest.get("data") or {}).items() if key != "_example"}
                yield f"settings/{name}.yaml", write(self.redactor.manifest({**manifest, "data": kept}))

    def _config_map(self, namespace: str, name: str) -> list[Manifest]:
        found = self._cluster.get("ConfigMap", name, namespace)
        return [found] if found else []

    def _read(self, about: str, read: Callable[[], list[Manifest]]) -> list[Manifest]:
        try:
            return read()
        except ClusterError as error:
            self._missed(about, error.message)
            return []

    def _known_secrets(self) -> set[str]:
        """The values of the Secrets that the pods use, as far as they may be read: logs must not show them."""
        values: set[str] = set()
        for name in self._named.secrets:
            with suppress(ClusterError):
                values |= values_of(self._cluster.get("Secret", name, self._observed.namespace) or {})
        return values

    def _missed(self, about: str, why: str) -> None:
        self.unread.append(self.redactor.text(f"{about}: {why}"))


def _pod_specs(observed: Observed) -> Iterator[Manifest]:
    """Of the pods, and of the template that the next ones will have: there may be no pod now."""
    yield from (pod["spec"] for pod in observed.pods)
    if observed.service is not None:
        yield observed.service["spec"]["template"]["spec"]


def _place(manifest: Manifest) -> str:
    kind = kind_of(manifest)
    return f"manifests/{kind.lower()}-{name_of(manifest)}.yaml"


def _event(event: Manifest) -> str:
    when = event.get("lastTimestamp") or event.get("eventTime") or ""
    about = event["involvedObject"]
    return f"{when} {event['type']} {event['reason']} {about['kind']}/{about['name']}: {event['message']}"
