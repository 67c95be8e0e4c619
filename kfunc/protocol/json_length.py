"""Inference-Header-Content-Length: how many bytes of JSON stand before binary tensors (V2). Sans-IO."""

JSON_LENGTH = b"inference-header-content-length"
MAX_DIGITS = 15  # int() of very many would be slow, or refused


def number_of(given: bytes) -> int | None:
    """What a header field Inference-Header-Content-Length says; None where that is no number."""
    return int(given) if given.isdigit() and len(given) <= MAX_DIGITS else None


def json_length_of(given: bytes, size: int) -> int | None:
    """The same, for a body of `size` bytes; None also where it does not fit into that."""
    length = number_of(given)
    return length if length is not None and 0 < length <= size else None
