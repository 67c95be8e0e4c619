"""The Knative Service of a function. Pure."""

import hashlib
import math

import msgspec
from msgspec import UNSET

from kfunc.config.knative import MAX_TIMEOUT_S
from kfunc.config.labels import NAME_LABEL
from kfunc.manifests import mesh
from kfunc.manifests.annotations import scaling_notes, service_annotations, template_annotations
from kfunc.manifests.entry import DOMAIN_COMMAND
from kfunc.manifests.environment import configuration
from kfunc.manifests.plan import Manifest, Note, Part, Plan, given_labels, metadata
from kfunc.manifests.pod import pod
from kfunc.manifests.split import described, service_traffic, split, traffic_of

MARGIN_S = 5
"""Between our own answer that it took too long and Knative's, which says less."""
RESPONSE_START_S = 300
"""Knative's default for the first byte, which would end a longer call."""
VISIBILITY = "networking.knative.dev/visibility"
APPLY = "kubectl apply -f knative/service.yaml"
DOMAIN_LABEL = "func.domain"


def build(plan: Plan) -> Part:
    """The Service, with what it needs of the cluster."""
    visibility = plan.function.inference.visibility
    own = ({VISIBILITY: visibility} if visibility == "cluster-local" else {}) | _domain(plan)
    annotations = service_annotations(plan)
    service = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": metadata(plan, plan.name, given_labels(plan) | own) | ({"annotations": annotations} if annotations else {}),
        "spec": {"template": template(plan), "traffic": service_traffic(plan, revision(plan))},
    }
    notes = pod(plan).notes + scaling_notes(plan)
    if settings := configuration(plan):
        notes.append(
            Note(f"the settings are in the ConfigMap {settings['metadata']['name']}: kn applies only the Service", APPLY)
        )
    return Part([service, *([settings] if settings else [])], notes, [url(plan)])


def template(plan: Plan) -> Manifest:
    """What a revision is made from; its name is the Service's and a hash of all the rest."""
    annotations = template_annotations(plan) | mesh.pod_annotations(plan)
    described: Manifest = {"labels": {NAME_LABEL: plan.name} | given_labels(plan) | mesh.pod_labels(plan)}
    described |= {"annotations": annotations} if annotations else {}
    spec = revision_settings(plan) | pod(plan).spec
    digest = hashlib.sha256(msgspec.json.encode({"metadata": described, "spec": spec}, order="deterministic")).hexdigest()
    return {"metadata": {"name": f"{plan.name}-{digest[:8]}"} | described, "spec": spec}


def revision(plan: Plan) -> str:
    """The name of the revision that the plan makes."""
    name: str = template(plan)["metadata"]["name"]
    return name


def revision_settings(plan: Plan) -> Manifest:
    """Concurrency and times. The longest time is the pod's grace as well, so that requests in flight can finish."""
    function = plan.function
    concurrency = function.deploy.options.resources.limits.concurrency
    timeouts = function.inference.timeouts
    longest = max(plan.config.timeout_s, plan.config.grace_s)
    timeout = min(MAX_TIMEOUT_S, math.ceil(longest) + MARGIN_S)
    start = timeouts.response_start_s
    settings = {
        "containerConcurrency": concurrency,
        "timeoutSeconds": timeout,
        "responseStartTimeoutSeconds": timeout if start is UNSET and timeout > RESPONSE_START_S else start,
        "idleTimeoutSeconds": timeouts.idle_s,
    }
    return {name: value for name, value in settings.items() if value is not UNSET}


def settled(plan: Plan) -> Plan:
    """The plan without a release beside itself: a stable revision that is the one rendered has everything."""
    if plan.mode != "knative" or not plan.release.stable or plan.release.stable != revision(plan):
        return plan
    return msgspec.structs.replace(plan, release=msgspec.structs.replace(plan.release, stable="", weight=None))


def url(plan: Plan) -> str:
    """The Service's own address, as far as it can be known without the cluster, and what answers there."""
    shares = split(plan)
    if len(shares) == 1:
        return _address(plan)
    pinned = f"{shares[0].revision or 'the new revision'}, and nothing else"
    return f"{_address(plan)} ({pinned if traffic_of(plan).via == 'istio' else described(shares)})"


def _address(plan: Plan) -> str:
    if plan.function.inference.visibility == "cluster-local":
        return f"http://{plan.name}.{plan.namespace}.svc.cluster.local"
    domain = plan.function.domain or "DOMAIN"
    where = "" if plan.function.domain else f" (DOMAIN: {DOMAIN_COMMAND})"
    return f"http://{plan.name}.{plan.namespace}.{domain}{where}"


def _domain(plan: Plan) -> dict[str, str]:
    """The label by which the cluster's config-domain chooses the domain, as the func CLI has it."""
    return {DOMAIN_LABEL: plan.function.domain} if plan.function.domain else {}
