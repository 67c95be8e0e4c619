"""Where credentials come from: Docker's and Podman's files, and credential helpers."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from kfunc.errors import RegistryError
from kfunc.registries.credentials import ANONYMOUS, Credentials, find_credentials

AUTH = {"auth": base64.b64encode(b"me:se:cret").decode()}
KNOWN = Credentials("me", "se:cret")


def find(folder: Path, settings: Any, registry: str = "example.com", repository: str = "team/iris") -> Credentials:
    (folder / "config.json").write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return find_credentials(
        registry, repository, {"DOCKER_CONFIG": str(folder), "HOME": str(folder), "PATH": os.environ["PATH"]}
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ANONYMOUS),
        ({"auths": {"example.com": AUTH}}, KNOWN),
        ({"auths": {"https://example.com": AUTH}}, KNOWN),
        ({"auths": {"https://example.com/v2/": AUTH}}, KNOWN),
        ({"auths": {"example.com/team": AUTH, "example.com": {"username": "b", "password": "c"}}}, KNOWN),
        ({"auths": {"example.com": {"username": "b", "password": "c"}}}, Credentials("b", "c")),
        ({"auths": {"example.com": {"identitytoken": "t"}}}, Credentials(identity_token="t")),  # noqa: S106
        ({"auths": {"example.org": AUTH}}, ANONYMOUS),
        ({"auths": {"example.com": {}}}, ANONYMOUS),
        ({"auths": {"example.com": "me"}}, ANONYMOUS),
        ({"auths": ["example.com"], "credHelpers": "none"}, ANONYMOUS),
    ],
)
def test_dockers_file_is_read(tmp_path: Path, settings: Any, expected: Credentials) -> None:
    assert find(tmp_path, settings) == expected


def test_docker_hub_has_the_key_that_docker_login_writes(tmp_path: Path) -> None:
    assert find(tmp_path, {"auths": {"https://index.docker.io/v1/": AUTH}}, "docker.io", "library/iris") == KNOWN


def test_podmans_file_is_read_where_docker_has_none(tmp_path: Path) -> None:
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers/auth.json").write_text(json.dumps({"auths": {"example.com": AUTH}}))
    assert find_credentials("example.com", "a", {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}) == KNOWN


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is no object"),
        ({"auths": {"example.com": {"auth": "%"}}}, "is not the base64 of USER:PASSWORD"),
        ({"auths": {"example.com": {"auth": "YQ=="}}}, "is not the base64 of USER:PASSWORD"),
        ({"credHelpers": {"example.com": "none-such"}}, "docker-credential-none-such, which is not on the path"),
        ({"credHelpers": {"example.com": "../../bin/sh"}}, "which is no name"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_to_do(tmp_path: Path, settings: Any, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        find(tmp_path, settings)


HELPERS = [
    ('echo \'{"Username": "me", "Secret": "se:cret"}\'', KNOWN),
    ('echo \'{"Username": "<token>", "Secret": "t"}\'', Credentials(identity_token="t")),  # noqa: S106
    ("echo 'credentials not found in native keychain'; exit 1", ANONYMOUS),
]


@pytest.mark.parametrize(("script", "expected"), HELPERS)
@pytest.mark.parametrize("settings", [{"credHelpers": {"example.com": "test"}}, {"credsStore": "test"}])
def test_a_helper_is_asked(
    tmp_path: Path, settings: Any, script: str, expected: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_helper(tmp_path, script, monkeypatch)
    assert find(tmp_path, settings) == expected


@pytest.mark.parametrize(
    ("script", "message"),
    [("echo locked >&2; exit 1", "failed for example.com: locked"), ("echo hello", "something else than JSON")],
)
def test_a_helper_that_fails_is_quoted(tmp_path: Path, script: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_helper(tmp_path, script, monkeypatch)
    with pytest.raises(RegistryError, match=message):
        find(tmp_path, {"credsStore": "test"})


def write_helper(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential helper called test, first on the path."""
    program = folder / "docker-credential-test"
    program.write_text(f"#!/bin/sh\ncat >/dev/null\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
