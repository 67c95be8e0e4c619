"""What registries answer with 401, and what is sent to their token servers."""

import pytest

from kfunc.errors import RegistryError
from kfunc.registries.challenges import Challenge, parse_challenges, token_of, token_request
from kfunc.registries.credentials import ANONYMOUS, Credentials

BEARER = Challenge("bearer", {"realm": "https://auth.example.com/token", "service": "registry"})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (['Basic realm="a, b"'], [Challenge("basic", {"realm": "a, b"})]),
        (['Bearer realm="https://a/b?c=d",service="e"'], [Challenge("bearer", {"realm": "https://a/b?c=d", "service": "e"})]),
        (['Bearer realm="a\\"b"'], [Challenge("bearer", {"realm": 'a"b'})]),
        (["BASIC realm=x"], [Challenge("basic", {"realm": "x"})]),
        (['Negotiate, Basic realm="x"'], [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        (['Bearer realm="a"', 'Basic realm="b"'], [Challenge("bearer", {"realm": "a"}), Challenge("basic", {"realm": "b"})]),
        (["NTLM TlRM/a==", "Basic realm=x"], [Challenge("basic", {"realm": "x"})]),
        (['Bearer realm = "a" , scope="b c"'], [Challenge("bearer", {"realm": "a", "scope": "b c"})]),
        ([], []),
    ],
)
def test_challenges_are_read(fields: list[str], expected: list[Challenge]) -> None:
    assert parse_challenges(fields) == expected


def test_a_challenge_made_to_be_read_for_hours_is_read_at_once() -> None:
    assert len(parse_challenges(["Bearer " + "a=a" * 5_000 + '"', "Basic realm=x"])) <= 2


def test_without_credentials_a_token_is_asked_for_anonymously() -> None:
    found = token_request(BEARER, "repository:a/b:pull", ANONYMOUS)
    assert (found.method, found.headers) == ("GET", {})
    assert found.url == "https://auth.example.com/token?service=registry&scope=repository%3Aa%2Fb%3Apull"


def test_each_scope_is_asked_for() -> None:
    assert token_request(BEARER, "repository:a:pull repository:b:pull", ANONYMOUS).url.count("scope=") == 2


def test_an_identity_token_goes_into_a_form() -> None:
    found = token_request(BEARER, "repository:a:pull", Credentials(identity_token="secret"))  # noqa: S106
    assert (found.method, b"refresh_token=secret" in found.body, "secret" in found.url) == ("POST", True, False)


@pytest.mark.parametrize("realm", ["", "file:///etc/passwd", "gopher://a"])
def test_a_realm_that_is_no_server_is_refused(realm: str) -> None:
    with pytest.raises(RegistryError, match="names no token server"):
        token_request(Challenge("bearer", {"realm": realm}), "", ANONYMOUS)


@pytest.mark.parametrize("answer", [{}, [], None, {"token": ""}, {"token": 1}, {"token": "a\r\nb: c"}, {"token": "日"}])
def test_an_answer_without_a_token_is_refused(answer: object) -> None:
    with pytest.raises(RegistryError, match="answered without a token"):
        token_of(answer)
