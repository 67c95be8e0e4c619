"""Names of images: registry, repository, tag and digest, as the distribution specification writes them. Pure."""

import re

from msgspec import Struct

from kfunc.config.names import is_image
from kfunc.errors import StartupError

DOCKER_HUB = "docker.io"
DOCKER_HUB_HOST = "registry-1.docker.io"
DEFAULT_TAG = "latest"
LOOPBACK = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?")


class Reference(Struct, frozen=True):
    """An image in a registry. `tag` and `digest` are empty where none is given."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def host(self) -> str:
        """Where the registry's API is."""
        return DOCKER_HUB_HOST if self.registry == DOCKER_HUB else self.registry

    @property
    def name(self) -> str:
        """Without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def wanted(self) -> str:
        """What a manifest is asked for by: the digest, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    @property
    def is_official(self) -> bool:
        """Whether it is one of the images that Docker Hub itself looks after: what a name without a slash means."""
        return self.registry == DOCKER_HUB and self.repository.startswith("library/")

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """Read an image's name; without a registry it is one of Docker Hub's. Raises StartupError."""
    if not is_image(text):
        raise StartupError(f"{text!r} is no image; write it like registry.example.com/team/iris:1")
    rest, _, digest = text.partition("@")
    first, slash, after = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, rest = first, after
    else:
        registry, rest = DOCKER_HUB, rest if slash else f"library/{rest}"
    repository, _, tag = rest.partition(":")
    return Reference(registry, repository, tag, digest)


def is_loopback(host: str) -> bool:
    """Whether a registry is on this machine: it may speak plain HTTP."""
    return LOOPBACK.fullmatch(host) is not None
