"""Addresses of models that are not on a disk of the pod: what each kind looks like, and what is wrong with one. Pure."""

import re

from msgspec import Struct

from kfunc.config.locations import SCHEME


class Kind(Struct, frozen=True):
    """What the addresses of one scheme look like; `host` names their first part. `extra` brings the library."""

    example: str
    host: str
    path: str = ""  # a pattern; empty: any
    extra: str = ""
    library: str = ""


STORE = {"extra": "object-storage", "library": "obstore"}
WEB = Kind("https://models.example.com/iris.onnx", "host", r".+")
# A kind of storage is a line here and one in storage/sources.py.
KINDS = {
    "http": WEB,
    "https": WEB,
    "s3": Kind("s3://bucket/models/iris", "bucket", **STORE),
    "gs": Kind("gs://bucket/models/iris", "bucket", **STORE),
    "az": Kind("az://container/models/iris", "container", **STORE),
    "hf": Kind("hf://owner/model@main/model.onnx", "owner", r"[^/@]+(@[^/]+)?(/.+)?"),
    "oci": Kind("oci://registry.example.com/team/iris:1", "registry", r".+"),
    "models": Kind("models:/name/1", "", r"[^/@]+(/[^/]+|@[^/]+)"),
    "runs": Kind("runs:/id/model", "", r"[^/]+(/.+)?"),
}
# What others call them.
SAME = {
    **dict.fromkeys(("s3a", "s3n"), "s3"),
    **dict.fromkeys(("gcs", "google"), "gs"),
    **dict.fromkeys(("abfs", "abfss", "wasb", "wasbs", "azure", "adl"), "az"),
    **dict.fromkeys(("huggingface", "hub"), "hf"),
    **dict.fromkeys(("docker", "registry"), "oci"),
}
GIT = ("git", "ssh")
WAY_OF_GIT = (
    "name the file by its https: address, as https://raw.githubusercontent.com/OWNER/NAME/COMMIT/model.onnx, "
    "or put it into the function's folder"
)
MLFLOW = ("models", "runs")
MLFLOW_URI = re.compile(r"(models|runs):/*(.*)")
SUPPORTED = ", ".join(f"{scheme}:" for scheme in KINDS)


class AddressFault(ValueError):
    """What is wrong with an address, and what to do."""

    def __init__(self, message: str, suggestion: str) -> None:
        super().__init__(f"{message}; {suggestion}")
        self.message = message
        self.suggestion = suggestion


class ModelAddress(Struct, frozen=True):
    """An address in its parts; `path` has no outer `/`, and keeps a `?query` only for http and https."""

    scheme: str
    host: str
    path: str

    @property
    def kind(self) -> Kind:
        return KINDS[self.scheme]

    @property
    def name(self) -> str:
        """The last part of the path, without a query: a file's name, if it is one."""
        return self.path.partition("?")[0].rpartition("/")[2]


def is_remote(uri: str) -> bool:
    """Whether a model is fetched from elsewhere before it is opened."""
    if MLFLOW_URI.match(uri):
        return True
    found = SCHEME.match(uri)
    return bool(found) and found[1] not in ("file", "pvc")  # type: ignore[index]


def parse_address(uri: str) -> ModelAddress:
    """An address of a model elsewhere. Raises AddressFault."""
    if match := MLFLOW_URI.fullmatch(uri):
        address = ModelAddress(match[1], "", match[2].strip("/"))
    else:
        match = SCHEME.match(uri)
        scheme = match[1].lower() if match else ""
        if scheme not in KINDS:
            raise AddressFault(f'"{scheme}:" is not supported: a model is a file or folder', _way(scheme))
        host, _, path = uri[len(scheme) + 3 :].partition("/")
        address = ModelAddress(scheme, host, path.strip("/") if scheme not in ("http", "https") else path)
    _check(address)
    return address


def _way(scheme: str) -> str:
    """What to write instead of an address of an unknown kind."""
    if scheme in SAME:
        return f"write it as {KINDS[SAME[scheme]].example}"
    if scheme.partition("+")[0] in GIT:
        return WAY_OF_GIT
    return f"give a path, or one of pvc:, {SUPPORTED}"


def _check(address: ModelAddress) -> None:
    kind = address.kind
    way = f"write it as {kind.example}"
    if kind.host and not address.host:
        raise AddressFault(f"the {kind.host} is missing", way)
    if "@" in address.host:
        raise AddressFault("an address holds no user and password", "put credentials into a Secret (docs/storage.md)")
    if kind.path and re.fullmatch(kind.path, address.path) is None:
        raise AddressFault(f"the part after the {kind.host or 'scheme'} is not what {address.scheme}: has", way)
    if ".." in address.path.partition("?")[0].split("/") or not (address.host + address.path).isprintable():
        raise AddressFault('a path has no ".." and no control characters', way)
    if "?" in address.path and address.scheme not in ("http", "https"):
        raise AddressFault(f"an address of {address.scheme}: has no query", "remove what follows the ?")
