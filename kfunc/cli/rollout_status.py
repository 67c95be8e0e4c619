"""`kfunc rollout status` and `watch`: how far a rollout is, once or until it ends."""

import sys
import time
from collections.abc import Callable

import click
import msgspec

from kfunc.cli.exit_status import FAILED, TRY_AGAIN
from kfunc.cli.on_cluster import cluster_options, connect, named
from kfunc.cli.rollout_showing import document, event_line, report
from kfunc.errors import ClusterError
from kfunc.rollout.commands import RolloutRefused
from kfunc.rollout.driver import Store
from kfunc.rollout.record import LEASE_S, Record
from kfunc.rollout.state import Event
from kfunc.rollout.store import ConfigMapStore

LOOK_S, OUTAGE_S = 1.0, 30.0
UNDRIVEN_S = 600.0
"""Longer than a Job of Kubernetes pauses between two tries."""


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

    Exit status 1 where it was rolled back, 4 where nobody has driven it for long, unless that is on a terminal.
    With --output json one line for each change.
    """
    store, record = _record(function, namespace, context)
    try:
        return watched(store, record, Shown(output == "json"), is_page=sys.stdout.isatty())
    except ClusterError as error:
        click.echo(f"error: {error.message}; kfunc rollout watch {store.function} looks again", err=True)
        return TRY_AGAIN


def watched(store: ConfigMapStore, record: Record, show: Callable[[Record, float], None], *, is_page: bool) -> int:
    """Show each look until the rollout ends; the exit status. Of a page it can be seen when nobody drives."""
    alone_since, is_said = 0.0, is_page
    while True:
        now = store.now()
        show(record, now)
        if record.rollout.has_ended:
            return FAILED if record.rollout.phase == "rolled-back" else 0
        waits = record.rollout.rests or record.driver.is_there(now)  # for people, or its driver works
        alone_since = 0.0 if waits else alone_since or now
        if alone_since and now - alone_since >= LEASE_S and not is_said:
            click.echo(f"driven by: nobody; kfunc rollout resume {store.function} goes on", err=True)
            is_said = True
        if alone_since and now - alone_since >= UNDRIVEN_S and not is_page:
            return TRY_AGAIN
        record = _still_there(store)


class Shown:
    """What `watch` shows of a rollout at each look."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._shown: object = None
        self._said: list[Event] = []

    def __call__(self, record: Record, now: float) -> None:
        """A page on a terminal, the new events elsewhere, or the document where the rollout has changed."""
        if self._as_json:
            if record.rollout != self._shown:
                click.echo(msgspec.json.encode(document(record, now)))
        elif sys.stdout.isatty():
            click.clear()
            click.echo(report(record, now))
        else:
            _say(record, self._said)
        self._shown = record.rollout


def _say(record: Record, said: list[Event]) -> None:
    """The events that are not among those that were said, to which they are added."""
    for event in record.rollout.events:
        if event not in said:
            said.append(event)
            click.echo(event_line(event))


def _still_there(store: ConfigMapStore) -> Record:
    """The record, a moment later. Raises RolloutRefused where it is gone."""
    return present(store, patient_read(store))


def present(store: ConfigMapStore, record: Record | None) -> Record:
    """The record that was read. Raises RolloutRefused where it is gone, as when somebody deletes the function."""
    if record is None:
        raise RolloutRefused(f"the rollout of {store.function} is gone: somebody has deleted the function, or its record")
    return record


def follow(store: ConfigMapStore, said: list[Event], as_json: bool, stay: bool) -> Record | None:
    """Say what another driver does until it ends or (unless we `stay`) rests; the record where that driver is lost.

    `said`: the events that were said, to which it adds. Raises RolloutRefused where the rollout is gone.
    """
    while True:
        record = _still_there(store)
        if not as_json:
            _say(record, said)
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
