"""The small messages, held against the protobuf library; and the descriptors against the tables."""

from typing import Any

import pytest

from kfunc.errors import InvalidRequest
from kfunc.protocol.grpc import schema, services
from tests.protocol.grpc.library import message

TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
CASES: list[tuple[str, schema.Schema, dict[str, Any]]] = [
    ("inference.ModelReadyRequest", services.MODEL, {"name": "é", "version": "1"}),
    ("inference.ServerReadyResponse", services.READY, {"ready": True}),
    ("inference.ServerLiveResponse", services.LIVE, {"live": False}),
    ("inference.ServerMetadataResponse", services.SERVER_METADATA, {"name": "k", "version": "1", "extensions": ["a", "b"]}),
    (
        "inference.ModelMetadataResponse",
        services.MODEL_METADATA,
        {"name": "m", "versions": ["1", "2"], "platform": "p", "inputs": [TENSOR], "outputs": [TENSOR, TENSOR]},
    ),
    ("inference.RepositoryIndexRequest", services.INDEX_REQUEST, {"repository_name": "", "ready": True}),
    (
        "inference.RepositoryIndexResponse",
        services.INDEX,
        {"models": [{"name": "m", "version": "1", "state": "READY", "reason": ""}]},
    ),
    ("inference.RepositoryModelLoadResponse", services.LOADED, {"model_name": "m", "isLoaded": True}),
    ("inference.RepositoryModelUnloadResponse", services.UNLOADED, {"model_name": "m", "isUnloaded": True}),
    ("grpc.health.v1.HealthCheckRequest", services.HEALTH_REQUEST, {"service": "s"}),
    ("grpc.health.v1.HealthCheckResponse", services.HEALTH_ANSWER, {"status": 2}),
]


@pytest.mark.parametrize(("name", "table", "values"), CASES, ids=[case[0] for case in CASES])
def test_a_message_is_the_library_s_both_ways(name: str, table: schema.Schema, values: dict[str, Any]) -> None:
    theirs = message(name)(**values)
    assert message(name).FromString(schema.encode(table, values)) == theirs
    assert schema.decode(table, theirs.SerializeToString()) == values


def test_what_is_not_there_has_its_default() -> None:
    assert schema.decode(services.INDEX_REQUEST, b"") == {"repository_name": "", "ready": False}


def test_fields_that_nobody_knows_are_passed_over() -> None:
    assert schema.decode(services.READY, b"\x7a\x01x\x08\x01") == {"ready": True}


def test_a_wrong_wire_type_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="ready has the wire type 2"):
        schema.decode(services.READY, b"\x0a\x00")


def test_triton_s_and_kserve_s_load_requests_are_both_read() -> None:
    load = message("inference.RepositoryModelLoadRequest")
    kserve = schema.decode(services.CHANGE_REQUEST, load(model_name="m").SerializeToString())
    triton = load(model_in_repository="m")
    triton.parameters["config"].string_param = "{}"
    assert kserve["model_name"] == "m"
    read = schema.decode(services.CHANGE_REQUEST, triton.SerializeToString())
    assert (read["model_in_repository"], read["parameters"]) == ("m", [{"key": "config"}])
