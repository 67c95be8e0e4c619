"""`kfunc schema`."""

import click
import msgspec

from kfunc.config.describe import json_schema


@click.command(epilog="\b\nExample:\n  kfunc schema > func.schema.json")
def schema() -> None:
    """Print the JSON Schema of func.yaml, for editors and other tools."""
    click.echo(msgspec.json.format(msgspec.json.encode(json_schema())))
