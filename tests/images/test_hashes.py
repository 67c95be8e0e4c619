"""Which wheels a requirements.txt allows by their hashes, whatever pip thinks of them."""

import hashlib
from pathlib import Path

import pytest

from kfunc.errors import BuildError
from kfunc.images.hashes import check, hashes_of

A, B = "a" * 64, "B" * 64


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"own==1 --hash=sha256:{A}", {"own": {f"sha256:{A}"}}),
        (f"My_Own[a]==1 ; os_name == 'posix' \\\n    --hash=sha256:{A} \\\r\n    --hash sha512:{B}  # via x", {
            "my-own": {f"sha256:{A}", f"sha512:{B.lower()}"}
        }),
        (f"./wheels/my_own-1-py3-none-any.whl --hash=sha256:{A}", {"my-own": {f"sha256:{A}"}}),
        (f"https://me:x@example.com/my_own-1-py3-none-any.whl --hash=sha256:{A}", {"my-own": {f"sha256:{A}"}}),
        (f"own @ https://example.com/other-1-py3-none-any.whl --hash=sha256:{A}", {"own": {f"sha256:{A}"}}),
        (f"own==1; python_version<'3.12' --hash=sha256:{A}\nown==2 --hash=sha256:{B}", {
            "own": {f"sha256:{A}", f"sha256:{B.lower()}"}
        }),
        (f"own==1  # was --hash=sha256:{A}\n# own==2 --hash=sha256:{A}", {}),
        ("own==1\n# own==2 \n--require-hashes\nother==1", {}),
    ],
)  # fmt: skip
def test_hashes_belong_to_the_package_of_their_line(text: str, found: dict[str, set[str]]) -> None:
    assert hashes_of([text]) == found


def test_a_wheel_is_one_that_its_hashes_allow(tmp_path: Path) -> None:
    wheel = tmp_path / "my_own-1-py3-none-any.whl"
    wheel.write_bytes(b"x")
    check([wheel], {"my-own": {f"sha256:{A}", f"sha512:{hashlib.sha512(b'x').hexdigest()}"}, "other": {f"sha256:{A}"}})
    with pytest.raises(BuildError, match="that is none of its hashes in the requirements"):
        check([wheel], {"my-own": {f"sha256:{A}"}})
