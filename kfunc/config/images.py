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
