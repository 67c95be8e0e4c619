"""Servers of object storage: S3's, Google's and Azure's interfaces."""

import base64
import hashlib
import hmac
import json
import threading
from email.utils import formatdate
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.parts import program
from tests.parts.servers import Server

KEY, SECRET = "tester", "tester-secret"
AZURE_ACCOUNT = "devstoreaccount1"
# The key that Azurite publishes for its account.
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class S3(Server):
    """Versity's gateway over a folder: a bucket is a folder in it."""

    def command(self) -> list[str]:
        address = f"127.0.0.1:{self.port}"
        return [
            str(program("versitygw")),
            "--access",
            KEY,
            "--secret",
            SECRET,
            "--port",
            address,
            "posix",
            str(self.folder / "data"),
        ]

    def start(self) -> None:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        super().start()

    def make_bucket(self, name: str) -> None:
        """A bucket, before the server starts or after."""
        (self.folder / "data" / name).mkdir(parents=True, exist_ok=True)

    def client_environment(self, port: int = 0) -> dict[str, str]:
        """What a client's environment says to use this server, or a relay to it at `port`."""
        return {
            "AWS_ENDPOINT": f"http://127.0.0.1:{port or self.port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }


class SignedUploads(BaseHTTPRequestHandler):
    """Passes requests on; fake-gcs-server takes a plain PUT only with the mark of a signed one, and sends no ETag."""

    protocol_version = "HTTP/1.1"
    upstream = 0

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        mark = "?X-Goog-Algorithm=GOOG4-RSA-SHA256" if self.command == "PUT" else ""
        del self.headers["host"]  # a relay's, perhaps: the server knows only the one that it was told
        self.headers["host"] = f"127.0.0.1:{self.connection.getsockname()[1]}"
        connection = HTTPConnection("127.0.0.1", self.upstream, timeout=10)
        try:
            connection.request(self.command, self.path + mark, body or None, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
        except OSError:  # it is down
            self.close_connection = True
            return
        finally:
            connection.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                self.send_header(name, value)
        if self.command == "PUT" and answer.getheader("etag") is None:  # Google's own always sends one
            self.send_header("etag", '"0"')
        length = answer.getheader("content-length") if self.command == "HEAD" else str(len(content))
        self.send_header("content-length", length or "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is printed."""


class Gcs(Server):
    """fake-gcs-server over a folder, behind a proxy that outlives it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        handler = type("Handler", (SignedUploads,), {"upstream": self.port})
        self._proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._proxy.serve_forever)
        self._thread.start()

    def __exit__(self, *error: Any) -> None:
        self._proxy.shutdown()
        self._thread.join()
        self._proxy.server_close()
        self.kill()

    def command(self) -> list[str]:
        root = ("-filesystem-root", str(self.folder / "data"), "-public-host", f"127.0.0.1:{self._proxy.server_port}")
        listen = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port))
        return [str(program("fake-gcs-server")), *listen, "-backend", "filesystem", *root, "-log-level", "warn"]

    def make_bucket(self, name: str) -> None:
        """A bucket, before the server starts."""
        (self.folder / "data" / name).mkdir(parents=True, exist_ok=True)

    @property
    def door(self) -> int:
        """The port that clients use."""
        return self._proxy.server_port

    def client_environment(self, port: int = 0) -> dict[str, str]:
        """What a client's environment says to use this server, or a relay to it: a key file that asks for no token."""
        key = self.folder / "key.json"
        nobody = {"client_email": "", "private_key": "", "private_key_id": ""}
        key.write_text(json.dumps({"gcs_base_url": f"http://127.0.0.1:{port or self.door}", "disable_oauth": True, **nobody}))
        return {"GOOGLE_SERVICE_ACCOUNT": str(key), "GOOGLE_ALLOW_HTTP": "true"}


class Azure(Server):
    """Azurite, Microsoft's own emulator of blob storage."""

    def command(self) -> list[str]:
        listen = ("--blobHost", "127.0.0.1", "--blobPort", str(self.port))
        location = ("--location", str(self.folder / "data"), "--silent", "--skipApiVersionCheck", "--disableTelemetry")
        return ["node", str(program("azurite").resolve()), *listen, *location]

    def make_bucket(self, name: str) -> None:
        """A container, while the server runs. Shared Key authorization, version 2015-02-21 and later."""
        date, path = formatdate(usegmt=True), f"/{AZURE_ACCOUNT}/{name}"
        resource = f"/{AZURE_ACCOUNT}{path}\nrestype:container"
        text = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:2021-08-06\n{resource}"
        signature = hmac.digest(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256)
        fields = {
            "x-ms-date": date,
            "x-ms-version": "2021-08-06",
            "content-length": "0",
            "authorization": f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(signature).decode()}",
        }
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("PUT", f"{path}?restype=container", headers=fields)
        answer = connection.getresponse()
        assert answer.status in (201, 409), answer.read()
        connection.close()

    def client_environment(self, port: int = 0) -> dict[str, str]:
        """What a client's environment says to use this server, or a relay to it at `port`."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
            "AZURE_ENDPOINT": f"http://127.0.0.1:{port or self.port}/{AZURE_ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
        }
