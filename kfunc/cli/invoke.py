"""`kfunc invoke`: one request to a running function, and its answer for a reader or a program."""

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from kfunc.cli.answer import shorten, show_answer
from kfunc.cli.client import Answer, Client, model_path, succeeded
from kfunc.cli.sample import sample_request, wrap_array
from kfunc.errors import InvalidRequest, NotFound, StartupError
from kfunc.protocol.messages import TensorSpec

EPILOG = """\b
Example:
  kfunc invoke
  kfunc invoke --data '[[5.1, 3.5, 1.4, 0.2]]'
  kfunc invoke --model iris --file request.json --output json
"""
MOST_SHOWN = 1000


@click.command(epilog=EPILOG)
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where the function is.")
@click.option("--model", metavar="NAME", help="Model to ask; by default the one of func.yaml, or the server's only one.")
@click.option("--data", metavar="JSON|@FILE|-", help="A request, or only an array of inputs; - reads standard input.")
@click.option("--file", type=click.Path(path_type=Path), help="The same from a file.")
@click.option("--protocol", type=click.Choice(["v1", "v2"]), help="By default what the request is, else v2.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="json: only the answer.")
def invoke(
    directory: Path | None, url: str, model: str | None, data: str | None, file: Path | None, protocol: str | None, output: str
) -> None:
    """Send a request to a function that runs, and show the answer.

    Without --data or --file the request is made from the model's own metadata. DIR tells the
    model's name (default: here).
    """
    given = _read(data, file)
    with Client(url) as client:
        name = model or _name_here(directory) or _only_model(client)
        protocol = protocol or ("v1" if isinstance(given, dict) and "instances" in given else "v2")
        body = given if isinstance(given, dict) else _compose(client, name, given, protocol)
        path = model_path(protocol, name, "/infer" if protocol == "v2" else ":predict")
        encoded = msgspec.json.encode(body)
        if output == "text":
            click.echo(f"POST {client.base}{path}\n{shorten(encoded.decode(), MOST_SHOWN)}\n")
        answer = succeeded(client.post(path, encoded))
    _print(answer, output)


def _print(answer: Answer, output: str) -> None:
    if output == "json":
        click.echo(msgspec.json.encode(answer.body))
    else:
        click.echo(f"{answer.status} {answer.reason} in {answer.seconds * 1000:.1f} ms\n{show_answer(answer.body)}")


def _read(data: str | None, file: Path | None) -> Any:
    """The JSON that the user gave, an object or an array; None for none. Raises StartupError."""
    if data is not None and file is not None:
        raise click.UsageError("--data and --file exclude each other")
    if data is None and file is None:
        return None
    try:
        if file is not None or (data is not None and data.startswith("@")):
            source = file or Path(str(data)[1:])
            content = source.read_bytes()
        else:
            content = sys.stdin.buffer.read() if data == "-" else str(data).encode()
        value = msgspec.json.decode(content)
    except OSError as error:
        raise StartupError(f"cannot read {error.filename}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise StartupError(f"the request is not JSON: {error}") from None
    if not isinstance(value, dict | list):
        raise StartupError("the request must be a JSON object or an array")
    return value


def _compose(client: Client, model: str, array: list[Any] | None, protocol: str) -> dict[str, Any]:
    """A request from the model's metadata; V1 rows need none."""
    if array is not None and protocol == "v1":
        return wrap_array(array, [], protocol)
    metadata = client.get(model_path("v2", model))
    try:
        specs = msgspec.convert(metadata.get("inputs", []), list[TensorSpec])
    except (msgspec.ValidationError, AttributeError):
        raise InvalidRequest("the server's metadata of the model is not as V2 has it; give a request with --data") from None
    return sample_request(specs, protocol) if array is None else wrap_array(array, specs, protocol)


def _name_here(directory: Path | None) -> str | None:
    """The model of the func.yaml in `directory`, or in the current one if it has any."""
    from kfunc.cli.function import FILE_NAME, find, model_name

    if directory is None and not Path(FILE_NAME).exists():
        return None
    return model_name(find(directory or Path()))


def _only_model(client: Client) -> str:
    """The one model that the server lists. Raises NotFound."""
    listed = client.get("/v1/models")
    names = listed.get("models") if isinstance(listed, dict) else None
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise NotFound(f"which model? {client.base} lists {msgspec.json.encode(names or []).decode()}; give --model")
    return names[0]
