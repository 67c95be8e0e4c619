"""The Job that drives a rollout from within the cluster, with no more rights than that takes. Pure."""

from kfunc.config.labels import COMPONENT_LABEL, own_labels
from kfunc.config.places import SCRATCH
from kfunc.manifests.plan import Manifest

READ, CHANGE = ["get", "list"], ["get", "list", "create", "patch", "delete"]
RULES: list[Manifest] = [
    {"apiGroups": [""], "resources": ["configmaps", "services"], "verbs": CHANGE},
    {"apiGroups": [""], "resources": ["pods", "events"], "verbs": READ},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get", "create"]},
    {"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"]},
    {"apiGroups": ["serving.knative.dev"], "resources": ["services"], "verbs": ["get", "list", "create", "patch"]},
    {"apiGroups": ["serving.knative.dev"], "resources": ["revisions"], "verbs": ["get", "list", "patch", "delete"]},
    {
        "apiGroups": ["networking.istio.io"],
        "resources": ["virtualservices", "destinationrules", "gateways", "serviceentries", "sidecars"],
        "verbs": CHANGE,
    },
    {
        "apiGroups": ["security.istio.io"],
        "resources": ["authorizationpolicies", "requestauthentications", "peerauthentications"],
        "verbs": CHANGE,
    },
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": CHANGE},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": CHANGE},
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": CHANGE},
    {"apiGroups": ["keda.sh"], "resources": ["scaledobjects"], "verbs": CHANGE},
    {"apiGroups": ["eventing.knative.dev"], "resources": ["triggers"], "verbs": CHANGE},
    {"apiGroups": ["sources.knative.dev"], "resources": ["sinkbindings"], "verbs": CHANGE},
    {
        "apiGroups": ["monitoring.coreos.com"],
        "resources": ["podmonitors", "servicemonitors", "prometheusrules"],
        "verbs": CHANGE,
    },
]
ELSEWHERE: list[Manifest] = [
    {
        "apiGroups": ["security.istio.io"],
        "resources": ["authorizationpolicies", "requestauthentications"],
        "verbs": CHANGE,
    },
    {"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"]},
]
"""In the gateway's namespace and in Prometheus'."""
RBAC = "rbac.authorization.k8s.io"
ROLLED_BACK = 1
"""The exit status that is a result; after any other the Job tries again."""


def rollout_job(
    function: str, namespace: str, image: str, identity: str, elsewhere: list[str], secret: str = ""
) -> list[Manifest]:
    """ServiceAccount, Roles, RoleBindings and the Job `identity`; `elsewhere` are other namespaces that it has to do with.

    `secret`: the Secret whose keys are the variables that a log's object store asks for.
    """
    name = f"{function}-rollout"
    made: list[Manifest] = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(function, name, namespace)}]
    for place in [namespace, *elsewhere]:
        own = name if place == namespace else f"{namespace}.{name}"
        rules = RULES if place == namespace else ELSEWHERE
        made.append({"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": _metadata(function, own, place), "rules": rules})
        made.append(
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": "RoleBinding",
                "metadata": _metadata(function, own, place),
                "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": own},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            }
        )
    job = _job(function, namespace, image, name, identity)
    if secret:
        job["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": secret}}]
    return [*made, job]


def _metadata(function: str, name: str, namespace: str) -> Manifest:
    return {"name": name, "namespace": namespace, "labels": own_labels(function)}


def _job(function: str, namespace: str, image: str, account: str, identity: str) -> Manifest:
    container = {
        "name": "rollout",
        "image": image,
        "command": ["python", "-m", "kfunc", "rollout", "drive", function, "-n", namespace, "--stay"],
        "env": [{"name": "HOME", "value": SCRATCH}],
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    pod = {"serviceAccountName": account, "restartPolicy": "Never", "containers": [container]}
    described = {"labels": {COMPONENT_LABEL: "rollout"}}
    failed = {"onExitCodes": {"containerName": "rollout", "operator": "In", "values": [ROLLED_BACK]}, "action": "FailJob"}
    spec = {
        "backoffLimit": 20,
        "ttlSecondsAfterFinished": 86_400,
        "podFailurePolicy": {"rules": [failed]},
        "template": {"metadata": described, "spec": pod},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(function, f"{account}-{identity}", namespace),
        "spec": spec,
    }
