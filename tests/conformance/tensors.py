"""Arrays of every datatype with its extremes, as clients send them."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def of_integers(kind: str) -> Array:
    """The smallest, the largest and what is between."""
    limits = np.iinfo(kind)
    return np.array([[limits.min, limits.max, 0], [1, 2, 100]], kind)


def of_floats(kind: str) -> Array:
    """The smallest and largest numbers, with signs."""
    limits = np.finfo(kind)
    return np.array([[limits.min, limits.max, 0.0], [-0.0, limits.tiny, 0.1]], kind)


# BF16 is FP32 at the clients, which cut it to its first 16 bits.
ARRAYS: dict[str, Array] = {
    "BOOL": np.array([[True, False, True], [False, False, True]]),
    **{f"{sign}INT{bits}": of_integers(f"{sign.lower()}int{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)},
    "FP16": of_floats("float16"),
    "BF16": np.array([[1.0, -2.5, 0.15625], [0.0, 3.0e38, -1.0e-30]], np.float32).view(np.uint32),
    "FP32": of_floats("float32"),
    "FP64": of_floats("float64"),
    "BYTES": np.array([[b"flower", b"", "ж".encode()], [b"line\nline", b"\x00", b"x" * 3000]], np.object_),
}
ARRAYS["BF16"] = (ARRAYS["BF16"] & np.uint32(0xFFFF0000)).view(np.float32)
ONLY_BINARY = ("FP16", "BF16")
AS_JSON = [datatype for datatype in ARRAYS if datatype not in ONLY_BINARY]


def model_for(datatype: str) -> str:
    """The model that gives back a tensor of this datatype."""
    return "halves" if datatype == "BF16" else "echo"
