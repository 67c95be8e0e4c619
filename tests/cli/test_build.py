"""`kfunc build`: what is printed and written, what is refused, what other programs are given."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.cli.conftest import WITH_IMAGE, Command
from tests.images.fakes import write_base, write_wheel

pytestmark = pytest.mark.usefixtures("build_environment")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"oci:{write_base(tmp_path_factory.mktemp('base') / 'layout', 'amd64', 'arm64')}"


def test_an_oci_layout_is_written_and_its_digest_is_all_that_standard_output_says(
    kfunc: Command, folder: Path, base: str, tmp_path: Path
) -> None:
    result = kfunc("build", folder, "--base", base, "--output", f"oci:{tmp_path}/out")
    assert result.status == 0
    index = json.loads((tmp_path / "out/index.json").read_text())
    assert result.out == f"registry.example.com/team/iris@{index['manifests'][0]['digest']}\n"
    assert index["manifests"][1]["artifactType"] == "application/vnd.cyclonedx+json"
    for path in (tmp_path / "out/blobs/sha256").iterdir():
        assert path.stat().st_size


def test_a_folder_by_a_relative_path_with_requirements(
    kfunc: Command, folder: Path, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(folder / "wheels", "own", "1.0")
    (folder / "requirements.txt").write_text("own\n")
    monkeypatch.chdir(folder.parent)
    result = kfunc("build", folder.name, "--base", base, "--output", f"oci:{tmp_path}/out")
    assert result.status == 0, result.err


def test_an_archive_for_docker_load_is_written(kfunc: Command, folder: Path, base: str, tmp_path: Path) -> None:
    assert kfunc("build", folder, "--base", base, "--output", f"docker-archive:{tmp_path}/iris.tar").status == 0
    with tarfile.open(tmp_path / "iris.tar") as archive:
        listed = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        names = archive.getnames()
    assert listed[0]["RepoTags"] == ["registry.example.com/team/iris:latest"]
    assert {listed[0]["Config"], *listed[0]["Layers"]} <= set(names)


def test_two_platforms_in_a_layout(kfunc: Command, folder: Path, base: str, tmp_path: Path) -> None:
    both = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    result = kfunc("build", folder, "--base", base, *both, "--output", f"oci:{tmp_path}/out", "--output", "json")
    assert json.loads(result.out)["platforms"] == ["linux/amd64", "linux/arm64"]


def test_the_variant_with_cuda_has_its_own_tag_and_packages(kfunc: Command, folder: Path, base: str, tmp_path: Path) -> None:
    result = kfunc("build", folder, "--base", base, "--variant", "cuda", "--output", f"oci:{tmp_path}/out", "--output", "json")
    assert result.status == 0, result.err
    assert json.loads(result.out)["image"] == "registry.example.com/team/iris:latest-cuda"


GPU = {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"}


@pytest.mark.parametrize("block", ["gpu: {count: 1, vendor: amd}", "accelerator: migraphx"])
def test_an_image_that_nobody_builds_is_named_as_render_takes_it(kfunc: Command, folder: Path, base: str, block: str) -> None:
    with (folder / "func.yaml").open("a") as file:
        file.write(f"  {block}\n")
    result = kfunc("build", folder, "--base", base, "--output", "oci:out")
    assert (result.status, "this one needs rocm: make one by hand" in result.err) == (2, True)
    assert "iris:TAG-rocm" in result.err


@pytest.mark.parametrize(("variant", "variables"), [("cuda", GPU), ("cpu", set())])
def test_only_an_image_for_cuda_asks_nvidias_runtime_for_gpus(
    kfunc: Command, folder: Path, base: str, tmp_path: Path, variant: str, variables: set[str]
) -> None:
    archive = tmp_path / "image.tar"
    result = kfunc("build", folder, "--base", base, "--variant", variant, "--output", f"docker-archive:{archive}")
    assert result.status == 0, result.err
    with tarfile.open(archive) as opened:
        manifest = json.load(opened.extractfile("manifest.json") or io.BytesIO())
        config = json.load(opened.extractfile(manifest[0]["Config"]) or io.BytesIO())
    assert {line for line in config["config"]["Env"] if line.startswith("NVIDIA_")} == variables


def test_weights_only_needs_no_base(kfunc: Command, folder: Path, tmp_path: Path) -> None:
    (folder / "model.onnx").write_bytes(b"weights")
    result = kfunc("build", folder, "--weights-only", "--output", f"docker-archive:{tmp_path}/w.tar")
    assert (result.status, "KServe's modelcars start sh in the image" in result.err) == (0, True)
    with tarfile.open(tmp_path / "w.tar") as archive:
        layers = [name for name in archive.getnames() if name.endswith(".tar")]
        with tarfile.open(fileobj=archive.extractfile(layers[0])) as layer:
            assert layer.getnames() == ["models", "models/model.onnx"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--base", "A b"], 2, "is no image; write it like"),
        (["--output", "tar:x"], 2, "is none of text, json, oci:DIR and docker-archive:FILE"),
        (["--image", "Iris"], 2, "is not an image such as"),
        (["--python", "3.12.4"], 2, "'3.12.4' is no minor version of Python"),
        (["--sidecar"], 2, "--sidecar needs a name: give --image"),
        (["--image", "127.0.0.1:9/me/iris:1", "--base", "127.0.0.1:9/base:1"], 1, "cannot reach the registry 127.0.0.1:9"),
        (["--builder", "podman", "--output", "oci:x"], 2, "leave it or --builder out"),
        (["--builder", "podman", "--base", "oci:x"], 2, "takes a base image of a registry"),
        (["--builder", "pack", "--platform", "linux/amd64", "--platform", "linux/arm64"], 2, "pack builds for one platform"),
        (["--image", "noslash"], 2, "would be one of Docker Hub's own images: write it like"),
        (["--builder", "podman", "--weights-only"], 2, "--weights-only needs no builder"),
        (["--ca", "/nothing", "--base", "registry.example.com/a/b"], 2, "cannot read the certificates in /nothing"),
    ],
)
def test_what_cannot_be_is_said_with_what_to_do(
    kfunc: Command, folder: Path, arguments: list[str], status: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfunc.images.transport.PAUSE_S", 0.0)
    result = kfunc("build", folder, *arguments)
    assert (result.status, message in result.err) == (status, True), result.err


def test_an_archive_holds_one_platform(kfunc: Command, folder: Path, base: str, tmp_path: Path) -> None:
    both = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    result = kfunc("build", folder, "--base", base, *both, "--output", f"docker-archive:{tmp_path}/a.tar")
    assert (result.status, "choose it with --platform" in result.err) == (2, True)
    assert "layer" not in result.err  # before anything is made


def test_a_function_with_somebody_elses_server_has_no_image_of_ours(kfunc: Command, folder: Path) -> None:
    (folder / "func.yaml").write_text(
        WITH_IMAGE.replace(
            "{uri: ./model.onnx}",
            "{uri: ./model.onnx}\n  server: {kind: triton, image: a.b/triton:1, sidecar_image: a.b/side:1}",
        )
    )
    result = kfunc("build", folder)
    assert (result.status, "`kfunc build --sidecar` makes their image" in result.err) == (2, True), result.err
