"""Settings of where models come from and how long they stay in memory: structs of the `inference` block."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from kfunc.config.block import Block, Connections, Name, PositiveInt

NotNegative = Annotated[int, Meta(ge=0)]
Pause = Annotated[float, Meta(ge=0, le=86_400)]
Dimension = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class ModelCache(Block, frozen=True):
    """Where models from elsewhere are kept on the machine; several functions may share it."""

    path: (
        Annotated[str, Meta(min_length=1, description="Folder, or pvc://CLAIM/FOLDER; a volume of the pod's own by default.")]
        | UnsetType
    ) = UNSET
    max_bytes: Annotated[PositiveInt, Meta(description="All models in it; the least recently used go first.")] = 20 * 1024**3
    connections: Annotated[Connections, Meta(description="Ranges of files that are downloaded at once.")] = 8


class Warmup(Block, frozen=True):
    """Requests that a model answers before it is ready, so that the first caller does not wait for what is done once."""

    requests: Annotated[int, Meta(ge=0, le=1000, description="How many, of zeros.")] = 0
    shapes: Annotated[
        dict[str, list[Dimension]],
        Meta(description="Shapes of inputs by name; else the model's own, with 1 for what may be of any size."),
    ] = {}
    file: Annotated[
        str,
        Meta(description="A request of V1 or V2 in JSON, relative to func.yaml, in the place of zeros; once by default."),
    ] = ""

    @property
    def count(self) -> int:
        """How many requests."""
        return self.requests or bool(self.file)


PICTURES = [-1]
"""The shape of so many files of pictures, which the model that gets them as numbers takes, too."""


def shape_fits(shape: list[int], wanted: list[int]) -> bool:
    """Whether a warm-up's shape is one of an input's; there -1 is any size."""
    return len(shape) == len(wanted) and all(size in (-1, own) for own, size in zip(shape, wanted, strict=True))


class Residency(Block, frozen=True):
    """Models are loaded when they are first asked for, and leave when memory is short; present: on, absent: all models stay."""

    max_bytes: Annotated[
        NotNegative, Meta(description="Memory of the process with its models; 0: 80 % of the container's limit.")
    ] = 0
    max_models: Annotated[NotNegative, Meta(description="Most models in memory; 0: as many as fit.")] = 0
    pinned: Annotated[list[Name], Meta(description="Models that are loaded at the start and never leave.")] = []
    wait_s: Annotated[
        Pause, Meta(description="How long a request waits for its model to be loaded; then it is 503 with Retry-After.")
    ] = 0.0
