"""Knative Eventing: where the function's events go, and which events reach it. Pure."""

from kfunc.manifests.plan import Part, Plan


def build(plan: Plan) -> Part:
    """Triggers for the subscriptions of func.yaml."""
    return Part()
