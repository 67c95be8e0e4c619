"""What `kfunc run` starts: the processes of a function as it is in its folder now, at sockets that outlive them."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from socket import socket

from msgspec import Struct

import kfunc.errors
from kfunc.cli.changes import INTERVAL_S, MOST_FILES, Changes, Watched
from kfunc.cli.child import Program
from kfunc.cli.console import Console
from kfunc.cli.events import with_sink, written
from kfunc.cli.function import LocalFunction, lines, load_local, model_file
from kfunc.cli.listening import listen
from kfunc.cli.processes import Endpoints, child_environ, present, programs, with_grpc, with_page
from kfunc.config.model_addresses import is_remote
from kfunc.config.pod import PodConfig
from kfunc.config.report import render
from kfunc.errors import ConfigError, KfuncError


class Asked(Struct, frozen=True):
    """What the command line says: the folder, where events go, and whether each request is a line."""

    directory: Path
    sink: str | None
    access_log: bool


class Setup:
    """A function that can be started, and loaded again. Raises StartupError where it cannot."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.management: dict[str, socket] = {}
        self.function, self.config = self._load()

    def _load(self) -> tuple[LocalFunction, PodConfig]:
        function = load_local(self._asked.directory, os.environ)
        config = with_page(with_grpc(with_sink(function.config, function.directory, self._asked.sink)))
        for name in present(config):
            if name not in self.management:
                self.management[name] = listen("127.0.0.1", 0)
        return function, config

    def reload(self) -> None:
        """Take the function as it is now. Raises StartupError, and stays as it was."""
        self.function, self.config = self._load()

    def programs(self, listener: socket, sockets: str, *, live: bool, late: bool = False) -> list[Program]:
        """What to start, outermost first, with its Unix sockets in the folder `sockets`.

        `live`: what they print is relayed, so that it does not disturb the live line. `late`: callers wait for the model.
        """
        endpoints = Endpoints(listener, self.management, sockets)
        package_root = str(Path(kfunc.errors.__file__).parent.parent)
        environ = child_environ(self.function.environ, package_root, sys.path[1:])
        environ = {**environ, "PYTHONUNBUFFERED": "1"} if live else environ
        directory, access_log = str(self.function.directory), self._asked.access_log and not live
        return programs(self.config, endpoints, environ, directory, access_log=access_log, relay_output=live, late=late)

    @property
    def watched(self) -> Watched:
        """The folders and files that the function is made of, and what it writes itself."""
        directory, config = self.function.directory, self.config
        models = {
            model_file(directory, each.uri).resolve() for each in (config.model, *config.models) if not is_remote(each.uri)
        }
        outside = sorted(model for model in models if not model.is_relative_to(directory))
        own = [] if config.logger is None else written(config.logger, directory)
        return Watched([directory, *outside], own)


class Reload:
    """Says when a function's files have changed; `start` gives what is to be started then. `due` is the next time to ask."""

    def __init__(self, setup: Setup, start: Callable[[], list[Program]], console: Console) -> None:
        self.due = time.monotonic() + INTERVAL_S
        self._setup = setup
        self._start = start
        self._console = console
        self._changes = Changes(setup.watched)
        self._tell_bound()

    def step(self, now: float) -> list[Program] | None:
        """What to start in place of what runs; None where nothing changed, or what did cannot be started."""
        if now < self.due:
            return None
        changed = self._changes.look()
        self.due = time.monotonic() + INTERVAL_S
        if not changed:
            return None
        names = [os.path.relpath(path, self._setup.function.directory) for path in changed]
        told = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        try:
            self._setup.reload()
        except KfuncError as error:
            text = render(error) if isinstance(error, ConfigError) else f"error: {error.message}"
            self._console.say(f"{told} changed, and cannot be served:\n{text}")
            self._console.say("what runs is left as it is; waiting for the next change")
            return None
        self._changes.watch(self._setup.watched)
        self._console.say(f"{told} changed, starting again")
        return self._start()

    def _tell_bound(self) -> None:
        if not self._changes.complete:
            where = self._setup.function.directory
            self._console.say(f"more than {MOST_FILES:,} files belong to {where}: changes of the rest are not seen")


def introduction(function: LocalFunction, config: PodConfig) -> list[str]:
    """What is served, with what, and over which protocols; then the other models."""
    model = config.model
    served = f"REST {', '.join(each for each in config.protocols if each != 'grpc')}"
    served += " and gRPC" if "grpc" in config.protocols else ""
    return [f"{config.function}: {model.uri} with {model.runtime} ({function.why}), {served}", *lines(function.others)]
