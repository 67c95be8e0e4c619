"""The datatypes of the Open Inference Protocol (Required API, Tensor Data Types)."""

from kfunc.errors import InvalidRequest

# Name → bytes of an element; BYTES elements have a length of their own.
DATATYPES = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "BF16": 2,
    "FP32": 4,
    "FP64": 8,
    "BYTES": 0,
}

# The datatype of V1 rows before a model's metadata has typed them: any JSON value is an element.
JSON = "JSON"

# In binary form, the length before each element of BYTES.
LENGTH_BYTES = 4

MAX_ELEMENTS = 2**40
MAX_RANK = 32


def element_count(name: str, shape: list[int]) -> int:
    """Elements of a tensor of `shape`; 1 for a scalar's empty shape. Raises InvalidRequest."""
    if len(shape) > MAX_RANK:
        raise InvalidRequest(f"input {name!r}: more than {MAX_RANK} dimensions")
    count = extent = 1
    for dimension in shape:
        if dimension < 0:
            raise InvalidRequest(f"input {name!r}: the shape {shape} has a negative dimension")
        count *= dimension
        extent *= dimension or 1  # beside a 0, too, no dimension may be one that no array can have
        if extent > MAX_ELEMENTS:
            raise InvalidRequest(f"input {name!r}: the shape has more than 2^40 elements")
    return count
