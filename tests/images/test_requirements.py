"""What decides which wheels an image gets."""

from pathlib import Path

import pytest

from kfunc.images.platforms import PLATFORMS
from kfunc.images.requirements import Needs, key


@pytest.mark.parametrize("line", ["-r more.txt", "--requirement=more.txt", "-c more.txt", "./more.whl"])
def test_a_change_of_a_file_that_requirements_name_is_a_change(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.txt").write_text(f"orjson\n{line}\n")
    more = tmp_path / line.replace("=", " ").split()[-1]
    needs = Needs((), "3.11", PLATFORMS["linux/amd64"], file=tmp_path / "requirements.txt")
    more.write_text("numpy==1.0\n")
    before = key(needs, {})
    more.write_text("numpy==2.0.1\n")
    assert key(needs, {}) != before


def test_requirements_that_name_each_other_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/requirements.txt").write_text("-r ../a/requirements.txt\n")
    needs = Needs((), "3.11", PLATFORMS["linux/amd64"], file=tmp_path / "a/requirements.txt")
    assert key(needs, {}) == key(needs, {})
