"""The distribution API by hand: single requests as no ordinary client sends them."""

import hashlib
import json
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.rig.images import MEDIA, Layout

_ANSWER = 60.0


def digest_of(data: bytes) -> str:
    """The digest of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The OCI code of an error body; empty when there is none."""
        return str(self.error.get("code", ""))

    @property
    def error(self) -> dict[str, Any]:
        """The first error of an error body."""
        if not self.headers.get("Content-Type", "").startswith("application/json") or not self.body:
            return {}
        errors: list[dict[str, Any]] = json.loads(self.body).get("errors", [{}])
        return errors[0]


class Wire:
    """Requests to one registry, each on a connection of its own; an answer may take `patience` seconds.

    Each comes from the address `source` and has the header `authorization`, where these are given; with `tls` it is one
    of HTTPS. `headers` are on each one.
    """

    def __init__(
        self,
        url: str,
        *,
        patience: float = _ANSWER,
        source: str = "",
        authorization: str | None = None,
        tls: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        address = urlsplit(url)
        self._tls = tls
        self._patience = patience
        self._source = (source, 0) if source else None
        self._headers = dict(headers or {}) | ({} if authorization is None else {"Authorization": authorization})
        self._host, self._port = address.hostname or "", address.port or 80

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; an iterable body goes out chunked, without a length."""
        connection = self._connection()
        try:
            chunked = body is not None and not isinstance(body, bytes)
            connection.request(method, path, body, self._headers | dict(headers or {}), encode_chunked=chunked)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def stream(self, path: str, headers: Mapping[str, str]) -> HTTPResponse:
        """Begin to GET something that goes on; closing the answer hangs up."""
        connection = HTTPConnection(self._host, self._port, timeout=_ANSWER)
        connection.request("GET", path, headers=dict(headers) | {"Connection": "close"})
        return connection.getresponse()

    def hang_up(self, method: str, path: str, announced: int, sent: bytes) -> None:
        """Announce a body of some length, send less of it, and be gone."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nContent-Length: {announced}\r\n\r\n"
        with socket.create_connection((self._host, self._port), timeout=_ANSWER) as connection:
            connection.sendall(head.encode() + sent)

    def begin(self, repository: str, query: str = "") -> str:
        """Open an upload session and return its Location."""
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/{query}")
        assert answer.status == 202, answer
        return answer.headers["Location"]

    def push_blob(self, repository: str, data: bytes) -> str:
        """Push a blob with POST and PUT, and return its digest."""
        digest = digest_of(data)
        answer = self.ask("PUT", finishing(self.begin(repository), digest), data)
        assert answer.status == 201, answer
        return digest

    def push_manifest(
        self, repository: str, reference: str, raw: bytes, media_type: str = MEDIA["oci"].manifest
    ) -> Answer:
        """Put a manifest."""
        return self.ask("PUT", f"/v2/{repository}/manifests/{reference}", raw, {"Content-Type": media_type})

    def push(self, repository: str, tag: str, layout: Layout) -> str:
        """Push a whole image, whatever the layout's own tag is; return its digest."""
        for child in layout.children:
            self.push_blob(repository, layout.blob(child.digest).read_bytes())
        answer = self.push_manifest(repository, tag, layout.manifest, layout.top.media_type)
        assert answer.status == 201, answer
        return layout.digest

    def _connection(self) -> HTTPConnection:
        if not self._tls:
            return HTTPConnection(self._host, self._port, timeout=self._patience, source_address=self._source)
        return HTTPSConnection(
            self._host, self._port, timeout=self._patience, source_address=self._source, context=self._tls
        )


class AdminWire(Wire):
    """Requests to the admin socket of a daemon."""

    def __init__(self, address: Path, *, patience: float = _ANSWER) -> None:
        super().__init__("http://registry-mirror", patience=patience)
        self._address = address

    def _connection(self) -> HTTPConnection:
        return _UnixConnection(self._address, self._patience)


class _UnixConnection(HTTPConnection):
    """A connection to a unix socket."""

    def __init__(self, address: Path, patience: float) -> None:
        super().__init__("registry-mirror", timeout=patience)
        self._address = address

    def connect(self) -> None:
        """Connect to the socket, whatever the host is called."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._address))


def finishing(location: str, digest: str) -> str:
    """The address that ends an upload session."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def manifest(config: bytes, *layers: bytes, media_type: str = MEDIA["oci"].manifest) -> bytes:
    """The smallest manifest that names a config and some layers."""

    def descriptor(media: str, data: bytes) -> dict[str, object]:
        return {"mediaType": media, "digest": digest_of(data), "size": len(data)}

    body = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor("application/vnd.example.config", config),
        "layers": [descriptor("application/vnd.example.layer", layer) for layer in layers],
    }
    return json.dumps(body).encode()
