"""Models of container registries: images with the model in /models (modelcars), and artefacts whose layers are its files."""

import platform
import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from kfunc.config.model_addresses import ModelAddress
from kfunc.errors import ModelLoadError
from kfunc.storage.contract import Listing, RemoteFile
from kfunc.storage.credentials import Credentials
from kfunc.storage.web import WebClient

MANIFESTS = (
    *("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"),
    *("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json"),
)
REFERENCE = re.compile(r"(?P<name>[a-z0-9._/-]+?)(:(?P<tag>[\w][\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?")
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
TITLE, UNPACK = "org.opencontainers.image.title", "io.deis.oras.content.unpack"
MODELS = "models"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
HUB = {"docker.io": "registry-1.docker.io"}
SUFFIXES = (("zstd", ".tar.zst"), ("gzip", ".tar.gz"), ("tar", ".tar"))


class Descriptor(Struct, rename="camel"):
    """Of a manifest, or a layer (OCI Content Descriptors)."""

    digest: str
    size: int
    media_type: str = ""
    annotations: dict[str, str] | None = None
    platform: dict[str, Any] | None = None


class Manifest(Struct):
    """An image's or artefact's; an index has `manifests` instead of `layers`."""

    layers: list[Descriptor] = []
    manifests: list[Descriptor] = []


class OciSource:
    """One manifest's layers."""

    def __init__(self, address: ModelAddress, credentials: Credentials) -> None:
        match = REFERENCE.fullmatch(address.path)
        self._uri = f"oci://{address.host}/{address.path}"
        if match is None:
            raise ModelLoadError(f"{self._uri}: expected oci://REGISTRY/NAME:TAG or oci://REGISTRY/NAME@sha256:…")
        self._name, self._reference = match["name"], match["digest"] or match["tag"] or "latest"
        host = HUB.get(address.host, address.host)
        bare = address.host.partition(":")[0]
        plain = bare in ("localhost", "127.0.0.1") or credentials.environ.get("OCI_PLAIN_HTTP", "").lower() in ("true", "1")
        self._base = f"{'http' if plain else 'https'}://{host}/v2/{self._name}"
        self._basic = _basic(credentials, address.host)
        self._client = WebClient()
        self._headers: dict[str, str] = {}

    def list_files(self) -> Listing:
        """The layers; their digests are their versions."""
        manifest = self._manifest(self._reference)
        if manifest.manifests:
            manifest = self._manifest(self._choose(manifest.manifests).digest)
        if not manifest.layers:
            raise ModelLoadError(f"{self._uri}: has no layers")
        files = [_file(number, layer) for number, layer in enumerate(manifest.layers)]
        titled = any(not file.unpack for file in files) or all(_title(layer) for layer in manifest.layers)
        if titled and len(files) == 1 and not files[0].unpack:
            return Listing(files, is_file=True)
        return Listing(files, root="" if titled else MODELS)

    def _choose(self, manifests: list[Descriptor]) -> Descriptor:
        machine = platform.machine()
        wanted = {"os": "linux", "architecture": MACHINES.get(machine, machine)}
        for each in manifests:
            if each.platform is not None and wanted.items() <= each.platform.items():
                return each
        without = [each for each in manifests if each.platform is None]
        if not without:
            raise ModelLoadError(f"{self._uri}: has no image for linux/{wanted['architecture']}")
        return without[0]

    def _manifest(self, reference: str) -> Manifest:
        text = self._get(f"{self._base}/manifests/{reference}", {"Accept": ", ".join(MANIFESTS)})
        if reference.startswith("sha256:"):
            from hashlib import sha256

            if f"sha256:{sha256(text).hexdigest()}" != reference:
                raise ModelLoadError(f"{self._uri}: the registry's manifest has another digest than {reference}")
        try:
            return msgspec.json.decode(text, type=Manifest)
        except msgspec.MsgspecError as error:
            raise ModelLoadError(f"{self._uri}: the registry's manifest cannot be read: {error}") from None

    def _get(self, url: str, headers: dict[str, str]) -> bytes:
        """A short answer; with a token where the registry asks for one (Docker Registry v2 authentication)."""
        answer = self._client.get(url, headers | self._headers, taken=(401,))
        if answer.status == 401:
            answer.text()
            self._headers = {"Authorization": self._authorization(answer.headers.get("www-authenticate", ""))}
            answer = self._client.get(url, headers | self._headers)
        return answer.text()

    def _authorization(self, challenge: str) -> str:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._basic:
            return f"Basic {self._basic}"
        given = dict(CHALLENGE.findall(rest))
        realm = given.pop("realm", "")
        if scheme.lower() != "bearer" or not realm.startswith(("https://", "http://")):
            raise ModelLoadError(f"{self._uri}: the registry needs credentials: DOCKER_CONFIG, or config.json in the Secret")
        given = {"scope": f"repository:{self._name}:pull"} | {k: v for k, v in given.items() if k in ("service", "scope")}
        headers = {"Authorization": f"Basic {self._basic}"} if self._basic and realm.startswith(self._base[:5]) else {}
        told = msgspec.json.decode(self._client.get(f"{realm}?{urlencode(given)}", headers).text(), type=dict[str, Any])
        return f"Bearer {told.get('token') or told.get('access_token') or ''}"

    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """A range of a layer."""
        return self._client.read_range(f"{self._base}/blobs/{file.place}", start, stop, "", self._headers)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()


def _title(layer: Descriptor) -> str:
    return (layer.annotations or {}).get(TITLE, "")


def _file(number: int, layer: Descriptor) -> RemoteFile:
    """A layer with a title is a file of that name; any other is a tar whose content counts."""
    title = _title(layer)
    if not layer.digest.startswith("sha256:"):
        raise ModelLoadError(f"the layer {layer.digest[:80]} has no sha256 digest")
    sha256 = layer.digest.removeprefix("sha256:")
    if title and (layer.annotations or {}).get(UNPACK) != "true":
        return RemoteFile(title, layer.size, layer.digest, layer.digest, sha256)
    suffix = next((suffix for word, suffix in SUFFIXES if word in layer.media_type), ".tar")
    return RemoteFile(f"layer-{number:03}{suffix}", layer.size, layer.digest, layer.digest, sha256, unpack=True)


def _basic(credentials: Credentials, host: str) -> str:
    """What docker's config.json has for the registry, as base64 of USER:PASSWORD."""
    folder = credentials.environ.get("DOCKER_CONFIG", "")
    usual = f"{folder}/config.json" if folder else ".docker/config.json"
    path = credentials.file("", ".dockerconfigjson") or credentials.file("", "config.json", usual)
    if path is None:
        return ""
    try:
        known = msgspec.json.decode(path.read_bytes(), type=dict[str, Any]).get("auths", {})
        found = known.get(host) or known.get(f"https://{host}") or {}
        if host == "docker.io":
            found = found or known.get("https://index.docker.io/v1/", {})
        if "username" in found:
            return b64encode(f"{found['username']}:{found.get('password', '')}".encode()).decode()
        return str(found.get("auth", ""))
    except (msgspec.MsgspecError, AttributeError, TypeError):
        raise ModelLoadError(f"{path}: is not docker's config.json") from None
