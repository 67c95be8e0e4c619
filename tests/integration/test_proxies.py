"""Real proxies: Envoy and Go's in front of kfunc, over HTTP/2 and HTTP/1.1, and Envoy behind its logger as upstream."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.integration.envoy import Envoy
from tests.integration.go_proxy import GoProxy
from tests.integration.h2_client import Answer, H2Client
from tests.integration.test_http2 import INFER, JSON, LARGE, LARGE_ROWS, SLOW, WHOLE_REQUESTS, sleepy
from tests.integration.test_run import ROOT, V2, Run, make_function
from tests.parts import environment, program

PATIENCE_S = 60
LOAD_S = 3
BODY = json.dumps(V2).encode()

pytestmark = pytest.mark.integration


PROXIES: dict[str, Callable[[Path, list[int]], Envoy | GoProxy]] = {
    "Envoy over HTTP/2": lambda folder, ports: Envoy(folder, ports, http2=True),
    "Envoy over HTTP/1.1": lambda folder, ports: Envoy(folder, ports, http2=False),
    "Go over HTTP/2": GoProxy,
}


class Pair:
    """A kfunc, and a proxy in front of it."""

    def __init__(self, run: Run, proxy: Envoy | GoProxy) -> None:
        self.run = run
        self.port = proxy.port


@pytest.fixture(scope="module", params=list(PROXIES.values()), ids=list(PROXIES))
def pair(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Pair]:
    folder = make_function(tmp_path_factory.mktemp("behind"), WHOLE_REQUESTS)
    with Run(folder).wait_until_ready() as run, request.param(folder / "proxy", [run.port]) as proxy:
        yield Pair(run, proxy)
        assert proxy.complaints() == ""
        assert run.err == ""


def ask_1(port: int, method: str, path: str, body: bytes = b"", fields: Any = ()) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body or None, dict(fields))
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content


def ask_2(port: int, method: str, path: str, body: bytes = b"", fields: Any = ()) -> tuple[int, bytes]:
    async def test() -> Answer:
        async with asyncio.timeout(PATIENCE_S):
            client = await H2Client.connect(port)
            try:
                return await client.ask(method, path, body, fields)
            finally:
                client.close()

    answer = asyncio.run(test())
    return answer.status, answer.body


def load(port: int, folder: Path, *options: str) -> "subprocess.Popen[str]":
    (folder / "body").write_bytes(BODY)
    command = [str(program("nghttp2")), *options, "-d", str(folder / "body"), f"http://127.0.0.1:{port}{INFER}"]
    return subprocess.Popen(command, env=environment("nghttp2"), stdout=subprocess.PIPE, text=True)


def all_succeeded(loading: "subprocess.Popen[str]") -> None:
    printed, _ = loading.communicate(timeout=PATIENCE_S)
    found = re.search(r"(\d+) done, (\d+) succeeded, 0 failed, 0 errored, 0 timeout", printed)
    assert found is not None, printed
    assert found[1] == found[2], printed
    codes = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", printed)
    assert codes is not None, printed
    assert int(codes[1]) >= int(found[1])  # the head of an answer that the end of the load cut off counts, too


@pytest.mark.parametrize("ask", [ask_1, ask_2], ids=["from HTTP/1.1", "from HTTP/2"])
def test_clients_of_both_versions_are_served(pair: Pair, ask: Any) -> None:
    direct = ask_1(pair.run.port, "POST", INFER, BODY, JSON)
    assert ask(pair.port, "POST", INFER, BODY, JSON) == direct
    assert ask(pair.port, "GET", "/v2/models/iris")[0] == 200
    assert ask(pair.port, "HEAD", "/v2/models/iris") == (200, b"")
    assert ask(pair.port, "POST", INFER, b"{", JSON)[0] == 400
    status, content = ask(pair.port, "POST", INFER, LARGE, JSON)
    assert (status, json.loads(content)["outputs"][0]["shape"]) == (200, [LARGE_ROWS])


def test_many_streams_are_served(pair: Pair, tmp_path: Path) -> None:
    all_succeeded(load(pair.port, tmp_path, "-n1500", "-c4", "-m50"))
    all_succeeded(load(pair.port, tmp_path, "-n1500", "-c16", "--h1"))


def test_large_bodies_of_several_clients_cross(pair: Pair) -> None:
    async def test() -> list[Answer]:
        clients = [await H2Client.connect(pair.port) for _ in range(2)]
        asked = [client.ask("POST", INFER, LARGE, JSON) for client in clients for _ in range(3)]
        answers = await asyncio.gather(*asked)
        for client in clients:
            client.close()
        return answers

    answers = asyncio.run(test())
    assert [(answer.status, len(answer.body)) for answer in answers] == [(200, len(answers[0].body))] * 6


@pytest.mark.parametrize("proxied", PROXIES.values(), ids=PROXIES.keys())
def test_a_client_that_gives_up_is_heard_of_behind_a_proxy(tmp_path: Path, proxied: Any) -> None:
    folder = make_function(tmp_path)
    (folder / "handler.py").write_text(SLOW)
    (folder / "func.yaml").write_text((folder / "func.yaml").read_text().replace("./model.onnx", "./handler.py"))

    async def test(run: Run, port: int) -> None:
        client = await H2Client.connect(port)
        stream = client.begin("POST", INFER, JSON, end=False)
        await client.send(stream, sleepy(-1))
        await asyncio.to_thread(run.wait_for, (folder / "begun").exists)
        client.cancel(stream)
        await asyncio.to_thread(run.wait_for, (folder / "cancelled").exists)
        assert (await client.ask("POST", INFER, sleepy(1), JSON)).status == 200
        client.close()

    with Run(folder).wait_until_ready() as run, proxied(folder / "proxy", [run.port]) as proxy:
        asyncio.run(test(run, proxy.port))


@pytest.mark.parametrize(
    ("proxied", "client"),
    [
        (PROXIES["Envoy over HTTP/2"], ("-c4", "-m8")),
        (PROXIES["Envoy over HTTP/1.1"], ("-c16", "--h1")),
        (PROXIES["Go over HTTP/2"], ("-c16", "--h1")),
    ],
    ids=PROXIES.keys(),
)
def test_no_request_is_lost_when_one_of_two_ends(tmp_path: Path, proxied: Any, client: tuple[str, ...]) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    first, second = (Run(make_function(folder), "--quiet") for folder in folders)
    with first, second:
        ports = [run.wait_until_ready().port for run in (first, second)]
        with proxied(tmp_path / "proxy", ports) as proxy:
            loading = load(proxy.port, tmp_path, "-D", str(LOAD_S), *client)
            time.sleep(LOAD_S / 3)
            assert first.end() == 0
            all_succeeded(loading)


def test_the_logger_s_upstream_may_be_an_envoy(tmp_path: Path) -> None:
    """Client → logger (HTTP/2 or HTTP/1.1) → Envoy (HTTP/1.1) → kfunc (HTTP/2)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        folder = make_function(tmp_path, WHOLE_REQUESTS)
        with Run(folder, "--quiet").wait_until_ready() as run, Envoy(folder / "envoy", [run.port], http2=True) as envoy:
            command = [sys.executable, "-m", "kfunc.logger_sidecar", "--listen", f"fd:{listener.fileno()}"]
            environ = {**os.environ, "PYTHONPATH": str(ROOT), "KFUNC_LOGGER_SINK": f"file:{folder / 'events.jsonl'}"}
            upstream = ["--upstream", f"127.0.0.1:{envoy.port}", "--manage", "none"]
            logger = subprocess.Popen([*command, *upstream], env=environ, pass_fds=[listener.fileno()])
            try:
                for ask in (ask_1, ask_2):
                    assert ask(port, "POST", INFER, BODY, JSON)[0] == 200
                    assert len(ask(port, "POST", INFER, LARGE, JSON)[1]) > 100_000
                all_succeeded(load(port, tmp_path, "-n2000", "-c4", "-m16"))
                all_succeeded(load(port, tmp_path, "-n2000", "-c16", "--h1"))
            finally:
                logger.terminate()
                assert logger.wait(30) == 0
            assert len((folder / "events.jsonl").read_text().splitlines()) == 2 * (4 + 4000)
