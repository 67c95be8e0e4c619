"""The plan of a function for one cluster: in the namespace that is meant, with the domain that the cluster has."""

import os
from pathlib import Path

from msgspec import UNSET
from msgspec.structs import replace

from kfunc.cli.function import find
from kfunc.cli.on_cluster import where
from kfunc.cli.render import load_plan
from kfunc.cluster.connection import Cluster
from kfunc.config.complete import complete
from kfunc.config.deployment import Mode
from kfunc.errors import ClusterError
from kfunc.manifests.plan import Plan, Release


def plan_for(directory: Path, release: Release, namespace: str, cluster: Cluster, mode: Mode | None = None) -> Plan:
    """The plan of the func.yaml in a folder. Raises StartupError and its kinds."""
    plan = load_plan(find(directory), release, mode, os.environ)
    function = replace(plan.function, namespace=where(plan.function, namespace, cluster))
    traffic = function.inference.traffic
    if plan.mode == "knative" and not function.domain and traffic is not UNSET and not traffic.hosts:
        function = replace(function, domain=cluster_domain(cluster))
    return replace(plan, function=function, config=complete(function, plan.config.model.runtime))


def cluster_domain(cluster: Cluster) -> str:
    """The domain of functions that ask for none, as Knative's config-domain has it; empty where it cannot be read."""
    try:
        found = cluster.get("ConfigMap", "config-domain", "knative-serving") or {}
    except ClusterError as error:
        if error.code != 403:
            raise
        return ""
    # The default has an empty value; those for some labels have a selector. _example is a comment.
    return next((domain for domain, chosen in (found.get("data") or {}).items() if not chosen.strip()), "")
