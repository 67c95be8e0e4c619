"""`kfunc rollout start` and `undo`: a new rollout begins, and is driven from here or by a Job."""

from collections.abc import Callable
from pathlib import Path

import click
import msgspec
from msgspec import UNSET, Struct

from kfunc.cli.on_cluster import cluster_options, connect, holder_name, named
from kfunc.cli.planning import plan_for
from kfunc.cli.releasing import Source, image_options, with_image
from kfunc.cli.render import parse_image
from kfunc.cli.rollout_driving import finish, go_on
from kfunc.cli.rollout_job import log_secret
from kfunc.cli.rollout_showing import Document
from kfunc.cluster.connection import Cluster
from kfunc.cluster.lock import Lock
from kfunc.errors import StartupError
from kfunc.manifests.plan import Manifest, Plan
from kfunc.manifests.rollout_job import rollout_job
from kfunc.manifests.split import traffic_of
from kfunc.rollout.load import SYNTHETIC, replayed
from kfunc.rollout.objects import by_key
from kfunc.rollout.record import Record
from kfunc.rollout.starting import NothingToDo, begin, plan_rollout, refuse_early
from kfunc.rollout.store import ConfigMapStore
from kfunc.rollout.undoing import plan_undo

START = """\b
Example:
  kfunc rollout start
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
@image_options
@click.option("--detach", is_flag=True, help="Only begin: `kfunc rollout resume`, or a Job, drives it.")
@click.option("--job-image", metavar="IMAGE", default="", callback=parse_image, help="Let a Job of this image drive it.")
@click.option("--force", is_flag=True, help="Take over fields that somebody else has set (kubectl, kn).")
@cluster_options
def start(
    directory: Path,
    source: Source,
    detach: bool,
    job_image: str,
    force: bool,
    namespace: str,
    context: str,
    output: str,
) -> int:
    """Build the function in DIR (default: here), and roll it out as its inference.traffic says.

    The command drives the rollout until it has ended, or until somebody has to say something. Exit status 1
    where it was rolled back or did not begin, with the reason; 4 where it is still under way. Whoever else starts one
    meanwhile is refused.
    """
    cluster = connect(context)
    plan = plan_for(directory, source.release, namespace, cluster)
    refuse_early(cluster, plan, ConfigMapStore(cluster, plan.name, plan.namespace), cluster.now())
    check_load(plan, detach or bool(job_image))
    plan = with_image(plan, directory, source)

    def make() -> Record:
        return plan_rollout(cluster, plan, cluster.now(), force=force)

    as_json, secret = output == "json", log_secret(plan.function)
    run = Run(cluster, plan.name, plan.namespace, as_json, force, detach, job_image, secret)
    try:
        return run.begun(make, "start")
    except NothingToDo as nothing:
        told = Document(name=plan.name, function=plan.name, namespace=plan.namespace, reason=nothing.message)
        click.echo(msgspec.json.encode(told) if output == "json" else nothing.message)
        return 0


@click.command(epilog=UNDO)
@click.argument("function", metavar="[NAME|DIR]", default=".")
@click.option("--to", "revision", metavar="REVISION", default="", help="Another one than the one before.")
@click.option("--force", is_flag=True, help="Take over fields that somebody else has set (kubectl, kn).")
@cluster_options
def undo(function: str, revision: str, force: bool, namespace: str, context: str, output: str) -> int:
    """Give everything to the revision that had the traffic before, as soon as it is ready; once more: forward again."""
    cluster = connect(context)
    meant = named(function, namespace, cluster)

    def make() -> Record:
        last = ConfigMapStore(cluster, meant.name, meant.namespace).read()
        return plan_undo(cluster, meant.name, meant.namespace, last, revision, cluster.now(), force=force)

    return Run(cluster, meant.name, meant.namespace, output == "json", force).begun(make, "undo")


class Run(Struct, frozen=True):
    """A rollout that is to begin, and who drives it then."""

    cluster: Cluster
    function: str
    namespace: str
    as_json: bool = False
    force: bool = False
    detach: bool = False
    job_image: str = ""
    secret: str = ""

    def begun(self, make: Callable[[], Record], command: str) -> int:
        """Begin what `make` plans, and drive it unless somebody else shall; the exit status. Raises Locked."""
        store = ConfigMapStore(self.cluster, self.function, self.namespace)
        elsewhere = self.detach or bool(self.job_image)
        holder = holder_name()
        with Lock(self.cluster, self.function, self.namespace, f"kfunc rollout {command} ({holder})") as lock:
            record = make()
            job = self._job(record) if self.job_image else []
            for manifest in job:
                self.cluster.apply(manifest, dry_run=True, force=self.force)
            lock.renew()  # where planning took longer than the lock lasts, somebody else may have it
            begun = begin(store, record, "" if elsewhere else holder, store.now())
        if not elsewhere:
            return go_on(self.cluster, begun, holder, as_json=self.as_json)
        for manifest in job:
            self.cluster.apply(manifest, force=True)  # it was asked for
        return finish(store, self.as_json)

    def _job(self, record: Record) -> list[Manifest]:
        identity, elsewhere = record.rollout.id, _elsewhere(record)
        return rollout_job(self.function, self.namespace, self.job_image, identity, elsewhere, self.secret)


def check_load(plan: Plan, elsewhere: bool) -> None:
    """The log to be sent again is there, and where the rollout is driven. Raises StartupError."""
    load = traffic_of(plan).analysis.load
    if load is UNSET or load.source == SYNTHETIC:
        return
    if elsewhere and "://" not in load.source:
        raise StartupError(
            f"{load.source} is on this machine: drive from here, or name a log in an object store (s3:, gs:, az:)"
        )
    replayed(load.source)


def _elsewhere(record: Record) -> list[str]:
    """Other namespaces that the rollout has to do with: the gateway's, Prometheus'."""
    own = record.rollout.namespace
    places = [namespace for _, namespace, _ in by_key(record.objects.promoted)]
    prometheus = record.rollout.settings.analysis.prometheus
    if prometheus.startswith("service:"):
        places.append(prometheus.removeprefix("service:").partition("/")[0])
    return sorted(set(places) - {own})
