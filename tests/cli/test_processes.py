from collections.abc import Iterator
from pathlib import Path
from socket import socket

import msgspec
import pytest

from kfunc.cli.child import Program
from kfunc.cli.listening import listen
from kfunc.cli.processes import MODULES, Endpoints, address, child_environ, present, programs
from kfunc.config import pod
from kfunc.config.batcher import Batcher
from kfunc.config.complete import complete
from kfunc.config.load import load_function
from kfunc.config.logger import Logger
from kfunc.config.pod import PodConfig


@pytest.fixture
def config(folder: Path) -> PodConfig:
    return msgspec.structs.replace(complete(load_function(folder / "func.yaml"), "onnx"), batcher=Batcher(), logger=Logger())


@pytest.fixture
def endpoints() -> Iterator[Endpoints]:
    management = {name: listen("127.0.0.1", 0) for name in MODULES}
    listener = listen("127.0.0.1", 0)
    yield Endpoints(listener, management, "/tmp/kfunc-x")
    for each in [listener, *management.values()]:
        each.close()


def fd(listener: socket) -> str:
    return f"fd:{listener.fileno()}"


def started(config: PodConfig, endpoints: Endpoints, access_log: bool = True) -> dict[str, Program]:
    return {program.name: program for program in programs(config, endpoints, {"HOME": "/"}, "/srv", access_log)}


@pytest.mark.parametrize(
    ("removed", "names"),
    [
        ((), ["logger", "batcher", "handler"]),
        (("logger",), ["batcher", "handler"]),
        (("batcher",), ["logger", "handler"]),
        (("logger", "batcher"), ["handler"]),
    ],
)
def test_only_what_is_configured_runs(config: PodConfig, removed: tuple[str, ...], names: list[str]) -> None:
    assert present(msgspec.structs.replace(config, **dict.fromkeys(removed))) == names


def test_the_outermost_has_the_port_and_shows_the_metrics_of_all(config: PodConfig, endpoints: Endpoints) -> None:
    logger = started(config, endpoints)["logger"]
    assert logger.arguments == [
        "-P",
        "-m",
        "kfunc.logger_sidecar",
        f"--manage={fd(endpoints.management['logger'])}",
        "--recent=64",
        "--upstream=unix:/tmp/kfunc-x/batcher",
        f"--listen={fd(endpoints.listener)}",
        f"--scrape={address(endpoints.management['batcher'])}",
        f"--scrape={address(endpoints.management['handler'])}",
        "--access-log",
    ]
    assert logger.sockets == [endpoints.management["logger"].fileno(), endpoints.listener.fileno()]


def test_the_inner_ones_are_chained_by_unix_sockets(config: PodConfig, endpoints: Endpoints) -> None:
    inner = started(config, endpoints)
    assert inner["batcher"].arguments[-2:] == ["--upstream=unix:/tmp/kfunc-x/handler", "--listen=unix:/tmp/kfunc-x/batcher"]
    assert inner["handler"].arguments[-1] == "--listen=unix:/tmp/kfunc-x/handler"
    assert inner["handler"].sockets == [endpoints.management["handler"].fileno()]


def test_a_handler_alone_has_the_port(config: PodConfig, endpoints: Endpoints) -> None:
    alone = started(msgspec.structs.replace(config, logger=None, batcher=None), endpoints)
    assert alone["handler"].arguments[-2:] == [f"--listen={fd(endpoints.listener)}", "--access-log"]


def test_the_access_log_can_be_left_out(config: PodConfig, endpoints: Endpoints) -> None:
    assert not any("--access-log" in program.arguments for program in started(config, endpoints, access_log=False).values())


def test_every_process_gets_the_whole_configuration(config: PodConfig, endpoints: Endpoints) -> None:
    for program in started(config, endpoints).values():
        assert pod.decode({pod.VARIABLE: program.environ[pod.VARIABLE]}) == config
        assert program.environ["HOME"] == "/"
        assert program.directory == "/srv"


def test_settings_too_long_for_a_variable_are_a_file_beside_the_sockets(
    config: PodConfig, endpoints: Endpoints, tmp_path: Path
) -> None:
    endpoints.folder = str(tmp_path)
    long = msgspec.structs.replace(config, function="x" * 70_000)
    assert started(long, endpoints)["handler"].environ[pod.VARIABLE] == f"@{tmp_path}/config.json"
    assert pod.decode({pod.VARIABLE: (tmp_path / "config.json").read_text()}) == long


@pytest.mark.parametrize(
    ("environ", "import_path", "python_path"),
    [
        ({}, ["/usr/lib", "/srv"], None),
        ({"PYTHONPATH": "/a"}, ["/srv"], "/a"),
        ({}, ["/usr/lib"], "/srv"),
        ({"PYTHONPATH": "/a"}, ["/usr/lib"], "/srv:/a"),
    ],
)
def test_the_processes_find_kfunc_where_this_one_found_it(
    environ: dict[str, str], import_path: list[str], python_path: str | None
) -> None:
    assert child_environ(environ, "/srv", import_path).get("PYTHONPATH") == python_path
