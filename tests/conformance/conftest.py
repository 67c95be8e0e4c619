"""One function for all foreign clients."""

from collections.abc import Iterator

import pytest

from tests.conformance.serving import Served, serve


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A function that runs; tests leave its models loaded."""
    with serve(tmp_path_factory.mktemp("served")) as running:
        yield running
