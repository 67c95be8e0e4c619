"""Messages that may be large: read in a thread, so that other calls go on meanwhile; or not at all."""

import asyncio

from kfunc.errors import PayloadTooLarge
from kfunc.protocol.grpc.request import decode_request
from kfunc.protocol.grpc.rest import with_raw_data
from kfunc.protocol.messages import InferRequest

MAX_QUESTION = 256 * 1024  # bytes: each entry of a list may cost a hundred times what it takes in the message


def check_question(size: int) -> None:
    """The size of a message of a method that infers nothing. Raises PayloadTooLarge."""
    if size > MAX_QUESTION:
        raise PayloadTooLarge(f"the message has {size} bytes; this method takes {MAX_QUESTION}")


async def read_later(data: bytes, at: int, most: int) -> tuple[InferRequest, bool]:
    """What `decode_request` gives, with every tensor in its binary form. Raises InvalidRequest, PayloadTooLarge."""
    return await asyncio.get_running_loop().run_in_executor(None, _read, data, at, most)


def _read(data: bytes, at: int, most: int) -> tuple[InferRequest, bool]:
    request, raw = decode_request(data, at, most=most)
    return with_raw_data(request), raw
