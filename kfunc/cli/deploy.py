"""`kfunc deploy`: from a folder to a function that answers, and the cause where it does not."""

import time
from contextlib import suppress
from pathlib import Path

import click

from kfunc.cli.brokers import broker_findings
from kfunc.cli.deploy_refusals import refuse_bypass, refuse_hurry, refuse_rollout
from kfunc.cli.deploy_telling import Speaker
from kfunc.cli.on_cluster import cluster_options, connect, holder_name
from kfunc.cli.planning import needed_settings, plan_for
from kfunc.cli.releasing import Source, image_options, with_image
from kfunc.cluster.applying import Outcome, apply_all, remove_unused
from kfunc.cluster.collecting import collect
from kfunc.cluster.connection import Cluster
from kfunc.cluster.diagnosis import Diagnosis
from kfunc.cluster.kinds import kind_of
from kfunc.cluster.lock import Lock
from kfunc.cluster.moving import KIND, Move
from kfunc.cluster.observed import Observed, url
from kfunc.cluster.observing import observe
from kfunc.cluster.revisions import serving
from kfunc.cluster.waiting import Ending, wait_ready
from kfunc.manifests.knative import revision
from kfunc.manifests.outputs import render
from kfunc.manifests.plan import Manifest, Plan
from kfunc.manifests.split import traffic_of
from kfunc.rollout.driver import Conflict
from kfunc.rollout.history import with_served
from kfunc.rollout.store import ConfigMapStore

EPILOG = """\b
Example:
  kfunc deploy
  kfunc deploy --image registry.example.com/me/iris:1 --timeout 120
  kfunc deploy --dry-run
"""
TIMEOUT_S = 600.0


@click.command(epilog=EPILOG)
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), default=".")
@image_options
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
    source: Source,
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
    plan = plan_for(directory, source.release, namespace, cluster)
    refuse_rollout(cluster, plan)
    if dry_run:
        refuse_bypass(plan, _observed(cluster, plan), all_at_once)
        return Deployment(cluster, plan, say, force).tried()
    if not wait:
        refuse_hurry(cluster, plan)  # before minutes of building
    plan = with_image(plan, directory, source)
    with Lock(cluster, plan.name, plan.namespace, f"kfunc deploy ({holder_name()})") as lock:
        refuse_rollout(cluster, plan)
        before = _observed(cluster, plan)
        refuse_bypass(plan, before, all_at_once)
        if not wait:
            refuse_hurry(cluster, plan)
        deployment = Deployment(cluster, plan, say, force, lock)
        return deployment.done(timeout, serving(before)) if wait else deployment.begun()


def _observed(cluster: Cluster, plan: Plan) -> Observed:
    return observe(cluster, plan.name, plan.namespace, plan.mode)


class Deployment:
    """One plan on its way to the cluster; the lock is kept while it is waited for."""

    def __init__(self, cluster: Cluster, plan: Plan, say: Speaker, force: bool, lock: Lock | None = None) -> None:
        self._cluster, self._plan, self._say, self._force, self._lock = cluster, plan, say, force, lock
        rendered = render(plan)
        say.needs(needed_settings(cluster, rendered.notes))
        say.lacks(broker_findings(cluster, plan))
        self._manifests = [manifest for group in rendered.files.values() for manifest in group]
        service = next((each for each in self._manifests if kind_of(each) == KIND), None)
        self._move = service and Move(cluster, service, force, time.monotonic, self._pause)

    def tried(self) -> int:
        """Only ask the cluster; the exit status."""
        outcomes = list(apply_all(self._cluster, self._to_apply(), dry_run=True, force=self._force))
        self._say.outcomes(outcomes, True)
        self._say.unchanged(outcomes)
        return self._say.end(self._plan, outcomes, None, "")

    def begun(self) -> int:
        """Apply, and do not wait; the exit status."""
        return self._say.end(self._plan, self._applied(), None, "")

    def done(self, timeout_s: float, served: list[str]) -> int:
        """Apply, wait until the new revision has the traffic, and tidy up; `served` had it before."""
        began_at = time.monotonic()
        if self._move:
            self._move.bind()
        outcomes = self._applied()
        ending = self._await_ready(timeout_s)
        if self._move and self._move.by_name and not ending.causes:
            self._move.finish()
            self._say.moved(revision(self._plan), served)
            ending = self._await_ready(max(1.0, timeout_s - (time.monotonic() - began_at)))
        if not ending.causes:
            self._keep_lock()
            outcomes += self._tidied(served)
        address = url(_observed(self._cluster, self._plan))
        return self._say.end(self._plan, outcomes, ending, address, time.monotonic() - began_at)

    def _applied(self) -> list[Outcome]:
        outcomes = list(apply_all(self._cluster, self._to_apply(), force=self._force))
        self._say.outcomes(outcomes, False)
        self._say.unchanged(outcomes)
        return outcomes

    def _to_apply(self) -> list[Manifest]:
        return [self._move.service if self._move and kind_of(each) == KIND else each for each in self._manifests]

    def _keep_lock(self) -> None:
        if self._lock is not None:
            self._lock.renew()

    def _pause(self, seconds: float) -> None:
        self._keep_lock()
        time.sleep(seconds)

    def _await_ready(self, timeout_s: float) -> Ending:
        """Watch the new revision come up."""
        plan = self._plan

        def report(diagnosis: Diagnosis) -> None:
            self._keep_lock()
            self._say.progress(diagnosis)

        return wait_ready(self._cluster, plan.name, plan.namespace, plan.mode, timeout_s, report, time.monotonic, time.sleep)

    def _tidied(self, served: list[str]) -> list[Outcome]:
        """Remove what func.yaml does not ask for any more, and revisions by its policy."""
        cluster, plan = self._cluster, self._plan
        removed = list(remove_unused(cluster, plan.name, plan.namespace, traffic_of(plan).gateway_namespace, self._manifests))
        if plan.mode == "knative":
            note_served(cluster, plan, [*served[:1], revision(plan)])
            removed += collect(cluster, plan.name, plan.namespace, plan.function.inference.revisions.keep)
        self._say.outcomes(removed, False)
        return removed


def note_served(cluster: Cluster, plan: Plan, revisions: list[str]) -> None:
    """Tell the record of rollouts, where there is one, which revisions had the traffic: `undo` goes back along them."""
    store = ConfigMapStore(cluster, plan.name, plan.namespace)
    record = store.read()
    if record is None:
        return
    told = with_served(record, *revisions)
    if told != record:
        with suppress(Conflict):
            store.write(told)
