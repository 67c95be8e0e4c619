from pathlib import Path

import pytest

from kfunc.images.store import Store
from tests.images.fakes import Quiet, write_base, write_index


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that all tests share: packages and kfunc are made once."""
    return Store(tmp_path_factory.mktemp("warm"))


@pytest.fixture
def reporter() -> Quiet:
    return Quiet()


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels that stands for the package index."""
    return write_index(tmp_path_factory.mktemp("index"), "onnx", "nats")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base image for both platforms."""
    return f"oci:{write_base(tmp_path_factory.mktemp('base') / 'layout', 'amd64', 'arm64')}"


@pytest.fixture(scope="session")
def environ(index: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment without credentials, whose pip knows only the folder of wheels."""
    home = tmp_path_factory.mktemp("home")
    return {"HOME": str(home), "PATH": "/usr/bin:/bin", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
