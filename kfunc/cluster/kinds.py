"""The kinds of objects that kfunc reads and writes, and their paths in the API. Pure.

A literal table instead of discovery: a command asks for what it needs, and nothing before that.
"""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from msgspec import Struct

from kfunc.manifests.plan import Manifest

Key = tuple[str, str, str]
"""Kind, namespace and name of an object."""


class Kind(Struct, frozen=True):
    """One kind: where it is in the API, and what a cluster lacks that has no such path."""

    group: str
    version: str
    plural: str
    namespaced: bool = True
    needs: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


KNATIVE, EVENTING = "Knative Serving", "Knative Eventing"
ISTIO, PROMETHEUS = "Istio", "the Prometheus operator"

# Service is Kubernetes' own; Knative's, which has the same kind, is called KnativeService here.
KINDS: dict[str, Kind] = {
    "ConfigMap": Kind("", "v1", "configmaps"),
    "Event": Kind("", "v1", "events"),
    "Namespace": Kind("", "v1", "namespaces", namespaced=False),
    "Node": Kind("", "v1", "nodes", namespaced=False),
    "Pod": Kind("", "v1", "pods"),
    "ResourceQuota": Kind("", "v1", "resourcequotas"),
    "Secret": Kind("", "v1", "secrets"),
    "Service": Kind("", "v1", "services"),
    "ServiceAccount": Kind("", "v1", "serviceaccounts"),
    "Role": Kind("rbac.authorization.k8s.io", "v1", "roles"),
    "RoleBinding": Kind("rbac.authorization.k8s.io", "v1", "rolebindings"),
    "SelfSubjectAccessReview": Kind("authorization.k8s.io", "v1", "selfsubjectaccessreviews", namespaced=False),
    "Job": Kind("batch", "v1", "jobs"),
    "Deployment": Kind("apps", "v1", "deployments"),
    "ReplicaSet": Kind("apps", "v1", "replicasets"),
    "HorizontalPodAutoscaler": Kind("autoscaling", "v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": Kind("policy", "v1", "poddisruptionbudgets"),
    "Lease": Kind("coordination.k8s.io", "v1", "leases"),
    "KnativeService": Kind("serving.knative.dev", "v1", "services", needs=KNATIVE),
    "Configuration": Kind("serving.knative.dev", "v1", "configurations", needs=KNATIVE),
    "Revision": Kind("serving.knative.dev", "v1", "revisions", needs=KNATIVE),
    "Route": Kind("serving.knative.dev", "v1", "routes", needs=KNATIVE),
    "PodAutoscaler": Kind("autoscaling.internal.knative.dev", "v1alpha1", "podautoscalers", needs=KNATIVE),
    "Ingress": Kind("networking.internal.knative.dev", "v1alpha1", "ingresses", needs=KNATIVE),
    "Broker": Kind("eventing.knative.dev", "v1", "brokers", needs=EVENTING),
    "Trigger": Kind("eventing.knative.dev", "v1", "triggers", needs=EVENTING),
    "SinkBinding": Kind("sources.knative.dev", "v1", "sinkbindings", needs=EVENTING),
    "VirtualService": Kind("networking.istio.io", "v1", "virtualservices", needs=ISTIO),
    "DestinationRule": Kind("networking.istio.io", "v1", "destinationrules", needs=ISTIO),
    "Gateway": Kind("networking.istio.io", "v1", "gateways", needs=ISTIO),
    "ServiceEntry": Kind("networking.istio.io", "v1", "serviceentries", needs=ISTIO),
    "Sidecar": Kind("networking.istio.io", "v1", "sidecars", needs=ISTIO),
    "AuthorizationPolicy": Kind("security.istio.io", "v1", "authorizationpolicies", needs=ISTIO),
    "RequestAuthentication": Kind("security.istio.io", "v1", "requestauthentications", needs=ISTIO),
    "PeerAuthentication": Kind("security.istio.io", "v1", "peerauthentications", needs=ISTIO),
    "PodMonitor": Kind("monitoring.coreos.com", "v1", "podmonitors", needs=PROMETHEUS),
    "ServiceMonitor": Kind("monitoring.coreos.com", "v1", "servicemonitors", needs=PROMETHEUS),
    "PrometheusRule": Kind("monitoring.coreos.com", "v1", "prometheusrules", needs=PROMETHEUS),
    "ScaledObject": Kind("keda.sh", "v1alpha1", "scaledobjects", needs="KEDA"),
}


def kind_of(manifest: Manifest) -> str:
    """The name in KINDS of an object's kind. Raises KeyError for one that is not there."""
    name: str = manifest["kind"]
    if name == "Service" and manifest["apiVersion"].startswith("serving.knative.dev/"):
        return "KnativeService"
    if KINDS[name].api_version != manifest["apiVersion"]:
        raise KeyError(f"{manifest['apiVersion']} {name}")
    return name


def key_of(manifest: Manifest) -> Key:
    """What an object is called by: the name in KINDS, its namespace and its own name."""
    about = manifest["metadata"]
    return kind_of(manifest), str(about["namespace"]), str(about["name"])


def path(kind: str, namespace: str = "", name: str = "", *more: str, query: Mapping[str, object] | None = None) -> str:
    """The path of a collection, an object, or what is below one (`log`, `proxy` …)."""
    entry = KINDS[kind]
    parts = ["apis", entry.group, entry.version] if entry.group else ["api", entry.version]
    if entry.namespaced and namespace:
        parts += ["namespaces", namespace]
    parts += [part for part in (entry.plural, name, *more) if part]
    asked = urlencode({key: str(value) for key, value in (query or {}).items() if value not in ("", None)})
    return "/" + "/".join(quote(part, safe=":") for part in parts) + (f"?{asked}" if asked else "")


def selector(labels: Mapping[str, str] | None) -> str:
    """Labels as the API's label selector."""
    return ",".join(f"{key}={value}" for key, value in (labels or {}).items())


def shown(manifest: Manifest) -> str:
    """An object in a message: `Service iris`, `Knative Service iris`."""
    kind = "Knative Service" if manifest["apiVersion"].startswith("serving.knative.dev/") else manifest["kind"]
    return f"{kind} {manifest['metadata']['name']}"
