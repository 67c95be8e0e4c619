"""`kfunc logs`: what all containers of a function write, as one stream."""

from collections.abc import Iterable

import click
import msgspec

from kfunc.cli.on_cluster import cluster_options, connect, named
from kfunc.cluster.log_streams import Following, Line, merged
from kfunc.cluster.observed import REVISION_LABEL, containers
from kfunc.config.labels import NAME_LABEL
from kfunc.errors import KfuncError

EPILOG = """\b
Example:
  kfunc logs iris -f
  kfunc logs iris -c handler --tail 20
  kfunc logs iris --previous
"""
OWN = ("handler", "batcher", "logger")


@click.command(epilog=EPILOG)
@click.argument("function", metavar="[NAME|DIR]", default=".")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, also by pods that come later.")
@click.option("-c", "--container", multiple=True, help="handler, batcher, logger, queue-proxy …; the first three by default.")
@click.option("--revision", metavar="NAME", default="", help="Only its pods.")
@click.option("--tail", type=click.IntRange(0), default=100, show_default=True, help="Lines of each container that are there.")
@click.option("--since", metavar="SECONDS", type=click.IntRange(1), help="Only lines that are not older.")
@click.option("--previous", is_flag=True, help="Of the containers before their last restart.")
@cluster_options
def logs(
    function: str,
    follow: bool,
    container: tuple[str, ...],
    revision: str,
    tail: int,
    since: int | None,
    previous: bool,
    namespace: str,
    context: str,
    output: str,
) -> int:
    """Show the logs of a function: handler, batcher and logger of each of its pods, by time.

    With --output json each line is an object: at, pod, container, text.
    """
    if follow and (previous or since):
        raise click.UsageError("--follow goes on from now: it excludes --previous and --since")
    cluster = connect(context)
    asked = named(function, namespace, cluster)
    labels = {NAME_LABEL: asked.name} | ({REVISION_LABEL: revision} if revision else {})
    chosen = set(container or OWN)
    pods = cluster.objects("Pod", asked.namespace, labels)
    if not follow and not pods:
        raise KfuncError(no_pods(asked.name, asked.namespace))
    there = {each.name for pod in pods for each in containers(pod)}
    if unknown := sorted(set(container) - there) if pods else []:
        raise KfuncError(f"its pods have no container {', '.join(unknown)}: -c takes {', '.join(sorted(there))}")
    many = follow or len(pods) > 1
    if not follow:
        show(merged(cluster, pods, chosen, tail=tail, since_s=since, previous=previous), many, output)
        return 0
    following = Following(cluster, asked.namespace, labels, chosen, tail)
    try:
        show(following.lines(), many, output)
    finally:
        following.stop()
    return 0


def no_pods(name: str, namespace: str) -> str:
    """There are no pods: what that may mean."""
    return (
        f"{name} has no pods in the namespace {namespace}: nothing asks for it (kfunc invoke --remote {name} does), "
        "or it is not there (kfunc status)"
    )


def show(lines: Iterable[Line], many: bool, output: str) -> None:
    """Print lines with their container, and of several pods with the end of its name."""
    for line in lines:
        if output == "json":
            click.echo(msgspec.json.encode(line))
        else:
            pod = f"{line.pod.rpartition('-')[2]} " if many and line.pod else ""
            click.echo(f"[{pod}{line.container}] {line.text}")
