"""What the commands for a cluster share: which function, which cluster, tables."""

import os
import secrets
import socket
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET, Struct

from kfunc.cli.function import FILE_NAME
from kfunc.config.complete import DEFAULT_NAMESPACE, namespace_of
from kfunc.config.deployment import Mode
from kfunc.config.function import Function
from kfunc.config.load import load_function
from kfunc.config.names import is_service_name
from kfunc.config.traffic import Traffic
from kfunc.errors import ConfigError, NoCluster, StartupError
from kfunc.handlers.registry import how_to_install

if TYPE_CHECKING:
    from kfunc.cluster.connection import Cluster


class Named(Struct, frozen=True):
    """A function on the cluster; of one that is only named the mode is not known, and its gateway is the usual one."""

    name: str
    namespace: str
    mode: Mode | None = None
    gateway_namespace: str = Traffic().gateway_namespace
    function: Function | None = None


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that talks to a cluster."""
    for option in (
        click.option(
            "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="json: for programs."
        ),
        click.option("--context", metavar="NAME", default="", help="Context of the kubeconfig; the current one by default."),
        click.option(
            "-n", "--namespace", metavar="NAME", default="", help="Namespace; func.yaml's or the context's by default."
        ),
    ):
        command = option(command)
    return command


def connect(context: str) -> "Cluster":
    """The cluster that the kubeconfig names. Raises StartupError; NoCluster where there is none or no client installed."""
    if find_spec("kubernetes") is None:
        raise NoCluster(f"commands for a cluster need the kubernetes client: {how_to_install('cluster')}")
    from kfunc.cluster.connection import Cluster
    from kfunc.cluster.login import log_in

    return Cluster(log_in(context))


def named(argument: str, namespace: str, cluster: "Cluster") -> Named:
    """The function that NAME or DIR stands for; a name whose folder has a broken func.yaml is a name. In a function's folder
    its name stands for the folder.

    Raises StartupError and its kinds.
    """
    path = Path(argument)
    file = path / FILE_NAME if path.is_dir() else path
    function = _described(file, argument)
    if function is not None:
        if is_service_name(argument) and function.name != argument:
            raise StartupError(
                f"{argument} is a folder here, whose function is {function.name}: write ./{argument} for that one; "
                f"for a function called {argument} ask from another folder"
            )
        return _named(function, namespace, cluster)
    here = _described(Path(FILE_NAME), argument)
    if here is not None and here.name == argument:
        return _named(here, namespace, cluster)
    if not is_service_name(argument):
        raise StartupError(f"{argument} is neither a function's name nor a folder with a {FILE_NAME}")
    return Named(argument, namespace or cluster.namespace or DEFAULT_NAMESPACE)


def _named(function: Function, namespace: str, cluster: "Cluster") -> Named:
    traffic = Traffic() if function.inference.traffic is UNSET else function.inference.traffic
    there = where(function, namespace, cluster)
    return Named(function.name, there, function.inference.mode, traffic.gateway_namespace, function)


def _described(file: Path, argument: str) -> Function | None:
    """The function of a file; None where there is none, or where it is broken and the argument can be a name."""
    if not file.is_file():
        return None
    try:
        return load_function(file)
    except ConfigError:
        if is_service_name(argument):
            return None
        raise


def where(function: Function, namespace: str, cluster: "Cluster") -> str:
    """The namespace of a function: what was asked for, func.yaml's, the context's."""
    own = namespace_of(function) if function.namespace or function.deploy.namespace else ""
    return namespace or own or cluster.namespace or DEFAULT_NAMESPACE


def holder_name() -> str:
    """This process, for people and for no other process."""
    return f"{socket.gethostname()}:{os.getpid()}-{secrets.token_hex(2)}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns below their names; the last one as wide as it is."""
    cells = [[name.upper() for name in header], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)
