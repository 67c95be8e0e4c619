"""`kfunc run`: the function of a folder on this machine, as the processes that the pod runs."""

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from selectors import BaseSelector
from tempfile import TemporaryDirectory, gettempdir

import click

from kfunc.cli.child import Program
from kfunc.cli.console import READY, Console, console_for
from kfunc.cli.events import parse_sink, where
from kfunc.cli.listening import listen, url
from kfunc.cli.live import Live
from kfunc.cli.processes import address, present
from kfunc.cli.setup import Asked, Reload, Setup, introduction
from kfunc.cli.supervisor import Supervisor, catch_signals
from kfunc.errors import StartupError
from kfunc.handlers.registry import how_to_install

EPILOG = """\b
Example:
  kfunc run
  kfunc run --reload
  kfunc run examples/python-handler --port 0 --sink http://localhost:9000/events
"""
# A Unix socket's path has at most 107 bytes; ours end in /kfunc-xxxxxxxx/handler.PID while they are made.
LONGEST_PARENT = 107 - len("/kfunc-xxxxxxxx/handler.4194304")


@click.command(epilog=EPILOG)
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), default=".")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option(
    "--sink", metavar="URL", callback=parse_sink, help="Send events there: http(s)://…, file:PATH, nats://… (docs/logger.md)."
)
@click.option("--reload", is_flag=True, help="Start again when files of the function change; the port stays open.")
@click.option("--plain", is_flag=True, help="On a terminal, too: a line for each request instead of the live line.")
@click.option("--quiet", is_flag=True, help="Print the ready line and problems only, not each request.")
def run(directory: Path, port: int, host: str, sink: str | None, reload: bool, plain: bool, quiet: bool) -> int:
    """Serve the function in DIR (default: here) until Ctrl-C.

    Handler, batcher and logger run as processes of their own, as in the pod; one that dies is
    started again. Events go to --sink, else to func.yaml's sink, else to DIR/.kfunc/events.jsonl.
    A terminal shows a line with rate, latency, batches and events; elsewhere each request is a line.
    """
    setup = Setup(Asked(directory, sink, access_log=not quiet))
    listener = listen(host, port)
    console = console_for(sys.stdout, wanted=not (plain or quiet))
    console.json = setup.config.log_format == "json"
    if not quiet:
        _introduce(setup, url(listener), console.announce if console.json else click.echo)
    signals = catch_signals()  # from here on there is something to clean up
    with TemporaryDirectory(prefix="kfunc-", dir=_socket_parent(gettempdir()), ignore_cleanup_errors=True) as sockets:

        def programs(*, late: bool = True) -> list[Program]:
            return setup.programs(listener, sockets, live=console.live, late=late)

        try:
            return Supervisor(
                programs(late=False),
                listener,
                setup.config.grace_s,
                _announcer(url(listener), console),
                console=console,
                observe=_observed(setup, console) if console.live else None,
                replacements=Reload(setup, programs, console) if reload else None,
            ).run(signals)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            raise StartupError(f"cannot start the processes: {error}") from None


def _socket_parent(temporary: str) -> str:
    """A folder in which the paths of the processes' sockets are short enough for Linux."""
    return temporary if len(os.fsencode(temporary)) <= LONGEST_PARENT else "/tmp"  # noqa: S108, mkdtemp makes it private


def _announcer(base_url: str, console: Console) -> Callable[[], None]:
    """Says once that the function is ready, and after a restart that it is so again."""
    announced = False

    def announce() -> None:
        nonlocal announced
        if announced:
            console.say(f"serving again: {base_url}")
        else:
            console.announce(f"{READY}{base_url}")
        announced = True

    return announce


def _observed(setup: Setup, console: Console) -> Callable[[BaseSelector], Live]:
    """What makes the live line: of the outermost process, whose metrics are the whole pod's."""

    def observe(selector: BaseSelector) -> Live:
        here = present(setup.config)
        return Live(selector, setup.management[here[0]].getsockname()[:2], console.show, frozenset(here))

    return observe


def _introduce(setup: Setup, base_url: str, tell: Callable[[str], None]) -> None:
    config, management = setup.config, setup.management
    for line in introduction(setup.function, config):
        tell(line)
    urls = [f"{name} http://{address(listener)}/metrics" for name, listener in management.items()]
    tell(f"metrics: {', '.join(urls)}" + (f" ({next(iter(management))}'s: all)" if len(urls) > 1 else ""))
    if config.model_management:
        tell(f"models: load and unload at http://{address(management['handler'])}/v2/repository, REST and gRPC")
    if config.logger is not None:
        tell(f"events: {where(config.logger, setup.function.directory)}")
    if config.page != "none":
        missing = f"needs flask, not installed here: {how_to_install('page')}"
        tell(f"page: {_on_this_machine(base_url) + '/' if find_spec('flask') else missing}")


def _on_this_machine(base_url: str) -> str:
    """The URL for a browser here, of a function that listens on all addresses."""
    return base_url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
