"""The JSON Schema of func.yaml, from the same types that validate it. Pure."""

from typing import Any

import msgspec

from kfunc.config.function import Function

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Draft 2020-12, for editors and `kfunc schema`."""
    (reference,), definitions = msgspec.json.schema_components([Function], ref_template="#/$defs/{name}")
    for definition in definitions.values():
        for field in definition["properties"].values():
            # Empty text means that the key is absent, and does not always fit the field's own pattern.
            if field.get("default") == "":
                del field["default"]
    return {"$schema": DIALECT, "title": "func.yaml of a kfunc function", **reference, "$defs": definitions}
