"""`python -m tests.batcher_sidecar.soak [--count N]` (`make soak-batcher`): all answers right, or exit status 1."""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import uvloop

from tests.batcher_sidecar.soak.client import Client, Tally
from tests.batcher_sidecar.soak.processes import batcher, memory_mb, upstream


async def soak(
    port: int, count: int, connections: int, seed: int, tally: Tally, on_tick: Callable[[], None] = lambda: None
) -> None:
    """`count` requests over `connections` connections."""
    tally.left = count
    loop = asyncio.get_running_loop()
    clients = [Client(loop, port, random.Random(seed * 1000 + number), tally) for number in range(connections)]
    for client in clients:
        client.connect()
    while tally.ended < count:
        await asyncio.sleep(0.2)
        on_tick()


def main() -> int:
    """The exit status: 0 when every answer was right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tally = Tally()
    began_at = time.monotonic()
    with ExitStack() as stack:
        _, behind = upstream(stack, options.seed)
        process, port = batcher(stack, behind)
        told = 0.0

        def tick() -> None:
            nonlocal told
            if time.monotonic() - told > 10:
                told = time.monotonic()
                print(f"{tally.ended:,} in {told - began_at:.0f} s, batcher {memory_mb(process.pid):.1f} MB", flush=True)

        uvloop.run(soak(port, options.count, options.connections, options.seed, tally, tick))
        print(f"batcher {memory_mb(process.pid):.1f} MB, {time.monotonic() - began_at:.0f} s")
    print(", ".join(f"{name}: {number:,}" for name, number in sorted(tally.outcomes.items())))
    for wrong in tally.wrong[:5]:
        print("WRONG", wrong)
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
