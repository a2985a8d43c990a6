"""A token server, as distribution's specification has it: real signed tokens, which a real registry checks."""

import base64
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

import trustme
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.rig.web import Bearer, Login

SERVICE = "registry.rig"
ISSUER = "rig"
# How long after its end docker-registry still takes a token, in seconds.
_LEEWAY = 60


@dataclass(frozen=True)
class Asked:
    """A request for a token."""

    method: str
    authorization: str | None
    fields: dict[str, list[str]]

    @property
    def scopes(self) -> list[str]:
        """What it is to be good for."""
        return [scope for text in self.fields.get("scope", []) for scope in text.split()]


@dataclass
class Answer:
    """What the server says instead of giving a token."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class TokenServer:
    """Gives tokens to whoever has the `login`, or the `identity` token in its place; to all when there is neither.

    What a test may change at any time: `instead`, an answer to everything; `lifetime`, for how many seconds from now
    the registry takes new tokens; `claimed`, for how many we are told that it does; `granted`, whether a token allows
    what it was asked for.
    """

    def __init__(self, directory: Path, login: Login | None = None, identity: str | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.bundle = directory / "tokens.pem"
        self.login, self.identity = login, identity
        self.instead: Answer | None = None
        self.lifetime, self.claimed, self.granted = 300.0, 300, True
        self.asked: list[Asked] = []
        self.given: list[Bearer] = []
        certificate = trustme.CA().issue_cert("tokens.rig", key_type=trustme.KeyType.ECDSA)
        self._key = ECKey.import_key(certificate.private_key_pem.bytes())
        self._key_id = _libtrust_id(self._key.as_der(private=False))
        certificate.cert_chain_pems[0].write_to_path(self.bundle)
        self.public = directory / "tokens.pub"
        self.public.write_bytes(self._key.as_pem(private=False))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def realm(self) -> str:
        """Where to ask; it has a query of its own, which must be kept."""
        return f"http://127.0.0.1:{self._server.server_port}/token?kept=yes"

    def issue(self, scopes: Sequence[str], lifetime: float = 300.0) -> Bearer:
        """A token for some scopes."""
        now = int(time.time())
        access = [_access(scope) for scope in scopes]
        end = int(now + lifetime - _LEEWAY)
        claims = {"iss": ISSUER, "sub": "rig", "aud": SERVICE, "exp": end, "nbf": 0, "iat": now, "access": access}
        return Bearer(jwt.encode({"alg": "ES256", "typ": "JWT", "kid": self._key_id}, claims, self._key))

    def answer(self, asked: Asked) -> Answer:
        """What to say to a request."""
        self.asked.append(asked)
        if self.instead:
            return self.instead
        if not self._knows(asked):
            return Answer(HTTPStatus.UNAUTHORIZED, b'{"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]}')
        if asked.fields.get("service") != [SERVICE] or (asked.method == "GET" and asked.fields.get("kept") != ["yes"]):
            return Answer(HTTPStatus.BAD_REQUEST)
        name = "token" if asked.method == "GET" else "access_token"
        token = self.issue(asked.scopes if self.granted else (), self.lifetime)
        self.given.append(token)
        return Answer(HTTPStatus.OK, json.dumps({name: token.token, "expires_in": self.claimed}).encode())

    def _knows(self, asked: Asked) -> bool:
        if asked.method == "POST":
            grant = [asked.fields.get(name) for name in ("grant_type", "refresh_token")]
            return grant == [["refresh_token"], [self.identity]]
        return asked.authorization == (self.login.header if self.login else None)

    def __enter__(self) -> Self:
        """Start it."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(tokens: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(urlsplit(self.path).query)

        def do_POST(self) -> None:
            self._say(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def _say(self, fields: str) -> None:
            asked = Asked(self.command, self.headers["Authorization"], parse_qs(fields))
            answer = tokens.answer(asked)
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Tests look at `asked`."""

    return Handler


def _access(scope: str) -> dict[str, object]:
    kind, name, actions = scope.split(":")
    return {"type": kind, "name": name, "actions": actions.split(",")}


def _libtrust_id(public_key: bytes) -> str:
    """The name under which docker-registry 2.8 knows a key: 240 bits of its hash in base32, in groups of four."""
    text = base64.b32encode(sha256(public_key).digest()[:30]).decode()
    return ":".join(text[start : start + 4] for start in range(0, len(text), 4))
