"""Runs a target on mutated inputs: what escapes that is no 4xx, takes too long or keeps memory is a finding."""

import gc
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from kfunc.errors import MAX_MESSAGE, KfuncError
from kfunc.http.wire import error_body
from tests.fuzz.mutation import MAX_SIZE, Mutator

SLOW_S = 0.5
MAX_CORPUS = 500
WARM_UP = 2000
GROWTH_PER_INPUT = 1024 * 1024 / 10_000  # bytes: 1 MiB for 10,000 inputs that are refused
GROWTH_ANYWAY = 8 * 1024 * 1024  # bytes: what the allocator may round up to
NUMBERS_AND_NAMES = re.compile(r"'.*'|\".*\"|-?\d+", re.DOTALL)
PAGE = os.sysconf("SC_PAGESIZE")


class Target(NamedTuple):
    """`call` decodes one input and raises a KfuncError for one that is wrong; it returns what tells this answer from others."""

    name: str
    seeds: list[bytes]
    call: Callable[[bytes], object]


class Finding(NamedTuple):
    """An input that a target must not answer so."""

    content: bytes
    reason: str


class Report(NamedTuple):
    """What a run came to; `growth` in bytes of resident memory, after warming up."""

    target: str
    asked: int
    refused: int
    kinds: int
    seconds: float
    slowest_s: float
    slowest: bytes
    growth: int
    finding: Finding | None


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def answer(target: Target, content: bytes) -> tuple[bool, str]:
    """Whether an input is refused, and the kind of its answer. Raises what must not happen."""
    try:
        kind = target.call(content)
    except KfuncError as error:
        if not 400 <= error.status < 500:
            raise
        check_message(error)
        return True, type(error).__name__ + NUMBERS_AND_NAMES.sub("", error.message)
    return False, f"accepted {kind}"


def check_message(error: KfuncError) -> None:
    """What goes to the caller: JSON, some words, and nothing of our insides."""
    body = error_body(error.message)
    if not 0 < len(error.message) <= MAX_MESSAGE + 1:
        raise AssertionError(f"a message of {len(error.message)} characters")
    if b"Traceback" in body or b"object at 0x" in body or b"site-packages" in body:
        raise AssertionError("a message that shows internals")


def examine(target: Target, content: bytes) -> Finding | None:
    """The finding that one input makes, if it does; a slow one is asked again, since machines pause."""
    took = []
    for _ in range(3):
        started = time.process_time()
        try:
            answer(target, content)
        except Exception as error:  # whatever it is, it is the finding
            return Finding(content, f"{type(error).__name__}: {error}")
        took.append(time.process_time() - started)
    return Finding(content, f"took {min(took):.2f} s") if min(took) > SLOW_S else None


def run(target: Target, count: int, seed: int = 0) -> Report:
    """Ask `target` `count` times; ends at the first finding. An answer of a new kind makes its input a seed."""
    random = Random(f"{seed} {target.name}")
    mutator = Mutator(random, list(target.seeds))
    kinds: set[str] = set()
    refused, asked, before, slowest_s, slowest, finding = 0, 0, 0, 0.0, b"", None
    began = time.perf_counter()
    warm_up = min(WARM_UP, count // 2)
    for asked in range(1, count + 1):
        content = target.seeds[asked - 1] if asked <= len(target.seeds) else mutator.next()[:MAX_SIZE]
        started = time.perf_counter()
        try:
            is_refused, kind = answer(target, content)
        except Exception:  # whatever it is, it is a finding
            finding = examine(target, content) or Finding(content, "failed once, and not again")
            break
        took = time.perf_counter() - started
        if took > slowest_s:
            slowest_s, slowest = took, content
            if took > SLOW_S and (finding := examine(target, content)):
                break
        refused += is_refused
        if kind not in kinds and len(kinds) < MAX_CORPUS:
            kinds.add(kind)
            mutator.corpus.append(content)
        if asked == warm_up:
            gc.collect()
            before = resident()
    seconds = time.perf_counter() - began
    gc.collect()
    growth = resident() - before if before else 0
    if finding is None and growth > GROWTH_ANYWAY + GROWTH_PER_INPUT * (asked - warm_up):
        finding = Finding(slowest, f"memory grew by {growth} bytes in {asked - warm_up} inputs")
    return Report(target.name, asked, refused, len(kinds), seconds, slowest_s, slowest, growth, finding)
