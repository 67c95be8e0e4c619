"""Drives a rollout in the foreground: what happens is told line by line, and leaving it leaves it to somebody else."""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import click
import msgspec

from kfunc.cli.console import in_a_row
from kfunc.cli.exit_status import FAILED, TRY_AGAIN
from kfunc.cli.rollout_showing import document, event_line, headline, report
from kfunc.cli.rollout_status import follow, present
from kfunc.cluster.applying import Outcome, remove_unused
from kfunc.cluster.collecting import collect
from kfunc.cluster.connection import Cluster
from kfunc.errors import ClusterError
from kfunc.rollout.driver import Drive, Stuck, Taken
from kfunc.rollout.record import Record, to_config_map
from kfunc.rollout.state import Event, Rollout, Seen
from kfunc.rollout.store import ConfigMapStore
from kfunc.rollout.worlds import world_of

PROGRESS_S = 10.0


class Teller:
    """Says each event once, and now and then how far it is."""

    def __init__(self, as_json: bool, known: list[Event], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._as_json = as_json
        self.said = known
        """The events that were said, by this or by somebody else."""
        self._at = time.monotonic()
        self._live = sys.stdout.isatty() and not as_json
        self._line = ""

    def __call__(self, rollout: Rollout, seen: Seen) -> None:
        """Told after each look."""
        if self._as_json:
            return
        new = _after(rollout.events, self.said[-1] if self.said else None)
        if new:
            self._clear()
            for event in new:
                click.echo(event_line(event))
            self.said += new
        self._progress(rollout, seen)

    def removed(self, outcome: Outcome) -> None:
        """Told of what was tidied up."""
        if not self._as_json:
            self._clear()
            click.echo(outcome)

    def _progress(self, rollout: Rollout, seen: Seen) -> None:
        if rollout.has_ended:
            return self._clear()
        details = "; ".join([*(check.text for check in rollout.checks), *([seen.why] if seen.why else [])])
        line = f"{headline(rollout, self._clock())}{': ' if details else ''}{details}"
        if self._live:
            self._clear()
            self._line = in_a_row(line, sys.stdout)
            click.echo(self._line, nl=False)
        elif time.monotonic() - self._at >= PROGRESS_S:
            self._at = time.monotonic()
            click.echo(line)
        return None

    def _clear(self) -> None:
        if self._line:
            click.echo("\r\x1b[2K", nl=False)
            self._line = ""


def _after(events: list[Event], last: Event | None) -> list[Event]:
    """The events behind the one that was said last."""
    if last is None or last not in events:
        return events
    return events[len(events) - events[::-1].index(last) :]


def go_on(cluster: Cluster, record: Record, holder: str, *, as_json: bool, stay: bool = False, told: int = 0) -> int:
    """Drive it where nobody else does, else say what its driver does, until it ends or (unless we `stay`) rests.

    `told`: how many events were said already. The exit status is 4 where what has begun is still under way, and nobody saw
    its end. Raises RolloutRefused where it is gone.
    """
    store = ConfigMapStore(cluster, record.rollout.function, record.rollout.namespace)
    teller = Teller(as_json, record.rollout.events[:told], cluster.now)
    try:
        while not record.rollout.has_ended:
            if record.driver.holder == holder or not record.driver.is_there(store.now()):
                with suppress(Taken):  # somebody else was quicker
                    return drive(cluster, record, holder, as_json=as_json, stay=stay, teller=teller)
            lost = follow(store, teller.said, as_json, stay)
            if lost is None:
                break
            record = lost
        return finish(store, as_json)
    except ClusterError as error:
        return lost_sight(error, record.rollout.function)


def drive(
    cluster: Cluster, record: Record, holder: str, *, as_json: bool, stay: bool = False, teller: Teller | None = None
) -> int:
    """Drive until it ends or rests; the exit status. Raises Taken where somebody else drives."""
    rollout = record.rollout
    store = ConfigMapStore(cluster, rollout.function, rollout.namespace)
    world = world_of(cluster, rollout)
    teller = teller or Teller(as_json, [], cluster.now)
    driver = Drive(store, world, holder, cluster.now, stay=stay, tidy=lambda ended: tidy(cluster, ended, teller.removed))
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        driver.run(teller, rollout)
        return finish(store, as_json)
    except Stuck as stuck:
        click.echo(f"error: {stuck.message}", err=True)
        if as_json:
            finish(store, as_json)
        return TRY_AGAIN
    except ClusterError as error:
        return lost_sight(error, rollout.function)
    except KeyboardInterrupt:
        driver.leave()
        if not as_json:
            click.echo(f"\nthe rollout stays as it is: kfunc rollout resume {rollout.function} goes on, abort takes it back")
        raise
    finally:
        world.close()
        signal.signal(signal.SIGTERM, before)


def lost_sight(error: ClusterError, function: str) -> int:
    """Say that the cluster was lost while a rollout was under way; the exit status, which is not that of a rollback."""
    click.echo(f"error: {error.message}; the rollout stays as it is: kfunc rollout resume {function} goes on", err=True)
    return TRY_AGAIN


def tidy(cluster: Cluster, record: Record, told: Callable[[Outcome], None]) -> None:
    """Remove what nothing asks for any more, and revisions by their policy; a rollout that is done does not fail for them."""
    for remove in (_unused, _old_revisions):
        try:
            for outcome in remove(cluster, record):
                told(outcome)
        except ClusterError as error:
            way = "kfunc deploy" if remove is _unused else f"kfunc revisions {record.rollout.function} --prune"
            click.echo(f"something that nothing needs may be left: {error.message}; {way} removes it", err=True)


def _unused(cluster: Cluster, record: Record) -> list[Outcome]:
    """What an earlier func.yaml asked for and the promoted one does not."""
    rollout = record.rollout
    winner = rollout.share(rollout.winner)
    if rollout.phase != "promoted" or winner is None or winner.revision != rollout.rendered:
        return []
    gateway = rollout.settings.gateway_namespace or rollout.namespace
    if gateway != rollout.namespace and not cluster.may("list", "AuthorizationPolicy", gateway):
        gateway = rollout.namespace  # a Job has no right there unless the function has something there
    objects = record.objects
    return list(remove_unused(cluster, rollout.function, rollout.namespace, gateway, objects.promoted, objects.before))


def _old_revisions(cluster: Cluster, record: Record) -> list[Outcome]:
    rollout = record.rollout
    if rollout.mode != "knative":
        return []
    keep = rollout.settings.keep_revisions
    return collect(cluster, rollout.function, rollout.namespace, keep, record=to_config_map(record))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def finish(store: ConfigMapStore, as_json: bool) -> int:
    """Say what came of it; the exit status: 1 where it was rolled back. Raises RolloutRefused where nothing says so."""
    record = present(store, store.read())
    now = store.now()
    if as_json:
        click.echo(msgspec.json.encode(document(record, now)))
    elif not record.rollout.has_ended:
        click.echo(f"\n{report(record, now)}\n\n{next_step(record.rollout)}")
    return FAILED if record.rollout.phase == "rolled-back" else 0


def next_step(rollout: Rollout) -> str:
    """What somebody can say to a rollout that rests."""
    name = rollout.function
    if rollout.strategy == "ab":
        return f"kfunc rollout promote {name} --variant NAME ends the comparison; kfunc rollout abort {name} takes it back"
    return f"kfunc rollout promote {name} gives the new revision everything; kfunc rollout abort {name} takes it back"
