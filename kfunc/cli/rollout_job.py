"""`kfunc rollout job`: the objects that let a rollout be driven from within the cluster."""

import secrets
from pathlib import Path

import click
from msgspec import UNSET

from kfunc.cli.function import find
from kfunc.cli.render import parse_image
from kfunc.config.complete import namespace_of
from kfunc.config.function import Function
from kfunc.config.load import load_function
from kfunc.manifests.rollout_job import rollout_job
from kfunc.manifests.yaml_text import write


@click.command(epilog="\b\nExample:\n  kfunc rollout job --image registry.example.com/me/kfunc:1 | kubectl apply -f -")
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), default=".")
@click.option("--image", required=True, callback=parse_image, help="Any image that has kfunc with its extra cluster in it.")
@click.option("-n", "--namespace", metavar="NAME", default="", help="Namespace; func.yaml's by default.")
def job(directory: Path, image: str, namespace: str) -> int:
    """Print a Job with its ServiceAccount and its rights, which drives the rollout of the function in DIR.

    Each Job has a name of its own: an earlier one that has ended stays for a day, and does not start again.

    `kfunc rollout start --detach` begins a rollout for it; `start --job-image` does both.
    """
    function = load_function(find(directory))
    traffic = function.inference.traffic
    more = []
    if traffic is not UNSET and function.inference.access is not UNSET and function.inference.access.at == "gateway":
        more.append(traffic.gateway_namespace)
    if traffic is not UNSET and traffic.analysis.prometheus.startswith("service:"):
        more.append(traffic.analysis.prometheus.removeprefix("service:").partition("/")[0])
    place, secret = namespace or namespace_of(function), log_secret(function)
    manifests = rollout_job(function.name, place, image, secrets.token_hex(4), sorted(set(more)), secret)
    click.echo("---\n".join(write(manifest) for manifest in manifests), nl=False)
    return 0


def log_secret(function: Function) -> str:
    """The Secret with the variables for the object store of the log that is sent again; empty where there is no such log."""
    traffic = function.inference.traffic
    load = UNSET if traffic is UNSET else traffic.analysis.load
    return function.inference.storage.env_secret if load is not UNSET and "://" in load.source else ""
