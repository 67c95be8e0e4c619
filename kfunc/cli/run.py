"""`kfunc run`: the function of a folder on this machine, as the processes that the pod runs."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory, gettempdir

import click

import kfunc.errors
from kfunc.cli.events import parse_sink, where, with_sink
from kfunc.cli.function import LocalFunction, load_local
from kfunc.cli.listening import listen, url
from kfunc.cli.processes import Endpoints, address, child_environ, present, programs, with_grpc
from kfunc.cli.supervisor import Supervisor, catch_signals, say
from kfunc.config.pod import PodConfig
from kfunc.errors import StartupError

EPILOG = """\b
Example:
  kfunc run
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
@click.option("--quiet", is_flag=True, help="Print the ready line and problems only, not each request.")
def run(directory: Path, port: int, host: str, sink: str | None, quiet: bool) -> int:
    """Serve the function in DIR (default: here) until Ctrl-C.

    Handler, batcher and logger run as processes of their own, as in the pod; one that dies is
    started again. Events go to --sink, else to func.yaml's sink, else to DIR/.kfunc/events.jsonl.
    """
    function = load_local(directory, os.environ)
    listener = listen(host, port)
    config = with_grpc(with_sink(function.config, function.directory, sink))
    management = {name: listen("127.0.0.1", 0) for name in present(config)}
    if not quiet:
        _introduce(function, config, management)
    signals = catch_signals()  # from here on there is something to clean up
    with TemporaryDirectory(prefix="kfunc-", dir=_socket_parent(gettempdir()), ignore_cleanup_errors=True) as sockets:
        endpoints = Endpoints(listener, management, sockets)
        package_root = str(Path(kfunc.errors.__file__).parent.parent)
        environ = child_environ(function.environ, package_root, sys.path[1:])
        started = programs(config, endpoints, environ, str(function.directory), access_log=not quiet)
        try:
            return Supervisor(started, listener, config.grace_s, _announcer(url(listener))).run(signals)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            raise StartupError(f"cannot start the processes: {error}") from None


def _socket_parent(temporary: str) -> str:
    """A folder in which the paths of the processes' sockets are short enough for Linux."""
    return temporary if len(os.fsencode(temporary)) <= LONGEST_PARENT else "/tmp"  # noqa: S108, mkdtemp makes it private


def _announcer(base_url: str) -> Callable[[], None]:
    """Says once that the function is ready, and after a restart that it is so again."""
    announced = False

    def announce() -> None:
        nonlocal announced
        if announced:
            say(f"serving again: {base_url}")
        else:
            click.echo(f"ready: {base_url}")
        announced = True

    return announce


def _introduce(function: LocalFunction, config: PodConfig, management: dict[str, socket]) -> None:
    model = config.model
    served = f"REST {', '.join(each for each in config.protocols if each != 'grpc')}"
    served += " and gRPC" if "grpc" in config.protocols else ""
    click.echo(f"{config.function}: {model.uri} with {model.runtime} ({function.why}), {served}")
    urls = [f"{name} http://{address(listener)}/metrics" for name, listener in management.items()]
    click.echo(f"metrics: {', '.join(urls)}" + (f" ({next(iter(management))}'s: all)" if len(urls) > 1 else ""))
    if config.model_management:
        click.echo(f"models: load and unload at http://{address(management['handler'])}/v2/repository, REST and gRPC")
    if config.logger is not None:
        click.echo(f"events: {where(config.logger, function.directory)}")
