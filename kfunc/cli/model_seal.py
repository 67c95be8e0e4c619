"""`kfunc model seal`: encrypt a model's files, so that only a pod with the key can read them."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from kfunc.cli.function import FILE_NAME
from kfunc.errors import StartupError
from kfunc.storage.credentials import Credentials
from kfunc.storage.digests import files_below
from kfunc.storage.keys import SECRET
from kfunc.storage.sealing import SUFFIX, is_sealed, seal

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
    files = [""] if source.is_file() else files_below(source)
    if not files:
        raise StartupError(f"{source}: holds no file")
    for name in files:
        if is_sealed(source / name):
            raise StartupError(f"{source / name} is sealed already: seal what it was made of")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
            made = Path(beside, target.name)
            for name in files:
                _seal(source / name, made / f"{name}{SUFFIX}" if name else made, key, name)
            made.rename(target)
    except OSError as error:
        raise StartupError(f"{target}: cannot be written: {error.strerror}") from None
    for name in files:
        click.echo(f"sealed {source / name} as {target / f'{name}{SUFFIX}' if name else target}")
    uri, where = _as_named(target)
    click.echo(f"next: model: {{uri: {uri}, sealed: true}} in {where}, and the key in the Secret of storage.env_secret")
    click.echo(f"{source} is as it was: keep it out of the function's folder, for what is there may go into the image")
    return 0


def _as_named(target: Path) -> tuple[str, str]:
    """The sealed model as the nearest func.yaml above it names it, and that file; else as it was given."""
    whole = target.absolute()
    above = next((folder for folder in whole.parents if (folder / FILE_NAME).is_file()), None)
    if above is None:
        return str(target), FILE_NAME
    return f"./{whole.relative_to(above)}", os.path.relpath(above / FILE_NAME)


def _seal(source: Path, target: Path, key: str, name: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    seal(source, target, key, Credentials(os.environ), name)
