"""Digests of folders: what the documentation's command prints, and what they do not cover."""

import re
import subprocess
from pathlib import Path

import pytest

from kfunc.errors import ModelLoadError
from kfunc.storage.digests import check, folder_digest
from kfunc.storage.progress import Progress

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Names with spaces, capitals and letters of other scripts, a folder within, and a link to a file."""
    model = tmp_path / "model"
    for name in ("saved_model.pb", "Variables.index", "variables/a b.data", "variables.txt", "ä.json"):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(name)
    (tmp_path / "blob").write_text("elsewhere")
    (model / "weights").symlink_to(tmp_path / "blob")
    return model


@pytest.mark.parametrize("page", ["runtimes.md", "storage.md"])
def test_the_command_of_the_documentation_prints_a_folder_s_digest(folder: Path, page: str) -> None:
    (command,) = re.findall(r"`(find [^`]+)`", (DOCS / page).read_text())
    printed = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert printed.split()[0] == folder_digest(folder, Progress())


def test_a_changed_file_is_told_with_the_digest_that_there_is(folder: Path) -> None:
    expected = f"sha256:{folder_digest(folder, Progress())}"
    check(folder, expected, "model", Progress())
    (folder / "variables" / "a b.data").write_text("other")
    with pytest.raises(ModelLoadError, match=f"model: its digest is sha256:.*, expected is {expected}"):
        check(folder, expected, "model", Progress())


def test_a_link_to_a_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (folder / "code").symlink_to(tmp_path / "code")
    with pytest.raises(ModelLoadError, match="code: is a link to a folder, which is not followed"):
        folder_digest(folder, Progress())
