"""URLs of servers."""

import pytest

from kfunc.client.errors import InvalidCall
from kfunc.client.wire import Base, parse_url


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8080", Base(False, "127.0.0.1", 8080, "", "http://127.0.0.1:8080")),
        ("127.0.0.1:8080", Base(False, "127.0.0.1", 8080, "", "http://127.0.0.1:8080")),
        ("https://iris.example/a/b/", Base(True, "iris.example", None, "/a/b", "https://iris.example/a/b")),
        ("http://[::1]:80", Base(False, "::1", 80, "", "http://[::1]:80")),
    ],
)
def test_a_url_says_where_a_server_is(url: str, base: Base) -> None:
    assert parse_url(url) == base


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://x", "is not a URL such as"),
        ("http://", "is not a URL such as"),
        ("", "is not a URL such as"),
        ("http://x/?a=b", "is not a URL such as"),
        ("http://x#a", "is not a URL such as"),
        ("http://x/ü", "is not a URL such as"),
        ("http://x/a b", "is not a URL such as"),
        ("http://x/a\r\nHost: y", "is not a URL such as"),
        ("http://x:port", "no valid port"),
        ("http://x:99999", "no valid port"),
        ("http://[::1", "no valid port"),
        ("http://me:secret@x", "must not hold a password"),
    ],
)
def test_what_is_no_url_of_a_server_is_refused(url: str, words: str) -> None:
    with pytest.raises(InvalidCall, match=words):
        parse_url(url)
