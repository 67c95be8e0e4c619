"""Files of any web server: `http://` and `https://`."""

from collections.abc import Iterator
from urllib.parse import unquote

from kfunc.config.model_addresses import ModelAddress
from kfunc.errors import ModelLoadError
from kfunc.storage.contract import UNKNOWN, Listing, RemoteFile
from kfunc.storage.credentials import Credentials
from kfunc.storage.web import CONTENT_RANGE, NOT_MODIFIED, Unauthorized, WebClient

NO_LENGTH = "0"


class HttpSource:
    """One file."""

    def __init__(self, address: ModelAddress, credentials: Credentials) -> None:
        host = address.host.rpartition(":")[0] or address.host
        self._client = WebClient(credentials.for_host(host))
        self._url = f"{address.scheme}://{address.host}/{address.path}"
        self._name = unquote(address.name) or "model"

    def list_files(self, known: Listing | None = None) -> Listing:
        """The file; where it is known, only whether it still is what it was, by what the server said of it (RFC 9110, 13)."""
        if known is not None and known.files[0].whole and self._still(known):
            return known
        condition = _condition(known.mark) if known is not None else {}
        try:  # the first byte, which also tells whether ranges are read: HEAD is not signed in presigned URLs
            answer = self._client.get(self._url, {"Range": "bytes=0-0", **condition})
        except Unauthorized as error:
            way = "set MODEL_AUTHORIZATION, or name the host in a netrc file"
            raise ModelLoadError(error.message.replace("needs credentials", f"needs credentials: {way}")) from None
        if answer.status == NOT_MODIFIED and known is not None:
            answer.text()
            return known
        told = CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        length = answer.headers.get("content-length", "")
        version = mark = answer.headers.get("etag") or answer.headers.get("last-modified", "")
        size = UNKNOWN
        if answer.status == 206:
            answer.text()
            size = int(told[3]) if told is not None and told[3] != "*" else UNKNOWN
        else:
            self._client.give_up(answer)  # a whole file may be on its way
            version += f" {length}"
            size = int(length) if length.isdecimal() else UNKNOWN
        file = RemoteFile(self._name, size, version, whole=answer.status != 206)
        return Listing([file], is_file=True, mark=mark or length or NO_LENGTH)

    def _still(self, known: Listing) -> bool:
        """Whether a HEAD says that nothing is new, where a GET would begin to send all of it again.

        It may leave out what a GET tells (RFC 9110, 9.3.2): what is new, a GET says.
        """
        try:
            answer = self._client.get(self._url, _condition(known.mark), method="HEAD")
        except ModelLoadError:  # refused, or a method that it does not have
            return False
        answer.text()
        if answer.status == NOT_MODIFIED:
            return True
        length = answer.headers.get("content-length", NO_LENGTH)
        if length != NO_LENGTH and known.files[0].size not in (UNKNOWN, int(length) if length.isdecimal() else UNKNOWN):
            return False
        return (answer.headers.get("etag") or answer.headers.get("last-modified") or length) == known.mark

    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """A range, or all of it."""
        if file.in_one_piece:
            return self._client.get(self._url).blocks()
        return self._client.read_range(self._url, start, stop, file.version if file.version.endswith('"') else "")

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()


def _condition(mark: str) -> dict[str, str]:
    """The field that asks for an answer only if there is something else now; a length alone cannot be asked for."""
    if mark.endswith('"'):
        return {"If-None-Match": mark}
    return {"If-Modified-Since": mark} if mark and not mark.isdecimal() else {}
