"""A change of the manifests is seen: a dozen functions give exactly what is kept beside them.

After a change that is meant: `python -m tests.manifests.golden`, and read `git diff tests/manifests/golden`.
"""

import pytest

from tests.manifests.golden import FOLDER, rendered, sources


@pytest.mark.parametrize("name", sources())
def test_a_function_gives_the_manifests_that_are_kept(name: str) -> None:
    assert rendered(sources()[name]) == (FOLDER / f"{name}.yaml").read_text()


def test_no_manifests_are_kept_without_their_function() -> None:
    assert {path.name.removesuffix(".yaml") for path in FOLDER.glob("*.yaml")} == {
        kept for name in sources() for kept in (name, f"{name}.func")
    }
