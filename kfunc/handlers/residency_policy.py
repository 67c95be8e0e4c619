"""Which models leave memory: the least recently used, none that is pinned or just came. Pure."""

from collections.abc import Iterable

from msgspec import Struct


class Resident(Struct, frozen=True):
    """A model in memory; `size` in bytes as measured when it was loaded, `used_at` a count that grows with each request."""

    name: str
    size: int
    used_at: int
    pinned: bool = False


def leaving(residents: Iterable[Resident], excess_bytes: int, excess_models: int) -> list[Resident]:
    """Those to let go, in order, so that so many bytes and models go; all that may where it is not enough."""
    result: list[Resident] = []
    for each in sorted(residents, key=lambda resident: resident.used_at):
        if excess_bytes <= 0 and excess_models <= 0:
            break
        if not each.pinned:
            result.append(each)
            excess_bytes -= each.size
            excess_models -= 1
    return result
