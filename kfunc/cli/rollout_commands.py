"""`kfunc rollout pause`, `resume`, `promote`, `abort`, `drive`: what people tell a rollout that is under way."""

import traceback
from collections.abc import Callable

import click
from msgspec.structs import replace

from kfunc.cli.exit_status import FAILED, TRY_AGAIN
from kfunc.cli.on_cluster import cluster_options, connect, holder_name, named
from kfunc.cli.rollout_driving import drive as run
from kfunc.cli.rollout_driving import finish, go_on
from kfunc.cluster.connection import Cluster
from kfunc.cluster.lock import Lock
from kfunc.errors import ClusterError, KfuncError
from kfunc.rollout import commands
from kfunc.rollout.commands import RolloutRefused
from kfunc.rollout.driver import Conflict, Taken
from kfunc.rollout.record import Record
from kfunc.rollout.recovering import recovered
from kfunc.rollout.starting import begin
from kfunc.rollout.state import Rollout
from kfunc.rollout.store import ConfigMapStore

TRIES = 20

Command = Callable[[Rollout, float], Rollout]


@click.command(epilog="\b\nExample:\n  kfunc rollout pause iris")
@click.argument("function", metavar="[NAME|DIR]", default=".")
@cluster_options
def pause(function: str, namespace: str, context: str, output: str) -> int:
    """Stay at the present step until `resume`. What breaks a bound is still taken back."""
    _, store, _ = _told(function, namespace, context, commands.pause)
    return finish(store, output == "json")


@click.command(epilog="\b\nExample:\n  kfunc rollout resume iris")
@click.argument("function", metavar="[NAME|DIR]", default=".")
@cluster_options
def resume(function: str, namespace: str, context: str, output: str) -> int:
    """Go on after a pause; where nobody drives the rollout any more, drive it from here.

    A comparison that has shown its result is counted on until it is ended; Ctrl-C leaves it.
    """
    cluster, _, record = _told(function, namespace, context, commands.resume)
    return _follow(cluster, record, output == "json", stay=commands.is_shown(record.rollout))


@click.command(epilog="\b\nExample:\n  kfunc rollout promote iris\n  kfunc rollout promote iris --variant treatment")
@click.argument("function", metavar="[NAME|DIR]", default=".")
@click.option("--variant", metavar="NAME", default="", help="Of an A/B test: the one that gets everything.")
@cluster_options
def promote(function: str, variant: str, namespace: str, context: str, output: str) -> int:
    """Give everything to the new revision now, whatever the analysis says. Blue/green: the switch."""

    def command(rollout: Rollout, now: float) -> Rollout:
        return commands.promoted(rollout, variant, now)

    cluster, _, record = _told(function, namespace, context, command)
    return _follow(cluster, record, output == "json")


@click.command(epilog="\b\nExample:\n  kfunc rollout abort iris")
@click.argument("function", metavar="[NAME|DIR]", default=".")
@click.option("--reason", default="asked for", show_default=True, help="Kept with the rollout.")
@cluster_options
def abort(function: str, reason: str, namespace: str, context: str, output: str) -> int:
    """Give everything back to the stable revision. Exit status 0 when that is done.

    Where requests are split and no rollout is under way, everything goes to the revision with the plain address.
    """
    cluster, store = _store(function, namespace, context)
    record = store.read()
    found = _recovered(cluster, store) if record is None or record.rollout.has_ended else None
    if found is None:
        found = _changed(store, lambda rollout, now: commands.aborted(rollout, reason, now))
    status = _follow(cluster, found, output == "json")
    return {FAILED: 0, 0: FAILED}.get(status, status)  # rolled back is what was asked for


def _recovered(cluster: Cluster, store: ConfigMapStore) -> Record | None:
    """The record of a way back that has just begun, where requests are split and no record says why. Raises Locked."""
    holder = holder_name()
    with Lock(cluster, store.function, store.namespace, f"kfunc rollout abort ({holder})"):
        found = recovered(cluster, store.function, store.namespace, store.now())
        return None if found is None else begin(store, found, "", store.now())


@click.command(epilog="\b\nExample:\n  kfunc rollout drive iris --stay")
@click.argument("function", metavar="[NAME|DIR]", default=".")
@click.option("--stay", is_flag=True, help="Wait for people, too, and end only with the rollout.")
@cluster_options
def drive(function: str, stay: bool, namespace: str, context: str, output: str) -> int:
    """Drive a rollout that has begun and that nobody drives. Exit status 1: rolled back; 4: try again."""
    try:
        cluster, store = _store(function, namespace, context)
        return run(cluster, _record(store), holder_name(), as_json=output == "json", stay=stay)
    except (ClusterError, Taken) as error:
        click.echo(f"error: {error.message}", err=True)
    except KfuncError:
        raise
    except Exception:  # 1 would say that it was rolled back, and the Job would leave it for good
        traceback.print_exc()
    return TRY_AGAIN


def _store(function: str, namespace: str, context: str) -> tuple[Cluster, ConfigMapStore]:
    cluster = connect(context)
    meant = named(function, namespace, cluster)
    return cluster, ConfigMapStore(cluster, meant.name, meant.namespace)


def _record(store: ConfigMapStore) -> Record:
    record = store.read()
    if record is None:
        raise RolloutRefused("there was no rollout of this function; `kfunc rollout start` begins one")
    return record


def _told(function: str, namespace: str, context: str, command: Command) -> tuple[Cluster, ConfigMapStore, Record]:
    """The record as the command changes it. Raises RolloutRefused."""
    cluster, store = _store(function, namespace, context)
    return cluster, store, _changed(store, command)


def _changed(store: ConfigMapStore, command: Command) -> Record:
    """Change the state as the command says; a driver that writes at the same time is let before. Raises RolloutRefused."""
    for _ in range(TRIES):
        record = _record(store)
        changed = command(record.rollout, store.now())
        if changed == record.rollout:
            return record
        try:
            return store.write(replace(record, rollout=replace(changed, rests=False)))
        except Conflict:
            continue
    raise Conflict("the rollout is changed by others all the time; try again")


def _follow(cluster: Cluster, record: Record, as_json: bool, stay: bool = False) -> int:
    """What comes of a command, whose own event is told with all that follow."""
    return go_on(cluster, record, holder_name(), as_json=as_json, stay=stay, told=max(0, len(record.rollout.events) - 1))
