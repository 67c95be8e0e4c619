"""Fixtures of the tests on a cluster: a namespace each, images in its registry, figures that are printed at the end.

`deployed` images are made by `kfunc build` as a user runs it.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.base_image import write_base_image
from tests.e2e.cluster import Cluster, Namespace, of_environment
from tests.e2e.variables import lacking

ROOT = Path(__file__).parents[2]
FIGURES: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder is e2e: no test here can be forgotten to be marked."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("figures")
        for line in FIGURES:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def figure() -> Callable[[str, str], None]:
    """Notes a figure: it is printed at once, and again at the end."""

    def note(name: str, value: str) -> None:
        FIGURES.append(f"{name:<60} {value}")
        print(f"\n{FIGURES[-1]}", flush=True)

    return note


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster that the variables name."""
    missing = lacking(os.environ)
    if missing:
        pytest.fail(f"not set: {', '.join(missing)}; make e2e says what they mean")
    return of_environment()


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace for one test, deleted afterwards."""
    yield from _namespace(cluster, request.node.name)


@pytest.fixture(scope="module")
def shared_namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace for the tests of a module."""
    yield from _namespace(cluster, request.node.name)


def _namespace(cluster: Cluster, label: str) -> Iterator[Namespace]:
    stem = Path(label).stem.replace("_", "-").lower().removeprefix("test-")[:24].rstrip("-")
    name = f"e2e-{stem}-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    try:
        yield Namespace(cluster, name)
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false", check=False)


@pytest.fixture(scope="session")
def kfunc() -> Callable[..., str]:
    """Runs the command line and gives its standard output; fails the test with what it says."""

    def run(*arguments: str | Path, status: int = 0, folder: Path = ROOT) -> str:
        command = [sys.executable, "-m", "kfunc", *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == status, (
            f"kfunc {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    return run


@pytest.fixture(scope="session")
def base_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base image as `kfunc build --base` takes it: E2E_BASE_IMAGE, or one made from this machine's Python."""
    given = os.environ.get("E2E_BASE_IMAGE")
    if given:
        return given
    folder = tmp_path_factory.mktemp("base")
    write_base_image(folder)
    return f"oci:{folder}"


@pytest.fixture(scope="session")
def build(cluster: Cluster, base_image: str, kfunc: Callable[..., str]) -> Callable[..., str]:
    """Builds a function's folder and pushes it to the cluster's registry: the image with its digest."""

    def run(folder: Path, name: str, *options: str) -> str:
        image = f"{cluster.registry}/e2e/{name}:1"
        return kfunc("build", folder, "--image", image, "--base", base_image, "--insecure", *options).strip()

    return run


@pytest.fixture(scope="session")
def iris_image(build: Callable[..., str]) -> str:
    """The image of the root example, func.yaml of this repository."""
    return build(ROOT, "iris")
