"""A build's lines and bars: on standard error, bars only for a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


class Lines:
    """The reporter of `kfunc build`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bars = not quiet and sys.stderr.isatty()

    def say(self, text: str) -> None:
        """One line, unless only the result is wanted."""
        if not self._quiet:
            click.echo(text, err=True)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar that is gone afterwards; without a label, or without a terminal, none."""
        if not self._bars or not label or total < 1 << 20:
            yield lambda _: None
            return
        with click.progressbar(length=total, label=label, file=sys.stderr, show_eta=True) as shown:
            yield lambda done: shown.update(done - shown.pos)
        sys.stderr.write("\x1b[1A\x1b[2K")
