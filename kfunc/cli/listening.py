"""The sockets that `kfunc run` opens for its processes, and who holds a port that is taken."""

import errno
import os
import socket
from glob import iglob

from kfunc.errors import StartupError

BACKLOG = 2048
LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket, port 0 being any free one. Raises StartupError that says what to do."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that IDNA cannot encode
        raise StartupError(_explain(error, host, port)) from None
    return listener


def url(listener: socket.socket) -> str:
    """The address of a listening socket as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _explain(error: OSError | UnicodeError, host: str, port: int) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        holder = holder_of(port)
        by = f" by {holder}" if holder else ""
        return f"port {port} is in use{by}; stop that, or choose another with --port (0 takes a free one)"
    if number == errno.EACCES:
        return f"port {port} is for privileged users; choose one above 1023 with --port"
    reason = error.strerror if isinstance(error, OSError) else "not a host name"
    return f"cannot listen on {host}: {reason}; --host takes an address of this machine, as 127.0.0.1"


def holder_of(port: int) -> str:
    """`name (pid N)` of a process that listens on the TCP port, as far as /proc tells; else empty."""
    try:
        wanted = {f"socket:[{inode}]" for inode in _inodes(port)}
        links = iglob("/proc/[0-9]*/fd/*") if wanted else ()
        for link in links:
            if _target(link) in wanted:
                pid = link.split("/")[2]
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    return f"{file.read().strip()} (pid {pid})"
    except OSError:  # not Linux, or the process ended meanwhile
        pass
    return ""


def _inodes(port: int) -> list[str]:
    """The inodes of the sockets that listen on the port (proc(5), /proc/net/tcp)."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(table):
            with open(table, encoding="ascii") as lines:
                fields = [line.split() for line in lines][1:]
            found += [row[9] for row in fields if row[3] == LISTEN and int(row[1].rpartition(":")[2], 16) == port]
    return found


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""
