"""What the mappings of func.yaml's `inference` block have in common."""

from typing import Annotated

from msgspec import Meta, Struct

PositiveInt = Annotated[int, Meta(ge=1)]
Connections = Annotated[int, Meta(ge=1, le=256)]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$",
        extra_json_schema={
            "patternErrorMessage": 'expected at most 128 letters, digits, "-", "_" and ".", a letter or digit at both ends'
        },
    ),
]


class Block(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A mapping of func.yaml; an unknown key in it is an error."""
