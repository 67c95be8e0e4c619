"""`kfunc status`: how a function is, and what keeps it from being well."""

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from kfunc.cli.causes import cause_lines, to_json
from kfunc.cli.exit_status import FAILED
from kfunc.cli.on_cluster import cluster_options, connect, named, table
from kfunc.cluster.connection import Cluster
from kfunc.cluster.diagnosis import diagnose, pod_phase
from kfunc.cluster.faults import FORBIDDEN
from kfunc.cluster.observed import REVISION_LABEL, Observed, conditions, containers, is_ready, label, name_of, url
from kfunc.cluster.observing import observe
from kfunc.cluster.revisions import revisions
from kfunc.cluster.rollout_record import record_name
from kfunc.cluster.split import live_name, read_split
from kfunc.errors import ClusterError, KfuncError
from kfunc.manifests.plan import Manifest
from kfunc.rollout.record import from_config_map

EPILOG = """\b
Example:
  kfunc status
  kfunc status iris -n team --output json
"""


@click.command(epilog=EPILOG)
@click.argument("function", metavar="[NAME|DIR]", default=".")
@cluster_options
def status(function: str, namespace: str, context: str, output: str) -> int:
    """Show a function of the cluster: address, traffic, rollout, revisions, pods, and what is wrong with a way out.

    Exit status 1 where the newest revision is not ready.
    """
    cluster = connect(context)
    asked = named(function, namespace, cluster)
    observed = observe(cluster, asked.name, asked.namespace, asked.mode)
    record = rollout_record(cluster, observed)
    told = described(observed, record) | traffic(cluster, observed, record)
    if output == "json":
        click.echo(msgspec.json.encode(told))
    else:
        click.echo("\n".join(lines(observed, told)))
    return 0 if told["ready"] else FAILED


def rollout_record(cluster: Cluster, observed: Observed) -> Manifest | None:
    """The ConfigMap of its rollouts; None where there is none, or where it may not be read."""
    try:
        return cluster.get("ConfigMap", record_name(observed.name), observed.namespace)
    except ClusterError as error:
        if error.code != FORBIDDEN:
            raise
        return None


def described(observed: Observed, record: Manifest | None) -> dict[str, Any]:
    """Everything that the command says of the function's own objects, for programs."""
    diagnosis = diagnose(observed)
    return {
        "name": observed.name,
        "function": observed.name,
        "namespace": observed.namespace,
        "mode": observed.mode,
        "url": url(observed),
        **to_json(diagnosis),
        "conditions": [
            {"type": each.type, "status": each.status, "reason": each.reason, "message": each.message}
            for each in conditions(observed.service)
        ],
        "revisions": [msgspec.to_builtins(row) for row in revisions(observed, record)],
        "pods": [pod_json(observed, pod) for pod in observed.pods],
    }


def traffic(cluster: Cluster, observed: Observed, record: Manifest | None) -> dict[str, Any]:
    """How Istio splits the requests, and the rollout that is under way: `split`, `rollout`; None where there is none.

    What may not be read is not shown: neither is needed to know how the function is.
    """
    try:
        split = read_split(observed, cluster.get("VirtualService", live_name(observed.name), observed.namespace))
    except ClusterError as error:
        if error.code != FORBIDDEN:
            raise
        split = None
    return {"split": msgspec.to_builtins(split), "rollout": _rollout(record, cluster.now())}


def _rollout(manifest: Manifest | None, now: float) -> dict[str, Any] | None:
    """A rollout that has not ended: what it is in one line, who drives it (empty: nobody), and whether it is paused."""
    from kfunc.cli.rollout_showing import headline

    if manifest is None:
        return None
    try:
        record = from_config_map(manifest)
    except KfuncError as error:  # not this version's: the function is shown all the same
        return {"text": str(error), "phase": "", "paused": False, "driver": ""}
    if record.rollout.has_ended:
        return None
    rollout, driver = record.rollout, record.driver
    holder = driver.holder if driver.is_there(now) else ""
    return {"text": headline(rollout, now), "phase": rollout.phase, "paused": rollout.paused, "driver": holder}


def pod_json(observed: Observed, pod: Manifest) -> dict[str, Any]:
    """A pod with its containers."""
    phase, detail = ("ending", "") if "deletionTimestamp" in pod["metadata"] else pod_phase(observed, pod)
    return {
        "name": name_of(pod),
        "revision": label(pod, REVISION_LABEL),
        "ready": is_ready(pod),
        "phase": "ready" if phase == "routing" else phase,
        "detail": detail,
        "restarts": sum(int(each.status.get("restartCount", 0)) for each in containers(pod)),
        "containers": [
            {
                "name": each.name,
                "ready": bool(each.status.get("ready")),
                "state": next(iter(each.status.get("state") or {}), ""),
            }
            for each in containers(pod)
        ],
    }


def lines(observed: Observed, told: dict[str, Any]) -> list[str]:
    """The same for people."""
    detail = f" ({told['detail']})" if told["detail"] else ""
    shown = [f"{observed.namespace}/{observed.name}: {told['phase']}{detail}"]
    shown += [f"url: {told['url']}"] if told["url"] else []
    shown += list(_traffic_lines(told))
    for cause in diagnose(observed).causes:
        first, *more = cause_lines(cause)
        shown += [f"! {first}", *more]
    if told["revisions"]:
        rows = [
            (row["name"], _state(row), f"{row['percent']} %", ",".join(row["tags"]), row["pods"]) for row in told["revisions"]
        ]
        shown += ["", table(("revision", "state", "traffic", "tags", "pods"), rows)]
    if told["pods"]:
        pods = [(pod["name"], _phase(pod), pod["restarts"], _containers(pod)) for pod in told["pods"]]
        shown += ["", table(("pod", "state", "restarts", "containers"), pods)]
    troubles = [each for each in told["conditions"] if each["status"] != "True" and each["message"] and not told["ready"]]
    shown += ["", *(f"{each['type']}: {each['message']}" for each in troubles)] if troubles else []
    return shown


def _traffic_lines(told: dict[str, Any]) -> Iterator[str]:
    split, rollout = told.get("split"), told.get("rollout")
    if split:
        ways = ", ".join(f"{way['revision'] or way['tag']} {way['percent']} %" for way in split["ways"])
        yield f"split: http://{split['host']} ({ways})"
    if rollout:
        stands = rollout["phase"] and not rollout["driver"]
        yield f"rollout: {rollout['text']}" + ("; nobody drives it: `kfunc rollout resume` goes on" if stands else "")


def _state(row: dict[str, Any]) -> str:
    return "ready" if row["ready"] else row["reason"] or "not ready"


def _phase(pod: dict[str, Any]) -> str:
    return f"{pod['phase']}: {pod['detail']}" if pod["detail"] and not pod["ready"] else str(pod["phase"])


def _containers(pod: dict[str, Any]) -> str:
    ready = sum(each["ready"] for each in pod["containers"])
    return f"{ready}/{len(pod['containers'])} ready"
