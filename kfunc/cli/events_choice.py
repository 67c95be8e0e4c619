"""What the `kfunc events` commands have in common: where events are, which are meant, and faults in them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click

from kfunc.cli.events import FILE_NAME, STATE_FOLDER
from kfunc.event_log.choosing import Choice, choose
from kfunc.event_log.pairing import Exchange, pair
from kfunc.event_log.reading import read_events
from kfunc.event_log.stored import Stored

MOST_FAULTS = 5
OPTIONS = {
    "kind": click.option("--type", "kind", metavar="TYPE", default="", help="Only request, or response, or a whole type."),
    "model": click.option("--model", metavar="NAME", default="", help="Only of this model; * stands for any characters."),
    "status": click.option("--status", metavar="STATUS", default="", help="Only responses with it: 404, 5xx or 400-499."),
    "since": click.option("--since", metavar="TIME", default="", help="Only from then on: 2026-11-25T09:30:00Z, or 15m ago."),
    "until": click.option("--until", metavar="TIME", default="", help="Only before this time."),
    "identity": click.option("--id", "identity", metavar="ID", default="", help="Only of this event or x-request-id."),
}


def source_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where the events are; by default where `kfunc run` writes them."""
    return click.argument("source", metavar="[SOURCE]", default=f"{STATE_FOLDER}/{FILE_NAME}")(command)


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which events are meant, handed over as one `chosen`."""
    return _choosing(command, tuple(OPTIONS))


def times(command: Callable[..., Any]) -> Callable[..., Any]:
    """Only the options of time: of what is between two times nothing is left out."""
    return _choosing(command, ("since", "until"))


def _choosing(command: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    @wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in names}
        try:
            chosen = choose(**given, now=datetime.now(UTC))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        return command(*arguments, chosen=chosen, **options)

    decorated: Callable[..., Any] = wrapped
    for name in reversed(names):
        decorated = OPTIONS[name](decorated)
    return decorated


class Faults:
    """Lines that are no events: the first ones are said, all are counted."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, text: str) -> None:
        self.count += 1
        if self.count <= MOST_FAULTS:
            click.echo(f"no event: {text}", err=True)
        elif self.count == MOST_FAULTS + 1:
            click.echo("and more that are no events", err=True)


class Counted:
    """A choice that counts what it was asked about, and what of that is meant."""

    def __init__(self, chosen: Choice) -> None:
        self._chosen = chosen
        self.read = self.meant = 0

    def __call__(self, event: Stored) -> bool:
        is_meant = self._chosen(event)
        self.read += 1
        self.meant += is_meant
        return is_meant


def chosen_events(source: str, chosen: Choice, faults: Faults) -> Iterator[Stored]:
    """The events of a source that are meant."""
    return filter(chosen, read_events(source, faults))


def chosen_exchanges(source: str, chosen: Choice, faults: Faults) -> Iterator[Exchange]:
    """The requests of a source with their answers, where either of the two is meant."""
    for each in pair(read_events(source, faults)):
        if chosen(each.request) or (each.response is not None and chosen(each.response)):
            yield each
