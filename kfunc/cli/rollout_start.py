"""`kfunc rollout start` and `undo`: a new rollout begins, and is driven from here or by a Job."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import UNSET

from kfunc.cli.on_cluster import cluster_options, connect, named
from kfunc.cli.planning import plan_for
from kfunc.cli.render import parse_digest, parse_image
from kfunc.errors import StartupError
from kfunc.manifests.plan import Release

if TYPE_CHECKING:
    from kfunc.cluster.connection import Cluster
    from kfunc.rollout.record import Record

START = """\b
Example:
  kfunc rollout start --image registry.example.com/me/iris:2
  kfunc rollout start --job-image registry.example.com/me/kfunc:1
"""
UNDO = """\b
Example:
  kfunc rollout undo iris
  kfunc rollout undo iris --to iris-0a1b2c3d
"""


@click.command(epilog=START)
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), default=".")
@click.option("--image", metavar="IMAGE", default="", callback=parse_image, help="The new revision's image; else func.yaml's.")
@click.option("--image-digest", metavar="DIGEST", default="", callback=parse_digest, help="sha256:… of the image.")
@click.option("--detach", is_flag=True, help="Only begin: `kfunc rollout resume`, or a Job, drives it.")
@click.option("--job-image", metavar="IMAGE", default="", callback=parse_image, help="Let a Job of this image drive it.")
@cluster_options
def start(
    directory: Path,
    image: str,
    image_digest: str,
    detach: bool,
    job_image: str,
    namespace: str,
    context: str,
    output: str,
) -> int:
    """Roll out the function in DIR (default: here) as its inference.traffic says.

    The command drives the rollout until it has ended, or until somebody has to say something. Exit status 1
    where it was rolled back; the reason is said. Whoever else starts one meanwhile is refused.
    """
    from kfunc.rollout.starting import NothingToDo, plan_rollout

    cluster = connect(context)
    plan = plan_for(directory, Release(image, image_digest), namespace, cluster)
    try:
        record = plan_rollout(cluster, plan, time.time())
    except NothingToDo as nothing:
        click.echo(nothing.message, err=output == "json")
        return 0
    return _run(cluster, record, detach=detach, job_image=job_image, as_json=output == "json")


@click.command(epilog=UNDO)
@click.argument("function", metavar="[NAME|DIR]", default=".")
@click.option("--to", "revision", metavar="REVISION", default="", help="Another one than the one before.")
@cluster_options
def undo(function: str, revision: str, namespace: str, context: str, output: str) -> int:
    """Give everything to the revision before the last promotion, as soon as it is ready; once more: forward again."""
    from kfunc.rollout.store import ConfigMapStore
    from kfunc.rollout.undoing import plan_undo

    cluster = connect(context)
    meant = named(function, namespace, cluster)
    last = ConfigMapStore(cluster, meant.name, meant.namespace).read()
    record = plan_undo(cluster, last, revision, time.time())
    return _run(cluster, record, detach=False, job_image="", as_json=output == "json")


def _run(cluster: "Cluster", record: "Record", *, detach: bool, job_image: str, as_json: bool) -> int:
    """Begin, and drive unless somebody else shall."""
    from kfunc.cli.rollout_driving import drive, finish, holder_name
    from kfunc.manifests.rollout_job import rollout_job
    from kfunc.rollout.starting import begin
    from kfunc.rollout.store import ConfigMapStore

    rollout = record.rollout
    store = ConfigMapStore(cluster, rollout.function, rollout.namespace)
    elsewhere = detach or bool(job_image)
    check_load(record, elsewhere)
    holder = "" if elsewhere else holder_name()
    begun = begin(store, record, holder, time.time())
    if not elsewhere:
        return drive(cluster, begun, holder, as_json=as_json)
    if job_image:
        for manifest in rollout_job(rollout.function, rollout.namespace, job_image, rollout.id, _elsewhere(record)):
            cluster.apply(manifest, force=True)
    return finish(store, as_json)


def check_load(record: "Record", elsewhere: bool) -> None:
    """The log to be sent again is there, and where the rollout is driven. Raises StartupError."""
    from kfunc.rollout.load import SYNTHETIC, replayed

    load = record.rollout.settings.analysis.load
    if load is UNSET or load.source == SYNTHETIC:
        return
    if elsewhere and "://" not in load.source:
        raise StartupError(
            f"{load.source} is on this machine: drive from here, or name a log in an object store (s3:, gs:, az:)"
        )
    replayed(load.source)


def _elsewhere(record: "Record") -> list[str]:
    """Other namespaces that the rollout has to do with: the gateway's, Prometheus'."""
    from kfunc.rollout.objects import by_key

    own = record.rollout.namespace
    places = [namespace for _, namespace, _ in by_key(record.objects.promoted)]
    prometheus = record.rollout.settings.analysis.prometheus
    if prometheus.startswith("service:"):
        places.append(prometheus.removeprefix("service:").partition("/")[0])
    return sorted(set(places) - {own})
