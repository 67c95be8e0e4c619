"""Addresses of listeners and upstreams: `host:port`, `unix:/path`, `unix:@name` (Linux' abstract sockets, which belong to
the network namespace and need no folder: unix(7)) or `fd:N` (an inherited socket)."""

import os
import socket

from kfunc.errors import StartupError

BACKLOG = 2048
MAX_PATH = 107 - len(".4194304")  # sun_path of Linux, less the suffix of a socket that is being made
ABSTRACT = "\0"


class Address:
    """A parsed ADDR; exactly one of `path`, `fd` and `port` says which kind it is. A NUL before a path: an abstract socket."""

    __slots__ = ("fd", "host", "path", "port")

    def __init__(self, host: str = "", port: int = -1, path: str = "", fd: int = -1) -> None:
        self.host = host
        self.port = port
        self.path = path
        self.fd = fd

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path.replace(ABSTRACT, '@', 1)}"
        return f"fd:{self.fd}" if self.fd >= 0 else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read an ADDR. Raises StartupError."""
    kind, _, rest = text.partition(":")
    if kind == "unix" and (rest.startswith("/") or (rest.startswith("@") and len(rest) > 1)):
        if len(os.fsencode(rest)) > MAX_PATH:
            raise StartupError(f"the socket's path is longer than {MAX_PATH} bytes: {rest}")
        return Address(path=rest if rest[0] == "/" else ABSTRACT + rest[1:])
    if kind == "fd" and rest.isascii() and rest.isdigit():
        return Address(fd=int(rest))
    host, _, port = text.rpartition(":")
    if host and port.isascii() and port.isdigit() and int(port) < 65536:
        return Address(host=host.removeprefix("[").removesuffix("]"), port=int(port))
    raise StartupError(f"not an address: {text!r}; use host:port, unix:/path, unix:@name or fd:N")


def is_loopback(address: str) -> bool:
    """Whether an IP address is one of the machine's own loopback ones."""
    return address.removeprefix("::ffff:").startswith("127.") or address == "::1"


def listen(address: Address, option: str = "--listen") -> socket.socket:
    """A listening socket. Raises StartupError that says what to do: `option` is where the address came from."""
    try:
        if address.fd >= 0:
            return socket.socket(fileno=address.fd)
        if address.path:
            return _listen_unix(address.path)
        return _listen_tcp(address)
    except OSError as error:
        raise StartupError(f"cannot listen on {address}: {error.strerror or error}; give another {option}") from None


def _listen_tcp(address: Address) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _listen_unix(path: str) -> socket.socket:
    """Bind beside the path and rename over it, so that a socket left by a dead process is replaced
    and there is no moment in which a client finds a path that nobody listens on."""
    abstract = path.startswith(ABSTRACT)  # its name ends with its process
    fresh = path if abstract else f"{path}.{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(fresh)
        listener.listen(BACKLOG)
        if not abstract:
            os.rename(fresh, path)
    except OSError:
        listener.close()
        raise
    return listener


def connect_unix(path: str) -> socket.socket:
    """A connected socket that does not block: a listener is there or it is not. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection
