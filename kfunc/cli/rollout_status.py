"""`kfunc rollout status` and `watch`: how far a rollout is, once or until it ends."""

import sys
import time
from collections.abc import Callable

import click
import msgspec

from kfunc.cli.on_cluster import cluster_options, connect, named
from kfunc.cli.rollout_showing import document, event_line, report
from kfunc.errors import ClusterError
from kfunc.rollout.commands import RolloutRefused
from kfunc.rollout.driver import Store
from kfunc.rollout.record import Record
from kfunc.rollout.state import Event
from kfunc.rollout.store import ConfigMapStore

LOOK_S, OUTAGE_S = 1.0, 30.0


@click.command(epilog="\b\nExample:\n  kfunc rollout status iris\n  kfunc rollout status --output json | jq .phase")
@click.argument("function", metavar="[NAME|DIR]", default=".")
@cluster_options
def status(function: str, namespace: str, context: str, output: str) -> int:
    """Show the rollout that is under way, or the last one."""
    store, record = _record(function, namespace, context)
    now = store.now()
    click.echo(msgspec.json.encode(document(record, now)) if output == "json" else report(record, now))
    return 0


@click.command(epilog="\b\nExample:\n  kfunc rollout watch iris")
@click.argument("function", metavar="[NAME|DIR]", default=".")
@cluster_options
def watch(function: str, namespace: str, context: str, output: str) -> int:
    """Show the rollout until it ends: a page that is kept up to date on a terminal, else line by line.

    Exit status 1 where it was rolled back. With --output json one line for each change.
    """
    store, record = _record(function, namespace, context)
    shown: object = None
    said: list[Event] = []
    while True:
        now = store.now()
        if output == "json":
            if record.rollout != shown:
                click.echo(msgspec.json.encode(document(record, now)))
        elif sys.stdout.isatty():
            click.clear()
            click.echo(report(record, now))
        else:
            for event in record.rollout.events:
                if event not in said:
                    said.append(event)
                    click.echo(event_line(event))
        shown = record.rollout
        if record.rollout.has_ended:
            return 1 if record.rollout.phase == "rolled-back" else 0
        record = _still_there(store)


def _still_there(store: ConfigMapStore) -> Record:
    """The record, a moment later. Raises RolloutRefused where it is gone, as when somebody deletes the function."""
    record = patient_read(store)
    if record is None:
        raise RolloutRefused(f"the rollout of {store.function} is gone: somebody has deleted the function, or its record")
    return record


def follow(store: ConfigMapStore, known: list[Event], as_json: bool, stay: bool) -> Record | None:
    """Say what another driver does until it ends or (unless we `stay`) rests; the record where that driver is lost.

    Raises RolloutRefused where the rollout is gone.
    """
    said = list(known)
    while True:
        record = _still_there(store)
        for event in record.rollout.events:
            if event not in said:
                said.append(event)
                if not as_json:
                    click.echo(event_line(event))
        if record.rollout.has_ended or (record.rollout.rests and not stay):
            return None
        if not record.driver.is_there(store.now()):
            return record


def patient_read(
    store: Store, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> Record | None:
    """The record, a moment later; an API that is away for some seconds is waited for. Raises ClusterError."""
    ends_at = clock() + OUTAGE_S
    while True:
        sleep(LOOK_S)
        try:
            return store.read()
        except ClusterError as error:
            if not error.may_pass or clock() >= ends_at:
                raise


def _record(function: str, namespace: str, context: str) -> tuple[ConfigMapStore, Record]:
    cluster = connect(context)
    meant = named(function, namespace, cluster)
    store = ConfigMapStore(cluster, meant.name, meant.namespace)
    record = store.read()
    if record is None:
        raise RolloutRefused(f"there was no rollout of {meant.name} in {meant.namespace}; `kfunc rollout start` begins one")
    return store, record
