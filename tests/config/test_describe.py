"""The JSON Schema that editors get."""

import re
from typing import Any

import msgspec

from kfunc.config.describe import json_schema
from kfunc.config.inference import ModelSource
from kfunc.config.inference_block import Inference


def definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json_schema()["$defs"][name]
    return found


def test_it_names_its_dialect_and_title() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "func.yaml of a kfunc function"


def test_it_is_plain_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(json_schema())) == json_schema()


def test_every_reference_in_it_is_defined() -> None:
    schema = json_schema()
    references = set(re.findall(r'"#/\$defs/(\w+)"', msgspec.json.encode(schema).decode()))
    assert references == set(schema["$defs"])


def test_every_definition_has_a_title_and_a_description() -> None:
    definitions = json_schema()["$defs"]
    assert [name for name, schema in definitions.items() if not schema.get("title") or not schema.get("description")] == []


def test_settings_have_descriptions_bounds_and_defaults() -> None:
    assert definition("Inference")["properties"]["workers"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 256,
        "default": 1,
        "description": "Handler processes; more than 1 are managed by gunicorn.",
    }


def test_the_default_of_the_protocols_is_the_one_that_is_used() -> None:
    used = Inference(model=ModelSource(uri="m")).protocols
    assert definition("Inference")["properties"]["protocols"]["default"] == used


def test_no_default_contradicts_its_own_pattern() -> None:
    fields = [field for schema in json_schema()["$defs"].values() for field in schema["properties"].values()]
    patterned = [field for field in fields if "pattern" in field and "default" in field]
    assert all(re.search(field["pattern"], field["default"]) for field in patterned)
    assert [field for field in fields if field.get("default") == ""] == []
