"""The list of what is in an image."""

import json

from kfunc.images.sbom import Contents, render
from kfunc.images.wheels import Package


def test_versions_and_licences_are_written_as_their_specifications_want() -> None:
    packages = [Package("torch", "2.3.0+cu121", "BSD-3-Clause OR MIT", True), Package("other", "1", "The Licence")]
    document = json.loads(render(Contents("f", "sha256:0", "", "", packages, [], "1")))
    found = {each["name"]: each for each in document["components"]}
    assert found["torch"]["purl"] == "pkg:pypi/torch@2.3.0%2Bcu121"
    assert found["torch"]["licenses"] == [{"expression": "BSD-3-Clause OR MIT"}]
    assert found["other"]["licenses"] == [{"license": {"name": "The Licence"}}]
