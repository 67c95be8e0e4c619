"""Which protocol a document is of, where no path says it."""

import pytest

from kfunc.errors import InvalidRequest
from kfunc.protocol.either import decode_request, is_v1
from kfunc.protocol.v1 import V1Request

V2 = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"instances":[1]}', True),
        (b'{"inputs":{"x":[1]}}', True),
        (b'{"inputs":[1,2]}', True),
        (b'{"inputs":[[1,2]]}', True),
        (b'{"inputs":"text"}', True),
        (b'{"inputs":[{"b64":"AA=="}]}', True),
        (V2, False),
        (b'{"id":"1", "inputs" : [ \n {"datatype":null}]}', False),
        (b'{"inputs":[]}', False),
        (b'{"inputs":[ ]}', False),
    ],
)
def test_the_protocol_is_told_by_the_members(body: bytes, expected: bool) -> None:
    assert is_v1(body) is expected


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"null", b"{", b'{"data":1}', b'{"inputs":', b'{"a":' * 100_000, b'{"\xff":1}', b'{"inputs":[{]}'],
)
def test_a_document_of_neither_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"neither .*V1.* nor .*V2"):
        is_v1(body)


def test_each_is_decoded_by_its_protocol() -> None:
    request = decode_request(V2, ["v1", "v2"], "iris", "1")
    assert (type(request) is V1Request, request.model_name, request.model_version) == (False, "iris", "1")
    assert type(decode_request(b'{"instances":[1]}', ["v1", "v2"])) is V1Request


@pytest.mark.parametrize(("body", "served", "missing"), [(V2, "v1", "V2"), (b'{"instances":[1]}', "v2", "V1")])
def test_a_protocol_that_is_not_served_is_refused(body: bytes, served: str, missing: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"of {missing}, which is not served here \(inference\.protocols\)"):
        decode_request(body, [served])
