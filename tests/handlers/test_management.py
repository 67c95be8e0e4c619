"""The model repository extension: its paths, on the inference port and on the management port."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kfunc.errors import KfuncError
from kfunc.handlers.management import ModelManagement
from kfunc.handlers.repository import Repository
from kfunc.http.exchange import Exchange
from tests.handlers.conftest import Answers

LOAD, UNLOAD, INDEX = "/v2/repository/models/iris/load", "/v2/repository/models/iris/unload", "/v2/repository/index"
HANDLER = "def predict(x): return 2 * x"


class Port:
    """A management port in front of a repository."""

    def __init__(self, config: Any) -> None:
        self.repository = Repository(config)
        asyncio.run(self.repository.open())
        self._management = ModelManagement(config, self.repository)

    def ask(self, target: str, body: bytes = b"", method: str = "POST") -> tuple[int, Any]:
        return asyncio.run(self._ask(target, body, method))

    async def _ask(self, target: str, body: bytes, method: str) -> tuple[int, Any]:
        answers = Answers()
        exchange = Exchange(answers, method.encode(), target.encode(), [], {}, True)
        exchange.body, exchange.complete = body, True
        try:
            self._management.handle(exchange)
        except KfuncError as error:
            exchange.fail(error)
        while waiting := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.gather(*waiting)
        return exchange.status, json.loads(answers.body)


@pytest.fixture
def port(configured: Callable[..., Any], tmp_path: Path) -> Callable[..., Port]:
    def make(**changes: Any) -> Port:
        for version in ("1", "2"):
            (tmp_path / version).mkdir()
            (tmp_path / version / "handler.py").write_text(HANDLER)
        return Port(configured(str(tmp_path), "auto", **{"model_management": True, **changes}))

    return make


def states(answer: Any) -> list[tuple[str, str, str]]:
    return [(each["version"], each["state"], each["reason"]) for each in answer]


def test_the_index_lists_every_version_with_its_state(port: Callable[..., Port]) -> None:
    asked = port()
    entries = [{"name": "iris", "version": version, "state": "READY", "reason": ""} for version in ("1", "2")]
    assert asked.ask(INDEX) == (200, entries)


def test_a_model_is_unloaded_and_loaded(port: Callable[..., Port]) -> None:
    asked = port()
    assert asked.ask(UNLOAD) == (200, {"name": "iris", "unload": True})
    gone = [("1", "UNAVAILABLE", "unloaded"), ("2", "UNAVAILABLE", "unloaded")]
    assert states(asked.ask(INDEX, b"{}")[1]) == gone
    assert asked.ask(INDEX, b'{"ready": true}') == (200, [])
    assert asked.ask(LOAD, b"{}") == (200, {"name": "iris", "load": True})
    assert states(asked.ask(INDEX, b'{"ready": true}')[1]) == [("1", "READY", ""), ("2", "READY", "")]


@pytest.mark.parametrize(
    ("target", "method", "body", "status", "message"),
    [
        (UNLOAD, "GET", b"", 405, "this path takes POST"),
        ("/v2/repository/models/wine/unload", "POST", b"", 404, "no model 'wine' here to unload"),
        ("/v2/repository/models/wine/load", "POST", b"", 404, "no model 'wine' in the repository"),
        ("/v2/models/iris/infer", "POST", b"{}", 404, "the management port serves /metrics and /v2/repository; "),
        ("/nothing", "GET", b"", 404, "no such path"),
        (LOAD, "POST", b'{"parameters": {"config": "{}"}}', 400, "the parameter 'config' is not taken"),
        (LOAD, "POST", b"{", 400, "the request is not what this path takes: "),
        (LOAD, "POST", b"\xff", 400, "the request is not what this path takes: "),
        (INDEX, "POST", b'{"ready": 1}', 400, "the request is not what this path takes: "),
        (INDEX, "POST", b"[" * 10_000, 400, "the request is not what this path takes: "),
    ],
)
def test_what_cannot_be_done_is_said(
    port: Callable[..., Port], target: str, method: str, body: bytes, status: int, message: str
) -> None:
    found, answer = port().ask(target, body, method)
    assert (found, answer["error"][: len(message)]) == (status, message)


def test_an_unload_may_ask_for_its_dependents_too(port: Callable[..., Port]) -> None:
    assert port().ask(UNLOAD, b'{"parameters": {"unload_dependents": true}}')[0] == 200


def test_load_and_unload_are_off_unless_func_yaml_allows_them(port: Callable[..., Port]) -> None:
    asked = port(model_management=False)
    for target in (LOAD, UNLOAD):
        status, answer = asked.ask(target)
        assert (status, "inference.model_management: true allows it" in answer["error"]) == (404, True)
    assert asked.ask(INDEX)[0] == 200


def test_several_worker_processes_refuse_load_and_unload(port: Callable[..., Port]) -> None:
    asked = port(workers=2)
    for target in (LOAD, UNLOAD):
        assert asked.ask(target) == (
            501,
            {"error": "load and unload need inference.workers: 1, since each worker process holds models of its own"},
        )


def test_a_load_takes_the_code_that_is_there_now(port: Callable[..., Port], tmp_path: Path) -> None:
    asked = port()
    (tmp_path / "2" / "handler.py").write_text("import beside\ndef predict(x): return beside.FACTOR * x")
    (tmp_path / "2" / "beside.py").write_text("FACTOR = 3")
    assert asked.ask(LOAD)[0] == 200
    (tmp_path / "2" / "handler.py").write_text("def predict(:")
    status, answer = asked.ask(LOAD)
    assert (status, "2/handler.py:1: SyntaxError" in answer["error"]) == (400, True)
    assert states(asked.ask(INDEX)[1]) == [("1", "READY", ""), ("2", "READY", "")]


# ---- the inference port


def test_the_index_is_on_the_inference_port_too(caller: Callable[..., Any]) -> None:
    asked = caller()
    assert asked.ask("POST", INDEX) == (200, [])
    assert asked.ask("GET", INDEX)[0] == 405


@pytest.mark.parametrize("target", [LOAD, UNLOAD])
def test_the_inference_port_says_where_models_are_changed(caller: Callable[..., Any], target: str) -> None:
    status, answer = caller(model_management=True).ask("POST", target)
    assert (status, "on the handler's management port" in answer["error"]) == (404, True)


@pytest.mark.parametrize(("allowed", "there"), [(True, True), (False, False)])
def test_the_extension_is_told_only_where_it_is_on(caller: Callable[..., Any], allowed: bool, there: bool) -> None:
    _, answer = caller(model_management=allowed).ask("GET", "/v2")
    assert ("model_repository" in answer["extensions"]) is there
