"""`kfunc deploy`: from a folder to a function that answers, and the cause where it does not."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from kfunc.cli.build import Order, build_image
from kfunc.cli.build_options import Asked
from kfunc.cli.build_progress import Lines
from kfunc.cli.causes import cause_lines, to_json
from kfunc.cli.on_cluster import cluster_options, connect
from kfunc.cli.planning import needed_settings, plan_for
from kfunc.cli.render import parse_digest, parse_image
from kfunc.cli.status import url
from kfunc.cluster.applying import Outcome, apply_all, remove_unused
from kfunc.cluster.collecting import collect
from kfunc.cluster.connection import Cluster
from kfunc.cluster.diagnosis import Diagnosis
from kfunc.cluster.observed import Observed
from kfunc.cluster.observing import observe
from kfunc.cluster.revisions import is_split, serving
from kfunc.cluster.waiting import Ending, wait_ready
from kfunc.errors import KfuncError
from kfunc.manifests.images import function_image
from kfunc.manifests.knative import revision
from kfunc.manifests.outputs import render
from kfunc.manifests.plan import Manifest, Note, Plan, Release
from kfunc.manifests.split import traffic_of

EPILOG = """\b
Example:
  kfunc deploy
  kfunc deploy --image registry.example.com/me/iris:1 --timeout 120
  kfunc deploy --dry-run
"""
FAILED = 1
TIMEOUT_S = 600.0


@click.command(epilog=EPILOG)
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), default=".")
@click.option("--image", metavar="IMAGE", default="", callback=parse_image, help="An image that is there: nothing is built.")
@click.option(
    "--image-digest", metavar="DIGEST", default="", callback=parse_digest, help="Digest of the pushed image, sha256:…"
)
@click.option(
    "--base", metavar="IMAGE", default="", help="Base image of the build; else func.yaml's, else python:VERSION-slim."
)
@click.option("--insecure", is_flag=True, help="The registry may have any certificate, or speak plain HTTP.")
@click.option("--no-build", is_flag=True, help="Take the image that func.yaml names as it is in its registry.")
@click.option("--dry-run", is_flag=True, help="Let the cluster check everything, and keep nothing.")
@click.option(
    "--wait", type=bool, default=True, metavar="BOOLEAN", help="Wait until it is ready or will not be; --wait=false: not."
)
@click.option("--timeout", type=click.FloatRange(min=1), default=TIMEOUT_S, show_default=True, help="Longest wait, s.")
@click.option("--all-at-once", is_flag=True, help="Give the new revision all traffic, whatever inference.traffic says.")
@click.option("--force", is_flag=True, help="Take over fields that somebody else has set (kubectl, kn).")
@cluster_options
def deploy(
    directory: Path,
    image: str,
    image_digest: str,
    base: str,
    insecure: bool,
    no_build: bool,
    dry_run: bool,
    wait: bool,
    timeout: float,
    all_at_once: bool,
    force: bool,
    namespace: str,
    context: str,
    output: str,
) -> int:
    """Bring the function in DIR (default: here) to the cluster, and wait until it answers.

    Done twice, the second time changes nothing. Exit status 1 where it does not become ready, with the cause.
    """
    say = Speaker(output == "json")
    cluster = connect(context)
    plan = plan_for(directory, Release(image, image_digest), namespace, cluster)
    before = observe(cluster, plan.name, plan.namespace, plan.mode)
    if not (image or image_digest or no_build or dry_run or plan.function.inference.server is not UNSET):
        plan = replace(plan, release=built(directory, base, insecure))
    refuse_bypass(plan, before, all_at_once)
    rendered = render(plan)
    say.needs(needed_settings(cluster, rendered.notes))
    began_at = time.monotonic()
    manifests = [manifest for group in rendered.files.values() for manifest in group]
    outcomes = list(apply_all(cluster, manifests, dry_run=dry_run, force=force))
    say.outcomes(outcomes, dry_run)
    say.unchanged(outcomes)
    if dry_run or not wait:
        return say.end(plan, outcomes, None, "")
    ending = await_ready(cluster, plan, timeout, say)
    if not ending.causes:
        outcomes += tidy(cluster, plan, manifests, say)
    address = url(observe(cluster, plan.name, plan.namespace, plan.mode))
    return say.end(plan, outcomes, ending, address, time.monotonic() - began_at)


def built(directory: Path, base: str, insecure: bool) -> Release:
    """The image of the folder as it is now, in its registry; what is there already is not sent again."""
    order = Order(asked=Asked(base), insecure=insecure)
    made = build_image(directory, order, Lines(), os.environ)
    return Release(made.image, made.digest)


def refuse_bypass(plan: Plan, before: Observed, all_at_once: bool) -> None:
    """A rollout is not overrun, and traffic that should move in steps does not jump. Raises KfuncError."""
    if plan.mode != "knative" or plan.function.inference.traffic is UNSET or traffic_of(plan).strategy == "ab":
        return
    if is_split(before):
        raise KfuncError(f"a rollout of {plan.name} is under way: kfunc rollout status shows it, promote or abort ends it")
    stable = [name for name in serving(before) if name != revision(plan)]
    if stable and not all_at_once:
        raise KfuncError(
            f"{stable[0]} has the traffic, and inference.traffic says {traffic_of(plan).strategy}: "
            f"kfunc rollout start --image {function_image(plan)} moves it in steps, "
            "--all-at-once gives the new revision everything now"
        )


def await_ready(cluster: Cluster, plan: Plan, timeout_s: float, say: "Speaker") -> Ending:
    """Watch the new revision come up."""
    return wait_ready(cluster, plan.name, plan.namespace, plan.mode, timeout_s, say.progress, time.monotonic, time.sleep)


def tidy(cluster: Cluster, plan: Plan, manifests: list[Manifest], say: "Speaker") -> list[Outcome]:
    """Remove what func.yaml does not ask for any more, and revisions by its policy."""
    removed = list(remove_unused(cluster, plan.name, plan.namespace, traffic_of(plan).gateway_namespace, manifests))
    if plan.mode == "knative":
        removed += collect(cluster, plan.name, plan.namespace, plan.function.inference.revisions.keep)
    say.outcomes(removed, False)
    return removed


class Speaker:
    """What the command says while it works: lines for people, one object at the end for programs."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._last = ""
        self._live = sys.stdout.isatty() and not as_json

    def needs(self, notes: list[Note]) -> None:
        """What the cluster must allow first, with the command; everything else `kfunc render` says."""
        for note in notes if not self._as_json else ():
            click.echo(f"note: {note.text}, and it is off:\n  {note.command}")

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
        click.echo(f"\x1b[1A\x1b[2K{text}" if same_phase else text)

    def end(self, plan: Plan, outcomes: list[Outcome], ending: Ending | None, url: str, seconds: float = 0.0) -> int:
        """The result; the exit status."""
        changed = [outcome for outcome in outcomes if outcome.what != "unchanged"]
        if self._as_json:
            click.echo(msgspec.json.encode(_result(plan, changed, ending, url, seconds)))
        if ending is None:
            return 0
        if not self._as_json and not ending.causes:
            click.echo(f"{plan.name} is ready after {seconds:.1f} s: {ending.diagnosis.revision}\nurl: {url}")
        for cause in ending.causes if not self._as_json else ():
            first, *more = cause_lines(cause)
            click.echo("\n".join([f"error: {first}", *more]), err=True)
        return FAILED if ending.causes else 0


def _result(plan: Plan, changed: list[Outcome], ending: Ending | None, url: str, seconds: float) -> dict[str, Any]:
    told = {} if ending is None else to_json(ending.diagnosis, ending.causes or None)
    objects = [
        {
            "what": each.what,
            "kind": each.manifest["kind"],
            "apiVersion": each.manifest["apiVersion"],
            "name": each.manifest["metadata"]["name"],
        }
        for each in changed
    ]
    where = {"name": plan.name, "namespace": plan.namespace, "mode": plan.mode, "url": url}
    return {**where, "changes": objects, "seconds": round(seconds, 1), **told}
