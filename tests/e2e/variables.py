"""The variables that name the cluster."""

from collections.abc import Mapping

NEEDED = {
    "KUBECONFIG": "configuration of a user who may create namespaces",
    "INGRESS": "URL of Istio's gateway, as http://203.0.113.7:80; the Host header picks the function",
    "INGRESS_DOMAIN": "what hosts end in: NAME.NAMESPACE.INGRESS_DOMAIN (kubectl get cm config-domain -n knative-serving)",
    "REGISTRY": "where images are pushed to and the cluster pulls from: HOST[:PORT][/PATH]; plain HTTP will do",
    "HOST_IP": "address of this machine as pods reach it, for a sink of events",
}
OPTIONAL = {
    "KUBECTL": "kubectl, if it is not on the path",
    "E2E_BASE_IMAGE": "a base image with Python; without it one is made from this machine's Python and pushed",
}


def lacking(environ: Mapping[str, str]) -> dict[str, str]:
    """Those that are needed and not set, with their meaning."""
    return {name: meaning for name, meaning in NEEDED.items() if not environ.get(name)}
