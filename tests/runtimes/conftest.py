"""Collects the tests of one runtime, in its own environment: `make test-runtimes` names it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.handlers.conftest import Caller, configuration, configured
from tests.runtimes.served import Served

__all__ = ["configured"]

RUNTIME = os.environ.get("KFUNC_TEST_RUNTIME", "sklearn")  # the environment of `make test` has its packages

NOISY = ("captum", "convert", "explain", "mlflow")

Serve = Callable[..., Served]


@pytest.fixture
def caller() -> Callable[..., Caller]:
    return Caller


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Every other runtime's file: its packages are not here."""
    return True if collection_path.name.startswith("test_") and collection_path.stem != f"test_{RUNTIME}" else None


@pytest.fixture
def serve() -> Serve:
    """The model at a path, loaded: `runtime`, and fields of the configuration by name."""

    def load(path: Path, runtime: str = "auto", **changes: Any) -> Served:
        return Served(configuration(str(path), runtime, **changes))

    return load


def pytest_configure(config: pytest.Config) -> None:
    """Libraries that warn of their own code when they are imported."""
    if RUNTIME in NOISY:
        config.addinivalue_line("filterwarnings", "ignore")
