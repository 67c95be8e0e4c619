"""What `kfunc bench` asks: a URL, or a folder that is served meanwhile; and the request, as bytes, for each protocol."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

from kfunc.bench.http1 import Http1Connection
from kfunc.bench.running import Make
from kfunc.cli.console import READY, announced
from kfunc.cli.given import Picture, read_given
from kfunc.cli.invoke import Server, encoded_body
from kfunc.client.calls import OCTETS, model_path
from kfunc.client.errors import ClientError, InvalidCall
from kfunc.client.wire import Base, parse_url
from kfunc.errors import KfuncError, StartupError

READY_S = 900.0  # a large model loads for minutes
SERVICE = "/inference.GRPCInferenceService/ModelInfer"


@contextmanager
def served(target: str) -> Iterator[str]:
    """The URL of the target; a folder is served until this ends. Raises StartupError."""
    if "://" in target:
        yield target
        return
    if not Path(target).exists():
        raise StartupError(f"{target} is neither a URL (http://…) nor a function's folder")
    command = [sys.executable, "-m", "kfunc", "run", target, "--port", "0", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield _url(process, target)
        finally:
            process.terminate()


def _url(process: subprocess.Popen[str], target: str) -> str:
    """Where it is served, once it is ready. Raises StartupError."""
    if process.stdout is None or not select([process.stdout], [], [], READY_S)[0]:
        raise StartupError(f"{target} is not ready after {READY_S:g} s: serve it with kfunc run, and give its URL")
    said = announced(process.stdout.readline())
    if not said.startswith(READY):
        raise StartupError(f"{target} cannot be served; its lines above say why")
    return said.removeprefix(READY)


class Target:
    """A server and the request that it is asked again and again. Raises KfuncError where that cannot be made."""

    def __init__(self, url: str, protocol: str, model: str | None, data: str | None, rows: int) -> None:
        try:
            base = parse_url(url)
        except InvalidCall as error:
            raise StartupError(error.message) from None
        if base.secure or base.grpc:
            raise StartupError(f"{url}: http:// is expected; TLS would measure the client, and gRPC is --protocol grpc")
        self.address = (base.host, base.port or 80)
        self._authority = base.url.partition("://")[2].partition("/")[0]
        with Server(url) as server:
            name = model or server.only_model()
            given, as_body = read_given(data, None), protocol in ("v1", "v2")
            document = server.compose(name, given, "v1" if protocol == "v1" else "v2", rows, as_body=as_body)
        if protocol == "v2" and isinstance(given, Picture) and not isinstance(document, Picture):
            raise KfuncError(
                "the model takes a picture's bytes in a tensor, which JSON cannot carry: --protocol binary, or grpc"
            )
        self.title = f"{name} at {base.url}, {PROTOCOLS[protocol][0]}"
        self.make = PROTOCOLS[protocol][1](self._authority, base, name, document)


def http1(head: str, body: bytes) -> Make:
    """Connections that send this."""
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    return lambda done, lost: Http1Connection(request, done, lost)


def post(authority: str, path: str, kind: str, more: str = "") -> str:
    """The head of a request, but for its framing."""
    return f"POST {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: kfunc-bench\r\ncontent-type: {kind}\r\n{more}"


def v1(authority: str, base: Base, model: str, document: dict[str, Any] | Picture) -> Make:
    """V1 in JSON, or a picture."""
    body, kind = encoded_body(document)
    return http1(post(authority, f"{base.path}{model_path('v1', model)}:predict", kind), body)


def v2(authority: str, base: Base, model: str, document: dict[str, Any] | Picture) -> Make:
    """V2 in JSON, or a picture."""
    body, kind = encoded_body(document)
    return http1(post(authority, f"{base.path}{model_path('v2', model)}/infer", kind), body)


def binary(authority: str, base: Base, model: str, document: dict[str, Any]) -> Make:
    """V2 with binary tensors both ways."""
    from kfunc.cli.binary import encode_document

    body, length = checked(lambda: encode_document(document))
    more = f"inference-header-content-length: {length}\r\n"
    return http1(post(authority, f"{base.path}{model_path('v2', model)}/infer", OCTETS, more), body)


def grpc(authority: str, base: Base, model: str, document: dict[str, Any]) -> Make:
    """The Open Inference Protocol's ModelInfer."""
    from kfunc.bench.grpc import GrpcConnection, call_fields
    from kfunc.cli.binary import encode_message

    message = checked(lambda: encode_message(document, model))
    request, fields = b"\0" + len(message).to_bytes(4) + message, call_fields(authority, SERVICE)
    return lambda done, lost: GrpcConnection(request, fields, done, lost)


def checked(step: Callable[[], Any]) -> Any:
    """The result of a step of the client's. Raises KfuncError."""
    try:
        return step()
    except ClientError as error:
        raise KfuncError(error.message) from None


PROTOCOLS: dict[str, tuple[str, Callable[[str, Base, str, Any], Make]]] = {
    "v1": ("V1", v1),
    "v2": ("V2 in JSON", v2),
    "binary": ("V2 in binary", binary),
    "grpc": ("gRPC", grpc),
}
