"""Whether a machine has nothing but processors."""

from pathlib import Path

import pytest

from kfunc.handlers.processors import no_accelerator


@pytest.mark.parametrize(
    ("files", "system", "expected"),
    [
        (["null", "shm", "kmsg"], "linux", True),
        (["null", "nvidia0", "nvidiactl"], "linux", False),
        (["dxg"], "linux", False),
        (["kfd", "null"], "linux", False),
        (["dri"], "linux", False),
        ([], "darwin", False),
    ],
)
def test_device_files_tell_of_accelerators(tmp_path: Path, files: list[str], system: str, expected: bool) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert no_accelerator(tmp_path, system) is expected


def test_where_nobody_can_look_there_may_be_one(tmp_path: Path) -> None:
    assert no_accelerator(tmp_path / "gone", "linux") is False
