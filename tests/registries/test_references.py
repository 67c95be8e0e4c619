"""Names of images, as registries and users write them."""

import pytest

from kfunc.errors import StartupError
from kfunc.registries.references import Reference, is_loopback, parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("iris", Reference("docker.io", "library/iris")),
        ("me/iris:1", Reference("docker.io", "me/iris", "1")),
        ("localhost/iris", Reference("localhost", "iris")),
        ("localhost:5000/iris:1", Reference("localhost:5000", "iris", "1")),
        ("registry.example.com/team/a/iris:1.2-cuda", Reference("registry.example.com", "team/a/iris", "1.2-cuda")),
        (f"registry.example.com/iris:1@{DIGEST}", Reference("registry.example.com", "iris", "1", DIGEST)),
        ("[::1]:5000/team/iris", Reference("[::1]:5000", "team/iris")),
    ],
)
def test_a_name_is_taken_apart(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected


@pytest.mark.parametrize("text", ["", "Iris", "https://registry.example.com/iris", "iris:", "iris@sha256:1", "a b", "x"])
def test_what_is_no_name_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(StartupError, match=r"write it like registry\.example\.com/team/iris:1"):
        parse_reference(text)


def test_a_digest_wins_over_a_tag() -> None:
    assert parse_reference(f"example.com/iris:1@{DIGEST}").wanted == DIGEST
    assert parse_reference("example.com/iris").wanted == "latest"


def test_the_api_of_docker_hub_has_a_host_of_its_own() -> None:
    assert parse_reference("iris").host == "registry-1.docker.io"
    assert parse_reference("quay.io/me/iris").host == "quay.io"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:80", True),
        ("[::1]:1", True),
        ("localhost.example.com", False),
    ],
)
def test_this_machine_is_recognised(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
