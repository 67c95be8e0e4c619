"""The connection, over real HTTP: objects in and out, what is sent, what failures say."""

import socket
from pathlib import Path

import pytest

from kfunc.cluster.connection import Cluster, Reply
from kfunc.errors import ClusterError, StartupError
from kfunc.manifests.plan import Manifest
from tests.cluster.api_server import ApiServer, connect

pytestmark = pytest.mark.integration


def settings(name: str = "a", **data: str) -> Manifest:
    about = {"name": name, "namespace": "team", "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data}


def test_what_is_applied_can_be_read(cluster: Cluster) -> None:
    cluster.apply(settings(x="1"))
    found = cluster.get("ConfigMap", "a", "team")
    assert found is not None
    assert found["data"] == {"x": "1"}


def test_an_object_that_is_not_there_is_none(cluster: Cluster) -> None:
    assert cluster.get("ConfigMap", "a", "team") is None


def test_the_items_of_a_list_say_what_they_are(cluster: Cluster) -> None:
    cluster.apply(settings())
    assert [(each["apiVersion"], each["kind"]) for each in cluster.objects("ConfigMap", "team")] == [("v1", "ConfigMap")]


def test_a_list_can_be_of_one_label_only(cluster: Cluster) -> None:
    cluster.apply(settings("a"))
    cluster.apply(settings("b"))
    assert [each["metadata"]["name"] for each in cluster.objects("ConfigMap", "team", {"app": "b"})] == ["b"]


def test_a_kind_that_the_cluster_does_not_know_has_no_objects(cluster: Cluster, api: ApiServer) -> None:
    api.objects.missing.add("Trigger")
    assert cluster.objects("Trigger", "team") == []


def test_a_dry_run_keeps_nothing(cluster: Cluster, api: ApiServer) -> None:
    cluster.apply(settings(), dry_run=True)
    assert api.objects.writes == []
    assert cluster.get("ConfigMap", "a", "team") is None


def test_a_patch_changes_only_its_fields(cluster: Cluster) -> None:
    cluster.apply(settings(x="1", y="2"))
    assert cluster.patch("ConfigMap", "a", "team", {"data": {"y": None}})["data"] == {"x": "1"}


def test_a_patch_of_a_version_that_is_past_is_a_conflict(cluster: Cluster) -> None:
    version = cluster.apply(settings(x="1"))["metadata"]["resourceVersion"]
    cluster.apply(settings(x="2"))
    with pytest.raises(ClusterError) as raised:
        cluster.patch("ConfigMap", "a", "team", {"metadata": {"resourceVersion": version}, "data": {"x": "3"}})
    assert raised.value.code == 409


def test_only_one_of_two_makes_an_object(cluster: Cluster) -> None:
    assert (cluster.create(settings()), cluster.create(settings())) == (True, False)


def test_deleting_says_whether_there_was_something(cluster: Cluster) -> None:
    cluster.apply(settings())
    assert (cluster.delete("ConfigMap", "a", "team"), cluster.delete("ConfigMap", "a", "team")) == (True, False)


def test_the_log_of_a_container_is_its_lines(cluster: Cluster, api: ApiServer) -> None:
    api.objects.logs["iris-1/handler"] = "one\ntwo\nthree"
    assert list(cluster.logs("team", "iris-1", "handler", tail=2)) == ["two", "three"]


def test_a_log_that_is_not_there_is_an_error(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="no log of iris-1: container handler is waiting to start"):
        list(cluster.logs("team", "iris-1", "handler"))


def test_a_port_of_a_pod_can_be_asked(cluster: Cluster, api: ApiServer) -> None:
    api.objects.answers["iris-1:9097/metrics"] = (200, b"kfunc_requests_total 1\n")
    assert cluster.ask_pod("team", "iris-1", 9097, "/metrics") == Reply(200, b"kfunc_requests_total 1\n")


def test_the_namespace_is_the_kubeconfigs(api: ApiServer, tmp_path: Path) -> None:
    api.kubeconfig(tmp_path, namespace="team")
    assert connect().namespace == "team"


def test_without_a_kubeconfig_it_says_where_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(StartupError, match=r"no cluster: there is no kubeconfig at .*none; set KUBECONFIG"):
        connect()


@pytest.mark.parametrize("text", ["", "[]", "{", "kind: Config", "current-context: a\ncontexts: []\nclusters: []\nusers: []\n"])
def test_a_kubeconfig_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    (tmp_path / "broken").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "broken"))
    with pytest.raises(StartupError, match=r"the kubeconfig .*broken cannot be (used|read)"):
        connect()


def test_a_wrong_token_is_said_with_what_to_do(api: ApiServer, tmp_path: Path) -> None:
    api.kubeconfig(tmp_path, token="wrong")  # noqa: S106
    with pytest.raises(ClusterError, match="the cluster does not know you") as raised:
        connect().version()
    assert raised.value.code == 401


def test_a_cluster_that_is_not_there_is_said_with_what_to_check(api: ApiServer, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        api.url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        api.kubeconfig(tmp_path)
        with pytest.raises(
            ClusterError, match="cannot be reached: nothing listens there: check that the cluster runs"
        ) as raised:
            connect().version()
    assert raised.value.code == 0
