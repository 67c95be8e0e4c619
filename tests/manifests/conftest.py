"""What the tests of the manifests share: plans from texts, and Knative's own opinion."""

from collections.abc import Iterator

import pytest

from kfunc.config.check import check
from kfunc.config.complete import complete
from kfunc.config.function import Function
from kfunc.config.load import read_function
from kfunc.config.source import parse_source
from kfunc.manifests.plan import Plan, Release
from tests.manifests.oracle import Oracle
from tests.parts import program


def plan_of(text: str, release: Release | None = None) -> Plan:
    """The plan of a valid func.yaml's content; without an image it gets one. Raises ConfigError."""
    return _plan(read_function(parse_source(text.encode())), release)


def unchecked_plan(text: str, release: Release | None = None) -> Plan:
    """The plan of a func.yaml whose types are right, whatever our rules say of it."""
    function, checked = check(Function, parse_source(text.encode()))
    assert checked.problems == []
    return _plan(function, release)


def _plan(function: Function, release: Release | None) -> Plan:
    model = function.inference.model
    runtime = model.runtime if model.runtime != "auto" else "onnx"
    named = bool(function.image or function.registry or function.deploy.image)
    release = release or Release(image="" if named else "example.com/iris")
    return Plan(function, complete(function, runtime), release)


@pytest.fixture(scope="session")
def knative() -> Iterator[Oracle]:
    """Knative's webhook."""
    oracle = Oracle(program("knative-oracle"))
    yield oracle
    oracle.close()
