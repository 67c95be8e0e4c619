"""Pictures as requests bring them: a body of image/…, bytes, or a text in base64. Decodes none."""

from base64 import b64decode
from binascii import Error
from typing import Any

from kfunc.protocol import v1
from kfunc.protocol.messages import InferRequest, ModelMetadata, Tensor


def picture_request(body: bytes, metadata: ModelMetadata, *, is_v1: bool) -> InferRequest:
    """The request that a body of image/… stands for."""
    if is_v1:
        return v1.V1Request([Tensor(v1.ROWS, [1], "", [body])], has_booleans=False)
    return InferRequest([Tensor(metadata.inputs[0].name, [1], "BYTES", [body])])


def picture_bytes(value: Any) -> bytes:
    """A picture's bytes; JSON of V2 has no bytes, so that text is base64."""
    if not isinstance(value, bytes):
        value = str(value).encode()
    if value[:1] in b"/RUQSTi" and value.isascii():  # how base64 of pictures begins; none of them begins so itself
        try:
            return b64decode(value, validate=True)
        except (Error, ValueError):
            pass
    picture: bytes = value
    return picture
