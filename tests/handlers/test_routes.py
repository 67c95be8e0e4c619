"""Paths → routes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfunc.errors import NotFound, UnsupportedMediaType
from kfunc.handlers.routes import Action, Route, resolve


@pytest.mark.parametrize(
    ("target", "route"),
    [
        (b"/", Route(Action.ROOT)),
        (b"/?a=b", Route(Action.ROOT)),
        (b"/v2", Route(Action.SERVER_METADATA)),
        (b"/v2/", Route(Action.SERVER_METADATA)),
        (b"/v2/health/live", Route(Action.SERVER_LIVE)),
        (b"/v2/health/ready?x=/v1/models", Route(Action.SERVER_READY)),
        (b"/v2/models/iris", Route(Action.MODEL_METADATA, "iris")),
        (b"/v2/models/iris/", Route(Action.MODEL_METADATA, "iris")),
        (b"/v2/models/iris/versions/1", Route(Action.MODEL_METADATA, "iris", "1")),
        (b"/v2/models/iris/ready", Route(Action.MODEL_READY, "iris")),
        (b"/v2/models/iris/versions/1/ready", Route(Action.MODEL_READY, "iris", "1")),
        (b"/v2/models/iris/infer", Route(Action.INFER, "iris")),
        (b"/v2/models/iris/infer?trace=1", Route(Action.INFER, "iris")),
        (b"/v2/models/iris/versions/1/infer", Route(Action.INFER, "iris", "1")),
        (b"/v2/models/versions/infer", Route(Action.INFER, "versions")),
        (b"/v2/models/%C3%A9/infer", Route(Action.INFER, "é")),
        (b"/v2/models/a%2Fb/infer", Route(Action.INFER, "a/b")),
        (b"/%762/models/iris", Route(Action.MODEL_METADATA, "iris")),
        (b"/v1/models", Route(Action.V1_LIST)),
        (b"/v1/models/", Route(Action.V1_LIST)),
        (b"/v1/models/iris", Route(Action.V1_STATUS, "iris")),
        (b"/v1/models/iris:predict", Route(Action.V1_PREDICT, "iris")),
        (b"/v1/models/iris%3Apredict", Route(Action.V1_PREDICT, "iris")),
        (b"/v1/models/a:b:predict", Route(Action.V1_PREDICT, "a:b")),
        (b"/v1/models/iris:explain", Route(Action.V1_EXPLAIN, "iris")),
        (b"/v2/models/iris/versions/2/explain", Route(Action.EXPLAIN, "iris", "2")),
        (b"/invocations", Route(Action.INVOCATIONS)),
        (b"/ping", Route(Action.SERVER_READY)),
        (b"/v1/models/iris/versions/2", Route(Action.V1_STATUS, "iris", "2")),
        (b"/v1/models/iris/versions/2:predict", Route(Action.V1_PREDICT, "iris", "2")),
        (b"/v2/models", Route(Action.MODEL_LIST)),
        (b"/v2/repository/index", Route(Action.INDEX)),
        (b"/v2/repository/models/iris/load", Route(Action.LOAD, "iris")),
        (b"/v2/repository/models/iris/unload", Route(Action.UNLOAD, "iris")),
        (b"/openapi.json", Route(Action.OPENAPI)),
    ],
)
def test_a_path_of_the_protocols_is_resolved(target: bytes, route: Route) -> None:
    assert resolve(target) == route


@pytest.mark.parametrize(
    "target",
    [
        b"/v3", b"/v2/health", b"/v2/health/started", b"/v2/models//infer",
        b"/v2/models/iris/versions", b"/v2/models/iris/versions//infer", b"/v2/models/iris/versions/1/2",
        b"/v2/models/iris/infer/x",
        b"/v1", b"/v1/models/iris:", b"/v1/models/iris:classify", b"/v1/models/:predict", b"/v1/models/iris/x:predict",
        b"/v1/models//versions/1", b"/v1/models/iris/versions/:predict", b"/v1/models/iris/versions", b"/v1/models/iris/v/1",
        b"/v2/repository", b"/v2/repository/models//load", b"/v2/repository/models/iris", b"/v2/repository/models/a/b/load",
        b"/openapi", b"/openapi.json/x",
        b"/V2", b"/%ff", b"/v2/models/%ff/infer", b"/metrics", b"/v2/../v1/models", b"*",
    ],
)  # fmt: skip
def test_any_other_path_is_not_found(target: bytes) -> None:
    with pytest.raises(NotFound):
        resolve(target)


@given(st.binary() | st.lists(st.sampled_from([b"/", b"v1", b"v2", b"models", b"%", b"%00", b":predict", b"?"])).map(b"".join))
def test_whatever_the_target_is_only_not_found_escapes(target: bytes) -> None:
    try:
        resolve(target)
    except NotFound:
        return


def test_grpc_that_did_not_come_as_such_is_told_what_it_needs() -> None:
    with pytest.raises(UnsupportedMediaType, match="h2c"):
        resolve(b"/inference.GRPCInferenceService/ModelInfer")
