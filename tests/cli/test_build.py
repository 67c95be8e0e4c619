"""`kfunc build`: what is printed and written, what is refused, what other programs are given."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.cli.conftest import FUNC_YAML, Command
from tests.images.fakes import write_base, write_index, write_wheel

WITH_IMAGE = FUNC_YAML.replace("runtime: python", "runtime: python\nimage: registry.example.com/team/iris")
PROGRAM = """#!/bin/sh
echo "$0 $*" >> {log}
for each; do
  if [ -f "$each/Containerfile" ] || [ -f "$each/requirements.txt" ]; then cp -r "$each" {copy}; fi
  if [ "${{each##*/}}" = variables ]; then cp "$each" {copy}-variables; fi
  case "$each" in
    --digestfile=*) printf {digest} > "${{each#*=}}";;
    --metadata-file=*) printf '{{"image.name": "x", "containerimage.digest": "{digest}"}}' > "${{each#*=}}";;
    inspect) printf 'other.example.com/iris@sha256:{zeros}\nregistry.example.com/team/iris@{digest}\n';;
  esac
done
exit {status}
"""
DIGEST = f"sha256:{'1' * 64}"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"oci:{write_base(tmp_path_factory.mktemp('base') / 'layout', 'amd64', 'arm64')}"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("index"), "onnx", "onnx-gpu", "nvidia")


@pytest.fixture(autouse=True)
def _environment(folder: Path, cache: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE)
    for name, value in {"KFUNC_CACHE": cache, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels, "HOME": folder}.items():
        monkeypatch.setenv(name, str(value))


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


@pytest.mark.parametrize(("variant", "variables"), [("cuda", GPU), ("cpu", set())])
def test_the_containerfile_for_cuda_asks_nvidias_runtime_for_gpus(
    kfunc: Command, folder: Path, tmp_path: Path, variant: str, variables: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{program(tmp_path, 'podman').parent}:{os.environ['PATH']}")
    result = kfunc("build", folder, "--builder", "podman", "--variant", variant)
    assert result.status == 0, result.err
    words = (tmp_path / "context/Containerfile").read_text().split()
    assert {word for word in words if word.startswith("NVIDIA_")} == variables


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


def program(folder: Path, name: str, status: int = 0) -> Path:
    """A program of that name that notes what it was given."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(PROGRAM.format(log=folder / "log", copy=folder / "context", status=status, digest=DIGEST, zeros="0" * 64))
    path.chmod(0o755)
    return path


BOTH = ("--platform", "linux/amd64", "--platform", "linux/arm64")
MADE = "--platform=linux/amd64 --file {0}/Containerfile --tag {1} {0}"
SENT = "push --digestfile={0}/digest {1} docker://{1}"
KNOWN = "image inspect --format {{{{range .RepoDigests}}}}{{{{println .}}}}{{{{end}}}} {1}"
BUILDERS = {
    "docker": [f"build {MADE}", "push {1}", KNOWN],
    "podman": [f"build --layers {MADE}", SENT],
    "buildah": [f"build --layers {MADE}", SENT],
    "pack": [
        "build {1} --builder paketobuildpacks/builder-jammy-base --platform=linux/amd64 --post-buildpack {0}/buildpack"
        " --trust-extra-buildpacks --path {0}/function --env BP_CPYTHON_VERSION=3.11.* --publish"
    ],
}


@pytest.mark.parametrize("name", BUILDERS)
def test_another_program_gets_its_command(
    kfunc: Command, folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = program(tmp_path, name)
    monkeypatch.setenv("PATH", f"{made.parent}:{os.environ['PATH']}")
    result = kfunc("build", folder, "--builder", name)
    named = "registry.example.com/team/iris"
    assert result.status == 0, result.err
    assert (result.status, result.out) == (0, f"{named}:latest\n" if name == "pack" else f"{named}@{DIGEST}\n")
    lines = [line.partition(" ")[2] for line in (tmp_path / "log").read_text().splitlines()]
    context = next(found[0] for line in lines if (found := re.search(r"/\S+/kfunc-build-[^/ ]+", line)))
    assert lines == [line.format(context, "registry.example.com/team/iris:latest") for line in BUILDERS[name]]


def test_the_containerfile_has_all_that_the_image_needs(
    kfunc: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = program(tmp_path, "podman")
    monkeypatch.setenv("PATH", f"{made.parent}:{os.environ['PATH']}")
    base = "registry.example.com/python:3.11"
    result = kfunc("build", folder, "--builder", "podman", "--base", base, "--python", "3.11", *BOTH, "--no-push")
    assert result.status == 0, result.err
    lines = (tmp_path / "context/Containerfile").read_text().splitlines()
    assert lines[0] == f"FROM {base}"
    assert not [line for line in lines if line.startswith("RUN")]
    added = [line.split()[1].removeprefix("$TARGETARCH/") for line in lines if line.startswith("ADD")]
    assert len(added) == 3
    for architecture in ("amd64", "arm64"):
        names: set[str] = set()
        for layer in added:
            with tarfile.open(tmp_path / "context" / architecture / layer) as archive:
                names |= set(archive.getnames())
        assert {"opt/kfunc/lib/onnxruntime.py", "opt/kfunc/lib/kfunc/handlers/main.py", "function/model.onnx"} <= names


def test_pack_gets_the_packages_as_requirements_and_kfunc_as_a_wheel(
    kfunc: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "wheels").mkdir()
    (folder / "wheels/own-1-py3-none-any.whl").write_bytes(b"a wheel")
    (folder / "requirements.txt").write_text("numpy==2.1\n")
    monkeypatch.setenv("PATH", f"{program(tmp_path, 'pack').parent}:{os.environ['PATH']}")
    (folder / "func.yaml").write_text(WITH_IMAGE + "build: {builderImages: {pack: example.com/stack}}\n")
    result = kfunc("build", folder, "--builder", "pack")
    assert result.status == 0, result.err
    assert "--builder example.com/stack" in (tmp_path / "log").read_text()
    context = tmp_path / "context"
    assert (context / "wheels/own-1-py3-none-any.whl").read_bytes() == b"a wheel"
    lines = (context / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if line.startswith("onnxruntime==")]
    assert [line for line in lines if line.startswith("numpy==")] == ["numpy==2.1"]  # the function's version wins
    with zipfile.ZipFile(context / lines[1]) as wheel:
        assert "kfunc/handlers/main.py" in wheel.namelist()


def test_pack_is_told_what_func_yaml_says_of_the_build(
    kfunc: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "func.yaml").write_text(
        WITH_IMAGE + "build:\n  buildpacks: [paketo-buildpacks/python, ./own]\n"
        "  buildEnvs: [{name: PIP_INDEX_URL, value: '{{ env:INDEX }}'}, {name: BP_CPYTHON_VERSION, value: 3.12.1}]\n"
        "  volumes: [{hostPath: certificates, path: /platform/bindings}]\n"
    )
    monkeypatch.setenv("PATH", f"{program(tmp_path, 'pack').parent}:{os.environ['PATH']}")
    result = kfunc("build", folder, "--builder", "pack")
    assert (result.status, "build.buildEnvs takes INDEX from the environment" in result.err) == (2, True)
    monkeypatch.setenv("INDEX", "https://me:secret@example.com")
    assert kfunc("build", folder, "--builder", "pack").status == 0
    log = (tmp_path / "log").read_text()
    assert f" --buildpack paketo-buildpacks/python --buildpack {folder}/own " in log
    assert f" --volume {folder}/certificates:/platform/bindings " in log
    assert "secret" not in log  # everybody on the machine sees a command
    variables = (tmp_path / "context-variables").read_text().splitlines()
    assert variables == ["PIP_INDEX_URL=https://me:secret@example.com", "BP_CPYTHON_VERSION=3.12.1"]


def test_a_variable_that_packs_file_cannot_have_is_refused(
    kfunc: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "func.yaml").write_text(WITH_IMAGE + 'build: {buildEnvs: [{name: A, value: "b\\nc"}]}\n')
    monkeypatch.setenv("PATH", f"{program(tmp_path, 'pack').parent}:{os.environ['PATH']}")
    result = kfunc("build", folder, "--builder", "pack")
    assert (result.status, "correct A of build.buildEnvs" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--image", "127.0.0.1:5000/me/iris:1"), ["--publish", "--network=host"]),  # a container has its own loopback
        (("--insecure",), ["--publish", "--insecure-registry=registry.example.com"]),
        (("--no-push",), ["--docker-host=inherit"] if sys.platform == "linux" else []),
    ],
)
def test_pack_is_told_how_to_reach_the_registry(
    kfunc: Command, folder: Path, tmp_path: Path, options: tuple[str, ...], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{program(tmp_path, 'pack').parent}:{os.environ['PATH']}")
    assert kfunc("build", folder, "--builder", "pack", *options).status == 0
    assert (tmp_path / "log").read_text().partition("BP_CPYTHON_VERSION=3.11.*")[2].split() == words


def test_the_words_of_another_program_are_not_the_result(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = program(tmp_path, "podman")
    made.write_text(made.read_text().replace("exit", "echo STEP 1\nexit"))
    monkeypatch.setenv("PATH", f"{made.parent}:{os.environ['PATH']}")
    done = subprocess.run(
        [sys.executable, "-m", "kfunc", "build", folder, "--builder", "podman"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, "STEP 1" in done.stderr) == (f"registry.example.com/team/iris@{DIGEST}\n", True)


@pytest.mark.parametrize(
    ("name", "options", "digest"),
    [
        ("docker", BOTH, DIGEST),
        ("podman", BOTH, DIGEST),
        ("docker", ("--no-push",), None),  # of an image that is in no registry there is none
        ("pack", (), None),
    ],
)
def test_programs_are_told_the_digest_where_it_is_known(
    kfunc: Command,
    folder: Path,
    tmp_path: Path,
    name: str,
    options: tuple[str, ...],
    digest: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", f"{program(tmp_path, name).parent}:{os.environ['PATH']}")
    result = kfunc("build", folder, "--builder", name, *options, "--output", "json")
    told = json.loads(result.out)
    assert (told["digest"], told["size"]) == (digest, None)
    assert ("does not tell the digest" in result.err) is (name == "pack")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--insecure",), ["push --tls-verify=false --digestfile={2}/digest {0} docker://{0}"]),
        (BOTH, ["rmi {0}", "manifest push --all --digestfile={2}/digest {0} docker://{0}"]),
        (("--ca", "{1}"), ["push --cert-dir={2}/certificates --digestfile={2}/digest {0} docker://{0}"]),
        (("--no-push",), []),
    ],
)
def test_podman_is_told_how_to_reach_the_registry_and_makes_an_index_anew(
    kfunc: Command,
    folder: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", f"{program(tmp_path, 'podman').parent}:{os.environ['PATH']}")
    (tmp_path / "ca.pem").write_text("")
    given = [option.format("", tmp_path / "ca.pem") for option in options]
    result = kfunc("build", folder, "--builder", "podman", *given)
    assert result.status == 0, result.err
    lines = [line.partition(" ")[2] for line in (tmp_path / "log").read_text().splitlines()]
    context = next(line for line in lines if line.startswith("build ")).split()[-1]
    values = ("registry.example.com/team/iris:latest", "", context)
    assert [line for line in lines if not line.startswith("build ")] == [line.format(*values) for line in expected]


def test_a_program_that_is_missing_is_named_with_how_to_install_it(
    kfunc: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = kfunc("build", folder, "--builder", "buildah")
    assert (result.status, "install it (apt-get install buildah" in result.err) == (2, True)


def test_a_program_that_fails_is_a_failure(
    kfunc: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = program(tmp_path, "podman", status=3)
    monkeypatch.setenv("PATH", f"{made.parent}:{os.environ['PATH']}")
    result = kfunc("build", folder, "--builder", "podman")
    assert (result.status, "`podman build` failed with exit status 3" in result.err) == (1, True)
