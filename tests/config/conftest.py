"""What the tests of func.yaml's reading share."""

from collections.abc import Callable

import pytest

from kfunc.config.load import read_function
from kfunc.config.source import parse_source
from kfunc.errors import ConfigError, Problem


@pytest.fixture
def problems_of() -> Callable[[str | bytes], list[Problem]]:
    """Every problem of a func.yaml's content, in the order that the user sees."""

    def problems(content: str | bytes) -> list[Problem]:
        try:
            read_function(parse_source(content.encode() if isinstance(content, str) else content))
        except ConfigError as error:
            return error.problems
        return []

    return problems
