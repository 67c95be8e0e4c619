"""A request that no path says the protocol of: V1 or V2, by the members of its document. Sans-IO."""

from collections.abc import Collection

import msgspec
from msgspec import UNSET, Struct, UnsetType

from kfunc.errors import InvalidRequest
from kfunc.protocol import v1, v2
from kfunc.protocol.json_text import ERRORS, cause
from kfunc.protocol.messages import InferRequest


class _Document(Struct, gc=False):
    instances: msgspec.Raw | UnsetType = UNSET
    inputs: msgspec.Raw | UnsetType = UNSET


_DOCUMENT = msgspec.json.Decoder(_Document)


def is_v1(body: bytes) -> bool:
    """Whether a document is a request of V1: it has `instances`, or `inputs` that are no list of V2's tensors.

    Raises InvalidRequest for what is a request of neither.
    """
    try:
        document = _DOCUMENT.decode(body)
        if document.instances is not UNSET:
            return True
        if document.inputs is not UNSET:
            return not _are_tensors(bytes(document.inputs))
    except ERRORS as error:
        raise InvalidRequest(f"the request is neither of V1 nor of V2: {cause(error)}") from None
    raise InvalidRequest('the request has neither "instances" (V1) nor "inputs" (V2)')


def _are_tensors(inputs: bytes) -> bool:
    """Whether they are an array of objects with a `datatype`, which V1's never are; an empty array is V2's to refuse."""
    if not inputs.startswith(b"["):
        return False
    first = inputs[1:100].lstrip()[:1]
    return first == b"]" or (first == b"{" and b'"datatype"' in inputs)


def decode_request(body: bytes, protocols: Collection[str], model_name: str = "", model_version: str = "") -> InferRequest:
    """A request of one of the `protocols`. Raises InvalidRequest."""
    protocol = "v1" if is_v1(body) else "v2"
    if protocol not in protocols:
        raise InvalidRequest(f"the request is of {protocol.upper()}, which is not served here (inference.protocols)")
    if protocol == "v1":
        return v1.decode_request(body, model_name, model_version)
    return v2.decode_request(body, model_name, model_version)
