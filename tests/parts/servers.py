"""Brokers as tests start, kill and start them again: what they have accepted is on disk."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.parts import environment, folder, program

READY_S = 60.0


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Server:
    """A program that listens on `port` of 127.0.0.1 and keeps its data in `folder`; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What runs it."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Its environment."""
        return dict(os.environ)

    def ready(self) -> bool:
        """Whether it answers; here: whether it accepts a connection."""
        with socket.socket() as client:
            client.settimeout(1)
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_S
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "log").read_text(errors="replace")[-3000:]
                self.kill()
                raise RuntimeError(f"{type(self).__name__} does not start:\n{said}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, as when its machine is lost."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()


class Nats(Server):
    """NATS with JetStream; what it acknowledges is written to the disk first."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self._options = options

    def command(self) -> list[str]:
        place = ("-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.folder / "data"))
        return [str(program("nats")), *place, *self._options]

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"


# Debian's `erl` looks for Erlang in /usr/lib only; RabbitMQ starts further ones by this name.
ERL = """#!/bin/sh
ROOTDIR={root} BINDIR={root}/erts-{version}/bin EMU=beam PROGNAME=erl
export ROOTDIR BINDIR EMU PROGNAME
exec "$BINDIR/erlexec" "$@"
"""


class RabbitMq(Server):
    """RabbitMQ, with a port mapper of its own for Erlang."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._mapper_port = free_port()
        self._mapper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        boot = ("-boot", f"{self._erlang}/releases/25/start_sasl")
        return [
            "sh",
            str(self._erl),
            "-noinput",
            "-s",
            "rabbit",
            "boot",
            *boot,
            "-kernel",
            "prevent_overlapping_partitions",
            "false",
        ]

    @property
    def _erlang(self) -> Path:
        return folder("rabbitmq") / "usr/lib/erlang"

    @property
    def _erl(self) -> Path:
        return self.folder / "bin" / "erl"

    def environment(self) -> dict[str, str]:
        plugins = program("rabbitmq").parents[1] / "lib/rabbitmq_server-3.10.8/plugins"
        return environment("rabbitmq") | {
            "PATH": f"{self._erl.parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "ERL_LIBS": str(plugins),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_HOME": str(plugins.parent),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PLUGINS_DIR": str(plugins),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "config"),
        }

    def start(self) -> None:
        mapper = program("rabbitmq", "usr/lib/erlang/erts-13.1.5/bin/epmd")
        self._erl.parent.mkdir(parents=True, exist_ok=True)
        self._erl.write_text(ERL.format(root=self._erlang, version="13.1.5"))
        self._erl.chmod(0o755)
        (self.folder / "plugins").write_text("[].\n")
        if self._mapper is None:
            self._mapper = subprocess.Popen([str(mapper), "-port", str(self._mapper_port), "-address", "127.0.0.1"])
        super().start()

    def __exit__(self, *error: object) -> None:
        self.kill()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()


KAFKA = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
num.partitions=2
"""


class Kafka(Server):
    """One broker of Kafka that is its own controller (KRaft)."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._settings = folder / "server.properties"
        self._controller = free_port()

    @property
    def url(self) -> str:
        return f"kafka://127.0.0.1:{self.port}"

    def _java(self, *arguments: str) -> list[str]:
        jars = program("kafka").parent
        return ["java", "-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", *arguments]

    def command(self) -> list[str]:
        return self._java("kafka.Kafka", str(self._settings))

    def start(self) -> None:
        if not self._settings.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._settings.write_text(KAFKA.format(port=self.port, controller=self._controller, folder=self.folder))
            done = subprocess.run(
                self._java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(self._settings)),
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(f"Kafka's storage cannot be formatted:\n{done.stdout}{done.stderr}")
        super().start()
