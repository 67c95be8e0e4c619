"""What decides which wheels an image gets."""

import os
import re
from pathlib import Path

import pytest

from kfunc.errors import BuildError
from kfunc.images.application import requirements
from kfunc.images.layers import content_digest
from kfunc.images.platforms import PLATFORMS, full_version
from kfunc.images.recipes import Libraries
from kfunc.images.requirements import Needs, download, is_built, key, pinned_name, pins
from tests.images.fakes import write_index, write_wheel


@pytest.mark.parametrize("line", ["-r more.txt", "--requirement=more.txt", "-c more.txt", "./more.whl"])
def test_a_change_of_a_file_that_requirements_name_is_a_change(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.txt").write_text(f"orjson\n{line}\n")
    more = tmp_path / line.replace("=", " ").split()[-1]
    needs = Needs((), "3.11.0", PLATFORMS["linux/amd64"], file=tmp_path / "requirements.txt")
    more.write_text("numpy==1.0\n")
    before = key(needs, {})
    more.write_text("numpy==2.0.1\n")
    assert key(needs, {}) != before


def test_requirements_that_name_each_other_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/requirements.txt").write_text("-r ../a/requirements.txt\n")
    needs = Needs((), "3.11.0", PLATFORMS["linux/amd64"], file=tmp_path / "a/requirements.txt")
    assert key(needs, {}) == key(needs, {})


@pytest.mark.parametrize(
    ("line", "built"),
    [
        ("orjson==3.9  # ./as/it/was", False),
        ("orjson[a,b]>=3; python_version > '3.1'", False),
        ("", False),
        ("-r more.txt", False),
        ("--extra-index-url https://index.example.com/simple", False),
        ("./wheels/own-1-py3-none-any.whl", False),
        ("own @ https://example.com/own-1-py3-none-any.whl#sha256=00", False),
        ("own @ file:///srv/own-1-py3-none-any.whl ; os_name == 'posix'", False),
        ("./own", True),
        (".", True),
        ("own[a] @ git+https://example.com/own.git@main", True),
        ("git+ssh://git@example.com/own.git", True),
        ("own@https://example.com/own-1.tar.gz", True),
        ("own-1.tar.gz", True),
        ("-e ./own", True),
        ("--no-binary :all:", True),
    ],
)
def test_a_line_that_names_a_source_would_be_built(line: str, built: bool) -> None:
    assert is_built(line) is built


def test_nothing_is_built_here(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("orjson\n./own\n")
    needs = Needs((), "3.11.0", PLATFORMS["linux/amd64"], file=tmp_path / "requirements.txt")
    with pytest.raises(BuildError, match=r"'./own' would be built here.*pip wheel --no-deps -w wheels"):
        download(needs, tmp_path, {})


def test_a_token_in_a_place_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("own @ git+https://oauth2:glpat-1@git.example.com/own.git@main\n")
    needs = Needs((), "3.11.0", PLATFORMS["linux/amd64"], file=tmp_path / "requirements.txt")
    with pytest.raises(BuildError, match=r"'own @ git\+https://git.example.com/own.git@main' would be built here"):
        download(needs, tmp_path, {})


def test_pips_own_settings_decide_as_well(tmp_path: Path) -> None:
    needs = Needs((), "3.11.0", PLATFORMS["linux/amd64"])
    before = [key(needs, {"HOME": str(tmp_path)})]
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\nindex-url = https://other.example.com\n")
    before += [key(needs, {"HOME": str(tmp_path), **more}) for more in ({}, {"PIP_CONSTRAINT": "a"}, {"PIP_PRE": "1"})]
    assert len(set(before)) == 4


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """An environment whose index has what kfunc needs, in the pinned versions, and `own`."""
    write_wheel(write_index(tmp_path / "index"), "own", "1.0")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index"), "PATH": os.environ["PATH"]}


def needs_of(folder: Path, requirements: str) -> Needs:
    (folder / "requirements.txt").write_text(requirements)
    return Needs((), "3.11.9", PLATFORMS["linux/amd64"], file=folder / "requirements.txt")


def test_wheels_that_are_what_their_hashes_say_are_taken(tmp_path: Path, offline: dict[str, str]) -> None:
    digest = content_digest(tmp_path / "index/own-1.0-py3-none-any.whl")
    found = download(needs_of(tmp_path, f"own==1.0 \\\n    --hash=sha256:{digest}\n"), tmp_path, offline)
    assert "own-1.0-py3-none-any.whl" in [file.name for file in found.files]
    assert found.unpinned == []


def test_a_wheel_that_is_another_than_its_hash_says_is_refused(tmp_path: Path, offline: dict[str, str]) -> None:
    with pytest.raises(BuildError, match=r"a wheel is another one than requirements.txt says \(own==1.0.*sha256.*Got"):
        download(needs_of(tmp_path, f"own==1.0 --hash=sha256:{'0' * 64}\n"), tmp_path, offline)


def test_hashes_of_all_packages_are_not_to_be_had(tmp_path: Path, offline: dict[str, str]) -> None:
    with pytest.raises(BuildError, match="say --require-hashes, and kfunc's own packages have none"):
        download(needs_of(tmp_path, "--require-hashes\nown==1.0\n"), tmp_path, offline)


def test_only_the_pins_that_do_not_fit_are_dropped(tmp_path: Path, offline: dict[str, str]) -> None:
    """A package wants an older msgspec than kfunc's pin; all other pins hold, though the index has newer ones."""
    kept = {pinned_name(line): line.partition("==")[2] for line in pins()}
    write_wheel(tmp_path / "index", "own", "2.0", metadata=f"Requires-Dist: msgspec<{kept['msgspec']}\n")
    write_wheel(tmp_path / "index", "msgspec", "0.21.0")
    write_wheel(tmp_path / "index", "orjson", "9999.0")
    found = download(needs_of(tmp_path, "own==2.0\n"), tmp_path, offline)
    names = [file.name for file in found.files]
    assert found.unpinned == ["msgspec"]
    assert {"msgspec-0.21.0-py3-none-any.whl", f"orjson-{kept['orjson']}-py3-none-any.whl"} <= set(names)


def test_where_pip_names_no_package_only_those_are_told_that_came_in_another_version(
    tmp_path: Path, offline: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfunc.images.requirements.BLAMED", re.compile("(no package is named)"))
    kept = {pinned_name(line): line.partition("==")[2] for line in pins()}
    write_wheel(tmp_path / "index", "own", "2.0", metadata=f"Requires-Dist: msgspec<{kept['msgspec']}\n")
    write_wheel(tmp_path / "index", "msgspec", "0.21.0")
    assert download(needs_of(tmp_path, "own==2.0\n"), tmp_path, offline).unpinned == ["msgspec"]


def test_hashes_in_a_file_that_is_named_are_no_buildpack_s(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text(f"own==1.0 --hash=sha256:{'0' * 64}\n")
    (tmp_path / "requirements.txt").write_text("-r more.txt\n")
    with pytest.raises(BuildError, match="or a file that it names, has hashes"):
        requirements(Libraries(file=tmp_path / "requirements.txt"))


@pytest.mark.parametrize(("text", "release"), [("3.11.9", "3.11.9"), ("3.11", "3.11.0"), ("", "3.11.0"), ("3.12.1", "3.11.0")])
def test_a_base_says_its_release_of_python_else_the_first_is_meant(text: str, release: str) -> None:
    assert full_version(text, "3.11") == release
