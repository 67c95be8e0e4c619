"""Pictures in requests: what a model's metadata say of them, and what the first bytes of a file do. Pure."""

from msgspec import UNSET

from kfunc.protocol.messages import ModelMetadata

MEDIA_TYPE = "media_type"
"""The parameter of a model's metadata that says what its only input, of BYTES, is."""
ANY_PICTURE = "image/*"
STARTS = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF8", "image/gif"), (b"BM", "image/bmp"))


def takes_pictures(metadata: ModelMetadata) -> bool:
    """Whether a body of image/… is a request to the model."""
    return metadata.parameters is not UNSET and metadata.parameters.get(MEDIA_TYPE) == ANY_PICTURE


def kind_of(content: bytes) -> str:
    """The media type of a picture's file, of those that are read; empty for anything else."""
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in STARTS if content.startswith(start)), "")
