"""Where credentials are found: the usual variables, the usual files, and the files of `storage.file_secret`."""

from collections.abc import Mapping
from pathlib import Path

from kfunc.config.places import CREDENTIALS
from kfunc.errors import ModelLoadError

GOOGLE_FILES = ("google.json", "service-account.json", "key.json")
GOOGLE_VARIABLES = (
    *("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY"),
    "GOOGLE_APPLICATION_CREDENTIALS",
)


class Credentials:
    """The environment of this process, and the folder that a Secret is mounted at."""

    def __init__(self, environ: Mapping[str, str], folder: Path = Path(CREDENTIALS)) -> None:
        self.environ = environ
        self._folder = folder

    def file(self, variable: str, name: str, usual: str = "") -> Path | None:
        """The file that a variable names, `name` in the Secret's folder, or the usual one below the home folder."""
        named = self.environ.get(variable, "")
        if named:
            path = Path(named)
            if not path.exists():
                raise ModelLoadError(f"{variable} names {named}, and there is no such file")
            return path
        found = [self._folder / name] if name else []
        found += [Path(self.environ.get("HOME", "/nonexistent")) / usual] if usual else []
        return next((path for path in found if path.is_file()), None)

    def text(self, variable: str, name: str, usual: str = "") -> str:
        """What a variable holds, or else what the file holds; empty if neither is there."""
        if value := self.environ.get(variable, ""):
            return value.strip()
        path = self.file("", name, usual)
        return path.read_text(encoding="utf-8", errors="replace").strip() if path else ""

    def google(self) -> str:
        """The key file of a service account in the Secret's folder, where no variable says another."""
        if any(self.environ.get(name) for name in GOOGLE_VARIABLES):
            return ""
        return next((str(self._folder / name) for name in GOOGLE_FILES if (self._folder / name).is_file()), "")

    def aws(self) -> dict[str, str]:
        """Keys of the shared credentials file's profile, where no variable has them."""
        if self.environ.get("AWS_ACCESS_KEY_ID") or self.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
            return {}
        path = self.file("AWS_SHARED_CREDENTIALS_FILE", "credentials", ".aws/credentials")
        if path is None:
            return {}
        from configparser import ConfigParser, Error

        parser = ConfigParser(interpolation=None)
        try:
            parser.read(path, encoding="utf-8")
        except (Error, UnicodeError):
            raise ModelLoadError(f"{path}: is not a file of AWS credentials") from None
        profile = self.environ.get("AWS_PROFILE", "default")
        if not parser.has_section(profile):
            raise ModelLoadError(f"{path}: has no profile {profile}; AWS_PROFILE names another")
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        return {name: parser.get(profile, name) for name in names if parser.has_option(profile, name)}

    def for_host(self, host: str) -> dict[str, str]:
        """Header fields for an http(s) server: MODEL_AUTHORIZATION, or what a netrc file has for the host."""
        if value := self.environ.get("MODEL_AUTHORIZATION", ""):
            return {"Authorization": value}
        path = self.file("NETRC", "netrc", ".netrc")
        if path is None:
            return {}
        from base64 import b64encode
        from netrc import NetrcParseError, netrc

        try:
            found = netrc(str(path)).authenticators(host)
        except (NetrcParseError, UnicodeError) as error:
            raise ModelLoadError(f"{path}: is not a netrc file: {error}") from None
        if found is None:
            return {}
        return {"Authorization": "Basic " + b64encode(f"{found[0]}:{found[2]}".encode()).decode()}
