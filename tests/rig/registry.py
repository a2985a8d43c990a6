"""The central registry: Debian's docker-registry, with files as its storage."""

import json
import urllib.error
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from pathlib import Path

import bcrypt
import trustme

from tests.rig import web
from tests.rig.images import MEDIA
from tests.rig.ports import free_port
from tests.rig.process import Process
from tests.rig.tokens import ISSUER, SERVICE, TokenServer
from tests.rig.until import until
from tests.rig.web import Login, Shown

_ACCEPT = ", ".join(family for media in MEDIA.values() for family in (media.manifest, media.index))
_Found = tuple[bytes, Message] | None


@dataclass(frozen=True)
class Stored:
    """A manifest as the registry serves it."""

    raw: bytes
    digest: str
    media_type: str


class Registry(Process):
    """A registry on the loopback, or at `address`, that keeps its port over restarts; with `tls` it speaks HTTPS only.

    It asks for the `login`, or for a token of the server `tokens`; with `client_certificates` for one of its authority.
    """

    name = "docker-registry"

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        login: Login | None = None,
        *,
        tokens: TokenServer | None = None,
        tls: bool = False,
        client_certificates: bool = False,
        address: str = "127.0.0.1",
    ) -> None:
        super().__init__(directory)
        self.port = port or free_port()
        self.host = f"{address}:{self.port}"
        self.url = f"{'https' if tls or client_certificates else 'http'}://{self.host}"
        self.login = login
        self.tokens = tokens
        self.ca_file = directory / "ca.pem" if tls or client_certificates else None
        self.client = directory / "client.pem" if client_certificates else None
        self._config = directory / "config.json"
        self._config.write_text(json.dumps(self._settings()))
        if login:
            hashed = bcrypt.hashpw(login.password.encode(), bcrypt.gensalt(rounds=4)).decode()
            self._passwords.write_text(f"{login.username}:{hashed}\n")
        if self.ca_file:
            authority = trustme.CA()
            authority.cert_pem.write_to_path(self.ca_file)
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(self._certificate)
            if self.client:
                authority.issue_cert("builder.rig").private_key_and_cert_chain_pem.write_to_path(self.client)

    @property
    def _passwords(self) -> Path:
        return self.directory / "htpasswd"

    @property
    def _certificate(self) -> Path:
        return self.directory / "server.pem"

    def _settings(self) -> dict[str, object]:
        """Its configuration is YAML, of which JSON is a part."""
        storage = {"filesystem": {"rootdirectory": str(self.directory / "data")}, "delete": {"enabled": True}}
        http = {"addr": self.host, "secret": "only that it does not warn", **self._tls()}
        log = {"formatter": "json", "accesslog": {"disabled": True}}
        return {"version": "0.1", "log": log, "storage": storage, "http": http, **self._auth()}

    def _tls(self) -> dict[str, object]:
        if not self.ca_file:
            return {}
        certificate = str(self._certificate)
        authorities = {"clientcas": [str(self.ca_file)]} if self.client else {}
        return {"tls": {"certificate": certificate, "key": certificate, **authorities}}

    def _auth(self) -> dict[str, object]:
        if self.login:
            return {"auth": {"htpasswd": {"realm": "rig", "path": str(self._passwords)}}}
        if not self.tokens:
            return {}
        bundle = str(self.tokens.bundle)
        token = {"realm": self.tokens.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle}
        return {"auth": {"token": token}}

    def command(self) -> list[str]:
        """Start it on its own configuration."""
        return ["docker-registry", "serve", str(self._config)]

    def is_ready(self) -> bool:
        """Whether it answers to the version check."""
        return web.answers(f"{self.url}/v2/", login=self._shown(), ca_file=self.ca_file, client=self.client)

    def manifest(self, repository: str, reference: str) -> Stored | None:
        """What a tag or digest stands for; None when it is not here."""
        found = self._get(repository, f"manifests/{reference}", accept=_ACCEPT)
        if found is None:
            return None
        raw, headers = found
        return Stored(raw, headers["Docker-Content-Digest"], headers["Content-Type"])

    def blob(self, repository: str, digest: str) -> bytes | None:
        """The bytes of a blob; None when it is not here."""
        found = self._get(repository, f"blobs/{digest}")
        return found and found[0]

    def tags(self, repository: str) -> set[str]:
        """The tags of a repository; none when it is not here."""
        found = self._get(repository, "tags/list")
        return set(json.loads(found[0])["tags"] or ()) if found else set()

    def _get(self, repository: str, what: str, accept: str = "*/*") -> _Found:
        (found,) = until(lambda: self._answer(repository, what, accept), f"{self.name} can read {what}")
        return found

    def _answer(self, repository: str, what: str, accept: str) -> list[_Found]:
        """What it has; nothing while it says 500, as it does of a link that it is just writing."""
        url, shown = f"{self.url}/v2/{repository}/{what}", self._shown(f"repository:{repository}:pull")
        try:
            return [web.get(url, accept=accept, login=shown, ca_file=self.ca_file, client=self.client)]
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            return []

    def _shown(self, *scopes: str) -> Shown | None:
        return self.tokens.issue(scopes) if self.tokens else self.login
