from collections.abc import Iterator
from pathlib import Path

import pytest

from kfunc.cluster.connection import Cluster
from tests.cluster.api_server import ApiServer, Objects, connect, served


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """An API server without objects; KUBECONFIG leads to it."""
    with served(Objects()) as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
        yield server


@pytest.fixture
def cluster(api: ApiServer) -> Cluster:
    """A connection to it."""
    return connect()
