"""Settings of models that take pictures: how bodies and bytes become the model's input, and scores become labels."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from kfunc.config.block import Block, Name, PositiveInt

Side = Annotated[int, Meta(ge=1, le=16_384)]
Channels = Annotated[list[float], Meta(max_length=3)]


class Choice(Block, frozen=True, kw_only=True):
    """A model for pictures up to a size."""

    max_side: Annotated[Side, Meta(description="Of a picture's longer side, in pixels.")]
    model: Annotated[Name, Meta(description="One of the function's models.")]


class Images(Block, frozen=True):
    """The model takes pictures: image/… bodies, BYTES in V1 (b64) and V2. `{}` is enough where it tells its input's size."""

    size: (
        Annotated[list[Side], Meta(min_length=2, max_length=2, description="Width and height; by default the model's own.")]
        | UnsetType
    ) = UNSET
    resize: Annotated[
        Literal["stretch", "crop", "pad"],
        Meta(description="To that size: distorted, by the middle part, or with black bars."),
    ] = "stretch"
    color: Annotated[Literal["rgb", "bgr", "gray"], Meta(description="Channels, in the model's order.")] = "rgb"
    layout: Annotated[
        Literal["auto", "nchw", "nhwc"], Meta(description="Order of the dimensions; `auto` by the model's input.")
    ] = "auto"
    scale: Annotated[float, Meta(description="Each value, 0 to 255, times this; first.")] = 1 / 255
    mean: Annotated[Channels, Meta(description="Taken from each channel; then; none by default.")] = []
    std: Annotated[Channels, Meta(description="Each channel is divided by it; last; by none by default.")] = []
    labels: Annotated[str, Meta(description="File with the name of each class in a line: the answer has names and scores.")] = (
        ""
    )
    output: Annotated[str, Meta(description="The output with the scores; the first one by default.")] = ""
    softmax: Annotated[bool, Meta(description="The scores are logits.")] = False
    top: Annotated[PositiveInt, Meta(description="How many labels are answered, the best first.")] = 5
    max_pixels: Annotated[PositiveInt, Meta(description="Of a picture; more is 413, before it is decoded.")] = 50_000_000
    choose: Annotated[
        list[Choice], Meta(description="Models for pictures up to a size, the smallest first; a larger one is the default's.")
    ] = []


COLOURS = (1, 3)


def picture_side(shape: list[int], settings: Images) -> tuple[bool, int, int, int]:
    """Whether the channels come first in a model's input of four dimensions, how many there are, width and height; -1: any."""
    first = settings.layout == "nchw" or (settings.layout == "auto" and shape[3] not in COLOURS)
    channels, height, width = shape[1:] if first else (shape[3], *shape[1:3])
    return first, channels, width, height


def contradiction(shape: list[int], settings: Images, model: str) -> tuple[str, str, str]:
    """The first field that a model's input contradicts, how, and what to do; empty where none does."""
    _, channels, *own = picture_side(shape, settings)
    given = 1 if settings.color == "gray" else 3
    if channels not in (-1, given):
        told = f"{settings.color} has {given} channels, and {model} takes {channels} (its shape is {shape})"
        return "color", told, "correct color, or layout"
    if settings.size is UNSET:
        return ("size", f"{model} takes any size", "say which its pictures are to have") if min(own) < 1 else ("", "", "")
    if any(side not in (-1, wanted) for side, wanted in zip(own, settings.size, strict=True)):
        return "size", f"{settings.size} is not what {model} takes, which is {own} (-1: any)", "leave size out"
    return "", "", ""
