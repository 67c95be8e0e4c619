"""Models of container registries: images with the model in /models (modelcars), and artefacts whose layers are its files."""

import platform
import re
import threading
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from kfunc.config.model_addresses import ModelAddress
from kfunc.errors import ModelLoadError, RegistryError
from kfunc.registries.challenges import basic, parse_challenges, token_of, token_request
from kfunc.registries.credentials import ANONYMOUS, find_credentials
from kfunc.registries.references import DOCKER_HUB, DOCKER_HUB_HOST, is_loopback
from kfunc.storage.contract import Listing, RemoteFile
from kfunc.storage.credentials import Credentials
from kfunc.storage.names import shown
from kfunc.storage.web import Answer, Unauthorized, WebClient

MANIFESTS = (
    *("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"),
    *("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json"),
)
REFERENCE = re.compile(r"(?P<name>[a-z0-9._/-]+?)(:(?P<tag>[\w][\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?")
TITLE, UNPACK = "org.opencontainers.image.title", "io.deis.oras.content.unpack"
MODELS = "models"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
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
        self._host = address.host
        host = DOCKER_HUB_HOST if address.host == DOCKER_HUB else address.host
        plain = is_loopback(address.host) or credentials.environ.get("OCI_PLAIN_HTTP", "").lower() in ("true", "1")
        self._base = f"{'http' if plain else 'https'}://{host}/v2/{self._name}"
        self._credentials = credentials
        self._client = WebClient()
        self._headers: dict[str, str] = {}
        self._renewing = threading.Lock()

    def list_files(self, known: Listing | None = None) -> Listing:
        """The layers; their digests are their versions. Registries count a manifest that is read, and no HEAD."""
        if known is not None and known.mark == self._digest():
            return known
        text = self._manifest_text(self._reference)
        manifest, mark = self._decoded(text), _digest_of(text)
        if manifest.manifests:
            manifest = self._decoded(self._manifest_text(self._choose(manifest.manifests).digest))
        if not manifest.layers:
            raise ModelLoadError(f"{self._uri}: has no layers")
        files = [_file(number, layer) for number, layer in enumerate(manifest.layers)]
        titled = any(not file.unpack for file in files) or all(_title(layer) for layer in manifest.layers)
        if titled and len(files) == 1 and not files[0].unpack:
            return Listing(files, is_file=True, mark=mark)
        return Listing(files, root="" if titled else MODELS, mark=mark)

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

    def _digest(self) -> str:
        """Of the manifest that is there now; empty where the registry does not tell it without the manifest."""
        if self._reference.startswith("sha256:"):
            return self._reference
        try:
            answer = self._get(f"{self._base}/manifests/{self._reference}", "HEAD")
        except ModelLoadError:
            return ""
        answer.text()
        return answer.headers.get("docker-content-digest", "")

    def _manifest_text(self, reference: str) -> bytes:
        text = self._get(f"{self._base}/manifests/{reference}").text()
        if reference.startswith("sha256:") and _digest_of(text) != reference:
            raise ModelLoadError(f"{self._uri}: the registry's manifest has another digest than {reference}")
        return text

    def _decoded(self, text: bytes) -> Manifest:
        try:
            return msgspec.json.decode(text, type=Manifest)
        except msgspec.MsgspecError as error:
            raise ModelLoadError(f"{self._uri}: the registry's manifest cannot be read: {error}") from None

    def _get(self, url: str, method: str = "GET") -> Answer:
        """A manifest; with a token where the registry asks for one (Docker Registry v2 authentication)."""
        accept, known = {"Accept": ", ".join(MANIFESTS)}, self._headers
        try:
            return self._client.get(url, accept | known, method=method)
        except Unauthorized as refusal:
            self._renew(known, refusal.answer)
        return self._client.get(url, accept | self._headers, method=method)

    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """A range of a layer; with a new token where the last one has expired."""
        url, known = f"{self._base}/blobs/{file.place}", self._headers
        try:
            yield from self._client.read_range(url, start, stop, "", known)
            return
        except Unauthorized as refusal:  # comes before the first byte
            self._renew(known, refusal.answer)
        yield from self._client.read_range(url, start, stop, "", self._headers)

    def _renew(self, known: dict[str, str], answer: Answer) -> None:
        """Answer the registry's challenge, unless another thread did. Raises ModelLoadError."""
        challenge = answer.headers.get("www-authenticate", "")
        if urlsplit(answer.url)[:2] != urlsplit(self._base)[:2]:
            raise ModelLoadError(f"{self._uri}: the registry leads to a server that refuses to answer: {shown(answer.url)}")
        with self._renewing:
            if self._headers is known:
                try:
                    self._headers = {"Authorization": self._authorization(challenge, answer.met)}
                except RegistryError as error:
                    raise ModelLoadError(f"{self._uri}: {error.message}") from None

    def _authorization(self, challenge: str, met: int) -> str:
        """Raises ModelLoadError, RegistryError."""
        files = [self._credentials.file("", name) for name in (".dockerconfigjson", "config.json")]
        found = find_credentials(self._host, self._name, self._credentials.environ, [file for file in files if file])
        challenges = parse_challenges([challenge])
        bearer = next((each for each in challenges if each.scheme == "bearer"), None)
        if bearer is None and found.user and any(each.scheme == "basic" for each in challenges):
            return basic(found)
        if bearer is None:
            raise ModelLoadError(f"{self._uri}: the registry needs credentials: DOCKER_CONFIG, or config.json in the Secret")
        wanted = token_request(bearer, f"repository:{self._name}:pull", found)
        if found != ANONYMOUS and self._base.startswith("https:") and not wanted.url.startswith("https:"):
            raise ModelLoadError(f"{self._uri}: the registry wants the credentials to be sent without TLS: tell who runs it")
        answer = self._client.get(wanted.url, wanted.headers, method=wanted.method, body=wanted.body or None, named_by=met)
        try:
            told = msgspec.json.decode(answer.text())
        except msgspec.MsgspecError:
            told = None
        return f"Bearer {token_of(told)}"

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()


def _digest_of(text: bytes) -> str:
    return f"sha256:{sha256(text).hexdigest()}"


def _title(layer: Descriptor) -> str:
    return (layer.annotations or {}).get(TITLE, "")


def _file(number: int, layer: Descriptor) -> RemoteFile:
    """A layer with a title is a file of that name; any other is a tar whose content counts."""
    title = _title(layer)
    if not layer.digest.startswith("sha256:"):
        raise ModelLoadError(f"the layer {layer.digest[:80]} has no sha256 digest")
    digest = layer.digest.removeprefix("sha256:")
    if title and (layer.annotations or {}).get(UNPACK) != "true":
        return RemoteFile(title, layer.size, layer.digest, layer.digest, digest)
    suffix = next((suffix for word, suffix in SUFFIXES if word in layer.media_type), ".tar")
    return RemoteFile(f"layer-{number:03}{suffix}", layer.size, layer.digest, layer.digest, digest, unpack=True)
