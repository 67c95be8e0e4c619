"""When traffic stays bound to revisions by name, and how."""

from typing import Any

import pytest

from kfunc.cluster.binding import (
    as_it_is,
    bound_traffic,
    is_bound,
    is_latest_ready,
    needs_names,
    with_names,
    with_template_kept,
)

LATEST = [{"latestRevision": True, "percent": 100}]
NAMED = [{"revisionName": "iris-a", "percent": 100}]
FOLLOWED = [{"revisionName": "iris-a", "latestRevision": True, "percent": 100}]


def service(
    revision: str,
    traffic: list[dict[str, Any]],
    status: list[dict[str, Any]] | None = None,
    latest: str = "iris-b",
    generation: int = 1,
) -> dict[str, Any]:
    """A Service whose latest ready revision is iris-b, which nobody wants."""
    return {
        "metadata": {"name": "iris", "namespace": "default", "generation": generation},
        "spec": {"template": {"metadata": {"name": revision}}, "traffic": traffic},
        "status": {
            "observedGeneration": 1,
            "latestReadyRevisionName": latest,
            "traffic": NAMED if status is None else status,
        },
    }


RENDERED = {"spec": {"template": {"metadata": {"name": "iris-c"}}, "traffic": LATEST}}


@pytest.mark.parametrize(
    ("live", "needed"),
    [
        (None, False),
        (service("iris-a", NAMED), True),
        (service("iris-c", NAMED), True),
        (service("iris-c", NAMED, latest="iris-c"), False),
        (service("iris-a", LATEST, FOLLOWED, latest="iris-a"), False),
        (service("iris-a", NAMED, status=[]), False),
        (service("iris-c", NAMED, latest="iris-c", generation=2), True),
    ],
    ids=["first", "after a rollback", "on its way", "ready", "never bound", "nothing serves", "not seen yet"],
)
def test_traffic_that_is_bound_by_name_stays_so_until_the_new_revision_is_the_latest_ready(live: Any, needed: bool) -> None:
    assert needs_names(RENDERED, live) == needed


def test_traffic_that_is_rendered_by_name_needs_no_help() -> None:
    assert not needs_names({"spec": RENDERED["spec"] | {"traffic": NAMED}}, service("iris-a", NAMED))


def test_the_new_template_comes_with_the_traffic_that_there_is() -> None:
    live = service("iris-a", NAMED)
    assert with_names(RENDERED, live)["spec"] == {"template": {"metadata": {"name": "iris-c"}}, "traffic": NAMED}
    assert as_it_is(RENDERED, live)["spec"] == {"template": {"metadata": {"name": "iris-a"}}, "traffic": NAMED}


def test_names_and_tags_are_kept_of_what_is_in_effect_and_nothing_else() -> None:
    status = [
        {"revisionName": "iris-a", "latestRevision": True, "percent": 90, "url": "http://…"},
        {"revisionName": "iris-b", "percent": 10, "tag": "old"},
    ]
    expected = [{"revisionName": "iris-a", "percent": 90}, {"revisionName": "iris-b", "percent": 10, "tag": "old"}]
    assert bound_traffic(service("iris-a", NAMED, status)) == expected


@pytest.mark.parametrize(
    ("live", "bound"),
    [
        (service("iris-a", NAMED), True),
        (service("iris-a", NAMED, FOLLOWED), False),
        (service("iris-a", LATEST, FOLLOWED), False),
        (service("iris-a", NAMED, generation=2), False),
        (service("iris-a", [], []), False),
    ],
)
def test_traffic_is_bound_when_names_are_in_effect(live: dict[str, Any], bound: bool) -> None:
    assert is_bound(live) == bound


def test_a_revision_is_the_latest_when_knative_has_seen_its_template_and_says_so() -> None:
    assert is_latest_ready(service("iris-b", LATEST), "iris-b")
    assert not is_latest_ready(service("iris-b", LATEST, generation=2), "iris-b")
    assert not is_latest_ready(service("iris-a", LATEST), "iris-b")


FILLED_IN = {"containers": [{"image": "iris:1", "name": "user-container"}], "containerConcurrency": 0, "timeoutSeconds": 300}


@pytest.mark.parametrize(
    ("revision", "image", "kept"),
    [("iris-a", "iris:1", True), ("iris-b", "iris:1", False), ("iris-a", "iris:2", False)],
    ids=["the same", "another revision", "another content"],
)
def test_what_knative_filled_into_the_same_template_stays(revision: str, image: str, kept: bool) -> None:
    live = service("iris-a", NAMED)
    live["spec"]["template"]["spec"] = FILLED_IN
    said = {"metadata": {"name": revision}, "spec": {"containers": [{"image": image}]}}
    applied = with_template_kept({"spec": {"template": said, "traffic": LATEST}}, live)["spec"]
    assert applied == {"template": live["spec"]["template"] if kept else said, "traffic": LATEST}


def test_the_first_service_is_applied_as_it_was_rendered() -> None:
    assert with_template_kept(RENDERED, None) == RENDERED
