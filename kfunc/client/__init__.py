"""A client of functions, and of any server of the V1 and V2 protocols: numpy arrays in and out.

`Client` for threads and notebooks, `AsyncClient` for asyncio; the same calls. Knows no server's code:
flows are sans-IO (`calls.py`), transports do the I/O (`connections.py`, `aio_connections.py`).
"""

from kfunc.client.aio_client import AsyncClient
from kfunc.client.client import Client
from kfunc.client.errors import (
    ClientError,
    ConnectionLost,
    InvalidAnswer,
    InvalidCall,
    NotConnected,
    NotFound,
    Refused,
    ServerFailed,
    TimedOut,
    Unavailable,
)
from kfunc.client.results import Explanation, IndexEntry, InferResult, Prediction, ServerMetadata

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "ConnectionLost",
    "Explanation",
    "IndexEntry",
    "InferResult",
    "InvalidAnswer",
    "InvalidCall",
    "NotConnected",
    "NotFound",
    "Prediction",
    "Refused",
    "ServerFailed",
    "ServerMetadata",
    "TimedOut",
    "Unavailable",
]
