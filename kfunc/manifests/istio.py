"""Istio's part of a function: the split traffic with its hosts, gateways and bounds. Pure."""

from msgspec import UNSET

from kfunc.manifests import entry, mesh
from kfunc.manifests.gateway import bounds_notes, destination_rules, entries, gateway, gateway_notes
from kfunc.manifests.knative import revision
from kfunc.manifests.plan import Part, Plan
from kfunc.manifests.split import described, split, traffic_of
from kfunc.manifests.virtual_service import virtual_services


def build(plan: Plan) -> Part:
    """Nothing where func.yaml has no traffic block, or leaves the split to Knative."""
    if plan.function.inference.traffic is UNSET or traffic_of(plan).via != "istio":
        return Part(notes=mesh.notes(plan))
    made = [*gateway(plan), *virtual_services(plan), *entries(plan)]
    made += destination_rules(plan, revision(plan) if plan.mode == "knative" else "")
    notes = [*entry.notes(plan), *gateway_notes(plan), *bounds_notes(plan), *mesh.notes(plan)]
    return Part(made, notes, urls(plan))


def urls(plan: Plan) -> list[str]:
    """The split traffic's address, and the preview's."""
    shares = split(plan)
    made = [f"{url} ({described(shares)})" for url in entry.urls(plan)]
    if traffic_of(plan).strategy == "blue-green" and len(shares) > 1:
        made += [f"{url} (the new revision)" for url in entry.urls(plan, entry.PREVIEW)]
    return made
