"""The pod's specification that a Knative Service and a Deployment share. Pure."""

from msgspec import UNSET, Struct

from kfunc.config.deployment import Toleration
from kfunc.config.logger import SPOOL_PATH, sinks_of
from kfunc.manifests.containers import containers
from kfunc.manifests.features import feature
from kfunc.manifests.mesh import selector
from kfunc.manifests.plan import Manifest, Note, Plan
from kfunc.manifests.volumes import claim_notes, volumes

TOPOLOGY = {"zone": "topology.kubernetes.io/zone", "node": "kubernetes.io/hostname"}


class Pod(Struct, frozen=True):
    """A pod's spec, and the feature flags that Knative takes it with."""

    spec: Manifest
    notes: list[Note]


def pod(plan: Plan) -> Pod:
    """The pod with all its containers; nothing that only one of the two kinds of service takes."""
    deploy = plan.function.deploy
    mounted = volumes(plan)
    spec: Manifest = {"serviceAccountName": deploy.service_account_name} if deploy.service_account_name else {}
    if not deploy.service_account_name:
        spec["automountServiceAccountToken"] = False  # nothing here talks to Kubernetes
    spec["enableServiceLinks"] = False  # a Service called "kfunc" would put KFUNC_… variables into the pod
    if deploy.image_pull_secret:
        spec["imagePullSecrets"] = [{"name": deploy.image_pull_secret}]
    spec["containers"] = containers(plan, mounted)
    if mounted:
        spec["volumes"] = [volume.volume() for volume in mounted]
    nodes, notes = scheduling(plan)
    return Pod(spec | nodes, claim_notes(mounted) + notes + file_notes(plan) + accelerator_notes(plan))


def file_notes(plan: Plan) -> list[Note]:
    """A file is a place for events on a laptop; in a pod it is gone with it."""
    logger = plan.config.logger
    files = [] if logger is None else [sink.to for sink in sinks_of(logger) if sink.to.startswith("file:")]
    text = "the logger's sink %s is a file: in the pod it can write only below %s, and that is gone with the pod"
    return [Note(text % (file, SPOOL_PATH)) for file in files]


def accelerator_notes(plan: Plan) -> list[Note]:
    """A device that is used but not asked for is not in the pod."""
    inference = plan.function.inference
    if plan.config.accelerator in ("auto", "cpu") or inference.gpu is not UNSET or inference.devices:
        return []
    return [Note(f"inference.accelerator is {plan.config.accelerator}, and no GPU is asked for: add gpu: {{count: 1}}")]


def scheduling(plan: Plan) -> tuple[Manifest, list[Note]]:
    """Which nodes the pods go to."""
    given = plan.function.inference.scheduling
    spec: Manifest = {}
    if given.node_selector:
        spec["nodeSelector"] = given.node_selector
    if given.tolerations:
        spec["tolerations"] = [_toleration(toleration) for toleration in given.tolerations]
    if given.spread is not UNSET:
        spec["topologySpreadConstraints"] = [spread(TOPOLOGY[given.spread], selector(plan))]
    if given.priority_class:
        spec["priorityClassName"] = given.priority_class
    if given.runtime_class:
        spec["runtimeClassName"] = given.runtime_class
    return spec, [feature(FLAGS[field][0], f"inference.scheduling.{FLAGS[field][1]}") for field in spec]


def spread(key: str, labels: dict[str, str]) -> Manifest:
    """The pods with these labels evenly over the values of a node's label, as far as there are several."""
    chosen = {"matchLabels": labels}
    return {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": chosen}


FLAGS = {
    "nodeSelector": ("kubernetes.podspec-nodeselector", "node_selector"),
    "tolerations": ("kubernetes.podspec-tolerations", "tolerations"),
    "topologySpreadConstraints": ("kubernetes.podspec-topologyspreadconstraints", "spread"),
    "priorityClassName": ("kubernetes.podspec-priorityclassname", "priority_class"),
    "runtimeClassName": ("kubernetes.podspec-runtimeclassname", "runtime_class"),
}


def _toleration(toleration: Toleration) -> Manifest:
    given = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": "" if toleration.effect is UNSET else toleration.effect,
        "tolerationSeconds": "" if toleration.toleration_s is UNSET else toleration.toleration_s,
    }
    return {key: value for key, value in given.items() if value != ""}
