"""A blocking HTTP/1.1 client for model files: kept connections, ranges, and redirects that lead nowhere they must not."""

import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from urllib.parse import SplitResult, urljoin, urlsplit

from kfunc.errors import ModelLoadError
from kfunc.storage.contract import Changed, Interrupted
from kfunc.storage.names import shown
from kfunc.storage.outages import cannot_find, cannot_reach

TIMEOUT_S = 30.0
MAX_REDIRECTS = 5
MAX_SHORT = 64 * 1024 * 1024
BLOCK = 1024 * 1024
REDIRECTS = (301, 302, 303, 307, 308)
NOT_MODIFIED = 304
CONDITIONS = ("If-None-Match", "If-Modified-Since")
AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Statuses that may be others a moment later."""
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
PORTS = {"http": 80, "https": 443}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def reach(address: Address) -> int:
    """How public an address is: 3 the internet, 2 a private network, 1 this machine, 0 what no redirect may lead to."""
    if isinstance(address, ipaddress.IPv6Address):
        address = _embedded(address) or address
    if address.is_loopback:
        return 1
    if address.is_link_local or address.is_multicast or address.is_unspecified or address in METADATA:
        return 0
    return 3 if address.is_global else 2


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets to it end at, by mapping, NAT64 or 6to4."""
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
METADATA = (ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200"))
"""Of clouds, where a machine's credentials are had; 169.254.169.254 is link-local."""


class Answer:
    """A response whose body is read by its caller."""

    def __init__(self, client: "WebClient", response: HTTPResponse, key: tuple[str, str, int], url: str, met: int) -> None:
        self._client = client
        self._response = response
        self.key = key
        self.url = url
        self.met = met
        """How public the other end is (`reach`)."""
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.getheaders()}

    def blocks(self) -> Iterator[bytes]:
        """The body. Raises Interrupted where it breaks off."""
        try:
            while block := self._response.read1(BLOCK):
                yield block
            if self._response.length:
                raise Interrupted("the answer ended early")
        except (HTTPException, OSError) as error:
            raise Interrupted(str(error) or type(error).__name__) from None
        finally:
            if not self._response.isclosed() or self._response.will_close:
                self._client.forget(self.key)

    def text(self) -> bytes:
        """A short body, whole."""
        body = bytearray()
        for block in self.blocks():
            body += block
            if len(body) > MAX_SHORT:
                raise ModelLoadError(f"{shown(self.url)}: the answer is longer than {MAX_SHORT} bytes")
        return bytes(body)


class Unauthorized(ModelLoadError):
    """401: `answer` has the challenge."""

    def __init__(self, message: str, answer: Answer) -> None:
        super().__init__(message)
        self.answer = answer


class WebClient:
    """Connections of its own for each thread. `secrets` are header fields for the host that func.yaml names, and no other."""

    def __init__(self, secrets: Mapping[str, str] | None = None) -> None:
        self._secrets = dict(secrets or {})
        self._threads = threading.local()
        self._context: ssl.SSLContext | None = None
        self._all: list[HTTPConnection] = []

    def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        named_by: int = 0,
    ) -> Answer:
        """The answer, after redirects; its status is at most 299, or 304 where that was asked for. A POST goes to `url` only.

        `named_by` is how public the server is that named the URL, where func.yaml did not: it leads to nothing more private.
        Raises ModelLoadError, Unauthorized, Interrupted for what may pass.
        """
        origin = split(url)
        least, target = named_by or 3, origin
        for _ in range(MAX_REDIRECTS + 1):
            own = (target.scheme, target.netloc) == (origin.scheme, origin.netloc)
            fields = dict(headers or {}) if own else {k: v for k, v in (headers or {}).items() if k.lower() != "authorization"}
            answer = self._ask(target, method, body, fields | (self._secrets if own else {}), named_by if own else least)
            least = min(least, answer.met)
            if answer.status not in REDIRECTS:
                asked = answer.status == NOT_MODIFIED and any(name in fields for name in CONDITIONS)
                return answer if asked else _require_good(answer)
            if body is not None:
                raise ModelLoadError(f"{shown(url)}: redirects a POST, which is not followed; name the server that it leads to")
            answer.text()
            target = _next(target, answer.headers.get("location", ""))
        raise ModelLoadError(f"{shown(url)}: more than {MAX_REDIRECTS} redirects")

    def _ask(self, url: SplitResult, method: str, body: bytes | None, headers: Mapping[str, str], least: int) -> Answer:
        """One exchange, on a kept connection or, where that is closed, on a new one."""
        key = (url.scheme, url.hostname or "", url.port or PORTS[url.scheme])
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        fields = {"Host": url.netloc.rpartition("@")[2], "User-Agent": "kfunc", "Accept-Encoding": "identity", **headers}
        while True:
            kept = self._connections.get(key)
            connection, met = kept or self._connect(key, least)
            if met < least:
                raise ModelLoadError(f"{key[1]}: a redirect leads to it, which is more private than where it comes from")
            try:
                connection.request(method, path, body, fields)
                return Answer(self, connection.getresponse(), key, url.geturl(), met)
            except (HTTPException, OSError) as error:
                self.forget(key)
                if kept is None:
                    raise Interrupted(f"{key[1]}: {str(error) or type(error).__name__}") from None

    @property
    def _connections(self) -> "dict[tuple[str, str, int], tuple[HTTPConnection, int]]":
        found: dict[tuple[str, str, int], tuple[HTTPConnection, int]] | None = getattr(self._threads, "connections", None)
        if found is None:
            found = self._threads.connections = {}
        return found

    def _connect(self, key: tuple[str, str, int], least: int) -> tuple[HTTPConnection, int]:
        """A connection to an address that may be reached: the one that is checked is the one that is used."""
        scheme, host, port = key
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise ModelLoadError(f"{host[:100]!r} is no host's name") from None
        except OSError as error:
            raise cannot_find(host, str(error.strerror or error)) from None
        last: OSError | None = None
        for family, _, _, _, place in found:
            met = reach(ipaddress.ip_address(str(place[0]).partition("%")[0]))
            if least and (met == 0 or met < least):
                raise ModelLoadError(f"{host}: a redirect leads to {place[0]}, which is more private than where it comes from")
            connection = socket.socket(family, socket.SOCK_STREAM)
            connection.settimeout(TIMEOUT_S)
            try:
                connection.connect(place)
                result = HTTPConnection(host, port, timeout=TIMEOUT_S)
                result.sock = self._secured(connection, host) if scheme == "https" else connection
            except ssl.SSLCertVerificationError as failure:
                connection.close()
                raise ModelLoadError(
                    f"{host}: its certificate is refused: {failure.verify_message}; SSL_CERT_FILE names certificates"
                ) from None
            except OSError as failure:
                connection.close()
                last = failure
                continue
            self._connections[key] = result, met
            self._all.append(result)
            return result, met
        raise cannot_reach(f"{host}:{port}", str((last.strerror or last) if last else "no address"))

    def _secured(self, connection: socket.socket, host: str) -> ssl.SSLSocket:
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context.wrap_socket(connection, server_hostname=host)

    def give_up(self, answer: Answer) -> None:
        """Nobody reads the rest of an answer."""
        self.forget(answer.key)

    def forget(self, key: tuple[str, str, int]) -> None:
        """This thread's connection is not to be used again."""
        found = self._connections.pop(key, None)
        if found is not None:
            found[0].close()

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._all:
            connection.close()

    # ---- ranges

    def read_range(
        self, url: str, start: int, stop: int, version: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """The bytes from `start` to before `stop` of the version with this ETag. Raises Changed where it is another one.

        A server that answers with all of it is read up to there.
        """
        fields = {"Range": f"bytes={start}-{stop - 1}", **(headers or {})}
        if version and not version.startswith("W/"):
            fields["If-Match"] = version
        answer = self.get(url, fields)
        if answer.status == 200:
            yield from self._cut(answer, start, stop)
            return
        told = CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        if told is None or int(told[1]) != start or int(told[2]) != stop - 1:
            raise Interrupted("the answer is of another range than what was asked for")
        if version and answer.headers.get("etag", version) != version:
            raise Changed(f"{shown(url)}: changes while it is downloaded")
        yield from answer.blocks()

    def _cut(self, answer: Answer, start: int, stop: int) -> Iterator[bytes]:
        at = 0
        try:
            for block in answer.blocks():
                wanted = block[max(0, start - at) : stop - at]
                at += len(block)
                if wanted:
                    yield wanted
                if at >= stop:
                    return
        finally:
            self.give_up(answer)


def _next(at: SplitResult, location: str) -> SplitResult:
    target = split(location, at.geturl())
    if target.scheme not in PORTS or not target.hostname or not location:
        raise ModelLoadError(f"{at.hostname}: a redirect leads to {shown(location)!r}, which is no http(s) address")
    if at.scheme == "https" and target.scheme != "https":
        raise ModelLoadError(f"{at.hostname}: a redirect leads from https to http")
    return target


def split(url: str, base: str = "") -> SplitResult:
    """A URL, or what it means at `base`, in its parts. Raises ModelLoadError where it has none."""
    try:
        parts = urlsplit(urljoin(base, url))
        _ = parts.port
    except ValueError:
        from kfunc.config.field_path import show_text

        raise ModelLoadError(f"{show_text(url, 100)} is no URL") from None
    return parts


def _require_good(answer: Answer) -> Answer:
    if answer.status < 300:
        return answer
    where = shown(answer.url)
    answer.text()
    if answer.status == 412:
        raise Changed(f"{where}: changes while it is downloaded")
    if answer.status in AGAIN:
        asked = answer.headers.get("retry-after", "").strip()
        raise Interrupted(f"{where}: answers {answer.status}", float(asked) if asked.isdecimal() else 0.0)
    if answer.status == 401:
        raise Unauthorized(f"{where}: answers 401: needs credentials (docs/storage.md)", answer)
    why = {403: "refuses these credentials", 404: "there is no such file"}.get(answer.status, "")
    raise ModelLoadError(f"{where}: answers {answer.status}{': ' + why if why else ''} (docs/storage.md)")
