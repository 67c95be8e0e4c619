"""Wheels as entries of a layer."""

from pathlib import Path

import pytest

from kfunc.errors import BuildError
from kfunc.images.wheels import Package, read_package, wheel_entries
from tests.images.fakes import write_wheel

INFO = "some_thing-1.0.dist-info"


def test_each_kind_of_file_goes_to_its_place(tmp_path: Path) -> None:
    files = {
        "some_thing/__init__.py": b"",
        "some_thing-1.0.data/purelib/pure.py": b"",
        "some_thing-1.0.data/platlib/plat.so": b"",
        "some_thing-1.0.data/scripts/run": b"#!python\nprint(1)\n",
        "some_thing-1.0.data/data/share/x": b"",
        "some_thing-1.0.data/headers/x.h": b"",
    }
    entries = {entry.path: entry for entry in wheel_entries(write_wheel(tmp_path, "some-thing", "1.0", files))}
    assert sorted(path for path in entries if ".dist-info" not in path) == [
        "opt/kfunc/bin/run",
        "opt/kfunc/lib/.data/share/x",
        "opt/kfunc/lib/.headers/x.h",
        "opt/kfunc/lib/plat.so",
        "opt/kfunc/lib/pure.py",
        "opt/kfunc/lib/some_thing/__init__.py",
    ]
    script = entries["opt/kfunc/bin/run"]
    assert (script.content, script.executable) == (b"#!/usr/bin/env python\nprint(1)\n", True)


def test_the_programs_that_a_wheel_declares_are_made(tmp_path: Path) -> None:
    declared = b"[console_scripts]\nRun-It = some_thing.main:cli.main [extra]\n../evil = a:b\n[other]\nx = y:z\n"
    wheel = write_wheel(tmp_path, "some-thing", "1.0", {f"{INFO}/entry_points.txt": declared})
    programs = [entry for entry in wheel_entries(wheel) if entry.path.startswith("opt/kfunc/bin/")]
    assert [(entry.path, entry.executable) for entry in programs] == [("opt/kfunc/bin/Run-It", True)]
    assert programs[0].content == (
        b"#!/usr/bin/env python\nimport sys\nfrom some_thing.main import cli\nsys.exit(cli.main())\n"
    )


@pytest.mark.parametrize(
    "name", ["../evil.py", "/etc/passwd", "a/../../b", "a\\b", "a//b", "some_thing-1.0.data/scripts/../../x"]
)
def test_a_file_that_would_leave_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    wheel = write_wheel(tmp_path, "some-thing", "1.0", {name: b""})
    with pytest.raises(BuildError, match="not within its folder: do not use this package"):
        list(wheel_entries(wheel))


def test_what_a_wheel_says_of_itself(tmp_path: Path) -> None:
    metadata = "License-Expression: MIT\nRequires-Dist: Other_One>=1\nRequires-Dist: x; extra == 'all'\n"
    wheel = write_wheel(tmp_path, "Some.Thing", "1.0", metadata=metadata)
    assert read_package(wheel, "ab") == Package("some-thing", "1.0", "MIT", True, "ab", ("other-one",))


def test_what_is_no_wheel_is_named(tmp_path: Path) -> None:
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(b"PK")
    with pytest.raises(BuildError, match=r"a-1-py3-none-any\.whl is no wheel"):
        read_package(tmp_path / "a-1-py3-none-any.whl", "")
