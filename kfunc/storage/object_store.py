"""Objects of S3 and everything that speaks its interface, of Google Cloud Storage and of Azure, by obstore."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from kfunc.config.model_addresses import ModelAddress
from kfunc.errors import ModelLoadError
from kfunc.storage.contract import Changed, Interrupted, Listing, RemoteFile
from kfunc.storage.credentials import Credentials
from kfunc.storage.names import MANY
from kfunc.storage.outages import cannot_find, cannot_reach

BLOCK = 64 * 1024  # what comes before a connection breaks and is less than this is asked for again
NO_TRIES, TRIES_S = 0, 30.0  # who asks tries again, and says so
TIMEOUT, CONNECT_TIMEOUT = "120s", "10s"
PREFIXES = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_KEY",
}
MISSING = {
    "Missing AccessKeyId": "AWS_ACCESS_KEY_ID",
    "Missing SecretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "Account must be specified": "AZURE_STORAGE_ACCOUNT_NAME",
}
METADATA = ("169.254.169.254", "metadata.google.internal")  # asked by obstore where no variable has credentials
YES = ("true", "1")
STATUS = re.compile(r"status code: (\d{3})")
ASKED = re.compile(r"uri: Some\(\s*\w+://([^/\s,]+)")
SYSTEM = re.compile(r'message: "([^"]+)"')


class ObjectSource:
    """An object, or all objects under a prefix."""

    def __init__(self, address: ModelAddress, credentials: Credentials) -> None:
        self._address = address
        self._uri = f"{address.scheme}://{address.host}/{address.path}"
        self._endpoint = next(iter(endpoints(address, credentials)), "")
        self._store = open_store(address, credentials)

    def list_files(self, known: Listing | None = None) -> Listing:
        """The object of that name, or else those below it."""
        from obstore.exceptions import BaseError

        try:
            return self._list()
        except (BaseError, OSError, ValueError) as error:
            raise self._failed(error) from None

    def _list(self) -> Listing:
        path = self._address.path
        if path:
            try:
                return Listing([_file(self._store.head(path), self._address.name)], is_file=True)
            except (FileNotFoundError, IsADirectoryError):
                pass
        files = []
        for batch in self._store.list(f"{path}/" if path else None):
            for meta in batch:
                name = meta["path"][len(path) + 1 if path else 0 :]
                if name and not name.endswith("/"):
                    files.append(_file(meta, name))
            if len(files) > MANY:
                raise ModelLoadError(f"{self._uri}: holds more than {MANY} objects")
        if not files:
            raise ModelLoadError(f"{self._uri}: there is no such object, and none below it")
        return Listing(files)

    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """A range, of the version that was listed."""
        from obstore.exceptions import BaseError, PreconditionError

        options: Any = {"range": (start, stop)} | ({"if_match": file.version} if file.version else {})
        try:
            for block in self._store.get(file.place, options=options).stream(min_chunk_size=BLOCK):
                yield bytes(block)
        except PreconditionError:
            raise Changed(f"{self._uri}: {file.name} changes while it is downloaded") from None
        except (FileNotFoundError, PermissionError) as error:
            raise self._failed(error) from None
        except (BaseError, OSError) as error:
            raise self._interrupted(error) from None

    def close(self) -> None:
        """obstore closes its connections by itself."""

    def _failed(self, error: Exception) -> Exception:
        told, asked = STATUS.search(str(error)), ASKED.search(str(error))
        status = told[1] if told else ""
        if asked and asked[1] in METADATA:
            return self._without_keys(asked[1], status)
        refused = isinstance(error, PermissionError) or type(error).__name__ == "UnauthenticatedError"
        if refused or status in ("401", "403"):
            prefix = PREFIXES[self._address.scheme]
            return ModelLoadError(f"{self._uri}: the storage refuses the credentials of {prefix}_… (docs/storage.md)")
        if isinstance(error, FileNotFoundError) or status == "404":
            return ModelLoadError(f"{self._uri}: there is no such bucket or object")
        return self._interrupted(error)

    def _without_keys(self, place: str, status: str) -> Exception:
        """No variable has credentials, and the machine that this runs on does not give them (yet) either."""
        scheme = self._address.scheme
        way = f"{KEYS[scheme]}, or {PREFIXES[scheme]}_SKIP_SIGNATURE=true for what is public"
        if status.startswith("4"):
            return ModelLoadError(f"{self._uri}: no credentials are set, and {place} has none: set {way} (docs/storage.md)")
        return Interrupted(f"no credentials are set, and {place} gives none", check=f"check {way}")

    def _interrupted(self, error: Exception) -> Interrupted:
        """obstore says where it did not get through only in its debugging lines."""
        text = str(error)
        asked, cause = ASKED.search(text), SYSTEM.search(text)
        named_by = self._endpoint or "the address"
        if asked and "dns error" in text:
            return cannot_find(asked[1], "no such name", named_by)
        return cannot_reach(asked[1], cause[1], named_by) if asked and cause else Interrupted(first_line(error))


def _file(meta: Any, name: str) -> RemoteFile:
    version = meta.get("e_tag") or ""
    return RemoteFile(name, int(meta["size"]), version, meta["path"])


def first_line(error: Exception) -> str:
    """What obstore says, without its debugging lines."""
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__


def endpoints(address: ModelAddress, credentials: Credentials) -> dict[str, str]:
    """The variables that name another server than the cloud's."""
    names = [f"{PREFIXES[address.scheme]}_{end}" for end in ("ENDPOINT", "ENDPOINT_URL")]
    return {name: value for name in names if (value := credentials.environ.get(name, ""))}


def open_store(address: ModelAddress, credentials: Credentials) -> Any:
    """The client of an s3:, gs: or az: address. Raises ModelLoadError where obstore is not installed."""
    try:
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError:
        raise ModelLoadError(f"{address.scheme}: needs obstore: pip install 'kfunc[object-storage]'") from None
    environ, prefix = credentials.environ, PREFIXES[address.scheme]
    plain = environ.get(f"{prefix}_ALLOW_HTTP", "").lower() in YES
    plain = plain or any(each.startswith("http://") for each in endpoints(address, credentials).values())
    options: dict[str, Any] = {
        "client_options": {"timeout": TIMEOUT, "connect_timeout": CONNECT_TIMEOUT, "allow_http": plain},
        "retry_config": {"max_retries": NO_TRIES, "retry_timeout": timedelta(seconds=TRIES_S)},
    }
    kind: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[address.scheme]
    if address.scheme == "s3":
        options |= credentials.aws()
    elif address.scheme == "gs" and (key := credentials.google()):
        options["service_account"] = key
    try:
        return kind(address.host, **options)
    except (ValueError, OSError) as error:
        raise ModelLoadError(f"{address.scheme}://{address.host}: {first_line(error)}") from None
    except Exception as error:  # obstore's own, of settings in the environment
        for cause, variable in MISSING.items():
            if cause in str(error):
                raise ModelLoadError(f"{address.scheme}://{address.host}: set {variable} (docs/storage.md)") from None
        raise ModelLoadError(f"{address.scheme}://{address.host}: {first_line(error)} ({prefix}_…, docs/storage.md)") from None
