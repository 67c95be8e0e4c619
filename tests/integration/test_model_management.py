"""Models that are loaded and unloaded while `kfunc run` serves them."""

import json
import re
from pathlib import Path
from urllib.request import Request, urlopen

import grpc
import pytest

from tests.integration.test_run import FUNC_YAML, Run, make_function

pytestmark = pytest.mark.integration

CHANGE = "/inference.GRPCInferenceService/RepositoryModel"


def test_the_first_lines_say_where_models_are_loaded_and_unloaded(tmp_path: Path) -> None:
    with Run(make_function(tmp_path, f"{FUNC_YAML}  model_management: true\n")) as run:
        run.wait_until_ready()
        found = re.search(r"^models: load and unload at (http://(\S+)/v2/repository), REST and gRPC$", run.out, re.MULTILINE)
        assert found is not None, run.out
        with grpc.insecure_channel(found[2]) as channel:
            assert channel.unary_unary(f"{CHANGE}Unload")(b"\x12\x04iris") == b"\x0a\x04iris\x10\x01"
        assert run.infer()[0] != 200
        with urlopen(Request(f"{found[1]}/models/iris/load", b"{}", method="POST")) as answer:
            assert json.load(answer)["name"] == "iris"
        assert run.infer()[0] == 200
