"""Rules for the `batcher` block: among its own settings, and with the rest of func.yaml."""

from collections.abc import Callable, Iterator

from msgspec import UNSET

from kfunc.config.batcher import Batcher
from kfunc.config.batcher_faults import faults
from kfunc.config.finding import Finding
from kfunc.config.function import Function

BLOCK = ("inference", "batcher")


def settings_fit_together(function: Function) -> Iterator[Finding]:
    """One batcher's settings among themselves."""
    batcher = function.inference.batcher
    if batcher is not UNSET:
        for path, message, suggestion in faults(batcher):
            yield Finding((*BLOCK, *path), message, suggestion)


def bodies_are_within_limits(function: Function) -> Iterator[Finding]:
    """A request that the server refuses cannot be merged."""
    batcher, limit = function.inference.batcher, function.inference.limits.max_body_bytes
    if batcher is not UNSET and batcher.max_body_bytes > limit and batcher.max_body_bytes != Batcher().max_body_bytes:
        message = f"expected at most limits.max_body_bytes, {limit}, found {batcher.max_body_bytes}"
        yield Finding((*BLOCK, "max_body_bytes"), message, "raise limits.max_body_bytes or lower it")


def padding_has_a_protocol(function: Function) -> Iterator[Finding]:
    """Only V2 says which inputs there are, and of what shape."""
    batcher = function.inference.batcher
    if batcher is not UNSET and batcher.pad is not UNSET and "v2" not in function.inference.protocols:
        yield Finding((*BLOCK, "pad"), "only V2 requests are filled up, and v2 is not in protocols", "add v2, or remove it")


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    settings_fit_together,
    bodies_are_within_limits,
    padding_has_a_protocol,
)
