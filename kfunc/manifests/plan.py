"""What is rendered and what comes of it: the plan that every builder reads, and the part that it returns. Pure."""

from typing import Any, Literal

from msgspec import Struct

from kfunc.config.deployment import Mode
from kfunc.config.function import Function
from kfunc.config.labels import own_labels
from kfunc.config.pod import PodConfig

Manifest = dict[str, Any]
"""A Kubernetes object; its keys stand in the order in which a person writes them."""

Container = Literal["handler", "batcher", "logger"]
Group = Literal["service", "istio", "eventing", "monitoring"]


class Release(Struct, frozen=True):
    """What a func.yaml cannot know: empty where it is not given.

    `image` and `digest` are of the function's image; `stable` is the revision that has the traffic now,
    `weight` the percent that the new one gets beside it.
    """

    image: str = ""
    digest: str = ""
    stable: str = ""
    weight: int | None = None


class Plan(Struct, frozen=True):
    """A valid function, with the settings that its pod gets and the way it is run."""

    function: Function
    config: PodConfig
    release: Release = Release()
    mode: Mode = "knative"

    @property
    def name(self) -> str:
        """Of the function, its Service and everything that belongs to it."""
        return self.config.function

    @property
    def namespace(self) -> str:
        return self.config.namespace


class Note(Struct, frozen=True):
    """What the user should know of the output, and the command that does something about it.

    `setting`: the cluster must allow it first, and the command does that.
    """

    text: str
    command: str = ""
    setting: bool = False


class Part(Struct, frozen=True):
    """What one builder makes: objects, what to say of them, and the addresses that lead to the function.

    `texts` are further files, by their paths below `-o`.
    """

    manifests: list[Manifest] = []
    notes: list[Note] = []
    urls: list[str] = []
    texts: dict[str, str] = {}


def given_labels(plan: Plan) -> dict[str, str]:
    """func.yaml's own labels."""
    return {label.key: label.value for label in plan.function.deploy.labels}


def metadata(plan: Plan, name: str, labels: dict[str, str] | None = None) -> Manifest:
    """An object's metadata in the function's namespace, with the labels that all of the function's objects have."""
    return {"name": name, "namespace": plan.namespace, "labels": own_labels(plan.name) | (labels or {})}
