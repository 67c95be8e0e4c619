"""The few arguments of the pod's processes, read without argparse: its import costs as much as an event loop's."""

import sys

from kfunc.config.pod import PodConfig
from kfunc.errors import StartupError
from kfunc.http.address import Address, parse_address

MAX_RECENT = 10_000


class Arguments:
    """Where a process listens, whom it talks to and where it is managed."""

    __slots__ = ("access_log", "late", "listen", "manage", "recent", "scrape", "upstream")

    def __init__(self) -> None:
        self.listen = Address()
        self.upstream: Address | None = None
        self.manage: Address | None = None
        self.scrape: list[Address] = []
        self.access_log = False
        self.late = False
        self.recent = 0


def usage(program: str, *, upstream: bool, manage: str) -> str:
    """The text of `--help`."""
    lines = [
        f"usage: python -m {program} --listen ADDR" + (" --upstream ADDR" if upstream else "") + " [options]",
        "",
        "ADDR is host:port, unix:/path, unix:@name (abstract) or fd:N (an inherited listening socket).",
        "The settings come from the environment variable KFUNC_CONFIG.",
        "",
        "  --listen ADDR     where requests are taken",
        *(["  --upstream ADDR   the server that answers them"] if upstream else []),
        f"  --manage ADDR     where /metrics is served (default {manage}; none: not at all)",
        "  --scrape ADDR     another process's --manage, whose metrics are shown here too; repeatable",
        "  --access-log      one line per request on standard output",
        "  --recent N        keep the last N inferences, and show them as JSON at /requests of --manage",
        *([] if upstream else ["  --late            take no connection before the model is loaded: callers wait"]),
        "  --help            this text",
        "",
        f"example: python -m {program} --listen 127.0.0.1:8080" + (" --upstream unix:@kfunc/handler" if upstream else ""),
    ]
    return "\n".join(lines)


def parse_arguments(program: str, argv: list[str], *, upstream: bool, manage: str) -> Arguments:
    """Read `argv`. Raises StartupError; prints and exits for `--help`."""
    parsed = Arguments()
    values: dict[str, str] = {"--manage": manage}
    rest = list(argv)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if flag in ("--help", "-h"):
            sys.stdout.write(usage(program, upstream=upstream, manage=manage) + "\n")
            raise SystemExit(0)
        if flag == "--access-log" and not equals:
            parsed.access_log = True
        elif flag == "--late" and not equals and not upstream:
            parsed.late = True
        elif flag in ("--listen", "--manage", "--recent", "--scrape") or (flag == "--upstream" and upstream):
            if not equals:
                if not rest:
                    raise StartupError(f"{flag} needs {'a number' if flag == '--recent' else 'an address'}")
                value = rest.pop(0)
            if flag == "--scrape":
                parsed.scrape.append(parse_address(value))
            values[flag] = value
        else:
            raise StartupError(f"unknown argument {flag!r}; see python -m {program} --help")
    for flag in ("--listen", "--upstream") if upstream else ("--listen",):
        if flag not in values:
            raise StartupError(f"{flag} is missing; see python -m {program} --help")
    recent = values.get("--recent", "0")
    if not (recent.isascii() and recent.isdigit() and int(recent) <= MAX_RECENT):
        raise StartupError(f"--recent {recent}: a number from 0 to {MAX_RECENT} is expected")
    parsed.recent = int(recent)
    parsed.listen = parse_address(values["--listen"])
    parsed.upstream = parse_address(values["--upstream"]) if upstream else None
    parsed.manage = None if values["--manage"] == "none" else parse_address(values["--manage"])
    return parsed


def access_log_share(arguments: Arguments, config: PodConfig) -> float:
    """The share of requests that get a line here: of the outermost process what the settings say, one line a request."""
    return 1.0 if arguments.access_log else 0.0 if arguments.listen.path else config.access_log
