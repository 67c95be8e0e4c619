"""Who sees the page. Sans-IO.

`local` is this machine, or a port-forward: a caller on the loopback address that asks for a loopback name, with no proxy
between. The name keeps out other sites' pages whose own name was pointed here (DNS rebinding).
"""

from collections.abc import Mapping

from kfunc.http.address import is_loopback

LOOPBACK_NAMES = (b"localhost", b"127.0.0.1", b"[::1]")
# Knative's queue-proxy, Envoy and every other proxy add one of these, whatever the caller sent.
FORWARDED = frozenset((b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"via"))


def is_local(peer: object, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request comes from this machine; `peer` is the address that the transport gives."""
    if not isinstance(peer, tuple) or not is_loopback(str(peer[0])):
        return False
    return not FORWARDED.intersection(headers) and host_name(headers.get(b"host", b"")) in LOOPBACK_NAMES


def host_name(host: bytes) -> bytes:
    """The name of a Host field, without its port, in lower case."""
    name, colon, port = host.rpartition(b":")
    return (name if colon and port.isdigit() else host).lower()
