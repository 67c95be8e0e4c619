"""Why pods of a function do not come up, in the terms of its user: one function for each place where it shows. Pure."""

import re
from collections.abc import Iterator

from msgspec import Struct

from kfunc.cluster.log_text import last_lines, startup_error
from kfunc.cluster.observed import (
    Condition,
    Container,
    Observed,
    condition,
    containers,
    events_of,
    is_ready,
    name_of,
)
from kfunc.manifests.plan import Manifest

AT_ONCE, SOON, LATER, ROUTE_S = 0.0, 10.0, 30.0, 60.0
MISUSED, START_FAILED, KILLED = 2, (126, 127, 128), 137
NODE_COMES = {"TriggeredScaleUp", "Nominated"}
"""What Kubernetes' autoscaler and Karpenter say of a pod for which they add a node."""
HANDLER = "handler"
CRASH_LOOP = "crash-loop"
QUOTA = re.compile(r"exceeded quota: (.*)", re.DOTALL)
LACK = re.compile(r"Insufficient ([\w./-]+)")
MISSING_OBJECT = re.compile(r'(secret|configmap|persistentvolumeclaim|serviceaccount) "([^"]+)" not found')
POD_NAME = re.compile(r" \(pod: .*\)$")
DENIED = re.compile(r"unauthorized|\b40[13]\b|denied|authentication required")
ABSENT = re.compile(r"not found|\b404\b|(manifest|name) unknown")
LIMITED = re.compile(r"\b429\b|toomanyrequests|too many requests")
OTHER_PLATFORM = re.compile(r"no match for platform|no matching manifest for|no image found in .* for architecture")
"""containerd's words, Docker's, CRI-O's."""
ADDRESS = re.compile(r'https?://[^\s"]+|\b[0-9a-f]{32,}\b')
"""Parts of a message in which a number means nothing."""


class Cause(Struct, frozen=True):
    """Why it does not go on: `code` for programs, `text` and `advice` for people, `lines` of a log.

    `patience_s`: how long it may last before waiting is given up; None: until the time is over.
    """

    code: str
    text: str
    advice: str = ""
    lines: list[str] = []
    patience_s: float | None = None


def in_a_line(cause: Cause) -> str:
    """The cause and what to do; of a container that ends again and again the last that it said."""
    more = cause.lines[-1:] if cause.code == CRASH_LOOP else [cause.advice]
    return ": ".join([cause.text, *filter(None, more)])


def image_cause(image: str, message: str) -> Cause:
    """An image that cannot be had; `message` is the registry's or the network's."""
    said = ADDRESS.sub("", message.replace(image, "")).lower()
    if OTHER_PLATFORM.search(said):
        advice = "build it for theirs too: kfunc build --platform linux/amd64 --platform linux/arm64"
        return Cause("image-pull", f"the image {image} is for other processors than the nodes have", advice, [], SOON)
    if LIMITED.search(said):
        advice = "it goes on by itself; a Secret with credentials in deploy.imagePullSecret raises the limit"
        return Cause("image-pull", f"the registry of {image} gives no more for a while (429)", advice)
    if "x509:" in said:
        advice = f"the nodes must trust its authority, and Knative too (or name the image with its digest): {_end(message)}"
        return Cause("image-pull", f"the cluster does not trust the certificate of the registry of {image}", advice, [], SOON)
    if ABSENT.search(said):
        return Cause("image-pull", f"the image {image} is not in its registry", "kfunc build pushes it", [], SOON)
    if DENIED.search(said):
        advice = "name a Secret with its credentials in deploy.imagePullSecret"
        return Cause("image-pull", f"the registry does not let the cluster pull {image}", advice, [], SOON)
    if "server gave http response to https" in said:
        advice = "the nodes and Knative must know it as plain (registries-skipping-tag-resolving, containerd's hosts.toml)"
        return Cause("image-pull", f"the registry of {image} speaks plain HTTP, and the cluster asks by TLS", advice, [], SOON)
    advice = f"check the registry's name and that nodes reach it: {_end(message)}"
    return Cause("image-pull", f"the image {image} cannot be pulled", advice, [], LATER)


def revision_cause(revision: Manifest | None) -> Cause | None:
    """What Knative says of the revision itself."""
    ready, healthy = condition(revision, "Ready"), condition(revision, "ContainerHealthy")
    if healthy.status == "False" and healthy.reason == "ContainerMissing":
        found = re.search(r'image "([^"]+)"', healthy.message)
        return image_cause(found[1] if found else "of the function", healthy.message)
    resources = condition(revision, "ResourcesAvailable")
    if resources.reason == "FailedCreate":
        return creation_cause(resources.message)
    if "ProgressDeadlineExceeded" in (ready.reason, resources.reason):
        text = "no pod became ready within the time that Knative gives a revision"
        advice = "models that take longer need inference.scaling.progress_deadline_s"
        return Cause("never-ready", text, advice, [], AT_ONCE)
    return None


def creation_cause(message: str) -> Cause:
    """Pods that Kubernetes does not make."""
    if found := QUOTA.search(message):
        advice = "ask for less in deploy.options.resources, or have the namespace's ResourceQuota raised"
        return Cause("quota", f"the namespace's quota is used up: {found[1].strip()}", advice, [], SOON)
    if found := MISSING_OBJECT.search(message):
        return _missing(found)
    if "must specify" in message:
        text = f"the namespace's quota wants to know each container's resources: {_after(message, 'must specify')}"
        advice = (
            "give them in deploy.options.resources and inference.resources (queue-proxy's in inference.resources.queue_proxy)"
        )
        return Cause("quota", text, advice, [], SOON)
    if "usage per" in message or "LimitRange" in message:
        advice = "change deploy.options.resources and inference.resources"
        return Cause("quota", f"the namespace's LimitRange forbids it: {_end(message)}", advice, [], SOON)
    return Cause("pods-refused", f"the cluster makes no pods: {_end(message)}", "", [], SOON)


def pod_causes(observed: Observed, pod: Manifest) -> Iterator[Cause]:
    """Everything that keeps one pod from being ready, the strongest first."""
    found = [cause for each in containers(pod) if (cause := container_cause(observed, each)) is not None]
    yield from sorted(found, key=lambda cause: cause.patience_s if cause.patience_s is not None else float("inf"))
    scheduled = condition(pod, "PodScheduled")
    if scheduled.status == "False":
        yield unschedulable_cause(scheduled, [str(event["reason"]) for event in events_of(observed, name_of(pod))])
    if (pod.get("status") or {}).get("reason") == "Evicted":
        text = f"the node put the pod out: {pod['status'].get('message', '')}"
        yield Cause("evicted", text, "raise deploy.options.resources.requests to what the function needs")
    elif not found and not is_ready(pod):
        yield from _mount_causes(observed, pod)


def container_cause(observed: Observed, container: Container) -> Cause | None:
    """Why a container does not run, or not for long."""
    waiting, ended = container.waiting, container.ended
    if waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"):
        return image_cause(container.spec["image"], _pull_message(observed, container))
    if waiting.get("reason") in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        message = str(waiting.get("message", ""))
        if found := MISSING_OBJECT.search(message):
            return _missing(found)
        said = POD_NAME.sub("", message)[:300] if waiting["reason"] == "CreateContainerConfigError" else _end(message)
        return Cause("container-refused", f"the container {container.name} cannot be made: {said}", "", [], SOON)
    if not ended or (ended.get("exitCode") == 0 and not waiting):
        return None
    return _ended_cause(observed, container)


def unschedulable_cause(scheduled: Condition, reasons: list[str]) -> Cause:
    """A pod that fits on no node; `reasons` are those of its events."""
    message = scheduled.message.partition(" preemption:")[0].removesuffix(" no new claims to deallocate,").rstrip(" .,")
    patience = None if NODE_COMES & set(reasons) else LATER
    lacking = LACK.findall(message)
    devices = [name for name in lacking if "/" in name]
    if devices:
        text = f"no node has {devices[0]} free: {message}"
        advice = "add such a node, install its device plugin, or remove inference.gpu and inference.devices"
    elif lacking:
        text = f"no node has enough {' and '.join(dict.fromkeys(lacking))} free: {message}"
        advice = "ask for less in deploy.options.resources.requests, or add a node"
    elif "taint" in message:
        text, advice = f"no node takes the pod: {message}", "allow the taint in inference.scheduling.tolerations"
    elif "selector" in message or "affinity" in message:
        text, advice = f"no node takes the pod: {message}", "correct inference.scheduling.node_selector"
    elif found := MISSING_OBJECT.search(message):
        return _missing(found)
    else:
        text, advice = f"no node takes the pod: {message}", ""
    return Cause("unschedulable", text, advice, [], patience)


def _ended_cause(observed: Observed, container: Container) -> Cause:
    ended, name = container.ended, container.name
    code, message = int(ended.get("exitCode", 0)), str(ended.get("message") or "")
    lines = last_lines(observed.ended.get(f"{container.pod}/{name}") or message.splitlines())
    if ended.get("reason") == "OOMKilled":
        limit = (container.spec.get("resources", {}).get("limits") or {}).get("memory", "none")
        field = "deploy.options.resources" if name == HANDLER else f"inference.resources.{name}"
        text = f"the container {name} was ended by the kernel: it needs more memory than its limit ({limit})"
        return Cause("out-of-memory", text, f"raise {field}.limits.memory", lines, _after_end(container, SOON))
    if ended.get("reason") in ("StartError", "ContainerCannotRun") or code in START_FAILED:
        text = f"the container {name} does not start: {_end(message) or f'exit status {code}'}"
        return Cause("not-started", text, "kfunc build makes an image with everything in it", [], SOON)
    if code == MISUSED and (said := startup_error(lines)) is not None:
        return Cause(said.code, f"the {name} refuses to start: {said.text}", said.advice, lines, AT_ONCE)
    how = "was killed (exit status 137)" if code == KILLED else f"ended with exit status {code}"
    text = f"the container {name} {how}, {_times(container.restarts)}"
    advice = "its last lines are below; kfunc logs shows all of them"
    return Cause(CRASH_LOOP, text, advice, lines, _after_end(container, None))


def _after_end(container: Container, first: float | None) -> float | None:
    """How long to wait after an end that another start may mend: no longer after the second, unless it runs again."""
    if container.running:
        return None
    return AT_ONCE if container.restarts > 1 else first


def _mount_causes(observed: Observed, pod: Manifest) -> Iterator[Cause]:
    """Volumes that cannot be mounted; an event that a later start has made past is none."""
    for event in reversed(events_of(observed, name_of(pod))):
        if event["reason"] in ("Started", "Created"):
            return
        if event["reason"] in ("FailedMount", "FailedAttachVolume"):
            if found := MISSING_OBJECT.search(event["message"]):
                yield _missing(found)
            else:
                yield Cause("volume", f"a volume cannot be mounted: {_end(event['message'])}", "", [], LATER)
            return


def _missing(found: re.Match[str]) -> Cause:
    """An object that the pod names and the namespace does not have."""
    kinds = {
        "secret": ("Secret", "make it, or correct run.envs, run.volumes and inference.storage"),
        "configmap": ("ConfigMap", "make it, or correct run.envs and run.volumes"),
        "persistentvolumeclaim": ("claim", "make it, or correct inference.model.uri and run.volumes"),
        "serviceaccount": ("service account", "make it, or correct deploy.serviceAccountName"),
    }
    kind, advice = kinds[found[1]]
    return Cause("missing-object", f"the namespace has no {kind} {found[2]}", advice, [], SOON)


def _pull_message(observed: Observed, container: Container) -> str:
    """The registry's own words: back-off says less than the event of the try before."""
    failed = [event for event in events_of(observed, container.pod) if event["reason"] == "Failed"]
    said = [str(event["message"]) for event in failed if "Failed to pull" in event["message"]]
    return said[-1] if said else str(container.waiting.get("message", ""))


def _end(message: str) -> str:
    """The last part of a nested message, which is what went wrong; the others say who noticed."""
    if (program := message.rfind('exec: "')) >= 0:
        return message[program + len("exec: ") :].removesuffix(": unknown").strip()[:300]
    parts = [part for part in re.split(r"(?<!\d): ", message.strip()) if part]
    return ": ".join(parts[-2:])[:300]


def _after(text: str, words: str) -> str:
    return words + text.partition(words)[2][:300]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
