"""The plan of a function for one cluster: in the namespace that is meant, with the domain that the cluster has."""

import os
from pathlib import Path

from msgspec import UNSET
from msgspec.structs import replace

from kfunc.cli.function import find
from kfunc.cli.on_cluster import where
from kfunc.cli.render import load_plan
from kfunc.cluster.connection import Cluster
from kfunc.cluster.faults import FORBIDDEN
from kfunc.config.complete import complete
from kfunc.config.deployment import Mode
from kfunc.errors import ClusterError
from kfunc.manifests.features import setting_of, still_needed
from kfunc.manifests.plan import Note, Plan, Release

KNATIVE_NAMESPACE = "knative-serving"


def plan_for(directory: Path, release: Release, namespace: str, cluster: Cluster, mode: Mode | None = None) -> Plan:
    """The plan of the func.yaml in a folder. Raises StartupError and its kinds."""
    plan = load_plan(find(directory), release, mode, os.environ)
    function = replace(plan.function, namespace=where(plan.function, namespace, cluster))
    traffic = function.inference.traffic
    if plan.mode == "knative" and not function.domain and traffic is not UNSET and not traffic.hosts:
        function = replace(function, domain=cluster_domain(cluster))
    return replace(plan, function=function, config=complete(function, plan.config.model.runtime))


def needed_settings(cluster: Cluster, notes: list[Note]) -> list[Note]:
    """The settings that a function needs and the cluster does not have, each with the command that makes it."""
    wanted = {setting[0] for note in notes if (setting := setting_of(note))}
    found = {name: knative_settings(cluster, name) for name in wanted}
    return still_needed(notes, {name: data for name, data in found.items() if data is not None})


def knative_settings(cluster: Cluster, name: str) -> dict[str, str] | None:
    """One ConfigMap of Knative's; None where it may not be read."""
    try:
        data: dict[str, str] = (cluster.get("ConfigMap", name, KNATIVE_NAMESPACE) or {}).get("data") or {}
    except ClusterError as error:
        if error.code != FORBIDDEN:
            raise
        return None
    return data


def cluster_domain(cluster: Cluster) -> str:
    """The domain of functions that ask for none, as Knative's config-domain has it; empty where it cannot be read."""
    found = knative_settings(cluster, "config-domain") or {}
    # The default has an empty value; those for some labels have a selector. _example is a comment.
    return next((domain for domain, chosen in found.items() if not chosen.strip()), "")
