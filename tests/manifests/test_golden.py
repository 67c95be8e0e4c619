"""A change of the manifests is seen: a dozen functions give exactly what is kept beside them.

After a change that is meant: `python -m tests.manifests.golden`, and read `git diff tests/manifests/golden`.
"""

import pytest

from kfunc.manifests.knative import build
from kfunc.manifests.outputs import text
from tests.manifests.conftest import plan_of
from tests.manifests.golden import FOLDER, rendered, sources
from tests.manifests.oracle import Oracle


@pytest.mark.parametrize("name", sources())
def test_a_function_gives_the_manifests_that_are_kept(name: str) -> None:
    assert rendered(sources()[name]) == (FOLDER / f"{name}.yaml").read_text()


def test_no_manifests_are_kept_without_their_function() -> None:
    assert {path.name.removesuffix(".yaml") for path in FOLDER.glob("*.yaml")} == {
        kept for name in sources() for kept in (name, f"{name}.func")
    }


@pytest.mark.parametrize("name", sources())
def test_knative_accepts_each_service_that_is_kept(knative: Oracle, name: str) -> None:
    plan = plan_of(sources()[name])
    if plan.mode == "knative":
        part = build(plan)
        assert knative.errors(text(part.manifests[:1]), part.notes) == ""
