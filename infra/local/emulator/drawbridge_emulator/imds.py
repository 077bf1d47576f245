"""The instance metadata service of one machine, version 2 only: every answer needs a token.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 1338
MAX_TOKEN_SECONDS = 21_600
TOKEN_PATH = "/latest/api/token"
TOKEN_HEADER = "X-aws-ec2-metadata-token"
TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a machine may know about itself."""

    instance_id: str
    address: str
    public_address: str
    region: str
    zone: str
    account: str
    image_id: str
    instance_type: str
    user_data: bytes
    role: str
    """The name of the instance profile's role, or empty."""
    credentials: Callable[[], dict[str, str]]
    """The role's current keys, as IMDS words them."""

    def items(self) -> dict[str, Callable[[], bytes]]:
        """What is under /latest/, by path. Folders list themselves and are not in here."""
        items: dict[str, Callable[[], bytes]] = {
            "meta-data/instance-id": self.instance_id.encode,
            "meta-data/instance-type": self.instance_type.encode,
            "meta-data/ami-id": self.image_id.encode,
            "meta-data/local-ipv4": self.address.encode,
            "meta-data/placement/region": self.region.encode,
            "meta-data/placement/availability-zone": self.zone.encode,
            "dynamic/instance-identity/document": lambda: json.dumps(self._document(), indent=2).encode(),
        }
        if self.public_address:
            items["meta-data/public-ipv4"] = self.public_address.encode
        if self.user_data:
            items["user-data"] = lambda: self.user_data
        if self.role:
            items[f"meta-data/iam/security-credentials/{self.role}"] = lambda: json.dumps(self.credentials()).encode()
        return items

    def _document(self) -> dict[str, str]:
        return {
            "accountId": self.account,
            "architecture": "x86_64",
            "availabilityZone": self.zone,
            "imageId": self.image_id,
            "instanceId": self.instance_id,
            "instanceType": self.instance_type,
            "privateIp": self.address,
            "region": self.region,
            "version": "2017-09-30",
        }


class MetadataService:
    """Serves one machine, on that machine's own address."""

    def __init__(self, metadata: Metadata) -> None:
        handler = type("Handler", (_Handler,), {"items": metadata.items(), "tokens": {}})
        self._server = ThreadingHTTPServer((metadata.address, PORT), handler)
        self._server.daemon_threads = True
        self.url = f"http://{metadata.address}:{PORT}"
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name=self.url, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    items: dict[str, Callable[[], bytes]]
    tokens: dict[str, float]
    """When each token ends."""

    def do_PUT(self) -> None:
        try:
            seconds = int(self.headers.get(TTL_HEADER, ""))
        except ValueError:
            seconds = 0
        if self.path != TOKEN_PATH:
            self._answer(404, b"")
        elif "X-Forwarded-For" in self.headers:
            self._answer(403, b"")
        elif not 1 <= seconds <= MAX_TOKEN_SECONDS:
            self._answer(400, b"")
        else:
            token = secrets.token_urlsafe(32)
            self.tokens[token] = time.monotonic() + seconds
            self._answer(200, token.encode(), {TTL_HEADER: str(seconds)})

    def do_GET(self) -> None:
        ends = self.tokens.get(self.headers.get(TOKEN_HEADER, ""))
        if ends is None or ends < time.monotonic():
            self._answer(401, b"")
            return
        path = self.path.removeprefix("/latest/").strip("/")
        if path in self.items:
            try:
                self._answer(200, self.items[path]())
            except Exception as error:
                self._answer(500, str(error).encode())
            return
        below = {item.removeprefix(f"{path}/") for item in self.items if item.startswith(f"{path}/")}
        names = sorted({name.partition("/")[0] + ("/" if "/" in name else "") for name in below})
        self._answer(200 if names else 404, "\n".join(names).encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: a machine asks often."""
