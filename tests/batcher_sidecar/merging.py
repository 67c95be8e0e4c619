"""Requests, merged bodies and answers for the tests of merging and splitting."""

import json
from collections.abc import Hashable
from typing import Any, NamedTuple

from kfunc.batcher_sidecar import v1_rows, v2_answers, v2_merging, v2_requests
from kfunc.batcher_sidecar.padding import Padding
from kfunc.batcher_sidecar.v1_rows import V1Answer, V1Request
from kfunc.batcher_sidecar.v2_answers import V2Answer


class Read(NamedTuple):
    """A request that may be merged, and what it must have in common with others."""

    request: Any
    key: Hashable


def tensor(data: list[Any], shape: list[int], **more: Any) -> dict[str, Any]:
    return {"name": "x", "shape": shape, "datatype": "FP32", "data": data, **more}


ONE = tensor([1.5, 2.5], [1, 2])
TWO = tensor([3.5, 4.5, 5.5, 6.5], [2, 2])


def v1(document: object) -> Read:
    read = v1_rows.read(json.dumps(document).encode())
    assert read is not None
    return Read(*read)


def v2(*inputs: dict[str, Any], padding: Padding | None = None, **more: Any) -> Read:
    read = v2_requests.read(json.dumps({"inputs": inputs, **more}).encode(), None, padding)
    assert read is not None
    return Read(*read)


def binary(inputs: list[tuple[dict[str, Any], bytes | None]], padding: Padding | None = None, **more: Any) -> Read:
    """A request whose inputs have bytes behind the JSON, or data in it."""
    documents = [each if raw is None else {**each, "parameters": {"binary_data_size": len(raw)}} for each, raw in inputs]
    head = json.dumps({"inputs": documents, **more}).encode()
    read = v2_requests.read(head + b"".join(raw or b"" for _, raw in inputs), len(head), padding)
    assert read is not None
    return Read(*read)


def whole(*members: Read) -> list[tuple[Any, int, int]]:
    return [(member.request, 0, member.request.rows) for member in members]


def merged_body(*members: Read, padding: Padding | None = None) -> tuple[bytes, int]:
    if type(members[0].request) is V1Request:
        return v1_rows.merge(whole(*members)), 0
    return v2_merging.merge(whole(*members), padding)[:2]


def merged(*members: Read, padding: Padding | None = None) -> Any:
    body, json_length = merged_body(*members, padding=padding)
    return json.loads(body[: json_length or len(body)])


def split(members: list[Read], answer: bytes, json_length: int | None = None, **more: Any) -> list[tuple[bytes, int]]:
    """Each member's part of an answer, with the length of its JSON part."""
    total = sum(member.request.rows for member in members)
    of_v1 = type(members[0].request) is V1Request
    whole_answer = V1Answer(answer, total) if of_v1 else V2Answer(answer, json_length, total, **more)
    parts, start = [], 0
    for member in members:
        end = start + member.request.rows
        sources: list[Any] = [(whole_answer, start, end)]
        parts.append((V1Answer.part(sources), 0) if of_v1 else v2_answers.part(member.request, sources))
        start = end
    return parts


def parts(members: list[Read], answer: object) -> list[Any]:
    return [json.loads(part) for part, _ in split(members, json.dumps(answer).encode())]
