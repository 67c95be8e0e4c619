"""Who this machine is at a registry: Docker's config.json, Podman's auth.json, and their credential helpers."""

import base64
import binascii
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from kfunc.errors import RegistryError
from kfunc.registries.references import DOCKER_HUB

HUB_KEY = "https://index.docker.io/v1/"
HELPER_S = 30
TOKEN_USER = "<token>"  # noqa: S105, what helpers say for a user that stands for an identity token
NOTHING_STORED = "credentials not found"


class Credentials(Struct, frozen=True):
    """A user with a password, or an identity token instead."""

    user: str = ""
    password: str = ""
    identity_token: str = ""


ANONYMOUS = Credentials()


def config_files(environ: Mapping[str, str]) -> list[Path]:
    """Where credentials may stand, the first that has some wins."""
    home = Path(environ.get("HOME") or "/")
    found = [Path(environ["REGISTRY_AUTH_FILE"])] if environ.get("REGISTRY_AUTH_FILE") else []
    found.append(Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json")
    if environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(environ["XDG_RUNTIME_DIR"]) / "containers/auth.json")
    return [*found, home / ".config/containers/auth.json"]


def find_credentials(registry: str, repository: str, environ: Mapping[str, str], first: Sequence[Path] = ()) -> Credentials:
    """What the files say of a registry, those of `first` before the usual ones; `ANONYMOUS` where none says anything.

    Raises RegistryError.
    """
    for file in (*first, *config_files(environ)):
        found = _of_file(file, registry, repository, environ)
        if found:
            return found
    return ANONYMOUS


def _of_file(file: Path, registry: str, repository: str, environ: Mapping[str, str]) -> Credentials | None:
    try:
        settings = msgspec.json.decode(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RegistryError(
            f"cannot read {file}: {error.strerror}; correct its mode, or set DOCKER_CONFIG to another folder"
        ) from None
    except msgspec.DecodeError as error:
        raise RegistryError(f"{file} is not JSON ({error}); `docker login {registry}` writes it") from None
    if not isinstance(settings, dict):
        raise RegistryError(f"{file} is no object; `docker login {registry}` writes it")
    names = [HUB_KEY, DOCKER_HUB, "index.docker.io"] if registry == DOCKER_HUB else [registry]
    helpers, auths = _table(settings, "credHelpers"), _table(settings, "auths")
    for name in names:
        helper = helpers.get(name) or (settings.get("credsStore") if _may_hold(auths, name) else None)
        if helper:
            found = ask_helper(str(helper), name, environ)
            if found:
                return found
    return _of_auths(auths, _keys(names, repository), file)


def _table(settings: dict[str, Any], name: str) -> dict[str, Any]:
    found = settings.get(name)
    return found if isinstance(found, dict) else {}


def _may_hold(noted: dict[str, Any], name: str) -> bool:
    """The default store is asked for what `docker login` has noted, and where nothing is noted at all."""
    return not noted or any(key in noted for key in (name, f"https://{name}", f"https://{name}/v1/"))


def _keys(names: list[str], repository: str) -> list[str]:
    """Podman writes keys for parts of a registry as well; the longest wins."""
    parts = repository.split("/")
    scoped = [f"{name}/{'/'.join(parts[:count])}" for name in names for count in range(len(parts), 0, -1)]
    return [
        *scoped,
        *(form for name in names for form in (name, f"https://{name}", f"https://{name}/v1/", f"https://{name}/v2/")),
    ]


def _of_auths(auths: dict[str, Any], keys: list[str], file: Path) -> Credentials | None:
    for key in keys:
        entry = auths.get(key)
        if not isinstance(entry, dict):
            continue
        token = str(entry.get("identitytoken") or "")
        user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
        if entry.get("auth"):
            try:
                user, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
                if not colon:
                    raise ValueError
            except (ValueError, TypeError, binascii.Error):
                raise RegistryError(f"{file}: auths.{key}.auth is not the base64 of USER:PASSWORD; log in again") from None
        if user or token:
            return Credentials(user, password, token)
    return None


def ask_helper(helper: str, server: str, environ: Mapping[str, str]) -> Credentials | None:
    """What `docker-credential-HELPER get` says; None where it has nothing. Raises RegistryError."""
    program = f"docker-credential-{helper}"
    if "/" in helper:
        raise RegistryError(f"Docker's config.json names the credential helper {helper!r}, which is no name; correct it there")
    try:
        done = subprocess.run(
            [program, "get"], input=server, env=dict(environ), capture_output=True, text=True, timeout=HELPER_S, check=False
        )
    except FileNotFoundError:
        raise RegistryError(
            f"Docker's config.json names {program}, which is not on the path: install it, or log in again"
        ) from None
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        raise RegistryError(f"{program} gave no answer for {server}; try `echo {server} | {program} get`") from None
    said = (done.stdout + done.stderr).strip()
    if done.returncode:
        if NOTHING_STORED in said:
            return None
        raise RegistryError(f"{program} failed for {server}: {said.splitlines()[-1] if said else done.returncode}")
    try:
        answer = msgspec.json.decode(done.stdout, type=dict[str, str | None])
    except msgspec.MsgspecError:
        raise RegistryError(f"{program} answered something else than JSON; try `echo {server} | {program} get`") from None
    user, secret = answer.get("Username") or "", answer.get("Secret") or ""
    return Credentials(identity_token=secret) if user == TOKEN_USER else Credentials(user, secret)
