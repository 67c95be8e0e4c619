"""`kfunc invoke`: one request to a running function, and its answer for a reader or a program."""

import random
import ssl
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click
import msgspec

from kfunc.cli.answer import shorten, show_answer
from kfunc.cli.given import Arrays, Picture, is_whole, read_given
from kfunc.client.calls import JSON, OCTETS, Calls, model_path
from kfunc.client.client import TIMEOUT_S, transport
from kfunc.client.connections import run
from kfunc.client.errors import ClientError, InvalidCall
from kfunc.client.sample import sample_request, wrap_array, wrap_arrays, wrap_picture
from kfunc.client.sending import read_json
from kfunc.client.wire import Answer, Base, Flow, T, parse_url
from kfunc.errors import KfuncError, NotFound, StartupError
from kfunc.protocol.messages import ModelMetadata, TensorSpec
from kfunc.protocol.pictures import takes_pictures

EPILOG = """\b
Example:
  kfunc invoke
  kfunc invoke --data '[[5.1, 3.5, 1.4, 0.2]]'
  kfunc invoke --file rows.npy --binary
  kfunc invoke --file cat.png
  kfunc invoke --grpc
  kfunc invoke --remote iris -n team
  kfunc invoke --model iris --file request.json --output json
"""
MOST_SHOWN = 1000
JSON_LENGTH = "inference-header-content-length"


@click.command(epilog=EPILOG)
@click.argument("directory", metavar="[DIR|NAME]", type=click.Path(path_type=Path), required=False)
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where the function is.")
@click.option("--remote", is_flag=True, help="Ask the function of this func.yaml, or of this NAME, on the cluster.")
@click.option(
    "--gateway", metavar="URL", default="", help="With --remote: the ingress gateway, where DNS does not know the host."
)
@click.option("-n", "--namespace", metavar="NAME", default="", help="With --remote: its namespace.")
@click.option("--context", metavar="NAME", default="", help="With --remote: context of the kubeconfig.")
@click.option("--model", metavar="NAME", help="Model to ask; by default the one of func.yaml, or the server's only one.")
@click.option("--data", metavar="JSON|@FILE|-", help="A request, or only an array of inputs; - reads standard input.")
@click.option(
    "-f", "--file", type=click.Path(path_type=Path), help="The same from a file, or arrays of .npy, .npz, or a picture."
)
@click.option("--protocol", type=click.Choice(["v1", "v2"]), help="By default what the request is, else v2.")
@click.option("--binary", is_flag=True, help="Tensors in binary, both ways (V2).")
@click.option("--grpc", is_flag=True, help="Over gRPC (V2), on the same port; needs the extra grpc.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="json: only the answer.")
def invoke(
    directory: Path | None,
    url: str,
    remote: bool,
    gateway: str,
    namespace: str,
    context: str,
    model: str | None,
    data: str | None,
    file: Path | None,
    protocol: str | None,
    binary: bool,
    grpc: bool,
    output: str,
) -> None:
    """Send a request to a function that runs, and show the answer.

    Without --data or --file the request is made from the model's own metadata. DIR tells the
    model's name (default: here).
    """
    if data is not None and file is not None:
        raise click.UsageError("--data and --file exclude each other")
    given = read_given(data, file)
    protocol = protocol or ("v1" if is_whole(given) and "instances" in given else "v2")
    for option, given_so in (("--binary", binary), ("--grpc", grpc)):
        if given_so and protocol == "v1":
            raise click.UsageError(f"{option} is for the protocol v2")
    if not remote and (gateway or namespace or context):
        raise click.UsageError("--gateway, --namespace and --context are of --remote")
    with _remote(directory, namespace, context, gateway, grpc) if remote else Server(_scheme(url, grpc)) as server:
        here = None if remote and directory is not None and not directory.exists() else _name_here(directory)
        name = model or here or server.only_model()
        body = server.compose(name, given, protocol, as_body=not (binary or server.grpc))
        # A picture that is no body is bytes in a tensor, which JSON cannot carry.
        binary = binary or (isinstance(given, Picture) and not isinstance(body, Picture) and protocol == "v2")
        _ask(server, name, body, protocol, binary, output)


class Server:
    """The client's core on one connection; what it raises is for the command's own place for errors."""

    def __init__(self, url: str, headers: Mapping[str, str] = {}, tls: ssl.SSLContext | None = None) -> None:
        try:
            base = parse_url(url)
        except InvalidCall as error:
            raise StartupError(f"--url {error.message}") from None
        self.url = base.url
        self.grpc = base.grpc
        self._headers, self._tls = headers, tls
        self._connections, calls = self._checked_transport(base, tls)
        self.calls = calls(
            model="",
            timeout_s=TIMEOUT_S,
            headers={"user-agent": "kfunc-invoke", **headers},
            retries=0,
            binary=None,
            compression=None,
            clock=time.monotonic,
            chance=random.random,
        )

    @staticmethod
    def _checked_transport(base: Base, tls: ssl.SSLContext | None) -> tuple[Any, type[Calls]]:
        try:
            return transport(base, tls=tls)
        except InvalidCall as error:
            raise StartupError(error.message) from None

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()

    def run(self, flow: Flow[T]) -> T:
        """What a call returns. Raises KfuncError."""
        try:
            return run(flow, self._connections)
        except ClientError as error:
            raise KfuncError(error.message) from None

    def only_model(self) -> str:
        """The one model that the server lists. Raises NotFound."""
        names = self.run(self.calls.models())
        if len(names) != 1:
            raise NotFound(f"which model? {self.url} has {', '.join(names) or 'none'}; give --model")
        return names[0]

    def compose(
        self, model: str, given: Any, protocol: str, rows: int = 1, *, as_body: bool = True
    ) -> dict[str, Any] | Picture:
        """The request that is given, or one from the model's metadata; V1 rows need none. `rows`: where nothing is given.

        A picture stays one where it may be the whole body, and the model takes such.
        """
        if is_whole(given):
            whole: dict[str, Any] = given
            return whole
        if isinstance(given, list) and protocol == "v1":
            return wrap_array(given, [], protocol)
        try:
            told: ModelMetadata = self.run(self.calls.metadata(model, ""))
        except KfuncError as error:
            if "not as the protocol says" not in error.message:
                raise
            raise KfuncError(f"{error.message}; give a whole request with --data") from None
        specs: list[TensorSpec] = list(told.inputs)
        if isinstance(given, Picture):
            return given if as_body and takes_pictures(told) else wrap_picture(given.content, specs, protocol)
        if isinstance(given, Arrays):
            return wrap_arrays(given, specs, protocol)
        if given is None:
            return sample_request(specs, protocol, rows, pictures=self._takes_pictures(model, told))
        return wrap_array(given, specs, protocol)

    def _takes_pictures(self, model: str, told: ModelMetadata) -> bool:
        """Whether the model's BYTES are pictures. gRPC's metadata have no place for it: REST, on the same port, has."""
        if not self.grpc or [spec.datatype for spec in told.inputs] != ["BYTES"]:
            return takes_pictures(told)
        try:
            with Server(self.url.replace("grpc", "http", 1), self._headers, self._tls) as rest:
                return takes_pictures(rest.run(rest.calls.metadata(model, "")))
        except KfuncError:
            return False  # somebody else's server, of gRPC alone


def _scheme(url: str, grpc: bool) -> str:
    return url.replace("http", "grpc", 1) if grpc and url.startswith("http") else url


def _remote(directory: Path | None, namespace: str, context: str, gateway: str, grpc: bool) -> Server:
    """The function on the cluster. Raises KfuncError."""
    from kfunc.cli.on_cluster import connect, named
    from kfunc.cli.remote import find_remote

    cluster = connect(context)
    found = find_remote(cluster, named(str(directory or "."), namespace, cluster), gateway)
    if grpc and found.headers:
        raise KfuncError(
            f"gRPC needs a host that DNS knows: {found.headers.get('host', 'a function without Knative has none')}"
        )
    return Server(_scheme(found.url, grpc), found.headers, found.tls)


def _ask(server: Server, name: str, body: dict[str, Any] | Picture, protocol: str, binary: bool, output: str) -> None:
    if server.grpc and not isinstance(body, Picture):
        _call(server, name, body, output)
        return
    path = model_path(protocol, name) + ("/infer" if protocol == "v2" else ":predict")
    encoded, kind = encoded_body(body)
    headers = {}
    if output == "text":
        form = " in binary" if binary else ""
        shown = f"{kind}, {len(encoded)} bytes" if isinstance(body, Picture) else shorten(encoded.decode(), MOST_SHOWN)
        click.echo(f"POST {server.url}{path}{form}\n{shown}\n")
    if binary:
        from kfunc.cli.binary import encode_document

        encoded, length = _checked(encode_document, body)
        kind, headers = OCTETS, {JSON_LENGTH: str(length)}
    began = time.perf_counter()
    answer = server.run(server.calls.sending.post(path, encoded, kind, headers))
    seconds = time.perf_counter() - began
    document = _checked(_document, answer)
    _show(f"{answer.status} {HTTPStatus(answer.status).phrase}", seconds, document, output)


def encoded_body(body: dict[str, Any] | Picture) -> tuple[bytes, str]:
    """A request without binary tensors, and its content type."""
    return (body.content, body.kind) if isinstance(body, Picture) else (msgspec.json.encode(body), JSON)


def _call(server: Server, name: str, body: dict[str, Any], output: str) -> None:
    """Ask over gRPC."""
    from kfunc.cli.binary import decode_message, encode_message
    from kfunc.client.grpc_calls import GrpcCalls

    calls = server.calls
    if not isinstance(calls, GrpcCalls):
        raise TypeError("a server at grpc:// has its calls")
    if output == "text":
        click.echo(f"ModelInfer {name} at {server.url}\n{shorten(msgspec.json.encode(body).decode(), MOST_SHOWN)}\n")
    message = _checked(lambda document: encode_message(document, name), body)
    began = time.perf_counter()
    answer = server.run(calls.sending.send(calls.request("ModelInfer", message, {})))
    seconds = time.perf_counter() - began
    _show("OK", seconds, _checked(decode_message, answer), output)


def _show(status: str, seconds: float, document: Any, output: str) -> None:
    if output == "json":
        click.echo(msgspec.json.encode(document))
    else:
        click.echo(f"{status} in {seconds * 1000:.1f} ms\n{show_answer(document)}")


def _document(answer: Answer) -> Any:
    if JSON_LENGTH in answer.headers:
        from kfunc.cli.binary import decode_document

        return decode_document(answer)
    return read_json(answer, Any) if answer.body else {}


def _checked(step: Any, value: Any) -> Any:
    """The result of a step of the client's. Raises KfuncError."""
    try:
        return step(value)
    except ClientError as error:
        raise KfuncError(error.message) from None


def _name_here(directory: Path | None) -> str | None:
    """The model of the func.yaml in `directory`, or in the current one if it has any."""
    from kfunc.cli.function import FILE_NAME, find, model_name

    if directory is None and not Path(FILE_NAME).exists():
        return None
    return model_name(find(directory or Path()))
