"""Somebody else's server: V1 alone, one request after the other; each answer says how many rows its call had."""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

CALL_S = 0.1
one = Lock()


class Server(BaseHTTPRequestHandler):
    """`doubles`, on port 9000."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer({"name": "doubles", "ready": True})

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
        with one:
            time.sleep(CALL_S)
        self.answer({"predictions": [{"doubled": 2 * row, "rows": len(rows)} for row in rows]})

    def answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 9000), Server).serve_forever()
