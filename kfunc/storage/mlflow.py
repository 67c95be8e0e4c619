"""Models of an MLflow server (MLFLOW_TRACKING_URI): `models:/NAME/VERSION`, `models:/NAME@ALIAS`, `runs:/ID/PATH`.

The server says where the files are; those that it keeps itself are read from it.
"""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from kfunc.config.model_addresses import KINDS, MLFLOW, ModelAddress
from kfunc.errors import ModelLoadError
from kfunc.storage.contract import UNKNOWN, Listing, RemoteFile, Source
from kfunc.storage.credentials import Credentials
from kfunc.storage.names import shown
from kfunc.storage.planning import PART_BYTES
from kfunc.storage.web import WebClient

API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
KEPT = "mlflow-artifacts:"
LOGGED = "models:/m-"
MAX_FOLDERS = 1000


class Artifact(Struct):
    """A file or folder; its path is its name."""

    path: str
    is_dir: bool = False
    file_size: int | None = None


class Tracking:
    """The server's REST interface."""

    def __init__(self, credentials: Credentials) -> None:
        environ = credentials.environ
        self.base = environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
        if not self.base.startswith(("http://", "https://")):
            raise ModelLoadError("set MLFLOW_TRACKING_URI to the http(s) URL of the MLflow server that the model is on")
        secrets = {}
        if token := environ.get("MLFLOW_TRACKING_TOKEN", ""):
            secrets["Authorization"] = f"Bearer {token}"
        elif user := environ.get("MLFLOW_TRACKING_USERNAME", ""):
            pair = f"{user}:{environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
            secrets["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        self.client = WebClient(secrets)

    def get(self, path: str, /, **query: str) -> dict[str, Any]:
        """An answer of the server."""
        return self._decode(self.client.get(f"{self.base}{path}?{urlencode(query)}").text())

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The same, for what is asked by POST."""
        fields = {"Content-Type": "application/json"}
        return self._decode(self.client.get(f"{self.base}{path}", fields, method="POST", body=msgspec.json.encode(body)).text())

    def _decode(self, text: bytes) -> dict[str, Any]:
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise ModelLoadError(f"{self.base}: does not answer as an MLflow server does: {error}") from None

    def artifacts(self, path: str) -> list[Artifact]:
        """What is in a folder of files that the server keeps."""
        try:
            return msgspec.convert(self.get(ARTIFACTS, path=path).get("files", []), list[Artifact], strict=False)
        except msgspec.ValidationError as error:
            raise ModelLoadError(f"{self.base}: does not answer as an MLflow server does: {error}") from None

    def artifact_uri(self, address: ModelAddress) -> str:
        """Where the files of a version or run are."""
        if address.scheme == "runs":
            run, _, path = address.path.partition("/")
            found = self.get(f"{API}/runs/get", run_id=run)["run"]["info"]["artifact_uri"]
            return "/".join(part for part in (found.rstrip("/"), path) if part)
        name, version = self._version(address.path)
        uri = str(self.get(f"{API}/model-versions/get-download-uri", name=name, version=version)["artifact_uri"])
        if uri.startswith(LOGGED):
            logged = self.get(f"{API}/logged-models/{uri.removeprefix('models:/')}")
            uri = str(logged["model"]["info"]["artifact_uri"])
        return uri

    def _version(self, path: str) -> tuple[str, str]:
        name, at, alias = path.partition("@")
        if at:
            told = self.get(f"{API}/registered-models/alias", name=name, alias=alias)
            return name, str(told["model_version"]["version"])
        name, _, version = path.rpartition("/")
        if version.isdigit():
            return name, version
        stages = {} if version == "latest" else {"stages": [version]}
        found = self.post(f"{API}/registered-models/get-latest-versions", {"name": name, **stages}).get("model_versions", [])
        if not found:
            raise ModelLoadError(f"models:/{path}: the model has no version of stage {version}")
        return name, str(max(int(each["version"]) for each in found))


def open_source(address: ModelAddress, credentials: Credentials) -> Source:
    """The source of the files that the server names. Raises ModelLoadError, Interrupted."""
    tracking = Tracking(credentials)
    uri = ""
    try:
        uri = tracking.artifact_uri(address)
    except (KeyError, TypeError, ValueError):
        raise ModelLoadError(f"{tracking.base}: does not answer as an MLflow server does") from None
    finally:
        if not uri.startswith(KEPT):
            tracking.client.close()
    if uri.startswith(KEPT):
        return ArtifactSource(tracking, uri.removeprefix(KEPT).lstrip("/"))
    scheme = uri.partition(":")[0]
    if scheme not in KINDS or scheme in MLFLOW:
        where = shown(uri)
        raise ModelLoadError(f"MLflow keeps the model at {where}, which is not read from here: start it with --serve-artifacts")
    from kfunc.storage.sources import open_uri

    return open_uri(uri, credentials)


class ArtifactSource:
    """Files that the MLflow server hands out itself; it reads no ranges, so that large ones come in one piece."""

    def __init__(self, tracking: Tracking, path: str) -> None:
        self._tracking = tracking
        self._path = path

    def list_files(self, known: Listing | None = None) -> Listing:
        """All files below the path."""
        files, folders = [], [""]
        asked = 0
        while folders:
            folder, asked = folders.pop(), asked + 1
            if asked > MAX_FOLDERS:
                raise ModelLoadError(f"{self._path}: has more than {MAX_FOLDERS} folders on the MLflow server")
            where = "/".join(part for part in (self._path, folder) if part)
            for each in self._tracking.artifacts(where):
                name = "/".join(part for part in (folder, each.path) if part)
                if each.is_dir:
                    folders.append(name)
                    continue
                size = UNKNOWN if each.file_size is None else each.file_size
                place = f"{self._path}/{name}"  # with the run or the model: one trained anew often has the same sizes
                files.append(RemoteFile(name, size, f"{place} {size}", place, whole=size > PART_BYTES))
        if not files:
            raise ModelLoadError(f"{self._path}: the MLflow server has no files there")
        return Listing(files)

    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """A range, cut out of the whole; or the whole."""
        url = f"{self._tracking.base}{ARTIFACTS}/{quote(file.place)}"
        if file.in_one_piece:
            return self._tracking.client.get(url).blocks()
        return self._tracking.client.read_range(url, start, stop, "")

    def close(self) -> None:
        """Let go of connections."""
        self._tracking.client.close()
