"""Events that are sent to a sink again: as the function's own."""

import pytest

from kfunc.event_log.resending import _writer


@pytest.mark.parametrize(
    ("source", "writer"),
    [
        ("/namespaces/team/functions/iris", ("team", "iris")),
        ("/namespaces/../functions/iris", ("default", "replay")),
        ("urn:other", ("default", "replay")),
    ],
)
def test_partitions_and_folders_are_those_of_the_function_that_wrote_them(source: str, writer: tuple[str, str]) -> None:
    assert _writer(source) == writer
