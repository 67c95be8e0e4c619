"""The Knative Service of a function. Pure."""

from kfunc.manifests.plan import Part, Plan, metadata


def build(plan: Plan) -> Part:
    """The Service, with what it needs of the cluster."""
    service = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": metadata(plan, plan.name)}
    return Part([service])
