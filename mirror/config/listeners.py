"""Who comes by the network, or a socket: builders, operators, and what each of them may have."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from mirror.config.access import Kind
from mirror.config.kinds import BYTES, Bytes, File, Most, Seconds, SecretFile, Section, Text
from mirror.oci.manifest import MAX_MANIFEST
from mirror.oci.names import MAX_PATH


class Tls(Section, frozen=True):
    """A listener's certificate, which makes it HTTPS. All three files are read again when they change."""

    certificate: File
    """The certificate with its chain, in PEM.

    Example: "/etc/registry-mirror/tls.pem"
    """
    key: SecretFile
    """Its key, in PEM, without a passphrase.

    Example: "/etc/registry-mirror/tls.key"
    """
    client_ca: File | None = None
    """Authorities, in PEM: clients may show a certificate that one of them made, as a proof of who they are.

    Example: "/etc/registry-mirror/clients.pem"
    """


class Listener(Section, frozen=True):
    """Where builders push to. There may be any number of listeners; their names are for the log.

    Without any there is one, `builders`, with the defaults below.
    """

    listen: str = "127.0.0.1:5000"
    """`host:port`, such as `[fdaa:0:18::3]:5000`, or `unix:/path` for a socket."""
    group: Text | None = None
    """Of a unix socket: who may connect beside root. The unit has to name the group, too (`SupplementaryGroups=`).

    Example: "builders"
    """
    tls: Tls | None = None
    identify: tuple[Kind, ...] | None = None
    """The kinds of proof that count here, each of which must be set up; if this is not set, all that are.

    Example: ["network"]
    """
    tenant: Text | None = None
    """Whose it is when nothing else says so: the tenant of whoever gives no proof.

    Example: "acme"
    """

    def __post_init__(self) -> None:
        if self.socket:
            return
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the highest TCP port
            raise ValueError(f"listen must be host:port or unix:/path, not {self.listen!r}")
        if self.group:
            raise ValueError("group is for unix sockets")

    @property
    def socket(self) -> Path | None:
        """The path of a unix socket."""
        scheme, _, path = self.listen.partition(":")
        return Path(path) if scheme == "unix" and path.startswith("/") else None

    @property
    def address(self) -> tuple[str, int]:
        """Host (an IPv6 address without its brackets) and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class Http(Section, frozen=True):
    """What holds for every listener."""

    catalog: bool = False
    """Whether `GET /v2/_catalog` lists the repositories, to each caller those that he may pull from."""
    idle: Seconds = 60.0
    """How long a client may send, or take, nothing before its request is given up."""
    head: Seconds = 30.0
    """Until the head of a request is whole, from its first byte or the beginning of the connection; a TLS handshake may
    take as long."""
    keep: Annotated[Seconds, Meta(le=3600)] = 120.0  # aiohttp itself waits for 3630
    """How long a connection may be without a request before it ends."""
    total: Seconds = 43200.0
    """Until a request is answered, however large its body is."""
    line: Annotated[int, Meta(ge=1024, le=65536, extra=BYTES)] = 8190
    """The longest first line of a request, and the longest of its headers."""
    headers: Annotated[int, Meta(ge=16, le=1024)] = 128
    """How many headers a request may have."""
    connections: Most = 4096
    """How many connections there may be at once, to all listeners together."""
    blob: Bytes = 0
    """The largest blob that is taken; 0 is no limit."""
    manifest: Annotated[int, Meta(ge=1024, le=MAX_MANIFEST, extra=BYTES)] = MAX_MANIFEST
    """The largest manifest that is taken."""
    name: Annotated[int, Meta(ge=1, le=MAX_PATH, extra={"unit": "characters"})] = MAX_PATH
    """The longest path of a repository."""


class Callers(Section, frozen=True):
    """What each caller may have: each principal, or of those whom nobody knows each address."""

    connections: Most = 512
    """How many connections there may be at once from one address, whoever it is."""
    requests: Annotated[float, Meta(ge=0, extra={"unit": "requests per second"})] = 500.0
    """How many requests are answered; the rest get a 429. 0 is no limit."""
    burst: Most = 5000
    """How many requests may come at once after a pause."""
    uploads: Most = 128
    """How many blobs may be sent at once."""
    sessions: Most = 1000
    """How many uploads there may be that were begun and not finished."""


class Tenants(Section, frozen=True):
    """What each tenant may have."""

    bytes: Bytes = 0
    """Of blobs that its pushes and mounts brought here, each counted once; 0 is no limit."""


class Admin(Section, frozen=True):
    """Where operators reach the daemon: `registry-mirror status`, `wait` and the other commands."""

    socket: Path = Path("/run/registry-mirror/admin.sock")
    """The unix socket that the daemon makes for them; beside it there is `push.sock`, which they push to."""
    group: Text | None = None
    """Who may use both beside root. The unit has to name the group, too (`SupplementaryGroups=`).

    Example: "operators"
    """
    listen: Text | None = None
    """An address and port of the loopback where Prometheus and browsers find the same. Everybody who is on this host is
    an operator then.

    Example: "127.0.0.1:5001"
    """

    def __post_init__(self) -> None:
        if self.listen is not None and self.address is None:
            raise ValueError(f"listen must be an address and port of the loopback, not {self.listen!r}")

    @property
    def address(self) -> tuple[str, int] | None:
        """Host (an IPv6 address without its brackets) and port of `listen`."""
        host, _, port = (self.listen or "").rpartition(":")
        host = host.strip("[]")
        try:
            is_loopback = ip_address(host).is_loopback and 0 < int(port) <= 65535  # noqa: PLR2004 - the highest TCP port
        except ValueError:
            is_loopback = False
        return (host, int(port)) if is_loopback else None

    @property
    def push_socket(self) -> Path:
        """Where operators push to."""
        return push_socket(self.socket)


def push_socket(admin: Path) -> Path:
    """The path of the socket that operators push to, by that of the admin socket."""
    return admin.absolute().with_name("push.sock")
