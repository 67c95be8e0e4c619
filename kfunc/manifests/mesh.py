"""A sidecar of Istio in the function's pod: when there is one, and how the pod asks for it. Pure."""

from msgspec import UNSET

from kfunc.config.labels import NAME_LABEL
from kfunc.manifests.plan import Manifest, Note, Plan

SIDECAR_NOTE = (
    "the function's pods get a sidecar of Istio (inference.access.at: pod or inference.egress): the cluster needs Istio's "
    "injection, and a cold start waits for one container more"
)


def in_mesh(plan: Plan) -> bool:
    """Whether something that func.yaml asks for is done by a sidecar in the pod."""
    inference = plan.function.inference
    return inference.egress is not UNSET or (inference.access is not UNSET and inference.access.at == "pod")


def pod_labels(plan: Plan) -> dict[str, str]:
    """Labels of the pod template by which Istio's injector finds it."""
    return {"sidecar.istio.io/inject": "true"} if in_mesh(plan) else {}


def pod_annotations(plan: Plan) -> dict[str, str]:
    """Nothing of the function starts before its sidecar: the first call out would fail."""
    return {"proxy.istio.io/config": '{"holdApplicationUntilProxyStarts":true}'} if in_mesh(plan) else {}


def selector(plan: Plan) -> Manifest:
    """The function's pods, of whatever revision."""
    return {NAME_LABEL: plan.name}


def notes(plan: Plan) -> list[Note]:
    """What the sidecar costs."""
    return [Note(SIDECAR_NOTE)] if in_mesh(plan) else []
