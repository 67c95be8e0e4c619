"""When traffic stays bound to revisions by name, and how."""

from typing import Any

import pytest

from kfunc.cluster.binding import as_it_is, bound_traffic, is_bound, is_latest_ready, needs_names, with_names

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
