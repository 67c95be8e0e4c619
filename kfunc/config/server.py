"""Somebody else's inference server as the main container, and what is known of the usual ones."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from kfunc.config.block import Block
from kfunc.config.deployment import Port

Kind = Literal["triton", "tfserving", "torchserve", "mlserver", "vllm", "other"]


Speaks = Literal["v1", "v2"]


class Known(Struct, frozen=True):
    """A server's defaults: the port for inference over HTTP, its other ports, the path that says that it is ready.

    `speaks` is its only protocol of the two, where it has one alone.
    """

    port: int
    other_ports: tuple[int, ...]
    ready_path: str
    speaks: Literal["", "v1", "v2"] = ""


# From each server's documentation; `{model}` is the model's name.
KNOWN: dict[Kind, Known] = {
    "triton": Known(8000, (8001, 8002), "/v2/health/ready", "v2"),
    "tfserving": Known(8501, (8500,), "/v1/models/{model}", "v1"),
    "torchserve": Known(8080, (8081, 8082, 7070, 7071), "/ping"),
    "mlserver": Known(8080, (8081, 8082), "/v2/health/ready", "v2"),
    "vllm": Known(8000, (), "/health"),
    "other": Known(8080, (), "/"),
}


class Server(Block, frozen=True, kw_only=True):
    """A server that is not kfunc's, in the place of the handler; absent: the handler."""

    kind: Annotated[Kind, Meta(description="Which; it gives the ports and the path of readiness.")] = "other"
    image: Annotated[str, Meta(min_length=1, description="The server's image.")]
    command: Annotated[list[str], Meta(description="Instead of the image's entry point.")] = []
    args: Annotated[list[str], Meta(description="Arguments.")] = []
    port: Annotated[Port, Meta(description="Where it takes requests over HTTP.")] | UnsetType = UNSET
    other_ports: Annotated[list[Port], Meta(description="Further ports that it opens.")] | UnsetType = UNSET
    ready_path: Annotated[str, Meta(description="Path that answers 200 when it is ready.")] = ""
    speaks: (
        Annotated[Speaks, Meta(description="The one of V1 and V2 that it speaks alone: the sidecars translate the other.")]
        | UnsetType
    ) = UNSET
    sidecar_image: Annotated[str, Meta(description="Image of batcher and logger in front of it, any that has kfunc in it.")] = (
        ""
    )


def server_port(server: Server) -> int:
    """Where the server takes requests."""
    return KNOWN[server.kind].port if server.port is UNSET else server.port


def spoken(server: Server) -> Literal["", "v1", "v2"]:
    """The protocol that the server speaks alone of V1 and V2; empty where nothing is to be translated."""
    return KNOWN[server.kind].speaks if server.speaks is UNSET else server.speaks


def server_ports(server: Server) -> list[int]:
    """All ports that the server opens."""
    others = KNOWN[server.kind].other_ports if server.other_ports is UNSET else server.other_ports
    return [server_port(server), *others]


def ready_path(server: Server, model: str) -> str:
    """The path that says that the server is ready."""
    return server.ready_path or KNOWN[server.kind].ready_path.replace("{model}", model)
