"""Which models of a full cache go: the least recently used, never one in use. Pure."""

from collections.abc import Iterable

from msgspec import Struct


class Kept(Struct, frozen=True):
    """A model in the cache; `used_at` is when a process last opened it, in seconds."""

    key: str
    size: int
    used_at: float


def victims(kept: Iterable[Kept], needed: int, max_bytes: int) -> list[Kept]:
    """Those to try to remove, oldest first, until `needed` more bytes fit; all of them if that is not enough."""
    oldest = sorted(kept, key=lambda each: each.used_at)
    excess = sum(each.size for each in oldest) + needed - max_bytes
    result: list[Kept] = []
    for each in oldest:
        if excess <= 0:
            break
        result.append(each)
        excess -= each.size
    return result
