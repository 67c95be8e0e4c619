"""The oracles, started once."""

from collections.abc import Iterator

import pytest

from tests.oracles import Oracle
from tests.oracles.webhook import Webhook
from tests.parts import folder, program


@pytest.fixture(scope="session")
def istio() -> Iterator[Oracle]:
    """Istio's webhook."""
    oracle = Oracle(program("istio-oracle"))
    yield oracle
    oracle.close()


@pytest.fixture(scope="session")
def knative() -> Iterator[Webhook]:
    """Knative's webhook."""
    oracle = Webhook(program("knative-oracle"))
    yield oracle
    oracle.close()


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Oracle]:
    """Kubernetes' API server, with the definitions of Knative, Istio, KEDA and the Prometheus Operator."""
    program("crds")
    oracle = Oracle(program("kubernetes-oracle"), *sorted(folder("crds").glob("*.yaml")))
    yield oracle
    oracle.close()
