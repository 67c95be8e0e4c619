"""The manifests in this repository are those of its func.yaml; `kfunc render -o .` writes them again."""

from pathlib import Path

from kfunc.cli import main

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("knative", "istio", "monitoring", "raw")


def test_the_folders_of_manifests_hold_what_func_yaml_gives(tmp_path: Path) -> None:
    assert main(["render", str(ROOT), "-o", str(tmp_path)]) == 0
    assert files(ROOT) == files(tmp_path), "run: kfunc render -o ."


def files(below: Path) -> dict[str, str]:
    paths = [path for folder in FOLDERS for path in (below / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(below)): path.read_text() for path in paths}
