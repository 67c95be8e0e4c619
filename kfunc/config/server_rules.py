"""Rules for somebody else's server as the main container: images, ports that collide, what needs saying."""

from collections.abc import Callable, Iterator

from msgspec import UNSET

from kfunc.config.environment_rules import MAX_VARIABLE_BYTES
from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Function
from kfunc.config.names import is_image
from kfunc.config.places import KNATIVE_PORTS, MANAGEMENT_PORTS
from kfunc.config.server import KNOWN, Server, server_ports

SERVER: FieldPath = ("inference", "server")


def server_images_are_references(function: Function) -> Iterator[Finding]:
    """The server's own, and one with kfunc in it for the sidecars."""
    server = function.inference.server
    if server is UNSET:
        return
    for key, image in ("image", server.image), ("sidecar_image", server.sidecar_image):
        if image and not is_image(image):
            yield Finding((*SERVER, key), f'expected an image such as "example.com/team/server:1", found {show_text(image)}')
    inference = function.inference
    if not server.sidecar_image and (inference.batcher is not UNSET or inference.logger is not UNSET):
        message = "batcher and logger need an image, and the server's has no kfunc in it"
        yield Finding(SERVER, message, "add sidecar_image: …, any image with kfunc in it", at_key=True)


def server_ports_are_free(function: Function) -> Iterator[Finding]:
    """All containers of a pod share their ports: sidecars', server's and Knative's."""
    server, inference = function.inference.server, function.inference
    if server is UNSET:
        return
    if server.kind == "other" and server.port is UNSET:
        yield Finding(SERVER, "the port of a server of kind other is not known", "add port: …", at_key=True)
        return
    sidecars = {name for name in ("logger", "batcher") if getattr(inference, name) is not UNSET}
    taken = {port: f"the {name}'s management port" for name, port in MANAGEMENT_PORTS.items() if name in sidecars}
    taken |= dict.fromkeys(KNATIVE_PORTS, "Knative's own port") if inference.mode == "knative" else {}
    taken |= {inference.port: "the pod's own port"} if sidecars else {}
    for number, port in enumerate(server_ports(server)):
        if port in taken:
            yield _collision(server, number, port, taken[port])
        taken[port] = "another of its ports"


def _collision(server: Server, number: int, port: int, whose: str) -> Finding:
    if number == 0:
        path = SERVER if server.port is UNSET else (*SERVER, "port")
    else:
        path = SERVER if server.other_ports is UNSET else (*SERVER, "other_ports", number - 1)
    suggestion = "move one of them: inference.port is the pod's" if whose.startswith("the pod") else "move the server's"
    opened = f"the server opens {port}" if path != SERVER else f"{server.kind} opens {port}"
    return Finding(path, f"{opened}, and that is {whose}", suggestion, at_key=path == SERVER)


def server_arguments_are_short(function: Function) -> Iterator[Finding]:
    """Linux starts no program with a longer one."""
    server = function.inference.server
    if server is UNSET:
        return
    for key, words in ("command", server.command), ("args", server.args):
        for number, word in enumerate(words):
            if len(word.encode()) >= MAX_VARIABLE_BYTES:
                yield Finding((*SERVER, key, number), f"expected less than {MAX_VARIABLE_BYTES} bytes", "put it into a file")


def server_paths_are_paths(function: Function) -> Iterator[Finding]:
    """Where the server says that it is ready."""
    server = function.inference.server
    if server is UNSET or not server.ready_path:
        return
    if not server.ready_path.startswith("/") or not server.ready_path.isprintable() or " " in server.ready_path:
        message = f"expected a path such as {show_text(KNOWN['triton'].ready_path)}, found {show_text(server.ready_path)}"
        yield Finding((*SERVER, "ready_path"), message)


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    server_images_are_references,
    server_ports_are_free,
    server_arguments_are_short,
    server_paths_are_paths,
)
