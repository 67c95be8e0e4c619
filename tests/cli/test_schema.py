import json

from tests.cli.conftest import Command


def test_the_schema_is_json_and_describes_the_inference_block(kfunc: Command) -> None:
    result = kfunc("schema")
    assert result.status == 0
    assert "inference" in json.loads(result.out)["$defs"]["Function"]["properties"]
