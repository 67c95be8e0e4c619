"""Programs that build images, run as if Debian's packages were installed, for nobody else; and what such an image answers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import yaml

from kfunc.images.documents import INDEX, MANIFEST, digest_of
from tests.parts import ROOT, folder, program
from tests.parts.servers import Server

ACCEPT = f"{INDEX}, {MANIFEST}, application/vnd.docker.distribution.manifest.v2+json"
# The part's files beside the machine's, and what it writes outside of its own folders on nobody's disk.
INSTALL = """set -e
mount -t tmpfs tmpfs "$1"
for each in etc run var; do
  mkdir "$1/$each" "$1/$each-work"
  mount -t overlay -o "lowerdir=/$each,upperdir=$1/$each,workdir=$1/$each-work" overlay "/$each"
done
mount -t overlay -o "lowerdir=$0/usr:/usr" overlay /usr
shift
exec "$@"
"""
ENTER = """set -e
root=$0 folder=$1 user=$2
shift 3
for each in dev proc tmp; do mkdir -p "$root/$each"; done
/usr/bin/mount --rbind /dev "$root/dev"
/usr/bin/mount -t proc proc "$root/proc"
chmod 1777 "$root/tmp"
exec /usr/bin/unshare --root="$root" --wd="$folder" --setgid="$user" --setuid="$user" "$@"
"""


def may_mount() -> bool:
    """Whether this process can have mounts of its own."""
    return shutil.which("unshare") is not None and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


def installed(part: str, scratch: Path, *command: str) -> list[str]:
    """The command, in a mount namespace of its own that has the part's programs in /usr."""
    program(part)
    scratch.mkdir(parents=True, exist_ok=True)
    return ["unshare", "--mount", "sh", "-c", INSTALL, str(folder(part)), str(scratch), *command]


def private(place: Path) -> dict[str, str]:
    """An environment in which Podman and Buildah keep all that they have in a folder."""
    settings = place / ".config/containers"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    (settings / "registries.conf").write_text("")
    # Overlays are fast, but do not stand on another one, which a container's own disk is.
    kind = subprocess.check_output(["df", "--output=fstype", place], text=True).split()[-1]
    driver = "vfs" if kind == "overlay" else "overlay"
    storage = f'[storage]\ndriver = "{driver}"\ngraphroot = "{place}/graph"\nrunroot = "{place}/run"\n'
    (settings / "storage.conf").write_text(storage)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "TMPDIR": str(place),
        "CONTAINERS_STORAGE_CONF": str(settings / "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(settings / "registries.conf"),
    }


class Dockerd(Server):
    """Debian's Docker daemon, with the containerd that it starts; without networks: containers have none, or the machine's."""

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/socket"

    def command(self) -> list[str]:
        places = [f"--{name}={self.folder}/{name}" for name in ("data-root", "exec-root", "pidfile")]
        no_network = ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        return installed("docker", self.folder / "scratch", "dockerd", *places, *no_network, f"--host={self.url}")

    def ready(self) -> bool:
        return (self.folder / "socket").exists()

    def kill(self) -> None:
        """SIGTERM, so that it ends its containerd, too."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.send_signal(signal.SIGTERM)
                self._process.wait(30)
        super().kill()


class Pulled:
    """An image of a plain registry, for this platform."""

    def __init__(self, host: str, name: str, tag: str = "1") -> None:
        self._host, self._name = host, name
        content = self._get(f"manifests/{tag}")
        self.digest = digest_of(content)
        self.index = json.loads(content)
        self.manifest = self.index
        if "manifests" in self.index:
            own = next(each for each in self.index["manifests"] if each["platform"]["architecture"] == "amd64")
            self.manifest = json.loads(self._get(f"manifests/{own['digest']}"))
        self.config: dict[str, Any] = json.loads(self._get(f"blobs/{self.manifest['config']['digest']}"))

    def _get(self, path: str) -> bytes:
        with closing(HTTPConnection(self._host, timeout=60)) as connection:
            connection.request("GET", f"/v2/{self._name}/{path}", headers={"Accept": ACCEPT})
            answer = connection.getresponse()
            content = answer.read()
        assert answer.status == 200, content
        return content

    def unpack(self, root: Path) -> None:
        """Write its files, as a container has them."""
        root.mkdir()
        for layer in self.manifest["layers"]:
            file = root.parent / "layer"
            file.write_bytes(self._get(f"blobs/{layer['digest']}"))
            with tarfile.open(file) as archive:
                archive.extractall(root, filter="fully_trusted")  # noqa: S202


class PodHandler(Server):
    """The handler of the root example, as the pod of knative/service.yaml starts it."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        service = yaml.safe_load((ROOT / "knative/service.yaml").read_text())
        self._pod = service["spec"]["template"]["spec"]["containers"][0]
        self.user: int = self._pod["securityContext"]["runAsUser"]

    def command(self) -> list[str]:
        return [*self._pod["command"], f"--listen=127.0.0.1:{self.port}"]

    def environment(self) -> dict[str, str]:
        return {each["name"]: each["value"] for each in self._pod["env"] if "value" in each}

    def ready(self) -> bool:
        return super().ready() and self.ask("GET", "/v2/health/ready")[0] == 200

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """A request: status and body."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()


class Container(PodHandler):
    """It in an image's files."""

    def __init__(self, place: Path, image: Pulled) -> None:
        super().__init__(place)
        self._root = place / "root"
        self._settings = image.config["config"]
        place.mkdir()
        image.unpack(self._root)

    def command(self) -> list[str]:
        user = self._settings["User"].partition(":")[0]
        enter = ["unshare", "--mount", "sh", "-c", ENTER, str(self._root), self._settings["WorkingDir"], user, "--"]
        return [*enter, *super().command()]

    def environment(self) -> dict[str, str]:
        return dict(line.partition("=")[::2] for line in self._settings["Env"]) | super().environment()


def build(part: str, place: Path, environ: dict[str, str], *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """`kfunc build` where the part's programs are installed."""
    command = [sys.executable, "-m", "kfunc", "build", *map(str, arguments)]
    return subprocess.run(
        installed(part, place / "scratch", *command), cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
