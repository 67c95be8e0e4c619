"""`kfunc rollout`: safe changes of a function on a cluster. Each command is imported when it is used."""

import click

from kfunc.cli.lazy_group import LazyGroup

SUBCOMMANDS = {
    "start": ("kfunc.cli.rollout_start:start", "Roll out what func.yaml describes, beside what has the traffic."),
    "status": ("kfunc.cli.rollout_status:status", "Show how far the rollout is, and what it has measured."),
    "watch": ("kfunc.cli.rollout_status:watch", "Show it until it ends."),
    "pause": ("kfunc.cli.rollout_commands:pause", "Stay at the present step."),
    "resume": ("kfunc.cli.rollout_commands:resume", "Go on after a pause, or where a driver was lost."),
    "promote": ("kfunc.cli.rollout_commands:promote", "Give the new revision everything now."),
    "abort": ("kfunc.cli.rollout_commands:abort", "Give everything back to the stable revision."),
    "undo": ("kfunc.cli.rollout_start:undo", "Go back to the revision before the last promotion."),
    "job": ("kfunc.cli.rollout_job:job", "Print the Job that drives rollouts from within the cluster."),
    "drive": ("kfunc.cli.rollout_commands:drive", "Drive a rollout that was started elsewhere: what the Job runs."),
}
EPILOG = """\b
Example:
  kfunc rollout start
  kfunc rollout watch iris
  kfunc rollout undo iris
"""


@click.group(cls=LazyGroup, table=SUBCOMMANDS, epilog=EPILOG)
def rollout() -> None:
    """Move the traffic to a new revision in steps, look at its answers, and go back by itself where they are bad."""
