"""`kfunc build --builder`: what other programs are given, and what is made of their answers."""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.cli.conftest import WITH_IMAGE, Command

pytestmark = pytest.mark.usefixtures("build_environment")
PROGRAM = """#!/bin/sh
echo "$0 $*" >> {log}
for each; do
  if [ -f "$each/Containerfile" ] || [ -f "$each/requirements.txt" ]; then cp -r "$each" {copy}; fi
  if [ "${{each##*/}}" = variables ]; then cp "$each" {copy}-variables; fi
  case "$each" in
    --digestfile=*) printf {digest} > "${{each#*=}}";;
    --metadata-file=*) printf '{{"image.name": "x", "containerimage.digest": "{digest}"}}' > "${{each#*=}}";;
    --report-output-dir=*) printf '[image]\\ndigest = "{digest}"\\n' > "${{each#*=}}/report.toml";;
    inspect) printf 'other.example.com/iris@sha256:{zeros}\nregistry.example.com/team/iris@{digest}\n';;
  esac
done
exit {status}
"""
DIGEST = f"sha256:{'1' * 64}"
GPU = {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"}


def program(folder: Path, name: str, status: int = 0) -> Path:
    """A program of that name that notes what it was given."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(PROGRAM.format(log=folder / "log", copy=folder / "context", status=status, digest=DIGEST, zeros="0" * 64))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("variant", "variables"), [("cuda", GPU), ("cpu", set())])
def test_the_containerfile_for_cuda_asks_nvidias_runtime_for_gpus(
    kfunc: Command, folder: Path, tmp_path: Path, variant: str, variables: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{program(tmp_path, 'podman').parent}:{os.environ['PATH']}")
    result = kfunc("build", folder, "--builder", "podman", "--variant", variant)
    assert result.status == 0, result.err
    words = (tmp_path / "context/Containerfile").read_text().split()
    assert {word for word in words if word.startswith("NVIDIA_")} == variables


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
        " --report-output-dir={0}"
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
    assert (result.status, result.out) == (0, f"{named}@{DIGEST}\n")
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
        (("--image", "127.0.0.1:5000/me/iris:1"), ["--network=host"]),  # a container has its own loopback
        (("--insecure",), ["--insecure-registry=registry.example.com"]),
        (("--no-push",), ["--docker-host=inherit"] if sys.platform == "linux" else []),
    ],
)
def test_pack_is_told_how_to_reach_the_registry(
    kfunc: Command, folder: Path, tmp_path: Path, options: tuple[str, ...], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{program(tmp_path, 'pack').parent}:{os.environ['PATH']}")
    assert kfunc("build", folder, "--builder", "pack", *options).status == 0
    said = (tmp_path / "log").read_text().partition("BP_CPYTHON_VERSION=3.11.*")[2].split()
    assert [word for word in said if not word.startswith(("--publish", "--report"))] == words


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
        ("pack", (), DIGEST),
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


def test_a_program_that_notes_no_digest_is_named(
    kfunc: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = program(tmp_path, "pack")
    made.write_text(made.read_text().replace("digest = ", "digest : "))
    monkeypatch.setenv("PATH", f"{made.parent}:{os.environ['PATH']}")
    result = kfunc("build", folder, "--builder", "pack")
    assert (result.status, result.out) == (0, "registry.example.com/team/iris:latest\n")
    assert "pack does not tell the digest of what it has pushed" in result.err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--insecure",), ["push --tls-verify=false --digestfile={2}/digest {0} docker://{0}"]),
        (BOTH, ["tag {3} {0}", "manifest push --all --digestfile={2}/digest {0} docker://{0}", "manifest rm {3}"]),
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
    own = next((line.split()[1] for line in lines if line.startswith("tag ")), "")
    assert all(f"--manifest {own} " in line for line in lines if own and line.startswith("build "))
    values = ("registry.example.com/team/iris:latest", "", context, own)
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


def test_an_index_that_was_not_finished_is_removed(
    kfunc: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{program(tmp_path, 'podman', status=3).parent}:{os.environ['PATH']}")
    result = kfunc("build", folder, "--builder", "podman", *BOTH)
    lines = [line.partition(" ")[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert (result.status, "`podman build` failed with exit status 3" in result.err) == (1, True)
    assert [line.split()[0] for line in lines] == ["build", "manifest"]
    assert f"--manifest {lines[1].split()[2]} " in lines[0]
