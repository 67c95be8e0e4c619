"""What a check found, and how it is shown. Pure."""

from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct

Verdict = Literal["good", "note", "bad"]
MARKS: dict[Verdict, str] = {"good": "✓", "note": "-", "bad": "✗"}


class Finding(Struct, frozen=True):
    """One thing that was looked at. `note` is worth knowing and keeps nothing from working."""

    about: str
    verdict: Verdict
    text: str
    advice: str = ""


def lines(findings: Iterable[Finding]) -> Iterator[str]:
    """The findings for people as they come, below the name of what they are about."""
    last = ""
    for finding in findings:
        if finding.about != last:
            yield finding.about
        last = finding.about
        yield f"  {MARKS[finding.verdict]} {finding.text}"
        yield from (f"      {line}" for line in finding.advice.splitlines())
