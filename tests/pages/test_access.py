import pytest

from kfunc.pages.access import is_local

HERE = ("127.0.0.1", 50_000)


@pytest.mark.parametrize("host", [b"localhost", b"localhost:8080", b"127.0.0.1:8080", b"[::1]:8080", b"LOCALHOST:1"])
def test_a_caller_on_this_machine_that_asks_for_it_is_local(host: bytes) -> None:
    assert is_local(HERE, {b"host": host})


@pytest.mark.parametrize("peer", [("::1", 1, 0, 0), ("::ffff:127.0.0.1", 1, 0, 0), ("127.0.0.6", 1)])
def test_every_loopback_address_is_this_machine(peer: object) -> None:
    assert is_local(peer, {b"host": b"localhost"})


@pytest.mark.parametrize("peer", [("192.0.2.7", 1), ("::ffff:192.0.2.7", 1, 0, 0), ("1270.0.0.1", 1), "/run/socket", "", None])
def test_callers_from_elsewhere_are_not(peer: object) -> None:
    assert not is_local(peer, {b"host": b"localhost"})


@pytest.mark.parametrize(
    "host", [b"evil.example", b"localhost.evil.example", b"127.0.0.1.evil.example:8080", b"", b"localhost:x"]
)
def test_a_page_of_another_site_whose_name_points_here_is_not_local(host: bytes) -> None:
    assert not is_local(HERE, {b"host": host})


@pytest.mark.parametrize("field", [b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"via"])
def test_what_came_through_a_proxy_is_not_local(field: bytes) -> None:
    assert not is_local(HERE, {b"host": b"localhost", field: b""})
