"""A builder image for pack, made of this machine's Python and shell, the lifecycle, and the buildpack in `cpython/`."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

from kfunc.cli.build_options import Asked, function_recipe
from kfunc.config.load import load_function
from kfunc.images.application import requirements
from tests.e2e.base_image import VERSION, interpreter, shared_libraries
from tests.images.programs import PodHandler, Pulled
from tests.parts import ROOT, folder, program

USER = 1000
PROGRAMS = ("/bin/sh", "/bin/cp", "/usr/bin/env")  # what the buildpacks' scripts are written for
PHASES = ("analyzer", "builder", "creator", "detector", "exporter", "extender", "rebaser", "restorer")
# What github.com/buildpacks/lifecycle says of itself in lifecycle.toml, in the version of pack/go.mod.
LIFECYCLE = """[lifecycle]
version = "0.20.11"

[apis.buildpack]
supported = ["0.7", "0.8", "0.9", "0.10", "0.11"]

[apis.platform]
supported = ["0.7", "0.8", "0.9", "0.10", "0.11", "0.12", "0.13", "0.14"]
"""
BUILDER = """[build]
image = "{host}/build:1"

[[run.images]]
image = "{host}/run:1"

[lifecycle]
uri = "{folder}/lifecycle.tar"

[[buildpacks]]
uri = "{folder}/cpython"

[[order]]
group = [{{id = "test/cpython", version = "1"}}]
"""


class Docker:
    """Docker's and pack's programs, which talk to a daemon; pack keeps its settings in `home`."""

    def __init__(self, url: str, home: Path) -> None:
        self.environ = {"HOME": str(home), "DOCKER_HOST": url, "PATH": f"{folder('pack')}:{os.environ['PATH']}"}

    def docker(self, *words: str | Path) -> None:
        self._run(program("docker", "usr/bin/docker"), *words)

    def pack(self, *words: str | Path) -> None:
        self._run(program("pack"), *words)

    def _run(self, *words: str | Path) -> None:
        done = subprocess.run(words, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


class DockerContainer(PodHandler):
    """The handler in a container that Docker runs, as restricted as in a pod."""

    def __init__(self, place: Path, docker: Docker, image: str) -> None:
        super().__init__(place)
        self._docker, self._image = docker, image
        self._name = f"kfunc-{self.port}"

    def command(self) -> list[str]:
        python, *words = super().command()
        options = ["--rm", f"--name={self._name}", "--network=host", f"--user={self.user}", "--read-only", "--cap-drop=ALL"]
        options += [f"--env={name}={value}" for name, value in super().environment().items()]
        return [str(program("docker", "usr/bin/docker")), "run", *options, f"--entrypoint={python}", self._image, *words]

    def environment(self) -> dict[str, str]:
        return self._docker.environ

    def kill(self) -> None:
        if self._process is not None:
            self._docker.docker("rm", "--force", self._name)
        super().kill()


def make_builder_image(place: Path, docker: Docker, host: str, base: Pulled) -> str:
    """Put it into the registry at `host`, with the images for builds and runs that it needs: its name."""
    root = place / "root"
    base.unpack(root)
    _add_system(root)
    _import(docker, root, f"{host}/build:1")
    python = interpreter()
    for each in (root / str(python.parent).lstrip("/")).glob("python*"):
        each.unlink()
    shutil.rmtree(root / str(python.parents[1]).lstrip("/") / f"lib/python{VERSION}")
    _import(docker, root, f"{host}/run:1")
    _write_lifecycle(place / "lifecycle.tar")
    shutil.copytree(ROOT / "tests/images/cpython", place / "cpython")
    pip = find_spec("pip")
    assert pip is not None
    assert pip.origin is not None
    shutil.copytree(Path(pip.origin).parent, place / "cpython/lib/pip")
    (place / "builder.toml").write_text(BUILDER.format(host=host, folder=place))
    docker.pack("builder", "create", f"{host}/builder:1", "--config", place / "builder.toml", "--publish")
    docker.pack("config", "trusted-builders", "add", f"{host}/builder:1")
    return f"{host}/builder:1"


def _add_system(root: Path) -> None:
    """A shell and the little that scripts and the lifecycle want of a system."""
    for name in {*PROGRAMS, *(library for each in PROGRAMS for library in shared_libraries(Path(each)))}:
        target = root / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, target)
    (root / "etc/passwd").write_text(f"root:x:0:0::/root:/bin/sh\ncnb:x:{USER}:{USER}::/home/cnb:/bin/sh\n")
    (root / "etc/group").write_text(f"root:x:0:\ncnb:x:{USER}:\n")
    for name, mode in (("tmp", 0o1777), ("root", 0o700), ("home/cnb", 0o777)):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name).chmod(mode)


def _import(docker: Docker, root: Path, name: str) -> None:
    archive = root.parent / "root.tar"
    subprocess.run(
        ["tar", f"--file={archive}", "--numeric-owner", "--owner=0", "--group=0", "--create", "."], cwd=root, check=True
    )
    programs = f"{interpreter().parent}:/usr/local/bin:/usr/bin:/bin"
    lines = (f"USER {USER}:{USER}", f"ENV CNB_USER_ID={USER} CNB_GROUP_ID={USER} PATH={programs} LANG=C.UTF-8")
    docker.docker("import", *(f"--change={line}" for line in lines), archive, name)
    docker.docker("push", "--quiet", name)


def _write_lifecycle(archive: Path) -> None:
    """As its releases have it: one program under the names of the phases, and the launcher."""
    with tarfile.open(archive, "w") as made:
        text = tarfile.TarInfo("lifecycle.toml")
        text.size = len(LIFECYCLE)
        made.addfile(text, io.BytesIO(LIFECYCLE.encode()))
        for name in ("lifecycle", "launcher"):
            made.add(program("pack", name), f"lifecycle/{name}")
        for name in PHASES:
            link = tarfile.TarInfo(f"lifecycle/{name}")
            link.type, link.linkname, link.mode = tarfile.SYMTYPE, "lifecycle", 0o777
            made.addfile(link)


def write_function(folder: Path, builder: str) -> Path:
    """The root example, to be built where there is no network: its packages are in a folder that the build sees."""
    (folder / "examples/iris").mkdir(parents=True)
    shutil.copy(ROOT / "examples/iris/model.onnx", folder / "examples/iris")
    recipe = function_recipe(load_function(ROOT / "func.yaml"), "iris", ROOT, "cpu", Asked())
    assert recipe.libraries is not None
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", f"--dest={folder}/packages", *requirements(recipe.libraries)]
    subprocess.run(fetch, check=True)
    variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/platform/packages"}
    build = {
        "builderImages": {"pack": builder},
        "buildEnvs": [{"name": name, "value": value} for name, value in variables.items()],
        "volumes": [{"hostPath": "packages", "path": "/platform/packages"}],
    }
    (folder / "func.yaml").write_text((ROOT / "func.yaml").read_text() + f"build: {json.dumps(build)}\n")
    return folder


def build_by_pack(docker: Docker, function: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """`kfunc build --builder pack`."""
    command = [sys.executable, "-m", "kfunc", "build", str(function), "--builder", "pack", *options]
    return subprocess.run(command, env=docker.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
