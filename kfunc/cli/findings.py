"""What a check found, and how it is shown. Pure."""

from collections.abc import Iterable
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


def lines(findings: Iterable[Finding]) -> list[str]:
    """The findings for people, below the name of what they are about."""
    shown: list[str] = []
    last = ""
    for finding in findings:
        if finding.about != last:
            shown.append(finding.about)
        last = finding.about
        shown.append(f"  {MARKS[finding.verdict]} {finding.text}")
        shown += [f"      {line}" for line in finding.advice.splitlines()]
    return shown
