"""Wrong requests get a 4xx that names the tensor and what was expected: from the handler alone and through all processes."""

import gc
import json
import time
import tracemalloc
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.opening import load_handler
from tests.handlers.conftest import Caller, configuration
from tests.integration.malformed import CASES, GOOD_BINARY, GOOD_V1, GOOD_V2, HANDLER, PATHS, Case
from tests.integration.test_run import FUNC_YAML, Run

GROWTH_PER_REFUSAL = 1024 * 1024 / 10_000  # bytes
SMALL = 10_000  # bytes of a body

each_case = pytest.mark.parametrize(("path", "wrong"), [each[:2] for each in CASES], ids=[each[2] for each in CASES])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("echo")
    (folder / "handler.py").write_text(HANDLER)
    return folder


@pytest.fixture(scope="module")
def asked(folder: Path) -> Caller:
    changes: dict[str, Any] = {"uri": str(folder), "runtime": "python", "execution": "loop"}
    config = configuration(**changes)
    return Caller(LoadedModel(config, load_handler(config)), **changes)


def refusal(status: int, document: Any, wrong: Case) -> None:
    assert (status, list(document)) == (wrong.status, ["error"])
    missing = [word for word in wrong.words if word not in document["error"]]
    assert not missing, document["error"]
    assert len(document["error"]) < 2000


@each_case
def test_the_handler_refuses_it_with_the_reason(asked: Caller, path: str, wrong: Case) -> None:
    started = time.process_time()
    status, document = asked.ask("POST", path, wrong.body, **wrong.headers)
    refusal(status, document, wrong)
    assert time.process_time() - started < 2


def test_what_the_table_changes_is_right(asked: Caller) -> None:
    assert asked.ask("POST", PATHS["V2"], GOOD_V2)[0] == 200
    assert asked.ask("POST", PATHS["V1"], GOOD_V1)[0] == 200
    body, length = GOOD_BINARY
    assert asked.ask("POST", PATHS["V2"], body, inference_header_content_length=length)[0] == 200


def test_megabytes_of_blanks_around_a_right_request_are_only_blanks(asked: Caller) -> None:
    assert asked.ask("POST", PATHS["V2"], b" " * 2**21 + json.dumps(GOOD_V2).encode() + b"\n" * 2**21)[0] == 200


@pytest.mark.parametrize(("path", "key"), [(PATHS["V1"], "instances"), (PATHS["V2"], "inputs")])
def test_of_keys_that_are_there_twice_the_last_one_counts(asked: Caller, path: str, key: str) -> None:
    good = json.dumps({**GOOD_V1, **GOOD_V2}[key]).encode()
    assert asked.ask("POST", path, b'{"%b":[],"%b":%b}' % (key.encode(), key.encode(), good))[0] == 200
    assert asked.ask("POST", path, b'{"%b":%b,"%b":[]}' % (key.encode(), good, key.encode()))[0] == 400


def test_refusals_keep_no_memory(asked: Caller) -> None:
    cases = [each for each in CASES if len(each[1].body) < SMALL and "content-encoding" not in each[1].headers]

    def refuse(rounds: int) -> None:
        for _ in range(rounds):
            for path, wrong, _ in cases:
                assert asked.ask("POST", path, wrong.body, **wrong.headers)[0] == wrong.status

    refuse(1)
    tracemalloc.start()
    try:
        refuse(1)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        refuse(4)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown <= GROWTH_PER_REFUSAL * 4 * len(cases)


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    project = tmp_path_factory.mktemp("run")
    (project / "handler.py").write_text(HANDLER)
    (project / "func.yaml").write_text(FUNC_YAML.replace("./model.onnx", "./handler.py"))
    with Run(project) as started:
        yield started.wait_until_ready()


@pytest.fixture(scope="module")
def connection(run: Run) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", run.port, timeout=10)
    yield connection
    connection.close()


@pytest.mark.integration
@each_case
def test_all_processes_together_refuse_it_with_the_reason(connection: HTTPConnection, path: str, wrong: Case) -> None:
    connection.request("POST", path, wrong.body, {"content-type": "application/json", **wrong.headers})
    response = connection.getresponse()
    refusal(response.status, json.loads(response.read()), wrong)


@pytest.mark.integration
def test_after_all_of_them_a_right_request_is_answered_and_nothing_was_a_fault(run: Run, connection: HTTPConnection) -> None:
    connection.request("POST", PATHS["V2"], json.dumps(GOOD_V2))
    response = connection.getresponse()
    assert (response.status, response.read()[:1]) == (200, b"{")
    assert "Traceback" not in run.err
    assert run.process.poll() is None
