"""`kfunc model seal`: encrypt a model's files, so that only a pod with the key can read them."""

import os
from pathlib import Path

import click

from kfunc.errors import StartupError
from kfunc.storage.credentials import Credentials
from kfunc.storage.keys import SECRET
from kfunc.storage.sealing import SUFFIX, seal

EPILOG = """\b
Example:
  export MODEL_KEY=$(head -c 32 /dev/urandom | base64)
  kfunc model seal model.onnx
  kfunc model seal weights/ -o sealed/ --key vault:models
"""


@click.command("seal", epilog=EPILOG)
@click.argument("source", metavar="FILE|DIR", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", metavar="PATH", type=click.Path(path_type=Path), help="Where to; else beside it, with .sealed.")
@click.option(
    "--key", metavar="secret|vault:NAME", default=SECRET, show_default=True, help="The key that wraps each file's own."
)
def seal_command(source: Path, output: Path | None, key: str) -> int:
    """Encrypt FILE, or every file of DIR, with AES-GCM.

    The key is MODEL_KEY (32 bytes as base64), or one of Vault's transit engine at VAULT_ADDR. In func.yaml `sealed: true`
    says that the handler is to decrypt the model into memory; the pod needs the same key.
    """
    target = output or source.with_name(f"{source.name}{SUFFIX}")
    if target.exists():
        raise StartupError(f"{target} exists; remove it, or choose another place with -o")
    credentials = Credentials(os.environ)
    files = [source] if source.is_file() else sorted(each for each in source.rglob("*") if each.is_file())
    if not files:
        raise StartupError(f"{source}: holds no file")
    for file in files:
        to = target if source.is_file() else target / f"{file.relative_to(source)}{SUFFIX}"
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            seal(file, to, key, credentials)
        except OSError as error:
            raise StartupError(f"{to}: cannot be written: {error.strerror}") from None
        click.echo(f"sealed {file} as {to}")
    click.echo(f"next: model: {{uri: {target}, sealed: true}} in func.yaml, and the key in the Secret of storage.env_secret")
    return 0
