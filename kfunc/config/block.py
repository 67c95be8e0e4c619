"""What the mappings of func.yaml's `inference` block have in common."""

from typing import Annotated

from msgspec import Meta, Struct

PositiveInt = Annotated[int, Meta(ge=1)]


class Block(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A mapping of func.yaml; an unknown key in it is an error."""
