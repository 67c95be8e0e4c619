"""The manifests in this repository are those of its func.yaml; `kfunc render -o .` writes them again."""

import re
import shlex
from pathlib import Path

import pytest

from kfunc.cli import main

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("knative", "istio", "monitoring", "raw")


def commands() -> list[list[str]]:
    """The arguments of each `$ kfunc render …` in README and docs, without the folder to write to."""
    texts = [path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
    lines = [line for text in texts for line in text.splitlines() if line.startswith("$ kfunc render")]
    found = [shlex.split(re.split(r"[|#]", line)[0])[2:] for line in lines]
    return [list(one) for one in dict.fromkeys(map(tuple, found))]


def test_the_folders_of_manifests_hold_what_func_yaml_gives(tmp_path: Path) -> None:
    assert main(["render", str(ROOT), "-o", str(tmp_path)]) == 0
    assert files(ROOT) == files(tmp_path), "run: kfunc render -o ."


@pytest.mark.parametrize("command", commands())
def test_each_command_that_the_documentation_shows_renders(command: list[str], tmp_path: Path) -> None:
    assert main([*command, str(ROOT), *([] if "-o" not in command else ["-o", str(tmp_path)])]) == 0


def test_the_documentation_shows_what_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["render", str(ROOT), "-o", str(tmp_path), "--image", "registry.example.com/me/iris:1"]) == 0
    assert capsys.readouterr().err.replace(f"{tmp_path}/", "") in (ROOT / "docs/render.md").read_text()


def files(below: Path) -> dict[str, str]:
    paths = [path for folder in FOLDERS for path in (below / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(below)): path.read_text() for path in paths}
