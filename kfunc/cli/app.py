"""The group of commands and the one place where an error becomes a message and an exit status.

Start-up pays for no command but the one that is used.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from kfunc import __version__
from kfunc.cli.exit_status import FAILED, INTERRUPTED, MISUSED
from kfunc.cli.lazy_group import LazyGroup
from kfunc.errors import ConfigError, KfuncError, StartupError

COMMANDS = {
    "init": ("kfunc.cli.init:init", "Write a func.yaml for a model or a new Python handler."),
    "validate": ("kfunc.cli.validate:validate", "Check a func.yaml and name every problem in it."),
    "run": ("kfunc.cli.run:run", "Serve the function on this machine, as the pod would."),
    "events": ("kfunc.cli.events_group:events", "Look at logged events, check them, send them again."),
    "invoke": ("kfunc.cli.invoke:invoke", "Send a request to a function and show the answer."),
    "build": ("kfunc.cli.build:build_command", "Make the function's image and push it, without Docker."),
    "render": ("kfunc.cli.render:render_command", "Render the manifests for Knative and Istio."),
    "deploy": ("kfunc.cli.deploy:deploy", "Bring a function to the cluster and wait until it answers."),
    "status": ("kfunc.cli.status:status", "Show a function of the cluster, and what is wrong with it."),
    "logs": ("kfunc.cli.logs:logs", "Show the logs of all its containers."),
    "revisions": ("kfunc.cli.revisions:revisions_command", "Show a function's revisions, and remove unused ones."),
    "delete": ("kfunc.cli.delete:delete", "Delete everything that a function has on the cluster."),
    "import-kserve": ("kfunc.cli.import_kserve:import_kserve", "Make func.yaml of KServe's InferenceServices."),
    "rollout": ("kfunc.cli.rollout_group:rollout", "Move traffic to a new revision in steps, or back."),
    "bench": ("kfunc.cli.bench:bench", "Measure how fast a function answers."),
    "doctor": ("kfunc.cli.doctor:doctor", "Check this machine and the cluster, and say what to do."),
    "debug": ("kfunc.cli.debug:debug", "Collect what the cluster knows of a function in one file."),
    "model": ("kfunc.cli.model_group:model", "Seal a model's files."),
    "convert": ("kfunc.cli.convert:convert", "Convert a model to ONNX, and compare both."),
    "schema": ("kfunc.cli.schema:schema", "Print the JSON Schema of func.yaml."),
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    epilog="\b\nExample:\n  kfunc init iris --model model.onnx\n  kfunc run iris\n  kfunc invoke iris",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="kfunc %(version)s")
def group() -> None:
    """Serve a model as a scale-to-zero inference function, from one func.yaml."""


def program_name(path: str) -> str:
    """What the user typed: `kn` runs any `kn-NAME` on the path as `kn NAME`."""
    return "kn kfunc" if Path(path).name.startswith("kn-") else "kfunc"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 good, 1 failed, 2 usage or invalid func.yaml."""
    try:
        status = group.main(arguments, program_name(sys.argv[0]), standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConfigError as error:
        from kfunc.config.report import render

        click.echo(render(error), err=True)
        return MISUSED
    except KfuncError as error:
        click.echo(f"error: {error.message}", err=True)
        return MISUSED if isinstance(error, StartupError) else FAILED
    except (KeyboardInterrupt, EOFError, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone; the interpreter's own flush at the end must not say so again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
