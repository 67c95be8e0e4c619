"""What a rule across fields says of one of them; its line and column are added where the source is known."""

from msgspec import Struct

from kfunc.config.field_path import FieldPath


class Finding(Struct, frozen=True):
    """One fault, at the value of `path` or, where `at_key`, at its key."""

    path: FieldPath
    message: str
    suggestion: str = ""
    at_key: bool = False
