"""What `kfunc deploy` says while it works: lines for people, one object at the end for programs."""

import sys
from collections.abc import Iterable
from typing import Any

import click
import msgspec

from kfunc.cli.causes import cause_lines, to_json, unknown
from kfunc.cli.console import in_a_row
from kfunc.cli.exit_status import FAILED
from kfunc.cli.findings import Finding
from kfunc.cluster.applying import Outcome
from kfunc.cluster.diagnosis import Diagnosis
from kfunc.cluster.waiting import Ending
from kfunc.manifests.plan import Note, Plan


class Speaker:
    """What the command says while it works: lines for people, one object at the end for programs."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._last = ""
        self._notes: list[dict[str, str]] = []
        self._live = sys.stdout.isatty() and not as_json

    def needs(self, notes: list[Note]) -> None:
        """What the cluster must allow first, with the command; everything else `kfunc render` says."""
        for note in notes:
            self._note(f"{note.text}, and it is off", note.command, ":")

    def lacks(self, findings: Iterable[Finding]) -> None:
        """What the function works without, but not as func.yaml says: a broker for its events."""
        for finding in findings:
            if finding.verdict == "bad":
                self._note(finding.text, finding.advice)

    def _note(self, text: str, advice: str, colon: str = "") -> None:
        self._notes.append({"text": text, "advice": advice})
        if not self._as_json:
            click.echo(f"note: {text}{colon}\n  {advice}")

    def outcomes(self, outcomes: list[Outcome], dry_run: bool) -> None:
        """One line for each object that is not as it was."""
        for outcome in outcomes if not self._as_json else ():
            if outcome.what != "unchanged":
                click.echo(f"{outcome}{' (dry run)' if dry_run else ''}")

    def unchanged(self, outcomes: list[Outcome]) -> None:
        """That nothing of it is new to the cluster."""
        if not self._as_json and all(outcome.what == "unchanged" for outcome in outcomes):
            click.echo("nothing changed")

    def progress(self, diagnosis: Diagnosis) -> None:
        """A line for each phase; on a terminal its detail is kept up to date in place."""
        causes = f" ({diagnosis.causes[0].text})" if diagnosis.causes and diagnosis.phase != "ready" else ""
        text = f"{diagnosis.phase:<12} {diagnosis.detail}{causes}".rstrip()
        if self._as_json or text == self._last:
            return
        same_phase = self._live and self._last.split(" ")[0] == diagnosis.phase
        self._last = text
        shown = in_a_row(text, sys.stdout) if self._live else text
        click.echo(f"\x1b[1A\x1b[2K{shown}" if same_phase else shown)

    def moved(self, revision: str, served: list[str]) -> None:
        """That the traffic, which was bound by name, is the new revision's."""
        if not self._as_json and served[:1] != [revision]:
            click.echo(f"{'routing':<12} {revision} gets everything, {', '.join(served)} had it until it was ready")
            self._last = ""

    def end(self, plan: Plan, outcomes: list[Outcome], ending: Ending | None, url: str, seconds: float = 0.0) -> int:
        """The result; the exit status."""
        changed = [outcome for outcome in outcomes if outcome.what != "unchanged"]
        if self._as_json:
            notes = {"notes": self._notes}
            click.echo(msgspec.json.encode(_result(plan, changed, ending, url, seconds) | notes))
        if ending is None:
            return 0
        if not self._as_json and not ending.causes:
            click.echo(f"{plan.name} is ready after {seconds:.1f} s: {ending.diagnosis.revision}\nurl: {url}")
        for cause in ending.causes if not self._as_json else ():
            first, *more = cause_lines(cause)
            click.echo("\n".join([f"error: {first}", *more]), err=True)
        return FAILED if ending.causes else 0


def _result(plan: Plan, changed: list[Outcome], ending: Ending | None, url: str, seconds: float) -> dict[str, Any]:
    told = unknown() if ending is None else to_json(ending.diagnosis, ending.causes or None)
    objects = [
        {
            "what": each.what,
            "kind": each.manifest["kind"],
            "apiVersion": each.manifest["apiVersion"],
            "name": each.manifest["metadata"]["name"],
        }
        for each in changed
    ]
    where = {"name": plan.name, "function": plan.name, "namespace": plan.namespace, "mode": plan.mode, "url": url or None}
    return {**where, "changes": objects, "seconds": None if ending is None else round(seconds, 1), **told}
