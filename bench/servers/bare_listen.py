"""The floor under a sidecar's start: import what every one needs, listen. `python bare_listen.py PORT`"""

import asyncio
import sys

import httptools
import orjson
import uvloop

IMPORTED = (httptools, orjson)


async def serve(port: int) -> None:
    """Accept connections until killed."""
    await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", port)
    await asyncio.Event().wait()


uvloop.run(serve(int(sys.argv[1])))
