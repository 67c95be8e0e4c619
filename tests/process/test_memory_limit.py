"""The memory of a container, by what its control group says."""

import os
from pathlib import Path

import pytest

from kfunc.process.memory_limit import memory_limit

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("v2", "v1", "limit"),
    [
        ("67108864\n", None, 1 << 26),
        ("max\n", None, MACHINE),
        (None, "67108864\n", 1 << 26),
        (None, "9223372036854771712\n", MACHINE),
        (None, None, MACHINE),
    ],
    ids=["v2", "v2 without a limit", "v1", "v1 without a limit", "no control group"],
)
def test_the_limit_is_the_containers_or_the_machines(tmp_path: Path, v2: str | None, v1: str | None, limit: int) -> None:
    for name, text in (("v2", v2), ("v1", v1)):
        if text is not None:
            (tmp_path / name).write_text(text)
    assert memory_limit([str(tmp_path / "v2"), str(tmp_path / "v1")]) == limit
