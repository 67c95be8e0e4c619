"""The command line of the pod's processes."""

import pytest

from kfunc.errors import StartupError
from kfunc.process.arguments import Arguments, parse_arguments


def parse(*argv: str, upstream: bool = True) -> Arguments:
    return parse_arguments("kfunc.x", list(argv), upstream=upstream, manage="0.0.0.0:9095")


def test_all_arguments_are_read_in_both_forms() -> None:
    found = parse(
        "--listen=fd:3",
        "--upstream",
        "unix:/s",
        "--manage",
        "127.0.0.1:1",
        "--access-log",
        "--scrape",
        "[::1]:2",
        "--scrape=a:3",
    )
    assert [str(each) for each in (found.listen, found.upstream, found.manage)] == ["fd:3", "unix:/s", "127.0.0.1:1"]
    assert ([str(each) for each in found.scrape], found.access_log) == (["::1:2", "a:3"], True)


def test_the_management_port_has_a_default_and_can_be_left_out() -> None:
    assert str(parse("--listen", "a:1", "--upstream", "b:2").manage) == "0.0.0.0:9095"
    assert parse("--listen", "a:1", "--upstream", "b:2", "--manage", "none").manage is None


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--listen is missing; see python -m kfunc.x --help"),
        (["--listen", "a:1"], "--upstream is missing; see python -m kfunc.x --help"),
        (["--listen"], "--listen needs an address"),
        (["--upstream=b:2", "--listen", "a"], "not an address: 'a'; use host:port, unix:/path, unix:@name or fd:N"),
        (["--upstream=b:2", "--listen="], "not an address: ''; use host:port, unix:/path, unix:@name or fd:N"),
        (["--upstream=b:2", "--listen", "a:99999"], "not an address: 'a:99999'; use host:port, unix:/path, unix:@name or fd:N"),
        (["--listn", "a:1"], "unknown argument '--listn'; see python -m kfunc.x --help"),
        (["--access-log=yes"], "unknown argument '--access-log'; see python -m kfunc.x --help"),
        (["a:1"], "unknown argument 'a:1'; see python -m kfunc.x --help"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(argv: list[str], message: str) -> None:
    with pytest.raises(StartupError) as caught:
        parse(*argv)
    assert caught.value.message == message


def test_a_handler_has_no_upstream() -> None:
    with pytest.raises(StartupError, match="unknown argument '--upstream'"):
        parse("--listen", "a:1", "--upstream", "b:2", upstream=False)


def test_only_a_handler_takes_connections_late() -> None:
    assert parse("--listen", "a:1", "--late", upstream=False).late
    with pytest.raises(StartupError, match="unknown argument '--late'"):
        parse("--listen", "a:1", "--upstream", "b:2", "--late")


def test_help_is_printed_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--help")
    assert caught.value.code == 0
    assert "example: python -m kfunc.x --listen" in capsys.readouterr().out
