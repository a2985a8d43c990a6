"""The settings: one TOML file, checked as a whole before anything starts. Only `app` and `cli` read them."""

import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from yarl import URL

from mirror.core.access import Action, check_pattern
from mirror.oci.manifest import MAX_MANIFEST
from mirror.oci.names import MAX_PATH
from mirror.oci.platforms import parse_platform

DEFAULT_PATH = Path("/etc/registry-mirror/config.toml")

Seconds = Annotated[float, msgspec.Meta(gt=0)]
AtOnce = Annotated[int, msgspec.Meta(ge=1, le=64)]
Bytes = Annotated[int, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Most = Annotated[int, msgspec.Meta(ge=1)]
Duration = Annotated[float, msgspec.Meta(ge=0)]
Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]
Rate = Annotated[int, msgspec.Meta(ge=0)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Lifetime = Annotated[int, msgspec.Meta(ge=60, le=3600)]
Kind = Literal["network", "basic", "token", "jwt", "certificate"]


Namespace = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$", max_length=76)]


class SettingsError(Exception):
    """The settings cannot be used; the text names the file and the path of the offending key."""


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; a key that it does not know is an error, not a typo that goes unnoticed."""


class Http(_Section, frozen=True):
    """What holds for every listener.

    `catalog` lists the repositories, to each caller those that he may pull from. A client may send, or take, nothing
    for `idle` seconds; the head of a request is to be whole within `head`, a request to be answered within `total`, and
    a connection ends that has no other request for `keep`. `line` are the bytes of the first line of a request and of
    each header, `headers` how many of these there may be, `connections` how many connections at once to all listeners.
    `blob` and `manifest` are the most bytes of what is pushed, `name` the most characters of a repository's path.
    """

    catalog: bool = False
    idle: Seconds = 60.0
    head: Seconds = 30.0
    keep: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 120.0  # aiohttp itself waits for 3630
    total: Seconds = 43200.0
    line: Annotated[int, msgspec.Meta(ge=1024, le=65536)] = 8190
    headers: Annotated[int, msgspec.Meta(ge=16, le=1024)] = 128
    connections: Most = 4096
    blob: Bytes = 0
    manifest: Annotated[int, msgspec.Meta(ge=1024, le=MAX_MANIFEST)] = MAX_MANIFEST
    name: Annotated[int, msgspec.Meta(ge=1, le=MAX_PATH)] = MAX_PATH


class Callers(_Section, frozen=True):
    """What each caller may have: each principal, or of those whom nobody knows each address.

    `connections` at once are those from one address, whoever it is; `requests` are those per second, 0 is no limit, of
    which after a pause `burst` may come at once; `uploads` are the blobs that are sent at once, `sessions` the uploads
    that were begun and not finished.
    """

    connections: Most = 512
    requests: Duration = 500.0
    burst: Most = 5000
    uploads: Most = 128
    sessions: Most = 1000


class Tenants(_Section, frozen=True):
    """So many `bytes` each tenant may have of blobs that its pushes and mounts brought, each once; 0 is no limit."""

    bytes: Bytes = 0


class Tls(_Section, frozen=True):
    """A listener's certificate with its chain, and its key, in PEM; both are read again when they change.

    With `client_ca` clients may show a certificate that one of these authorities made.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


class Listener(_Section, frozen=True):
    """Where builders push to: `host:port`, or `unix:/path`, a socket for root and those of `group`.

    `identify` are the kinds of proof that count here, all that are set up if it is not said; whoever gives none belongs
    to `tenant`, if there is one.
    """

    listen: str = "127.0.0.1:5000"
    group: Text | None = None
    tls: Tls | None = None
    identify: tuple[Kind, ...] | None = None
    tenant: Text | None = None

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


class Jwt(_Section, frozen=True):
    """Tokens of others: signed with one of `keys` (a JWKS, or a public key in PEM), for `audience` and by `issuer`.

    `tenant_claim` names the claim with the tenant. Clients get them at `realm` for `service`, if that is said. `leeway`
    is by how many seconds the clocks may differ.
    """

    keys: Path
    audience: Text
    issuer: Text
    tenant_claim: Text | None = None
    leeway: Duration = 60.0
    realm: Text | None = None
    service: Text | None = None

    def __post_init__(self) -> None:
        if self.realm is not None and not _is_url(self.realm):
            raise ValueError("realm must be a URL of http or https")


class Identity(_Section, frozen=True):
    """How callers are told from each other; without any of it nobody is.

    `networks` maps networks to tenants; `htpasswd` is a file of users and bcrypt hashes, `tokens` one of names and
    SHA-256 hashes; `tenants` maps principals (`basic:alice`) to tenants; `certificate_tenant` is the attribute of a
    certificate's subject that has it (`O`). With `issue` whoever logs in gets tokens for that many seconds.
    """

    networks: dict[str, Text] = msgspec.field(default_factory=dict)
    htpasswd: Path | None = None
    tokens: Path | None = None
    jwt: Jwt | None = None
    tenants: dict[str, Text] = msgspec.field(default_factory=dict)
    certificate_tenant: Text | None = None
    issue: Lifetime | None = None

    def __post_init__(self) -> None:
        for network in self.networks:
            ip_network(network)
        if self.issue and not (self.htpasswd or self.tokens):
            raise ValueError("issue needs htpasswd or tokens")

    @property
    def kinds(self) -> frozenset[Kind]:
        """What is set up, certificates aside: those are a matter of the listener."""
        ways: dict[Kind, object] = {
            "network": self.networks,
            "basic": self.htpasswd,
            "token": self.tokens,
            "jwt": self.jwt,
        }
        return frozenset(kind for kind, way in ways.items() if way)


class Rule(_Section, frozen=True):
    """What some callers may do: see `mirror.core.access.Rule`."""

    tenants: frozenset[Text] = frozenset()
    principals: tuple[Text, ...] = ()
    registries: frozenset[Text] = frozenset()
    repositories: tuple[str, ...] = ("**",)
    actions: frozenset[Action] = frozenset({Action.PULL, Action.PUSH, Action.STATUS})

    def __post_init__(self) -> None:
        for pattern in self.repositories:
            check_pattern(pattern)


class Verify(_Section, frozen=True):
    """What pushed manifests must be like (see `mirror.core.requirements`), and who is asked about each of them.

    That is a `command` with its arguments, or a service on a unix `socket`; an answer may take `timeout` seconds.
    """

    media_types: frozenset[Text] = frozenset()
    blob_media_types: frozenset[Text] = frozenset()
    layers: Count = 0
    layer_bytes: Bytes = 0
    image_bytes: Bytes = 0
    annotations: dict[Text, str] = msgspec.field(default_factory=dict)
    command: tuple[Text, ...] = ()
    socket: Path | None = None
    timeout: Seconds = 10.0

    def __post_init__(self) -> None:
        if self.command and self.socket:
            raise ValueError("command and socket exclude each other")
        if self.command and not self.command[0].startswith("/"):
            raise ValueError("command must begin with an absolute path")


class Admin(_Section, frozen=True):
    """Where operators reach the daemon: a socket for root and those of `group`, and beside it one that they push to."""

    socket: Path = Path("/run/registry-mirror/admin.sock")
    group: Text | None = None

    @property
    def push_socket(self) -> Path:
        """Where operators push to."""
        return push_socket(self.socket)


def push_socket(admin: Path) -> Path:
    """The path of the socket that operators push to, by that of the admin socket."""
    return admin.absolute().with_name("push.sock")


class Containerd(_Section, frozen=True):
    """Which containerd images are imported into, and how they are unpacked there.

    `labels` go on every image record. Without any, those of the namespace k8s.io get the one that the kubelet's side of
    containerd puts on its own. `import` is how blobs get into its store: `direct` as files that are linked into it,
    `stream` through it, `auto` directly where that is possible.
    """

    address: Path = Path("/run/containerd/containerd.sock")
    namespace: Namespace = "default"
    snapshotter: Text = "overlayfs"
    labels: dict[str, Text] | None = None
    importer: Literal["auto", "stream", "direct"] = msgspec.field(name="import", default="auto")

    @property
    def image_labels(self) -> dict[str, str]:
        """What image records are labelled with."""
        if self.labels is None and self.namespace == "k8s.io":
            return {"io.cri-containerd.image": "managed"}
        return dict(self.labels or {})


class Journal(_Section, frozen=True):
    """The SQLite file that acknowledged pushes are written to."""

    path: Path = Path("/var/lib/registry-mirror/journal.db")


class Replication(_Section, frozen=True):
    """How hard to work on what is to be replicated: jobs and blobs at once for each upstream, back-off in seconds.

    `rate` limits the bytes per second to all upstreams together, 0 does not; `stall` is how many seconds an upstream
    may take nothing; with `eager` a blob goes upstream as soon as it is here, before the manifest that names it comes.
    """

    jobs: AtOnce = 4
    blobs: AtOnce = 8
    rate: Rate = 0
    eager: bool = True
    stall: Seconds = 60.0
    backoff_first: Seconds = 1.0
    backoff_max: Seconds = 300.0


class Unpack(_Section, frozen=True):
    """How many images are unpacked at once, and those for which `platforms` of an index: none is this machine's."""

    images: AtOnce = 2
    platforms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for platform in self.platforms:
            parse_platform(platform)


class Disk(_Section, frozen=True):
    """How full the disks of containerd may get.

    A push that would leave less than `reserve` bytes free is refused; unset, that is a twentieth of the disk, but no
    more than 1 GiB. When more than `evict_at` percent are in use, images go until no more than `evict_to` percent are.
    """

    reserve: Bytes | None = None
    evict_at: Percent = 85
    evict_to: Percent = 80

    def __post_init__(self) -> None:
        if self.evict_to > self.evict_at:
            raise ValueError("evict_to must not be above evict_at")


class Retention(_Section, frozen=True):
    """Which images stay here once they are upstream; 0 is no limit.

    `tags`: so many of each repository, those that were pushed last; `age`: those that were used in the last so many
    seconds; `bytes`: so much content altogether, each blob counted once. Where there is a limit on tags, what no tag
    leads to stays for `untagged` seconds after its last use.
    """

    tags: Count = 0
    age: Duration = 0.0
    bytes: Bytes = 0
    untagged: Seconds = 86400.0


class Uploads(_Section, frozen=True):
    """After how many seconds without a request an upload session is dropped."""

    max_age: Seconds = 86400.0


class Shutdown(_Section, frozen=True):
    """How many seconds requests in flight get to finish after SIGTERM."""

    deadline: Seconds = 20.0


class Log(_Section, frozen=True):
    """How much is logged, and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console", "journald"] = "auto"


class PullThrough(_Section, frozen=True):
    """How what is not here is fetched from an upstream.

    What a tag means there counts for `tags` seconds. The upstream has `patience` seconds to begin with its answer, and
    each time to go on. With `borrow` a blob that only it has need not be pushed: it is fetched beside the push.
    """

    tags: Duration = 60.0
    patience: Seconds = 15.0
    borrow: bool = False


class Upstream(_Section, frozen=True):
    """One central registry. What is secret is in files of their own, so that this one can be read by anybody.

    Credentials are none, or one of: `username` with `password_file`, `token_file`, `docker_config`. `proxy` is the only
    one that is used: the environment's are not looked at. With `delete`, what is deleted here is deleted there too;
    `rate` limits the bytes per second that go there, 0 does not. With `pull`, what is not here is fetched from there.
    """

    url: str
    username: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    docker_config: Path | None = None
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    proxy: str | None = None
    proxy_username: str | None = None
    proxy_password_file: Path | None = None
    delete: bool = False
    rate: Rate = 0
    pull: PullThrough | None = None

    def __post_init__(self) -> None:
        if not _is_origin(self.url, {"http", "https"}):  # it is not shown: it may hold a password
            raise ValueError("url must be http(s)://host[:port] and no more")
        if self.proxy is not None and not _is_origin(self.proxy, {"http"}):
            raise ValueError("proxy must be http://host:port and no more; its login is in proxy_username")
        if self.proxy is None and self.proxy_username is not None:
            raise ValueError("proxy_username needs a proxy")
        if sum(kind is not None for kind in (self.username, self.token_file, self.docker_config)) > 1:
            raise ValueError("username, token_file and docker_config exclude each other")
        self._together("username", "password_file")
        self._together("client_cert", "client_key")
        self._together("proxy_username", "proxy_password_file")

    def _together(self, one: str, other: str) -> None:
        if (getattr(self, one) is None) != (getattr(self, other) is None):
            raise ValueError(f"{one} and {other} go together")


def _is_url(text: str) -> bool:
    try:
        url = URL(text)
    except ValueError:
        return False
    return url.scheme in {"http", "https"} and bool(url.host) and '"' not in text


def _is_origin(text: str, schemes: set[str]) -> bool:
    try:
        url = URL(text)
        return url.scheme in schemes and url == url.origin()
    except ValueError:
        return False


class Settings(_Section, frozen=True):
    """The whole file. `upstreams` maps a registry's name, as image names begin with it, to where it is.

    Listeners and rules have names for the log. Without rules everybody may do everything, but as soon as anybody can be
    told from others nobody may do anything without one.
    """

    default_upstream: str
    upstreams: dict[str, Upstream]
    listeners: dict[str, Listener] = msgspec.field(default_factory=lambda: {"builders": Listener()})
    http: Http = Http()
    callers: Callers = Callers()
    tenants: Tenants = Tenants()
    identity: Identity = Identity()
    rules: dict[str, Rule] = msgspec.field(default_factory=dict)
    verify: Verify = Verify()
    admin: Admin = Admin()
    containerd: Containerd = Containerd()
    journal: Journal = Journal()
    replication: Replication = Replication()
    unpack: Unpack = Unpack()
    disk: Disk = Disk()
    retention: Retention = Retention()
    uploads: Uploads = Uploads()
    shutdown: Shutdown = Shutdown()
    log: Log = Log()

    def __post_init__(self) -> None:
        if self.default_upstream not in self.upstreams:
            raise ValueError(f"default_upstream {self.default_upstream!r} is not among the upstreams")
        if not self.listeners:
            raise ValueError("listeners is empty")
        if taken := self.listeners.keys() & {"admin", "operators"}:
            raise ValueError(f"listeners.{min(taken)} has the name of a socket that is there anyway")
        for name, listener in self.listeners.items():
            unknown = set(listener.identify or ()) - self.identity.kinds - {"certificate"}
            if unknown or ("certificate" in (listener.identify or ()) and not self._asks_for_certificates(listener)):
                raise ValueError(f"listeners.{name}.identify has a kind that is not set up")
        for name, rule in self.rules.items():
            if not rule.registries <= self.upstreams.keys():
                raise ValueError(f"rules.{name}.registries has one that is not among the upstreams")

    def kinds(self, listener: Listener) -> frozenset[Kind]:
        """The kinds of proof that count at a listener."""
        certificate: frozenset[Kind] = frozenset({"certificate"} if self._asks_for_certificates(listener) else ())
        every = self.identity.kinds | certificate
        return every if listener.identify is None else every & set(listener.identify)

    @property
    def is_open(self) -> bool:
        """Whether whoever reaches a listener may do everything."""
        told_apart = any(self.kinds(listener) or listener.tenant for listener in self.listeners.values())
        return not self.rules and not told_apart

    def _asks_for_certificates(self, listener: Listener) -> bool:
        return listener.tls is not None and listener.tls.client_ca is not None


def load(path: Path) -> Settings:
    """Read and check a settings file.

    Raises:
        SettingsError: it cannot be read, is no TOML, or holds an unknown key or a bad value.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), Settings, dec_hook=_path)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error


def _path(kind: type, value: object) -> object:
    """Paths, which TOML has no type for."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"Expected a {kind.__name__} in quotes")
