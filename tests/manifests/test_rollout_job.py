"""The Job that drives rollouts: whole, and with no right that it does not need."""

from kfunc.manifests.rollout_job import rollout_job

MADE = rollout_job("iris", "default", "example.com/kfunc:1", "ab12", ["istio-system"])
BY_KIND = {(one["kind"], one["metadata"]["namespace"]): one for one in MADE}


def test_it_has_an_account_roles_where_it_works_and_a_job() -> None:
    assert list(BY_KIND) == [
        ("ServiceAccount", "default"),
        ("Role", "default"),
        ("RoleBinding", "default"),
        ("Role", "istio-system"),
        ("RoleBinding", "istio-system"),
        ("Job", "default"),
    ]


def test_in_other_namespaces_its_names_tell_whose_they_are() -> None:
    assert BY_KIND["Role", "istio-system"]["metadata"]["name"] == "default.iris-rollout"


def test_a_rollback_fails_the_job_and_anything_else_is_tried_again() -> None:
    spec = BY_KIND["Job", "default"]["spec"]
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"], spec["backoffLimit"] > 0) == ("FailJob", [1], True)


def test_it_reads_no_secrets_and_changes_no_rights() -> None:
    resources = {name for one in MADE if one["kind"] == "Role" for rule in one["rules"] for name in rule["resources"]}
    assert not resources & {"secrets", "roles", "rolebindings", "pods/exec"}
    assert "*" not in resources


def test_a_log_in_an_object_store_is_read_with_the_functions_own_credentials() -> None:
    job = rollout_job("iris", "default", "example.com/kfunc:1", "ab12", [], "s3-credentials")[-1]
    assert job["spec"]["template"]["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "s3-credentials"}}]
