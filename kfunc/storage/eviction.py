"""Which models of a full cache go: the least recently used, never one in use. Pure."""

from collections.abc import Callable, Iterable

from msgspec import Struct


class Kept(Struct, frozen=True):
    """A model in the cache, or what a download left of one; `used_at` is when a process last opened it, in seconds."""

    key: str
    size: int
    used_at: float
    whole: bool = True


def evict(kept: Iterable[Kept], needed: int, max_bytes: int, remove: Callable[[Kept], bool]) -> None:
    """Remove the oldest first until `needed` more bytes fit; what cannot be removed, since it is in use, frees nothing."""
    oldest = sorted(kept, key=lambda each: each.used_at)
    excess = sum(each.size for each in oldest) + needed - max_bytes
    for each in oldest:
        if excess <= 0:
            return
        if remove(each):
            excess -= each.size
