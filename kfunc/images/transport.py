"""HTTP to registries: connections that are kept, TLS with further authorities, proxies, and trying again."""

import base64
import http.client
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urljoin, urlsplit

from msgspec import Struct

from kfunc import __version__
from kfunc.errors import RegistryError, StartupError
from kfunc.registries.references import is_loopback

TIMEOUT_S = 60.0
TRIES = 5
PAUSE_S = 0.5
MOST_PAUSE_S = 30.0
MOST_REDIRECTS = 5
MOST_BYTES = 32 << 20
"""Of an answer that is kept in memory: documents, never blobs."""
PIECE = 1 << 20
REDIRECTS = (301, 302, 303, 307, 308)
PORTS = {"https": ":443", "http": ":80"}
BUSY = (408, 425, 429, 500, 502, 503, 504)
LOST = (OSError, http.client.HTTPException)
OF_CONNECTIONS = (ConnectionError, TimeoutError, ssl.SSLError)
"""Errors of the system that need no number to be known."""

Body = bytes | Callable[[], Iterator[bytes]]
"""What is sent: bytes, or a function that gives them anew for each try (the request has a Content-Length then)."""
Sink = Callable[[int, bytes], object]
"""Takes the status and a piece of the body."""


class Answer(Struct):
    """A registry's answer; `body` is empty where a sink took it."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes = b""
    url: str = ""

    def field(self, name: str) -> str:
        return self.headers.get(name) or ""


class Trust(Struct, frozen=True):
    """Whom the client trusts: `insecure` hosts may have any certificate or speak plain HTTP."""

    insecure: frozenset[str] = frozenset()
    authorities: str = ""


class Transport:
    """Requests to any number of hosts, one at a time; a context manager."""

    def __init__(
        self,
        trust: Trust,
        environ: Mapping[str, str],
        pause: Callable[[float], None] = time.sleep,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._trust = trust
        self._timeout_s = timeout_s
        self._environ = environ
        self._pause = pause
        self._connections: dict[tuple[str, str], http.client.HTTPConnection] = {}
        self._schemes: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def base(self, host: str) -> str:
        """The URL of a registry: https, but for hosts that may speak plain HTTP and do. Raises RegistryError."""
        if host not in self._schemes:
            self._schemes[host] = "https"
            if self.may_be_plain(host):
                self._schemes[host] = self._spoken(host)
        return f"{self._schemes[host]}://{host}"

    def may_be_plain(self, host: str) -> bool:
        """Whether a host may speak HTTP without TLS."""
        return host in self._trust.insecure or is_loopback(host)

    def _spoken(self, host: str) -> str:
        try:
            connection = self._open("https", host)
            connection.timeout = 10
            connection.connect()
            connection.close()
        except ssl.SSLCertVerificationError:
            return "https"  # the request says what is wrong with it
        except OSError:
            return "http"
        return "https"

    def send(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: Body = b"", sink: Sink | None = None
    ) -> Answer:
        """One request, once; redirects are followed, without the Authorization to another place. Raises LOST, RegistryError.

        `sink` takes the body of a 200 or 206.
        """
        fields = dict(headers or {})
        for _ in range(MOST_REDIRECTS):
            answer = self._once(method, url, fields, body, sink)
            if answer.status not in REDIRECTS or method not in ("GET", "HEAD") or not answer.field("Location"):
                return answer
            target = urljoin(url, answer.field("Location"))
            if place_of(target) != place_of(url):  # the same host without TLS is another, too
                fields.pop("Authorization", None)
            url = target
        raise RegistryError(f"{urlsplit(url).netloc} redirects in a circle; tell who runs it")

    def _once(self, method: str, url: str, fields: Mapping[str, str], body: Body, sink: Sink | None) -> Answer:
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        kept = self._connections.pop(key, None)
        connection = kept or self._open(*key)
        target = parts._replace(scheme="", netloc="").geturl() or "/"
        own = {"User-Agent": f"kfunc/{__version__}", **fields}
        answer: Answer | None = None
        try:
            connection.request(method, target, body if isinstance(body, bytes) else body(), own)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, b"", url)
            if sink and response.status in (200, 206):
                while piece := response.read(PIECE):
                    sink(response.status, piece)
            else:
                answer.body = response.read(MOST_BYTES)
                if len(answer.body) == MOST_BYTES:
                    raise RegistryError(f"{parts.netloc} answers {target} with more than a document; tell who runs it")
            if response.length:
                raise ConnectionResetError("the answer ended early")
        except BaseException as error:
            connection.close()
            if kept and answer is None and method in ("GET", "HEAD") and isinstance(error, ConnectionError):
                return self._once(method, url, fields, body, sink)  # it was closed while nobody used it
            if isinstance(error, ssl.SSLCertVerificationError):
                raise _untrusted(parts.netloc, error) from None
            raise
        if response.will_close:
            connection.close()
        else:
            self._connections[key] = connection
        return answer

    def retry(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: Body = b"", sink: Sink | None = None
    ) -> Answer:
        """A request that may be sent again: after a lost connection, or when it is asked for. Raises RegistryError."""
        for number in range(1, TRIES + 1):
            try:
                answer = self.send(method, url, headers, body, sink)
            except LOST as error:
                if number == TRIES or not may_pass(error):
                    raise lost(url, error) from None
                self.wait(number)
                continue
            if answer.status not in BUSY or number == TRIES:
                return answer
            self.wait(number, answer)
        raise AssertionError

    def wait(self, number: int, answer: Answer | None = None) -> None:
        """Pause before try `number` + 1: as long as the answer asks for, else twice as long each time."""
        asked = answer.field("Retry-After") if answer else ""
        pause = float(asked) if asked.isdecimal() else PAUSE_S * 2 ** (number - 1) * (1 + random.random() / 4)  # noqa: S311
        self._pause(min(pause, MOST_PAUSE_S))

    def _open(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        host = netloc.rpartition("@")[2]
        proxy = "" if is_loopback(host) else proxy_for(scheme, host, self._environ)
        user, _, through = urlsplit(proxy if "//" in proxy else f"//{proxy}").netloc.rpartition("@")
        context = self._context(host) if scheme == "https" else None
        if context is None:
            connection = http.client.HTTPConnection(through or host, timeout=self._timeout_s)
        else:
            connection = http.client.HTTPSConnection(through or host, timeout=self._timeout_s, context=context)
        if through:
            login = "Basic " + base64.b64encode(unquote(user).encode()).decode()
            connection.set_tunnel(host, headers={"Proxy-Authorization": login} if user else {})
        return connection

    def _context(self, host: str) -> ssl.SSLContext:
        """TLS to one host, with the authorities and client certificates of certs.d, as Docker has it. Raises StartupError."""
        context = ssl.create_default_context()
        if host in self._trust.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        file: Path | str = self._trust.authorities
        home = Path(self._environ.get("HOME") or "/")
        places = [home / ".config/containers/certs.d", Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d")]
        try:
            if file:
                context.load_verify_locations(file)
            for place in places:
                for file in sorted((place / host).glob("*.crt")):
                    context.load_verify_locations(file)
                for file in sorted((place / host).glob("*.cert")):
                    context.load_cert_chain(file, file.with_suffix(".key"))
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror or "no certificate in PEM is in it"
            raise StartupError(f"cannot read the certificates in {file}: {reason}") from None
        return context


def proxy_for(scheme: str, host: str, environ: Mapping[str, str]) -> str:
    """The proxy to a host (with its port, if any), as curl and pip read `https_proxy` and `no_proxy`; empty for none."""

    def value(name: str) -> str:
        return environ.get(name, environ.get(name.upper(), ""))  # lower case goes first, though it be empty

    alone = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    for name in value("no_proxy").lower().split(","):
        end = name.strip().removeprefix(".")
        if end == "*" or (end and any(each == end or each.endswith(f".{end}") for each in (host.lower(), alone.lower()))):
            return ""
    return value(f"{scheme}_proxy")


def place_of(url: str) -> tuple[str, str]:
    """Scheme, host and port: who is asked, and how. The port that a scheme has anyway is left out."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower().removesuffix(PORTS.get(parts.scheme, " "))


def may_pass(error: Exception) -> bool:
    """Whether what went wrong may go right at the next try: not a proxy's refusal, nor TLS with what speaks none."""
    return not (isinstance(error, OSError) and error.errno is None and not isinstance(error, OF_CONNECTIONS)) and not (
        isinstance(error, ssl.SSLError) and _speaks_plain(error)
    )


def lost(url: str, error: Exception) -> RegistryError:
    """A registry that cannot be reached."""
    host = urlsplit(url).netloc
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, ssl.SSLError) and _speaks_plain(error):
        return RegistryError(f"{host} speaks plain HTTP: give --insecure if that is meant")
    return RegistryError(f"cannot reach the registry {host}: {reason}; check its name, the network and HTTPS_PROXY")


def _speaks_plain(error: ssl.SSLError) -> bool:
    return "WRONG_VERSION" in str(error).upper()


def _untrusted(host: str, error: ssl.SSLCertVerificationError) -> RegistryError:
    return RegistryError(
        f"{host} has a certificate that is not trusted ({error.verify_message}): give its authority with --ca FILE,"
        f" or put it into /etc/docker/certs.d/{host}/ca.crt"
    )
