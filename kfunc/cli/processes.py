"""The processes of one function on this machine: which there are, how each is started, who talks to whom."""

import os
from collections.abc import Mapping
from pathlib import Path
from socket import socket

from msgspec import Struct, structs

from kfunc.cli.child import Program
from kfunc.config import pod
from kfunc.config.places import RECENT
from kfunc.config.pod import PodConfig

MODULES = {"logger": "kfunc.logger_sidecar", "batcher": "kfunc.batcher_sidecar", "handler": "kfunc.handlers"}


class Endpoints(Struct):
    """Where the processes meet: inherited listening sockets, and the folder of the Unix sockets between them."""

    listener: socket
    management: dict[str, socket]
    folder: str


def present(config: PodConfig) -> list[str]:
    """The processes that the configuration asks for, outermost first."""
    wanted = {"logger": config.logger is not None, "batcher": config.batcher is not None, "handler": True}
    return [name for name in MODULES if wanted[name]]


def with_grpc(config: PodConfig) -> PodConfig:
    """The configuration with gRPC, which costs nothing here: one port serves it beside REST. It needs V2."""
    if "v2" not in config.protocols or "grpc" in config.protocols:
        return config
    return structs.replace(config, protocols=[*config.protocols, "grpc"])


def with_page(config: PodConfig) -> PodConfig:
    """The configuration with the page at `/`, for this machine only, unless the function says who sees it."""
    return structs.replace(config, page="local") if config.page == "auto" else config


def programs(
    config: PodConfig,
    endpoints: Endpoints,
    environ: Mapping[str, str],
    directory: str,
    access_log: bool,
    relay_output: bool = False,
    late: bool = False,
) -> list[Program]:
    """How to start each process, outermost first, in `directory` and with `environ`.

    `late`: a handler at the port itself takes no connection before its model is loaded.
    """
    names = present(config)
    environ = {**environ, pod.VARIABLE: variable(config, endpoints.folder)}
    result = []
    for name, inner in zip(names, [*names[1:], None], strict=True):
        manage = endpoints.management[name].fileno()
        # -P: a file of the function's that is named like a module must not shadow it in the sidecars.
        arguments = ["-P", "-m", MODULES[name], f"--manage=fd:{manage}"]
        arguments += [f"--recent={RECENT}"] if access_log or relay_output else []  # none with --quiet
        inherited, path = [manage], ""
        if inner is not None:
            arguments.append(f"--upstream=unix:{endpoints.folder}/{inner}")
        if name == names[0]:
            inherited.append(endpoints.listener.fileno())
            arguments.append(f"--listen=fd:{endpoints.listener.fileno()}")
            arguments += [f"--scrape={address(endpoints.management[other])}" for other in names[1:]]
            arguments += ["--access-log"] if access_log else []
            arguments += ["--late"] if late and inner is None else []
        else:
            path = f"{endpoints.folder}/{name}"
            arguments.append(f"--listen=unix:{path}")
        result.append(Program(name, arguments, environ, directory, inherited, relay_output, path))
    return result


def variable(config: PodConfig, folder: str) -> str:
    """The value of KFUNC_CONFIG; settings too long for it are written into `folder`."""
    text = pod.encode(config)
    if len(text.encode()) <= pod.MAX_VARIABLE_BYTES:
        return text
    file = Path(folder, "config.json")
    file.write_text(text, encoding="utf-8")
    return f"{pod.IN_FILE}{file}"


def child_environ(environ: Mapping[str, str], package_root: str, import_path: list[str]) -> dict[str, str]:
    """`environ`, with what the processes need to find kfunc where this one found it.

    `import_path` is what they will have; it lacks the current directory, where this one may have looked.
    """
    if package_root in import_path:
        return dict(environ)
    return {**environ, "PYTHONPATH": os.pathsep.join(filter(None, [package_root, environ.get("PYTHONPATH")]))}


def address(listener: socket) -> str:
    """`host:port` of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"{host}:{port}"
