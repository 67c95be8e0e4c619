"""Models of the Hugging Face hub, or of a server with its interface at HF_ENDPOINT: `hf://OWNER/MODEL[@REVISION][/PATH]`."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from kfunc.config.model_addresses import ModelAddress
from kfunc.errors import ModelLoadError
from kfunc.storage.contract import Listing, RemoteFile
from kfunc.storage.credentials import Credentials
from kfunc.storage.names import shown
from kfunc.storage.web import Unauthorized, WebClient, split

HUB = "https://huggingface.co"
NEXT_PAGE = re.compile(r'<([^>]+)>\s*;\s*rel="next"')
MAX_PAGES = 100
# Not a model's: the card, and what git keeps.
IGNORED = {".gitattributes", "README.md", ".gitignore"}


class Large(Struct):
    """Of a file in large file storage."""

    oid: str
    size: int


class Node(Struct):
    """A file or folder of a repository at one revision."""

    type: str
    path: str
    size: int = 0
    oid: str = ""
    lfs: Large | None = None


class Revision(Struct):
    """What a branch or tag points to."""

    sha: str = field(default="")


class HuggingFaceSource:
    """A repository at the commit that its revision names now, a folder or a file of it."""

    def __init__(self, address: ModelAddress, credentials: Credentials) -> None:
        name, _, self._path = address.path.partition("/")
        name, _, revision = name.partition("@")
        self._repository = f"{address.host}/{name}"
        self._revision = revision or "main"
        self._endpoint = (credentials.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
        self._client = WebClient(_token(credentials))
        self._commit = ""

    def list_files(self, known: Listing | None = None) -> Listing:
        """The files at the commit; those of large file storage have their sha256."""
        place = f"{self._endpoint}/api/models/{self._repository}"
        try:
            found = self._json(f"{place}/revision/{quote(self._revision, safe='')}", Revision)
        except Unauthorized:
            raise ModelLoadError(
                f"hf://{self._repository}: the hub shows no such model: check its name, or, if it is private or gated, set "
                "HF_TOKEN (docs/storage.md)"
            ) from None
        self._commit = found.sha or self._revision
        if known is not None and known.mark and known.mark == found.sha:
            return known
        url, nodes = f"{place}/tree/{quote(self._commit, safe='')}?recursive=true", []
        for _ in range(MAX_PAGES):
            answer = self._client.get(url)
            nodes += self._decode(answer.text(), list[Node])
            following = NEXT_PAGE.search(answer.headers.get("link", ""))
            if following is None:
                break
            page = split(following[1], url)
            url = page.geturl()
            if page[:2] != split(self._endpoint)[:2]:
                raise ModelLoadError(f"{self._endpoint}: names {shown(url)} as its next page, which is another server")
        else:
            raise ModelLoadError(f"hf://{self._repository}: has more than {MAX_PAGES} pages of files; name a folder of it")
        return replace(self._listing([node for node in nodes if node.type == "file"]), mark=found.sha)

    def _listing(self, nodes: list[Node]) -> Listing:
        path = self._path
        for node in nodes:
            if path and node.path == path:
                return Listing([self._file(node, path.rpartition("/")[2])], is_file=True)
        start = f"{path}/" if path else ""
        files = [
            self._file(node, node.path[len(start) :])
            for node in nodes
            if node.path.startswith(start) and node.path[len(start) :] not in IGNORED
        ]
        if not files:
            where = f"{self._repository}@{self._revision}"
            raise ModelLoadError(f"hf://{where}: has no {path or 'files'}")
        return Listing(files)

    def _file(self, node: Node, name: str) -> RemoteFile:
        if node.lfs is not None:
            return RemoteFile(name, node.lfs.size, node.lfs.oid, node.path, node.lfs.oid.removeprefix("sha256:"))
        return RemoteFile(name, node.size, node.oid, node.path)

    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """A range of a file at the commit, whose content never changes."""
        commit = quote(self._commit, safe="")
        url = f"{self._endpoint}/{self._repository}/resolve/{commit}/{quote(file.place)}"
        return self._client.read_range(url, start, stop, "")

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def _json(self, url: str, kind: Any) -> Any:
        return self._decode(self._client.get(url).text(), kind)

    def _decode(self, text: bytes, kind: Any) -> Any:
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.MsgspecError as error:
            raise ModelLoadError(f"{self._endpoint}: does not answer as the Hugging Face hub does: {error}") from None


def _token(credentials: Credentials) -> dict[str, str]:
    home = credentials.environ.get("HF_HOME", "")
    usual = f"{home}/token" if home else ".cache/huggingface/token"
    token = credentials.text("HF_TOKEN", "hf-token", usual)
    return {"Authorization": f"Bearer {token}"} if token else {}
