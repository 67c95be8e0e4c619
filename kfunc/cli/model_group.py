"""`kfunc model`: what is done with a model's files."""

import click

from kfunc.cli.model_seal import seal_command

EPILOG = """\b
Example:
  kfunc model seal model.onnx
"""


@click.group("model", epilog=EPILOG)
def model() -> None:
    """Prepare a model's files: seal them."""


model.add_command(seal_command)
