"""The page in front of an application, asked as a server asks it, without one."""

import asyncio
import json
import sys
from typing import Any

import pytest
from msgspec.structs import replace

from kfunc.config.pod import PodConfig
from kfunc.errors import KfuncError
from kfunc.http.exchange import Exchange
from kfunc.pages.front import FrontPage
from kfunc.pages.recent import Pod
from kfunc.telemetry.recent import Request
from tests.http.fakes import Keeper, RecordingTransport

BROWSER = {b"host": b"localhost:8080", b"accept": b"text/html,*/*;q=0.8"}
REQUEST = Request(1.0, "POST", "/v2/models/iris/infer", 200, 9.0, 0.0, 0.0, 0.0, 100, "a-1", "")


class Caller(RecordingTransport):
    """A transport from an address, and the transmitter on it."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.transport = self
        self.body = self.lines = b""
        self.answered = asyncio.Event()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self.address, 50_000) if name == "peername" else default

    def send_response(self, exchange: Exchange, lines: bytes, body: bytes) -> None:
        self.lines, self.body = lines, body
        self.answered.set()

    def send_head(self, exchange: Exchange, lines: bytes, length: int | None) -> None: ...
    def send_chunk(self, exchange: Exchange, chunk: bytes) -> None: ...
    def send_end(self, exchange: Exchange) -> None: ...
    def reset(self, exchange: Exchange) -> None: ...
    def hold(self, exchange: Exchange, paused: bool) -> None: ...


def ask(
    target: str,
    method: str = "GET",
    headers: dict[bytes, bytes] = BROWSER,
    peer: str = "127.0.0.1",
    page: Any = "local",
    broken: bool = False,
) -> tuple[int, bytes, Keeper]:
    """Status, body, and the application behind."""

    async def main() -> tuple[int, bytes, Keeper]:
        async def exposition() -> str:
            if broken:
                raise RuntimeError("no metrics")
            return 'kfunc_model_load_seconds{component="handler"} 2\n'

        async def requests() -> list[list[Request]]:
            return [[REQUEST], [replace(REQUEST, compute_ms=3.0)]]

        inner, caller = Keeper(), Caller(peer)
        application = FrontPage(inner, replace(PodConfig(function="iris"), page=page), Pod(exposition, requests))
        exchange = Exchange(caller, method.encode(), target.encode(), list(headers.items()), dict(headers), True)
        exchange.complete = True
        try:
            application.handle(exchange)
        except KfuncError as error:
            exchange.fail(error)
        await asyncio.wait_for(caller.answered.wait(), 10)
        application.observe(exchange)
        return exchange.status, caller.body, inner

    return asyncio.run(main())


def test_a_browser_gets_the_page_at_the_root() -> None:
    status, body, inner = ask("/")
    assert (status, inner.exchanges) == (200, [])
    assert b"<h1>iris</h1>" in body


@pytest.mark.parametrize(
    ("target", "method", "headers"),
    [
        ("/", "GET", {b"host": b"localhost"}),
        ("/", "GET", BROWSER | {b"accept": b"application/json"}),
        ("/", "POST", BROWSER),
        ("/", "HEAD", BROWSER),
        ("/v2/models/iris/infer", "POST", BROWSER),
        ("/v2", "GET", BROWSER),
        ("/page/main.js", "POST", BROWSER),
    ],
)
def test_what_is_not_the_pages_is_the_applications(target: str, method: str, headers: dict[bytes, bytes]) -> None:
    assert len(ask(target, method, headers)[2].exchanges) == 1


def test_elsewhere_a_browser_gets_what_a_program_gets() -> None:
    assert len(ask("/", peer="192.0.2.7")[2].exchanges) == 1


@pytest.mark.parametrize("target", ["/page/main.js", "/page/figures.json", "/page/recent.json"])
def test_nothing_of_a_local_page_goes_elsewhere(target: str) -> None:
    assert ask(target, peer="192.0.2.7")[0] == 404


def test_a_page_for_everyone_is_shown_to_everyone() -> None:
    assert b"<h1>iris</h1>" in ask("/", peer="192.0.2.7", headers=BROWSER | {b"host": b"iris.example"}, page="everyone")[1]


def test_the_figures_are_those_of_the_pod() -> None:
    assert json.loads(ask("/page/figures.json?since=")[1])["load_s"] == 2.0


def test_the_last_requests_are_those_of_all_processes_together() -> None:
    [request] = json.loads(ask("/page/recent.json")[1])
    assert (request["request_id"], request["compute_ms"]) == ("a-1", 3.0)


@pytest.mark.parametrize(
    ("target", "counted"),
    [("/page/figures.json?since=1", 0), ("/page/recent.json", 0), ("/page/main.js", 1), ("/page/nothing.js", 1), ("/", 1)],
)
def test_only_what_the_page_asks_for_each_second_is_not_observed_as_a_request(target: str, counted: int) -> None:
    assert len(ask(target)[2].ended) == counted


def test_strangers_who_ask_for_the_page_are_observed() -> None:
    status, _, inner = ask("/page/figures.json", peer="192.0.2.7")
    assert (status, len(inner.ended)) == (404, 1)


def test_what_fails_while_figures_are_made_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    assert ask("/page/figures.json", broken=True)[0] == 500
    assert "a request failed" in caplog.text


@pytest.mark.parametrize("target", ["/page/none.js", "/page/../app.py", "/page/%2e%2e/app.py", "/page/..%2fapp.py"])
def test_there_is_nothing_else_below_it(target: str) -> None:
    status, body, _ = ask(target)
    assert status == 404
    assert b"make_app" not in body


def test_without_flask_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kfunc.pages.app", None)
    status, body, _ = ask("/")
    assert status == 501
    assert b"pip install 'kfunc[page]'" in body
