"""What all viewers of the page see: however many they are, it is made once a second, and only while somebody looks."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

FRESH_S = 0.9  # a viewer comes back after a second

T = TypeVar("T")


class Shared(Generic[T]):
    """Something that takes the pod some work to make."""

    def __init__(self, make: Callable[[], Awaitable[T]], clock: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._clock = clock
        self._lock = asyncio.Lock()
        self._made: tuple[float, T] | None = None

    async def get(self) -> T:
        """What was made a moment ago, else a new one."""
        async with self._lock:
            if self._made is None or self._clock() - self._made[0] >= FRESH_S:
                self._made = (self._clock(), await self._make())
            return self._made[1]
