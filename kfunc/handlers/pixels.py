"""A picture's bytes → the numbers that a model takes, by Pillow. Blocking; runs in threads."""

from io import BytesIO
from typing import Any

import numpy as np
from msgspec import Struct
from PIL import Image, ImageOps, UnidentifiedImageError

from kfunc.config.images import Images
from kfunc.errors import InvalidRequest, PayloadTooLarge

Image.MAX_IMAGE_PIXELS = None  # pixels are counted here, before anything is decoded
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, MemoryError, ArithmeticError)
"""What Pillow's decoders raise for broken files."""


class Target(Struct, frozen=True):
    """What the model takes: width, height, the order of dimensions, and numpy's name of its type."""

    width: int
    height: int
    channels_first: bool
    dtype: str


class TooManyPixels(PayloadTooLarge):
    """The picture is over `images.max_pixels`."""

    close = False


def opened(data: bytes, number: int, settings: Images) -> Image.Image:
    """A picture whose head was read. Raises InvalidRequest, TooManyPixels."""
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        raise InvalidRequest(f"image {number} is none, or of another format than {known}") from None
    except BROKEN:
        raise InvalidRequest(f"image {number} is broken") from None
    if image.width * image.height > settings.max_pixels:
        raise TooManyPixels(
            f"image {number} has {image.width} × {image.height} pixels; {settings.max_pixels} are taken (images.max_pixels)"
        )
    return image


def black_picture(target: Target) -> bytes:
    """One of the size that the model takes, as PNG."""
    buffer = BytesIO()
    Image.new("RGB", (target.width, target.height)).save(buffer, "PNG")
    return buffer.getvalue()


def to_array(image: Image.Image, number: int, settings: Images, target: Target) -> "np.ndarray[Any, Any]":
    """A picture as the model takes it: turned upright, resized, normalised. Raises InvalidRequest."""
    try:
        image.draft("RGB", (target.width, target.height))  # a JPEG is decoded no larger than needed
        image = _eight_bits(ImageOps.exif_transpose(image))
        image = image.convert("L" if settings.color == "gray" else "RGB")
        image = _resized(image, settings.resize, (target.width, target.height))
        values = np.asarray(image)
    except BROKEN:
        raise InvalidRequest(f"image {number} is broken") from None
    if values.ndim == 2:
        values = values[:, :, None]
    if settings.color == "bgr":
        values = values[:, :, ::-1]
    if target.dtype != "uint8":
        values = values.astype(np.float32) * np.float32(settings.scale)
        if settings.mean:
            values -= np.asarray(settings.mean, np.float32)
        if settings.std:
            values /= np.asarray(settings.std, np.float32)
        values = values.astype(target.dtype, copy=False)
    return np.ascontiguousarray(values.transpose(2, 0, 1) if target.channels_first else values)


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 bits a pixel by the upper half of each: Pillow would make white of all that is above 255."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))


def to_rgb(image: Image.Image, number: int) -> Image.Image:
    """A picture turned upright, of three channels. Raises InvalidRequest."""
    try:
        return _eight_bits(ImageOps.exif_transpose(image)).convert("RGB")
    except BROKEN:
        raise InvalidRequest(f"image {number} is broken") from None


def _resized(image: Image.Image, how: str, size: tuple[int, int]) -> Image.Image:
    if how == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    if how == "pad":
        return ImageOps.pad(image, size, Image.Resampling.BILINEAR)
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
