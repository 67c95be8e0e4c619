"""`kfunc revisions`: which revisions a function has, and the removal of those that nothing needs."""

import click
import msgspec

from kfunc.cli.on_cluster import Named, cluster_options, connect, holder_name, named, table
from kfunc.cluster.applying import Outcome
from kfunc.cluster.collecting import collect
from kfunc.cluster.connection import Cluster
from kfunc.cluster.lock import Lock
from kfunc.cluster.observing import observe
from kfunc.cluster.revisions import revisions
from kfunc.cluster.rollout_record import record_name
from kfunc.config.deployment import Revisions
from kfunc.errors import KfuncError

EPILOG = """\b
Example:
  kfunc revisions iris
  kfunc revisions iris --prune --keep 2
"""


def _pruned(cluster: Cluster, asked: Named, keep: int, dry_run: bool) -> list[Outcome]:
    """What goes beyond `keep`, while nobody begins to need any of it. Raises Locked."""
    if dry_run:
        return collect(cluster, asked.name, asked.namespace, keep, dry_run=True)
    with Lock(cluster, asked.name, asked.namespace, f"kfunc revisions --prune ({holder_name()})"):
        return collect(cluster, asked.name, asked.namespace, keep)


@click.command("revisions", epilog=EPILOG)
@click.argument("function", metavar="[NAME|DIR]", default=".")
@click.option("--prune", is_flag=True, help="Remove those beyond --keep; never one that has traffic, a tag, or is the undo's.")
@click.option("--keep", type=click.IntRange(1, 100), help="How many without traffic stay; inference.revisions.keep by default.")
@click.option("--dry-run", is_flag=True, help="With --prune: say which, and remove none.")
@cluster_options
def revisions_command(
    function: str, prune: bool, keep: int | None, dry_run: bool, namespace: str, context: str, output: str
) -> int:
    """Show the revisions of a function, the newest first.

    `undo` marks the one that `kfunc rollout undo` goes back to.
    """
    cluster = connect(context)
    asked = named(function, namespace, cluster)
    observed = observe(cluster, asked.name, asked.namespace, asked.mode)
    if observed.service is None:
        raise KfuncError(f"there is no function {asked.name} in the namespace {asked.namespace}; kfunc deploy makes it")
    if observed.mode == "raw":
        raise KfuncError(f"{asked.name} runs without Knative (mode: raw): its Deployment keeps no revisions that could answer")
    if prune:
        policy = Revisions() if asked.function is None else asked.function.inference.revisions
        gone = _pruned(cluster, asked, keep or policy.keep, dry_run)
        names = [outcome.manifest["metadata"]["name"] for outcome in gone]
        if output == "json":
            click.echo(msgspec.json.encode({"removed": names, "dry_run": dry_run}))
        else:
            click.echo("\n".join(f"{name} {'would be ' if dry_run else ''}removed" for name in names) or "nothing to remove")
        return 0
    rows = revisions(observed, cluster.get("ConfigMap", record_name(asked.name), asked.namespace))
    if output == "json":
        click.echo(msgspec.json.encode(rows))
        return 0
    header = ("revision", "created", "state", "traffic", "tags", "pods", "")
    shown = []
    for row in rows:
        state = "ready" if row.ready else row.reason or "not ready"
        mark = "latest" if row.latest else "undo" if row.undo else ""
        shown.append((row.name, row.created, state, f"{row.percent} %", ",".join(row.tags), row.pods, mark))
    click.echo(table(header, shown))
    return 0
