"""What no test of the logger leaves behind."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logger_sidecar.setups import forget_intake, opened


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    """Files, locks and memory of spools: a process has no more than some hundred of them."""
    yield
    setups = opened.copy()
    opened.clear()

    async def let_go() -> None:
        for setup in setups:
            await setup.let_go()

    if setups:
        asyncio.run(let_go())


@pytest.fixture(autouse=True)
def no_intake_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Shared memory is this machine's, and outlives the test's folder."""
    folder: Path | None = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None:
        forget_intake(folder)
