"""`kfunc delete`: takes a function off the cluster, with everything that belongs to it."""

import time

import click
import msgspec

from kfunc.cli.on_cluster import Named, cluster_options, connect, holder_name, named
from kfunc.cluster.applying import Outcome, remove_all, wait_gone
from kfunc.cluster.connection import Cluster
from kfunc.cluster.faults import MISSING
from kfunc.cluster.lock import Lock
from kfunc.errors import ClusterError, KfuncError

EPILOG = """\b
Example:
  kfunc delete iris
  kfunc delete iris -n team --wait=false
"""
TIMEOUT_S = 330.0  # a pod's longest grace, and some seconds


@click.command(epilog=EPILOG)
@click.argument("function", metavar="[NAME|DIR]", default=".")
@click.option("--wait", type=bool, default=True, metavar="BOOLEAN", help="Wait until its pods have ended; --wait=false: not.")
@click.option("--timeout", type=click.FloatRange(min=1), default=TIMEOUT_S, show_default=True, help="Longest wait, s.")
@cluster_options
def delete(function: str, wait: bool, timeout: float, namespace: str, context: str, output: str) -> int:
    """Delete a function of the cluster: its service, revisions, routes, settings; requests in flight are finished.

    Images stay in their registry, and what func.yaml only names (Secrets, claims, brokers) stays as well.
    """
    cluster = connect(context)
    asked = named(function, namespace, cluster)
    removed = _removed(cluster, asked, output == "text")
    left = wait_gone(cluster, asked.name, asked.namespace, timeout, time.monotonic, time.sleep) if wait and removed else []
    if output == "json":
        objects = [{"kind": each.manifest["kind"], "name": each.manifest["metadata"]["name"]} for each in removed]
        where = {"name": asked.name, "function": asked.name, "namespace": asked.namespace}
        click.echo(msgspec.json.encode(where | {"removed": objects, "left": left}))
    elif not removed:
        click.echo(f"there is nothing of {asked.name} in the namespace {asked.namespace}")
    if left:
        raise KfuncError(f"still there after {timeout:g} s: {', '.join(left)}; kubectl describe pod says what holds them")
    return 0


def _removed(cluster: Cluster, asked: Named, is_told: bool) -> list[Outcome]:
    """What was deleted, while nobody else changes the function. Raises Locked."""
    removed = []
    try:
        with Lock(cluster, asked.name, asked.namespace, f"kfunc delete ({holder_name()})") as lock:
            for outcome in remove_all(cluster, asked.name, asked.namespace, asked.gateway_namespace):
                removed.append(outcome)
                lock.renew()
                if is_told:
                    click.echo(outcome)
            lock.remove()
    except ClusterError as error:
        if error.code != MISSING:  # without its namespace there is no function
            raise
    return removed
