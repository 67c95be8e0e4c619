"""Open Inference Protocol over REST, JSON form: bytes ↔ messages (Inference REST API). Sans-IO."""

from itertools import chain
from typing import Any, cast

import msgspec

from kfunc.errors import InvalidRequest
from kfunc.protocol.datatypes import DATATYPES, element_count
from kfunc.protocol.json_text import cause, may_hold_booleans, require_shallow
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, Tensor

_REQUEST = msgspec.json.Decoder(InferRequest)


def decode_request(body: bytes, model_name: str = "", model_version: str = "") -> InferRequest:
    """An inference request, whose tensors' `data` are as they came: flat, nested or wrong (see `flatten`).

    Of duplicate keys the last one counts. Raises InvalidRequest.
    """
    try:
        request = _REQUEST.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the request is not a V2 inference request: {cause(error)}") from None
    request.model_name = model_name
    request.model_version = model_version
    check_parameters(request)
    # Elements are not looked at one by one for booleans unless the text has any.
    if may_hold_booleans(body):
        for tensor in request.inputs:
            if tensor.data is None:
                continue  # behind the JSON, or missing, which to_array finds
            flatten(tensor)
            if tensor.datatype != "BOOL" and bool in set(map(type, tensor.data)):
                raise InvalidRequest(f"input {tensor.name!r}: {tensor.datatype} expected, found a boolean")
    return request


def check_parameters(request: InferRequest) -> None:
    """Refuse parameters, of the request, an input or an output, that are nested too deeply."""
    if request.parameters is not None:
        require_shallow("the request's parameters", request.parameters)
    for tensor in request.inputs:
        if tensor.parameters is not None:
            require_shallow(f"the parameters of input {tensor.name!r}", tensor.parameters)
    for output in request.outputs or ():
        if output.parameters is not None:
            require_shallow(f"the parameters of output {output.name!r}", output.parameters)


def require_datatype(tensor: Tensor) -> None:
    """Refuse a tensor of a datatype that the protocol does not have."""
    if tensor.datatype not in DATATYPES:
        raise InvalidRequest(
            f"input {tensor.name!r}: unknown datatype {tensor.datatype!r}; one of {', '.join(DATATYPES)} is expected"
        )


def flatten(tensor: Tensor) -> None:
    """Make `tensor.data` flat, checking that it is as long as the shape says, at every level."""
    require_datatype(tensor)
    shape, data = tensor.shape, tensor.data
    if type(data) is not list:
        raise InvalidRequest(f"input {tensor.name!r}: data must be an array")
    count = element_count(tensor.name, shape)
    if data and type(data[0]) is list:
        data = tensor.data = _flat(tensor.name, shape, data)
    if len(data) != count:
        raise InvalidRequest(f"input {tensor.name!r}: the shape {shape} has {count} elements, data has {len(data)}")


def _flat(name: str, shape: list[int], data: list[Any]) -> list[Any]:
    if not shape or len(data) != shape[0]:
        raise InvalidRequest(f"input {name!r}: data has {len(data)} rows, the shape is {shape}")
    for width in shape[1:]:
        for row in data:
            if type(row) is not list or len(row) != width:
                raise InvalidRequest(f"input {name!r}: data is not nested as its shape {shape} says")
        data = list(chain.from_iterable(data))
    return data


def request_document(request: InferRequest) -> dict[str, Any]:
    """What is encoded as a request; `data` as it stands in the tensors."""
    document: dict[str, Any] = {"id": request.id} if request.id else {}
    if request.parameters is not None:
        document["parameters"] = request.parameters
    document["inputs"] = tensor_documents(request.inputs)
    if request.outputs is not None:
        document["outputs"] = [
            {"name": output.name, "parameters": output.parameters} if output.parameters else {"name": output.name}
            for output in request.outputs
        ]
    return document


def response_document(response: InferResponse) -> dict[str, Any]:
    """What is encoded as an answer; `data` as it stands in the tensors, flat."""
    document: dict[str, Any] = {"model_name": response.model_name}
    if response.model_version:
        document["model_version"] = response.model_version
    if response.id:
        document["id"] = response.id
    if response.parameters is not None:
        document["parameters"] = response.parameters
    document["outputs"] = tensor_documents(response.outputs)
    return document


def tensor_documents(tensors: list[Tensor]) -> list[dict[str, Any]]:
    """What is encoded as the inputs of a request or the outputs of an answer."""
    documents: list[dict[str, Any]] = []
    for each in tensors:
        if each.parameters is None:
            documents.append({"name": each.name, "datatype": each.datatype, "shape": each.shape, "data": each.data})
        else:
            head = {"name": each.name, "datatype": each.datatype, "shape": each.shape}
            documents.append({**head, "parameters": each.parameters, "data": each.data})
    return documents


def metadata_document(metadata: ModelMetadata) -> dict[str, Any]:
    """The answer to a model metadata request (Model Metadata Response JSON Object)."""
    return cast(dict[str, Any], msgspec.to_builtins(metadata))
