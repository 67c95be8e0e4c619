"""What the tests of the manifests share: plans from texts."""

from kfunc.config.check import check
from kfunc.config.complete import complete
from kfunc.config.function import Function
from kfunc.config.load import read_function
from kfunc.config.source import parse_source
from kfunc.manifests.plan import Plan, Release


def plan_of(text: str, release: Release | None = None) -> Plan:
    """The plan of a valid func.yaml's content; without an image it gets one. Raises ConfigError."""
    return plan(read_function(parse_source(text.encode())), release)


def unchecked_plan(text: str, release: Release | None = None) -> Plan:
    """The plan of a func.yaml whose types are right, whatever our rules say of it."""
    function, checked = check(Function, parse_source(text.encode()))
    assert checked.problems == []
    return plan(function, release)


def plan(function: Function, release: Release | None = None) -> Plan:
    """The plan of a function; without an image it gets one."""
    model = function.inference.model
    runtime = model.runtime if model.runtime != "auto" else "onnx"
    named = bool(function.image or function.registry or function.deploy.image)
    release = release or Release(image="" if named else "example.com/iris")
    return Plan(function, complete(function, runtime), release, function.inference.mode)
