"""`kfunc render`: the manifests of a function, on standard output or as files."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import click
import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from kfunc.cli.function import TEMPLATE, find, runtime_of
from kfunc.cli.validate import check
from kfunc.config.complete import complete
from kfunc.config.deployment import Mode
from kfunc.config.function import Env, Function
from kfunc.config.inference import Digest
from kfunc.config.load import load_function
from kfunc.config.names import is_image, is_service_name
from kfunc.errors import StartupError
from kfunc.manifests.outputs import DASHBOARD_HEADER, HEADER, Rendered, render, text
from kfunc.manifests.plan import Group, Plan, Release

EPILOG = """\b
Example:
  kfunc render -o . --image registry.example.com/me/iris:1
  kn service apply -f knative/service.yaml
  kfunc render --only service | kubectl apply -f -
"""
STANDARD_OUTPUT = "-"
ASKED_BY: dict[Group, str] = {
    "service": "inference",
    "istio": "inference.traffic (but via: knative), inference.access and inference.egress",
    "eventing": "deploy.subscriptions and inference.eventing.sink_binding",
    "monitoring": "inference.monitoring",
}
"""The fields of func.yaml that a group's manifests are made of."""


def parse_image(_: click.Context, __: click.Parameter, value: str) -> str:
    """The value of `--image`."""
    if value and not is_image(value):
        raise click.BadParameter(f"{value!r} is not an image such as registry.example.com/team/iris:1")
    return value


def parse_digest(_: click.Context, __: click.Parameter, value: str) -> str:
    """The value of `--image-digest`."""
    try:
        return msgspec.convert(value, Digest) if value else ""
    except msgspec.ValidationError:
        raise click.BadParameter(f"{value!r} is not sha256: and 64 hexadecimal digits in lower case") from None


def parse_revision(_: click.Context, __: click.Parameter, value: str) -> str:
    """The value of `--stable`."""
    if value and not is_service_name(value):
        raise click.BadParameter(f"{value!r} is not a revision's name; `kubectl get revisions` lists them")
    return value


@click.command("render", epilog=EPILOG)
@click.argument("path", metavar="[DIR]", type=click.Path(path_type=Path), default=".")
@click.option("-o", "output", metavar="DIR|-", default=STANDARD_OUTPUT, help="Write files below DIR; - prints (default).")
@click.option("--only", type=click.Choice(get_args(Group)), help="Only one kind of manifests.")
@click.option("--mode", type=click.Choice(get_args(Mode)), help="With Knative or without; else as func.yaml says.")
@click.option("--image", metavar="IMAGE", default="", callback=parse_image, help="The function's image; else func.yaml's.")
@click.option("--image-digest", metavar="DIGEST", default="", callback=parse_digest, help="sha256:… of the image.")
@click.option("--stable", metavar="REVISION", default="", callback=parse_revision, help="The revision that keeps the traffic.")
@click.option("--weight", metavar="PERCENT", type=click.IntRange(0, 100), help="The new revision's part; else the first step.")
def render_command(
    path: Path,
    output: str,
    only: Group | None,
    mode: Mode | None,
    image: str,
    image_digest: str,
    stable: str,
    weight: int | None,
) -> int:
    """Render the manifests of the function in DIR (default: here).

    Without -o they are printed, the Knative Service first. What they need of the cluster, and the
    addresses of the function, are said on standard error.
    """
    plan = load_plan(find(path), Release(image, image_digest, stable, weight), mode, os.environ)
    rendered = render(plan, only)
    if only and not rendered.files:
        click.echo(f"note: there is nothing to render: func.yaml has none of {ASKED_BY[only]}", err=True)
    if output == STANDARD_OUTPUT:
        click.echo(text([manifest for manifests in rendered.files.values() for manifest in manifests]), nl=False)
    else:
        write_files(Path(output), rendered)
    for line in remarks(rendered):
        click.echo(line, err=True)
    return 0


def load_plan(file: Path, release: Release, mode: Mode | None, environ: Mapping[str, str]) -> Plan:
    """The plan of a valid func.yaml; `{{ env:NAME }}` is replaced from `environ`. Raises StartupError and its kinds."""
    check(file, mode)
    function = with_local_variables(load_function(file, mode), environ)
    if function.inference.server is not UNSET and (release.image or release.digest):
        raise StartupError("--image and --image-digest are kfunc's; of another server change inference.server.image")
    runtime, _ = runtime_of(function, file.parent)
    return Plan(function, complete(function, runtime), release, function.inference.mode)


def with_local_variables(function: Function, environ: Mapping[str, str]) -> Function:
    """The function with the values that its variables have on this machine. Raises StartupError for one that is not set."""
    return replace(function, run=replace(function.run, envs=local_values(function.run.envs, environ, "run.envs")))


def local_values(envs: list[Env], environ: Mapping[str, str], field: str) -> list[Env]:
    """The variables of a field, `{{ env:NAME }}` by what it is on this machine. Raises StartupError for one that is not set."""
    made = []
    for env in envs:
        found = TEMPLATE.fullmatch(env.value) if env.value is not UNSET else None
        if found and found[1] == "env":
            if found[2] not in environ:
                raise StartupError(f"{field} takes {found[2]} from the environment, and it is not set: export {found[2]}=…")
            env = replace(env, value=_text(field, found[2], environ[found[2]]))
        made.append(env)
    return made


def _text(field: str, name: str, value: str) -> str:
    """A variable's value, if a file can have it. Raises StartupError."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise StartupError(f"{field} takes {name} from the environment, and its value is not UTF-8") from None
    return value


def write_files(directory: Path, rendered: Rendered) -> None:
    """Write each file, and remove those of an earlier rendering that are not rendered any more. Raises StartupError."""
    try:
        contents = {path: text(manifests) for path, manifests in rendered.files.items()} | rendered.texts
        for path, content in contents.items():
            file = directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
            click.echo(f"wrote {file}", err=True)
        for path in rendered.unused:
            file = directory / path
            if file.is_file() and file.read_text(encoding="utf-8", errors="replace").startswith((HEADER, DASHBOARD_HEADER)):
                file.unlink()
                click.echo(f"removed {file}: func.yaml asks for none of it any more", err=True)
    except OSError as error:
        raise StartupError(f"cannot write to {error.filename}: {error.strerror}; choose another folder with -o") from None


def remarks(rendered: Rendered) -> list[str]:
    """What is said of a rendering: needs with their commands, then addresses."""
    lines = []
    for note in rendered.notes:
        lines.append(f"note: {note.text}")
        lines += [f"  {note.command}"] if note.command else []
    return lines + [f"url: {url}" for url in rendered.urls]
