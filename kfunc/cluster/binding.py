"""Binds a Knative Service's traffic to revisions by name while a new one comes up. Pure.

Knative's latest ready revision may be one that a rollout rejected. As long as the new one is not ready, only names say
who has the traffic.
"""

from typing import Any

from kfunc.cluster.observed import is_observed, name_of
from kfunc.manifests.plan import Manifest

PART = ("revisionName", "percent", "tag")


def needs_names(rendered: Manifest, live: Manifest | None) -> bool:
    """Whether the traffic has to stay bound by name until the rendered revision is ready.

    A Service that follows the latest revision has followed it so far: the one with the traffic is Knative's latest, too.
    """
    if live is None or not bound_traffic(live) or _follows_latest(live):
        return False
    return _follows_latest(rendered) and not is_latest_ready(live, revision_name(rendered))


def is_bound(service: Manifest) -> bool:
    """Whether no part of the traffic goes to whatever revision is the latest, now and as it will be."""
    parts = [*(service["spec"].get("traffic") or []), *_in_effect(service)]
    return bool(parts) and is_observed(service) and not any(part.get("latestRevision") for part in parts)


def is_latest_ready(service: Manifest, revision: str) -> bool:
    """Whether Knative takes this revision for the latest one that is ready."""
    latest = (service.get("status") or {}).get("latestReadyRevisionName")
    return bool(revision_name(service) == revision == latest and is_observed(service))


def bound_traffic(service: Manifest) -> list[Manifest]:
    """What is in effect, by name."""
    return [{key: part[key] for key in PART if part.get(key)} for part in _in_effect(service) if part.get("revisionName")]


def with_names(rendered: Manifest, live: Manifest) -> Manifest:
    """The Service with the rendered template and the traffic as it is."""
    return rendered | {"spec": rendered["spec"] | {"traffic": bound_traffic(live)}}


def as_it_is(rendered: Manifest, live: Manifest) -> Manifest:
    """The Service with the template that it has, and the traffic bound to the revisions that have it."""
    return rendered | {"spec": live["spec"] | {"traffic": bound_traffic(live)}}


def with_template_kept(rendered: Manifest, live: Manifest | None) -> Manifest:
    """The Service with the live template where that is the rendered one, filled in by Knative.

    A template may not change under its revision's name, and what an apply owned and leaves out would be such a change.
    """
    if live is None or not revision_name(live) or revision_name(rendered) != revision_name(live):
        return rendered
    template = live["spec"]["template"]
    if not holds(rendered["spec"]["template"], template):
        return rendered
    return rendered | {"spec": rendered["spec"] | {"template": template}}


def holds(wanted: Any, live: Any) -> bool:
    """Whether `live` says all that `wanted` says; what the cluster filled in is not looked at."""
    if isinstance(wanted, dict):
        if not isinstance(live, dict):
            return not wanted and live is None
        return all(holds(value, live.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list):
        same = isinstance(live, list) and len(wanted) == len(live)
        return same and all(holds(one, other) for one, other in zip(wanted, live, strict=True))
    return bool(wanted == live) or (not wanted and live is None)


def revision_name(service: Manifest) -> str:
    """The revision that the template makes; empty where Knative chooses the name."""
    template = service["spec"]["template"]
    return name_of(template) if "name" in (template.get("metadata") or {}) else ""


def _follows_latest(service: Manifest) -> bool:
    traffic = service["spec"].get("traffic") or []
    return all(part.get("latestRevision") for part in traffic)


def _in_effect(service: Manifest) -> list[Manifest]:
    found: list[Manifest] = (service.get("status") or {}).get("traffic") or []
    return found
