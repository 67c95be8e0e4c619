"""What no test of the logger leaves behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logger_sidecar.setups import forget_intake


@pytest.fixture(autouse=True)
def no_intake_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Shared memory is this machine's, and outlives the test's folder."""
    folder: Path | None = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None:
        forget_intake(folder)
