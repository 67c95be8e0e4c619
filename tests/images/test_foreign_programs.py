"""`kfunc build --builder` with Buildah, Podman, Docker and pack: images of the root example answer."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import FUNC_YAML
from tests.e2e.base_image import write_base_image
from tests.images.builder_image import Docker, DockerContainer, build_by_pack, make_builder_image, write_function
from tests.images.fakes import write_base, write_index
from tests.images.programs import Container, Dockerd, Pulled, build, installed, may_mount, private
from tests.images.registries import DockerRegistry
from tests.parts import ROOT

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not may_mount(), reason="it mounts the programs' files, which needs root with CAP_SYS_ADMIN"),
]
IRIS = b'{"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}'
BOTH = ("--platform", "linux/amd64", "--platform", "linux/arm64")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """kfunc's store for all tests: packages are fetched once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with DockerRegistry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def base(registry: DockerRegistry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base that runs: this machine's Python, with neither pip nor a shell."""
    folder = tmp_path_factory.mktemp("base")
    write_base_image(folder)
    return registry.take(folder, "python")


@pytest.fixture(scope="module")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    with Dockerd(tmp_path_factory.mktemp("docker")) as running:
        yield running


@pytest.fixture
def environ(tmp_path: Path, cache: Path) -> dict[str, str]:
    """Where the program keeps its things; pip's settings are this machine's."""
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return private(tmp_path / "home") | pip | {"KFUNC_CACHE": str(cache), "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("name", ["buildah", "podman", "docker"])
def test_the_image_that_a_program_made_answers(
    name: str, registry: DockerRegistry, base: str, environ: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if name == "docker":
        environ |= {"DOCKER_HOST": request.getfixturevalue("dockerd").url}
    image = f"{registry.host}/{name}/iris:1"
    done = build(name, tmp_path, environ, ".", "--builder", name, "--base", base, "--image", image)
    assert done.returncode == 0, done.stderr
    pulled = Pulled(registry.host, f"{name}/iris")
    assert done.stdout == f"{registry.host}/{name}/iris@{pulled.digest}\n"  # the program's own words are on standard error
    assert len(pulled.manifest["layers"]) == 4  # the base's, packages, kfunc, weights
    with Container(tmp_path / "container", pulled) as container:
        status, body = container.ask("POST", "/v2/models/iris/infer", IRIS)
    assert (status, json.loads(body)["model_name"]) == (200, "iris"), body


@pytest.fixture(scope="module")
def docker(dockerd: Dockerd, tmp_path_factory: pytest.TempPathFactory) -> Docker:
    return Docker(dockerd.url, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def function(registry: DockerRegistry, base: str, docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for pack. Paketo's builder image is not to be had here: one with a small buildpack for Python plays it."""
    place = tmp_path_factory.mktemp("builder")
    builder = make_builder_image(place, docker, registry.host, Pulled(registry.host, "python"))
    return write_function(place / "function", builder)


@pytest.mark.parametrize("option", ["--push", "--no-push"])
def test_the_image_that_pack_made_answers(
    option: str, registry: DockerRegistry, docker: Docker, function: Path, tmp_path: Path
) -> None:
    image = f"{registry.host}/pack/iris:{option.strip('-')}"
    done = build_by_pack(docker, function, "--image", image, option)
    assert done.returncode == 0, done.stderr
    named = image
    if option == "--push":
        named = f"{registry.host}/pack/iris@{Pulled(registry.host, 'pack/iris', 'push').digest}"
    assert (done.stdout, "Successfully built image" in done.stderr) == (f"{named}\n", True)
    with DockerContainer(tmp_path / "container", docker, image) as container:
        status, body = container.ask("POST", "/v2/models/iris/infer", IRIS)
    assert (status, json.loads(body)["model_name"]) == (200, "iris"), body


@pytest.fixture
def small(tmp_path: Path, environ: dict[str, str]) -> Path:
    """A function whose packages are empty."""
    index = write_index(tmp_path / "index", "onnx")
    environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "KFUNC_CACHE": str(tmp_path / "cache")}
    folder = tmp_path / "function"
    folder.mkdir()
    (folder / "func.yaml").write_text(FUNC_YAML)
    (folder / "model.onnx").write_bytes((ROOT / "examples/iris/model.onnx").read_bytes())
    return folder


CONTAINER_OF = {"buildah": ("buildah", "from", "--pull-never"), "podman": ("podman", "create", "--network=none")}


@pytest.mark.parametrize("name", ["buildah", "podman"])
def test_two_platforms_are_an_index_of_two_also_when_they_are_built_again(
    name: str, registry: DockerRegistry, small: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    base = registry.take(write_base(tmp_path / "base", "amd64", "arm64"), f"{name}/base")
    image = f"{registry.host}/{name}/both:1"
    arguments = (small, "--builder", name, "--base", base, "--image", image)
    assert build(name, tmp_path, environ, *arguments).returncode == 0  # the name is one of an image at first
    for version in (b"2", b"3"):
        use = installed(name, tmp_path / "scratch", *CONTAINER_OF[name], image, *(["/x"] if name == "podman" else []))
        used = subprocess.run(use, env=environ, capture_output=True, text=True, check=False)
        assert used.returncode == 0, used.stderr  # an image that a container has is not removed
        (small / "model.onnx").write_bytes(version)
        done = build(name, tmp_path, environ, *arguments, *BOTH)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{registry.host}/{name}/both@{Pulled(registry.host, f'{name}/both').digest}\n"
        found = [each["platform"]["architecture"] for each in Pulled(registry.host, f"{name}/both").index["manifests"]]
        assert sorted(found) == ["amd64", "arm64"]
    listed = installed(name, tmp_path / "scratch", name, "images", "--noheading")
    names = subprocess.run(listed, env=environ, capture_output=True, text=True, check=True).stdout
    assert (f"{registry.host}/{name}/both" in names, "localhost/" in names) == (True, False), names


@pytest.mark.parametrize("name", ["buildah", "podman"])
def test_a_registry_with_its_own_authority_is_told_to_the_program(
    name: str, registry: DockerRegistry, small: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    base = registry.take(write_base(tmp_path / "base", "amd64"), f"{name}/tls")
    with DockerRegistry(tmp_path / "registry", tls=True) as other:
        arguments = (small, "--builder", name, "--image", f"{other.host}/iris:1", "--python", "3.11")
        done = build(name, tmp_path, environ, *arguments, "--base", base, "--ca", other.authority)
        # Of a registry with TLS comes no base here, since the authority is only the other's.
        assert done.returncode == 1, done.stderr
        assert build(name, tmp_path, environ, *arguments, "--base", base, "--insecure").returncode == 0
        done = build(name, tmp_path, environ, *arguments, "--base", f"{other.host}/iris:1", "--ca", other.authority)
        assert done.returncode == 0, done.stderr
