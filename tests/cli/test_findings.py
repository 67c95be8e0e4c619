from collections.abc import Iterator

from kfunc.cli.doctor import kept
from kfunc.cli.findings import Finding, lines


def test_findings_are_shown_below_what_they_are_about() -> None:
    found = [
        Finding("python", "good", "Python 3.11"),
        Finding("cluster", "bad", "no answer", "check VPN\nand context"),
        Finding("cluster", "note", "no domain"),
    ]
    assert list(lines(found)) == [
        "python",
        "  ✓ Python 3.11",
        "cluster",
        "  ✗ no answer",
        "      check VPN",
        "      and context",
        "  - no domain",
    ]


def test_each_is_shown_as_it_comes() -> None:
    asked = 0

    def coming() -> Iterator[Finding]:
        nonlocal asked
        for _ in range(3):
            asked += 1
            yield Finding("python", "good", "x")

    found: list[Finding] = []
    shown = lines(kept(coming(), found))
    assert [next(shown), next(shown)] == ["python", "  ✓ x"]
    assert (asked, len(found)) == (1, 1)
