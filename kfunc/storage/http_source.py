"""Files of any web server: `http://` and `https://`."""

from collections.abc import Iterator
from urllib.parse import unquote

from kfunc.config.model_addresses import ModelAddress
from kfunc.storage.contract import UNKNOWN, Listing, RemoteFile
from kfunc.storage.credentials import Credentials
from kfunc.storage.web import CONTENT_RANGE, WebClient


class HttpSource:
    """One file."""

    def __init__(self, address: ModelAddress, credentials: Credentials) -> None:
        host = address.host.rpartition(":")[0] or address.host
        self._client = WebClient(credentials.for_host(host))
        self._url = f"{address.scheme}://{address.host}/{address.path}"
        self._name = unquote(address.name) or "model"

    def list_files(self) -> Listing:
        """Asks for the first byte, which also tells whether ranges are read; HEAD is not signed in presigned URLs."""
        answer = self._client.get(self._url, {"Range": "bytes=0-0"})
        told = CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        version = answer.headers.get("etag") or answer.headers.get("last-modified", "")
        size = UNKNOWN
        if answer.status == 206:
            answer.text()
            size = int(told[3]) if told is not None and told[3] != "*" else UNKNOWN
        else:
            self._client.give_up(answer)  # a whole file is on its way
            version += f" {answer.headers.get('content-length', '')}"
        return Listing([RemoteFile(self._name, size, version)], is_file=True)

    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """A range, or all of it."""
        if stop == UNKNOWN:
            return self._client.get(self._url).blocks()
        return self._client.read_range(self._url, start, stop, file.version if file.version.endswith('"') else "")

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()
