"""The real programs that tests talk to: where `make test` gets each, and where a test finds it."""

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "parts"


@dataclass(frozen=True)
class Part:
    """A program or files: built by Go, from Go modules, Debian's packages, or the registries of Maven and npm.

    `program` is what proves that it is there: a file below the folder that it is fetched into.
    `heavy` ones take minutes, and belong to `make test-parts`.
    """

    program: str
    debian: tuple[str, ...] = ()
    go: str = ""  # "MODULE/PATH@VERSION", or a folder of this repository with a go.mod: its program, or the tools that it names
    maven: str = ""  # "GROUP:ARTIFACT:VERSION": its jar and those that it needs
    npm: str = ""  # "PACKAGE@VERSION"
    files: tuple[str, ...] = ()  # "MODULE@VERSION:PATH": files of Go modules, side by side
    heavy: bool = False


PARTS = {
    "axe": Part("node_modules/axe-core/axe.min.js", npm="axe-core@4.14.1"),
    "azurite": Part("node_modules/.bin/azurite-blob", npm="azurite@3.37.0", heavy=True),
    "buildah": Part("usr/bin/buildah", debian=("buildah",), heavy=True),
    "chromium": Part("usr/lib/chromium/chromium", debian=("chromium", "fonts-dejavu-core")),
    "curl": Part("usr/bin/curl", debian=("curl",)),
    # CustomResourceDefinitions of what is rendered and not Kubernetes' own.
    "crds": Part(
        "customresourcedefinitions.gen.yaml",
        files=(
            "istio.io/api@v1.31.4:kubernetes/customresourcedefinitions.gen.yaml",
            "knative.dev/serving@v0.48.1:config/core/300-resources/service.yaml",
            "github.com/kedacore/keda/v2@v2.21.0:config/crd/bases/keda.sh_scaledobjects.yaml",
            *(
                f"github.com/prometheus-operator/prometheus-operator@v0.85.0:example/prometheus-operator-crd/{kind}.yaml"
                for kind in (
                    "monitoring.coreos.com_podmonitors",
                    "monitoring.coreos.com_servicemonitors",
                    "monitoring.coreos.com_prometheusrules",
                )
            ),
        ),
    ),
    "fake-gcs-server": Part("fake-gcs-server", go="github.com/fsouza/fake-gcs-server@v1.56.0", heavy=True),
    "ghz": Part("ghz", go="github.com/bojand/ghz/cmd/ghz@v0.93.0", heavy=True),
    "go-proxy": Part("go-proxy", go="tests/integration/go_proxy"),
    "h2spec": Part("h2spec", go="github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"),
    "istio-oracle": Part("istio-oracle", go="tests/oracles/istio"),
    "kafka": Part("kafka_2.13-3.9.1.jar", maven="org.apache.kafka:kafka_2.13:3.9.1", heavy=True),
    "knative-oracle": Part("knative-oracle", go="tests/oracles/knative"),
    "kubernetes-oracle": Part("kubernetes-oracle", go="tests/oracles/kubernetes"),
    "docker": Part("usr/sbin/dockerd", debian=("docker.io",), heavy=True),
    "docker-registry": Part("usr/bin/docker-registry", debian=("docker-registry",)),
    "nats": Part("usr/sbin/nats-server", debian=("nats-server",)),
    "nghttp2": Part("usr/bin/h2load", debian=("nghttp2-client",)),
    "otel-collector": Part("otel-collector", go="tests/telemetry/collector", heavy=True),
    "pack": Part("pack", go="tests/images/pack", heavy=True),
    "podman": Part("usr/bin/podman", debian=("podman", "crun"), heavy=True),
    "prometheus": Part("usr/bin/promtool", debian=("prometheus",)),
    "rabbitmq": Part("usr/lib/rabbitmq/bin/rabbitmq-server", debian=("rabbitmq-server",)),
    "wrk": Part("usr/bin/wrk", debian=("wrk",)),
    "trivial-pod": Part("trivial-pod", go="tests/e2e/trivial"),
    "versitygw": Part("versitygw", go="github.com/versity/versitygw/cmd/versitygw@v1.8.0", heavy=True),
}


def folder(name: str) -> Path:
    """Where the part is, or will be."""
    return CACHE / name


def program(name: str, path: str = "") -> Path:
    """The part's program, or the file at `path` in its folder. Skips the test where the part is missing."""
    found = folder(name) / (path or PARTS[name].program)
    if not found.exists():
        import pytest  # `make bench` fetches parts without it

        command = "make test-parts" if PARTS[name].heavy else "make parts"
        pytest.skip(f"{name} is not here: {command} fetches it")
    return found


def environment(name: str) -> dict[str, str]:
    """The environment in which programs of a part made from Debian's packages find their shared libraries."""
    found = [*folder(name).glob("usr/lib/*-linux-gnu"), *folder(name).glob("usr/lib/*-linux-gnu/pulseaudio")]
    folders = [str(each) for each in (*found, folder(name) / "usr/lib")]
    return os.environ | {"LD_LIBRARY_PATH": ":".join(folders)}
