"""Documents of OCI: what an image's configuration says of its base's layers."""

from typing import Any

import pytest

from kfunc.images.documents import Settings, config
from kfunc.images.platforms import Platform

NAMED = [{"created_by": "ADD rootfs"}, {"created_by": "ENV A=b", "empty_layer": True}]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (None, ["base image", "base image", "kfunc build: code"]),
        (NAMED, ["ADD rootfs", "ENV A=b", "base image", "kfunc build: code"]),
        ([*NAMED, {"created_by": "RUN"}], ["ADD rootfs", "ENV A=b", "RUN", "kfunc build: code"]),
    ],
)
def test_the_history_has_an_entry_for_each_layer_also_where_the_base_left_them_out(history: Any, expected: list[str]) -> None:
    base = {"rootfs": {"diff_ids": ["sha256:1", "sha256:2"]}, "history": history}
    made = config(base, Platform("amd64"), [("sha256:3", "code")], Settings("1:1", "/"))
    assert [each["created_by"] for each in made["history"]] == expected
